"""What a mix trains on of a dataset: packed, held out, repeated, split; every token accounted for, and batches the same for every world."""

from __future__ import annotations

import hashlib
import itertools
import random
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pydantic import ValidationError

from curate.batches import Batches
from curate.context import WorkContext
from curate.errors import DataError, RecipeError
from curate.loader import IGNORED, Mix, open_mix
from curate.mix_certificate import certify
from curate.mix_sources import balance
from curate.mixing import MixNode
from curate.node import NodeInput
from curate.schema import with_columns
from curate.tokens.shard import TokenShardWriter
from tests.curate.tokens.small import TEXTS, byte_bpe, tokenized

SEQ_LEN = 48
LANGUAGES = ["en", "de", "zh"]


def language(row: int) -> str:
    return LANGUAGES[min(row % 7, 2)]


def dataset(run: Path, name: str, texts: list[str]) -> NodeInput:
    folder = run / name
    folder.mkdir(parents=True)
    batch = tokenized(run / "tokenizer.json", texts, prefix=f"{name}/")
    batch = with_columns(
        batch,
        {
            "lang_code": pa.array([language(i) for i in range(len(texts))]),
            "dup_weight": pa.array([float(i % 4) + (0.5 if i % 3 else 0) for i in range(len(texts))]),
            "score": pa.array([None if i % 10 == 0 else i % 5 for i in range(len(texts))], pa.int32()),
        },
    )
    writer = TokenShardWriter(folder, "part", batch.schema, {}, batch_tokens=900, file_bytes=batch.nbytes // 3)
    writer.write(batch)
    parts = tuple(str(p) for p in writer.close())
    return NodeInput(name, str(folder), parts, f"digest of {name}", len(batch), sum(batch.column("n_tokens").to_pylist()))


Run = tuple[Path, dict[str, NodeInput], dict[str, list[list[int]]]]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("run")
    byte_bpe(folder / "tokenizer.json")
    texts = {
        "web": [f"{t} {'and so on ' * (i % 5)}" for i, t in enumerate(TEXTS * 3)],
        "books": [" ".join(TEXTS[i : i + 9]) for i in range(90)],
    }
    inputs = {name: dataset(folder, name, t) for name, t in texts.items()}
    return folder, inputs, {name: tokenized(folder / "tokenizer.json", t).column("tokens").to_pylist() for name, t in texts.items()}


def mixed(run: Run, name: str, **settings: Any) -> Mix:
    node = MixNode(**{"seq_len": SEQ_LEN, "stages": [{"tokens": 60 * SEQ_LEN, "weights": {"web": 0.6, "books": 0.4}}], **settings})
    out = run[0] / name
    if not out.exists():
        out.mkdir()
        node.run(run[1], out, WorkContext(seed=5), lambda share, what: None)
    return open_mix(out)


def all_windows(mix: Mix, source: int) -> list[tuple[int, int]]:
    """(at, size) of every piece of a source."""
    _, at, size = mix._pieces.of(source, np.arange(mix.sources[source]["windows"]))
    return list(zip(at.tolist(), size.tolist(), strict=True))


def checked(mix: Mix) -> None:
    for source in mix.sources:
        assert balance(source["ledger"]) == 0
    assert sum(s["tokens"] for s in mix.sources) + sum(mix.description["unused"].values()) == sum(
        d["tokens"] for d in mix.description["datasets"]
    )
    assert certify(mix.description, mix.folder) == mix.description["certificate"]
    assert mix.description["certificate"]["unaccounted"] == 0


def traced(run: Run, mix: Mix) -> Counter[str]:
    """Documents of all windows of a mix; each piece is compared with the document's own tokens."""
    seen: Counter[str] = Counter()
    for k in range(len(mix)):
        window, pieces, real = mix.window(k).tolist(), mix.trace(k), int(mix.sizes([k])[0])
        assert [p.start for p in pieces] == [0, *(p.stop for p in pieces[:-1])] and pieces[-1].stop == real
        assert window[real:] == [mix.pad_id] * (SEQ_LEN - real)
        starts = mix.document_starts(k).tolist()
        assert starts == [*(p.start for p in pieces), real, *([SEQ_LEN] if real < SEQ_LEN else [])]
        assert sum(len(rows) for _, _, rows, _ in mix.layout([k])[1]) == len(pieces)
        for p in pieces:
            name, number = p.id.split("/")
            assert window[p.start : p.stop] == run[2][name][int(number)][p.first : p.first + p.stop - p.start]
            seen[p.id] += p.stop - p.start
    return seen


def test_borders_of_many_windows(run: Run) -> None:
    ks = [7, 2, 2, *range(20, 50)]
    for name, settings in (("packed", {"packing": "best_fit"}), ("cut", {})):
        mix = mixed(run, name, **settings)
        starts = [mix.document_starts(k)[:-1] + place * SEQ_LEN for place, k in enumerate(ks)]
        tokens, borders = mix.windows_and_borders(ks)
        assert borders.tolist() == mix.borders(ks).tolist() == mix.layout(ks)[0].tolist() == [*np.concatenate(starts), len(ks) * SEQ_LEN]
        assert tokens.tolist() == mix.windows(ks).tolist()
        assert mix.borders([]).tolist() == [0]


def test_windows_of_many_small_documents(tmp_path: Path) -> None:
    sizes = np.random.default_rng(0).integers(0, 3, 900)  # more starts than room is made for at first, and empty documents
    offsets = np.concatenate([[0], np.cumsum(sizes)])
    tokens = pa.LargeListArray.from_arrays(pa.array(offsets), pa.array(np.arange(offsets[-1]).astype(np.uint16)))
    names = pa.array([str(i) for i in range(len(sizes))])
    batch = pa.record_batch({"id": names, "source": names, "tokens": tokens, "n_tokens": pa.array(sizes.astype(np.int32))})
    (tmp_path / "tiny").mkdir()
    writer = TokenShardWriter(tmp_path / "tiny", "part", batch.schema, {"curate.tokenizer_sha256": "0" * 64, "curate.vocab_size": "999"})
    writer.write(batch)
    given = NodeInput("tiny", str(tmp_path / "tiny"), tuple(map(str, writer.close())), "tiny", len(sizes), int(offsets[-1]))
    mix = mixed((tmp_path, {"tiny": given}, {}), "mix", seq_len=128, stages=[{"tokens": 512, "weights": {"tiny": 1.0}}])
    for k in range(4):
        inside = mix.window(k).astype(np.int64)  # the tokens count up, so a window tells where it begins
        first = int(inside[0])
        expected = {0, 128, *(o - first for o in offsets.tolist() if first < o < first + 128)}
        assert inside.tolist() == list(range(first, first + 128)) and mix.document_starts(k).tolist() == sorted(expected)


def test_best_fit_keeps_documents_whole(run: Run) -> None:
    mix = mixed(run, "packed", packing="best_fit")
    checked(mix)
    traced(run, mix)
    for source, name in enumerate(("web", "books")):
        expected, at = [], 0
        for document in run[2][name]:
            expected += [(at + start, min(SEQ_LEN, len(document) - start)) for start in range(0, len(document), SEQ_LEN)]
            at += len(document)
        assert sorted(all_windows(mix, source)) == expected
    ledger = mix.sources[0]["ledger"]
    assert ledger["in_windows"] == mix.sources[0]["tokens"] and ledger["padded"] > 0
    assert ledger["padded"] + ledger["in_windows"] == mix.sources[0]["windows"] * SEQ_LEN
    shares = mix.description["certificate"]["stages"][0]["sources"]
    assert shares["web"]["planned"] == pytest.approx(0.6) and abs(shares["web"]["realised"] - 0.6) < 0.02


@pytest.mark.parametrize(("rule", "lost"), [("crop", "cropped"), ("drop", "dropped")])
def test_over_long_documents(run: Run, rule: str, lost: str) -> None:
    mix = mixed(run, rule, packing="best_fit", over_long=rule, stages=[{"tokens": 20 * SEQ_LEN, "weights": ["web"]}])
    checked(mix)
    sizes = [len(d) for d in run[2]["web"]]
    ledger = mix.sources[0]["ledger"]
    if rule == "crop":
        assert ledger[lost] == sum(max(0, s - SEQ_LEN) for s in sizes)
    else:
        assert ledger[lost] == {"packing.over_long": sum(s for s in sizes if s > SEQ_LEN)}
    assert max(size for _, size in all_windows(mix, 0)) <= SEQ_LEN


def test_same_stream_for_every_world_and_after_any_restart(run: Run) -> None:
    mix, size = mixed(run, "worlds", packing="best_fit", held_out=0.1), 24
    whole = len(mix) // size * size
    expected = hashlib.sha256(b"".join(mix.window(k).tobytes() for k in range(whole))).hexdigest()

    def digest(world: int, prefetch: int, cuts: list[int]) -> str:
        content = hashlib.sha256()
        for start, stop in zip([0, *cuts], [*cuts, whole], strict=True):
            ranks = [iter(Batches(mix, size, rank=r, world_size=world, start=start, stop=stop, prefetch=prefetch)) for r in range(world)]
            for parts in zip(*ranks, strict=True):
                for part in parts:
                    content.update(part.tokens.tobytes())
        return content.hexdigest()

    assert {digest(world, prefetch, []) for world in (1, 2, 3, 4, 8) for prefetch in (0, 1, 4)} == {expected}
    choose = random.Random(2)
    for _ in range(50):
        assert digest(choose.choice([1, 2, 3, 4, 8]), 0, [size * choose.randrange(whole // size)]) == expected


@pytest.mark.parametrize("packing", ["concat", "best_fit"])
def test_held_out_documents_are_never_trained_on(run: Run, packing: str) -> None:
    mix = mixed(run, f"held-{packing}", packing=packing, held_out={"share": 0.15}, max_epochs={"web": 3, "books": 3})
    held = open_mix(mix.folder, held_out=True)
    checked(mix)
    train, valid = traced(run, mix), traced(run, held)
    assert not train.keys() & valid.keys() and len(valid) > 30
    assert sum(valid.values()) == sum(s["held_out"]["tokens"] for s in mix.sources)
    assert len(held) == sum(s["held_out"]["windows"] for s in mix.sources)


@pytest.mark.parametrize("packing", ["concat", "best_fit"])
def test_held_out_windows(run: Run, packing: str) -> None:
    settings = {"packing": packing, "held_out": {"share": 0.1, "by": "windows"}, "max_epochs": {"web": 2.5, "books": 4}}
    mix = mixed(run, f"heldw-{packing}", stages=[{"tokens": 250 * SEQ_LEN, "weights": {"web": 0.5, "books": 0.5}}], **settings)
    held = open_mix(mix.folder, held_out=True)
    checked(mix)
    trained = {(mix.place(k).source, mix.place(k).window) for k in range(len(mix))}
    kept = [(held.place(k).source, held.place(k).window) for k in range(len(held))]
    assert len(kept) == len(set(kept)) == sum(s["held_out"]["windows"] for s in mix.sources) > 10
    assert not trained & set(kept)
    assert sum(int(x) for x in held.sizes(range(len(held)))) == sum(s["held_out"]["tokens"] for s in mix.sources)


def test_documents_are_repeated_by_their_weight(run: Run) -> None:
    mix = mixed(run, "repeated", repeat={"web": "dup_weight"}, stages=[{"tokens": 1000, "weights": ["web"]}])
    checked(mix)
    counts = Counter(at for at, size in all_windows(mix, 0) for at in range(at, at + size))
    at = 0
    tail = mix.sources[0]["tail_tokens"]
    missing = 0
    for row, document in enumerate(run[2]["web"]):
        weight = float(row % 4) + (0.5 if row % 3 else 0)
        times = counts[at]
        if len({counts[at + i] for i in range(len(document))}) > 1 or not int(weight) <= times <= int(weight + 0.5):
            missing += 1  # the few that lie in the tail
        at += len(document)
    assert missing <= tail // 10 + 1
    assert mix.sources[0]["ledger"]["repeated"] > 0 and mix.sources[0]["ledger"]["dropped"]["repeat.zero"] > 0
    for k in range(len(mix)):
        pieces = [p.id for p in mix.trace(k)]
        assert len(pieces) == len(set(pieces))


def test_scores_are_mapped_to_times(run: Run) -> None:
    mix = mixed(
        run, "scored", repeat={"books": {"column": "score", "table": {1: 1, 3: 2}}}, stages=[{"tokens": 1000, "weights": ["books"]}]
    )
    sizes = [len(d) for d in run[2]["books"]]
    times = [0 if i % 10 == 0 or i % 5 == 0 else 1 if i % 5 < 3 else 2 for i in range(len(sizes))]
    ledger = mix.sources[0]["ledger"]
    assert ledger["in_windows"] + ledger["tail"] == sum(t * s for t, s in zip(times, sizes, strict=True))


def test_languages_by_temperature(run: Run) -> None:
    split = {"web": {"column": "lang_code", "temperature": 2}}
    mix = mixed(run, "split", split=split, max_epochs={"web": 3, "web/zh": 1})
    checked(mix)
    assert [s["name"] for s in mix.sources] == ["web/de", "web/en", "web/zh", "books"]
    roots = [s["ledger"]["in_windows"] ** 0.5 for s in mix.sources[:3]]
    planned = mix.description["certificate"]["stages"][0]["sources"]
    assert [planned[s["name"]]["planned"] for s in mix.sources[:3]] == pytest.approx([0.6 * r / sum(roots) for r in roots])
    for k in range(len(mix)):
        name = mix.place(k).source
        assert {p.dataset for p in mix.trace(k)} == {name.partition("/")[0]}
        if name != "books":
            assert {language(int(p.id.split("/")[1])) for p in mix.trace(k)} == {name.partition("/")[2]}
    most = max(mix.sources[:3], key=lambda s: s["tokens"])
    few = mixed(run, "few", split={"web": {**split["web"], "min_tokens": most["ledger"]["in_windows"]}}, max_epochs={"web": 3})
    checked(few)
    assert {s["name"] for s in few.sources if s["used"]} == {most["name"], "books"}
    some = mixed(run, "some", split={"web": {"column": "lang_code", "weights": {"de": 1}}}, max_epochs={"web": 2})
    checked(some)
    assert [s["name"] for s in some.sources] == ["web/de", "books"] and some.description["unused"]["web"] > 0


def test_weights_by_documents_and_size(run: Run) -> None:
    tokens = {name: given.tokens for name, given in run[1].items()}
    stages = [
        {"tokens": 1000, "weights": {"web": 1, "books": 1}, "by": "documents"},
        {"tokens": 1000, "weights": ["web", "books"], "temperature": 1},
    ]
    shown = mixed(run, "by", stages=stages).description["certificate"]["stages"]
    means = {name: tokens[name] / given.rows for name, given in run[1].items()}
    assert shown[0]["sources"]["web"]["planned"] == pytest.approx(means["web"] / sum(means.values()), abs=1e-6)
    assert shown[1]["sources"]["web"]["planned"] == pytest.approx(tokens["web"] / sum(tokens.values()), abs=0.01)


@pytest.mark.parametrize("packing", ["concat", "best_fit"])
def test_another_plan_goes_on_without_loss_or_repeat(run: Run, packing: str) -> None:
    caps = {"web": 4, "books": 4}
    first = mixed(run, f"first-{packing}", packing=packing, max_epochs=caps, held_out=0.05)
    later = mixed(
        run, f"later-{packing}", packing=packing, held_out=0.05, continues=str(first.folder), continues_at=37, max_epochs=caps,
        stages=[{"tokens": 150 * SEQ_LEN, "weights": {"web": 0.2, "books": 0.8}}],
    )  # fmt: skip
    checked(later)
    uses = [first.place(k) for k in range(37)] + [later.place(k) for k in range(len(later))]
    for source in later.sources:
        mine = [(p.epoch, p.window) for p in uses if p.source == source["name"]]
        whole, rest = divmod(len(mine), source["windows"])
        assert len(set(mine)) == len(mine)
        assert Counter(epoch for epoch, _ in mine) == {**dict.fromkeys(range(whole), source["windows"]), **({whole: rest} if rest else {})}
        assert source["used_before"] + source["used"] == len(mine)
    third = mixed(run, f"third-{packing}", packing=packing, held_out=0.05, continues=str(later.folder), continues_at=0, max_epochs=caps)
    assert third.description["continues"]["since_start"] == 37
    with pytest.raises(RecipeError, match="is needed"):
        mixed(
            run,
            f"short-{packing}",
            packing=packing,
            held_out=0.05,
            continues=str(later.folder),
            continues_at=len(later),
            stages=[{"tokens": 300 * SEQ_LEN, "weights": ["books"]}],
        )


def test_a_mix_that_can_not_go_on(run: Run) -> None:
    first = mixed(run, "before")
    for settings, message in (
        ({"seq_len": 32}, "has seq_len 48, this one 32"),
        ({"held_out": 0.1}, r"web is not what the earlier mix read \(windows"),
        ({"continues_at": 61}, "at most 60"),
    ):
        with pytest.raises(DataError, match=message):
            mixed(run, f"no{len(message)}", **{"continues": str(first.folder), "continues_at": 1, **settings})


def test_stages_are_shortened_to_fit(run: Run) -> None:
    stages = [{"tokens": "10M", "weights": {"web": 0.9, "books": 0.1}}, {"tokens": "1M", "weights": ["web"]}]
    with pytest.raises(RecipeError, match="not enough tokens"):
        mixed(run, "long", stages=stages)
    mix = mixed(run, "fitted", stages=stages, fit=True)
    checked(mix)
    web = mix.sources[0]
    assert 0.9 * web["windows"] < web["used"] <= web["windows"]
    assert mix.description["stages"][0]["windows"] == pytest.approx(10 * mix.description["stages"][1]["windows"], rel=0.1)
    assert MixNode(seq_len=SEQ_LEN, stages=stages).for_sample().fit


def test_rows_for_trainers(run: Run) -> None:
    mix = mixed(run, "packed", packing="best_fit")
    k = next(k for k in range(len(mix)) if mix.sizes([k])[0] < SEQ_LEN and len(mix.trace(k)) > 1)
    row, starts, real = mix[k], mix.document_starts(k), int(mix.sizes([k])[0])
    assert row["labels"][real:].tolist() == [IGNORED] * (SEQ_LEN - real)
    assert row["labels"][starts[:-1]].tolist() == [IGNORED] * (len(starts) - 1)
    assert row["position_ids"].tolist() == [i for a, b in itertools.pairwise(starts) for i in range(b - a)]
    assert set(open_mix(mix.folder, isolated=False)[k]) == {"input_ids", "labels"}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"held_out": {"share": 0.1, "key": "url"}}, "held_out.key names column 'url', which web does not have. It has: "),
        ({"repeat": {"web": "lang_code"}}, "repeat needs numbers, web.lang_code is of type string"),
        ({"split": {"web": {"column": "lang_code", "weights": {"fr": 1}}}}, "no part of web fills a window"),
    ],
)
def test_columns_that_do_not_fit(run: Run, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        mixed(run, f"wrong{len(str(settings))}", **settings)


@pytest.mark.parametrize(
    "settings",
    [
        {"held_out": 1.0},
        {"held_out": 0},
        {"split": {"web": {"column": "a"}}},
        {"split": {"web": {"column": "a", "temperature": 2, "weights": {"en": 1}}}},
        {"split": {"web": {"column": "a", "temperature": 0.9}}},
        {"repeat": {"other": "a"}},
        {"repeat": {"web": {"column": "a", "table": {}}}},
        {"repeat": {"web": {"column": "a", "table": {1: 1001}}}},
        {"continues": "x"},
        {"continues_at": 3},
        {"stages": [{"tokens": 500, "weights": ["web"], "temperature": 0.5}]},
        {"stages": [{"tokens": 500, "weights": []}]},
        {"over_long": "keep"},
        {"batch_windows": 0},
    ],
)
def test_settings_that_can_not_be(settings: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        MixNode(**{"seq_len": SEQ_LEN, "stages": [{"tokens": 500, "weights": {"web": 1}}], **settings})
