"""The mix node and the loader: every window once per epoch, planned shares, windows that trace back to documents."""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from curate.context import WorkContext
from curate.errors import DataError, RecipeError
from curate.loader import Mix, open_mix
from curate.mixing import MixNode
from curate.node import NodeInput
from curate.tokens.mapped import open_shard
from curate.tokens.shard import TokenShardWriter
from tests.curate.tokens.small import TEXTS, byte_bpe, tokenized, unigram
from tests.reference import mixing as naive

SEQ_LEN = 32


def dataset(run: Path, name: str, tokenizer: Path, texts: list[str], files: int = 2) -> NodeInput:
    folder = run / ".data" / f"{name}@123"
    folder.mkdir(parents=True)
    batch = tokenized(tokenizer, texts, prefix=f"{name}/")
    writer = TokenShardWriter(folder, "part", batch.schema, {}, batch_tokens=150, file_bytes=batch.nbytes // files)
    writer.write(batch)
    parts = tuple(str(p) for p in writer.close())
    (run / name).symlink_to(folder.relative_to(run), target_is_directory=True)
    return NodeInput(name, str(folder), parts, f"digest of {name}", len(batch), sum(batch.column("n_tokens").to_pylist()))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, NodeInput]]:
    folder = tmp_path_factory.mktemp("run")
    tokenizer = byte_bpe(folder / "tokenizer.json")
    texts = {"web": [*TEXTS, ""] * 3, "books": [*TEXTS[60:], "", *TEXTS[:30]], "code": TEXTS[::3]}
    return folder, {name: dataset(folder, name, tokenizer, t) for name, t in texts.items()}


def node(**settings: Any) -> MixNode:
    stages = [
        {"tokens": 150 * SEQ_LEN, "weights": {"web": 0.7, "books": 0.2, "code": 0.1}},
        {"tokens": 100 * SEQ_LEN + 5, "weights": {"web": 0.2, "books": 0.8}, "anneal": "linear"},
    ]
    return MixNode(**{"seq_len": SEQ_LEN, "stages": stages, "max_epochs": {"books": 4}, **settings})


def mixed(run: tuple[Path, dict[str, NodeInput]], made: MixNode, name: str = "mix", seed: int = 1) -> tuple[Mix, dict[str, Any]]:
    out = run[0] / ".data" / f"{name}@{seed}"
    out.mkdir(parents=True, exist_ok=True)
    result = made.run(run[1], out, WorkContext(seed=seed), lambda share, what: None)
    link = run[0] / name
    link.unlink(missing_ok=True)
    link.symlink_to(out.relative_to(run[0]), target_is_directory=True)
    assert result.rows_out * SEQ_LEN == result.tokens
    return open_mix(link), dict(result.info)


def streams(run: tuple[Path, dict[str, NodeInput]], name: str) -> list[list[int]]:
    shards = [open_shard(p) for p in run[1][name].parts]
    return [t for s in shards for i in range(s.batches) for t in s.stream(i).batch.column("tokens").to_pylist()]


def test_every_window_once_per_epoch(run: tuple[Path, dict[str, NodeInput]]) -> None:
    mix, info = mixed(run, node())
    used: dict[str, Counter[int]] = {s["name"]: Counter() for s in mix.sources}
    for k in range(len(mix)):
        used[mix.place(k).source][mix.place(k).window] += 1
    for source in info["sources"]:
        counts = used[source["name"]]
        assert sum(counts.values()) == source["used"]
        assert set(counts) <= set(range(source["windows"]))
        whole, rest = divmod(source["used"], source["windows"])
        expected = {whole + 1: rest, whole: source["windows"] - rest}
        seen = Counter(counts[w] for w in range(source["windows"]))
        assert {n: seen[n] for n in expected} == expected
    assert info["sources"][1]["epochs"] > 1
    assert sum(s["windows"] * SEQ_LEN + s["tail_tokens"] for s in info["sources"]) == sum(i.tokens for i in run[1].values())


def test_windows_are_those_of_the_naive_twin(run: tuple[Path, dict[str, NodeInput]]) -> None:
    mix, _ = mixed(run, node())
    cut = {name: naive.windows(streams(run, name), SEQ_LEN) for name in run[1]}
    for k in range(len(mix)):
        place = mix.place(k)
        window = mix.window(k)
        assert window.dtype == np.uint16
        assert window.tolist() == cut[place.source][place.window]


def test_order_of_places(run: tuple[Path, dict[str, NodeInput]]) -> None:
    mix, _ = mixed(run, node())
    stored = json.loads((run[0] / "mix" / "mix.json").read_bytes())
    segments = [(windows, shares) for stage in stored["stages"] for windows, shares in stage["segments"]]
    expected = naive.interleave(segments, [source["limit"] for source in stored["sources"]], 2048)
    assert [mix.place(k).source for k in range(len(mix))] == [stored["sources"][i]["name"] for i in expected]
    assert [mix.place(k).stage for k in range(len(mix))] == [0] * 150 + [1] * 100
    assert Counter(expected[:150]) == {0: 105, 1: 30, 2: 15}


def test_certificate(run: tuple[Path, dict[str, NodeInput]]) -> None:
    mix, info = mixed(run, node())
    proof = info["certificate"]
    stored = json.loads((run[0] / "mix" / "mix.json").read_bytes())
    segments = [(windows, shares) for stage in stored["stages"] for windows, shares in stage["segments"]]
    names = [source["name"] for source in stored["sources"]]
    order = np.array([names.index(mix.place(k).source) for k in range(len(mix))])
    since_start, of_64 = naive.worst_errors(order, segments)
    assert (proof["worst_since_start"], proof["worst_of_64"]) == (pytest.approx(since_start, abs=1e-6), pytest.approx(of_64, abs=1e-6))
    assert of_64 <= 1 + 1e-9 and proof["unaccounted"] == 0
    first = proof["stages"][0]
    assert (first["windows"], first["tokens"], first["padded"]) == (150, 150 * SEQ_LEN, 0)
    assert first["sources"]["books"] == {"planned": 0.2, "realised": 0.2, "planned_windows": 30.0, "windows": 30}
    ramp = [mix.place(k).source for k in range(150, 250)]
    thirds = [sum(s == "books" for s in part) for part in (ramp[:33], ramp[33:66], ramp[66:])]
    assert thirds[0] < thirds[1] < thirds[2]
    assert abs(sum(thirds) - 50) <= 1


def test_trace_leads_back_to_documents(run: tuple[Path, dict[str, NodeInput]]) -> None:
    mix, _ = mixed(run, node())
    texts = {"web": [*TEXTS, ""] * 3, "books": [*TEXTS[60:], "", *TEXTS[:30]], "code": TEXTS[::3]}
    again = {name: tokenized(run[0] / "tokenizer.json", t).column("tokens").to_pylist() for name, t in texts.items()}
    ids = {
        name: [i for s in map(open_shard, given.parts) for b in range(s.batches) for i in s.stream(b).batch.column("id").to_pylist()]
        for name, given in run[1].items()
    }
    for k in range(0, len(mix), 3):
        pieces = mix.trace(k)
        window = mix.window(k).tolist()
        assert [p.start for p in pieces] == [0, *(p.stop for p in pieces[:-1])]
        assert pieces[-1].stop == SEQ_LEN
        for piece in pieces:
            name, number = piece.id.split("/")
            assert window[piece.start : piece.stop] == again[name][int(number)][piece.first : piece.first + piece.stop - piece.start]
            assert (piece.dataset, piece.source) == (name, "s")
            rows_before = sum(
                len(s.stream(b).batch)
                for s in map(open_shard, sorted(run[1][name].parts))
                if s.path.name < piece.file
                for b in range(s.batches)
            )
            assert ids[name][rows_before + piece.row] == piece.id


def test_same_bytes_and_any_seed(run: tuple[Path, dict[str, NodeInput]]) -> None:
    one, _ = mixed(run, node(), "one", 1)
    same, _ = mixed(run, node(), "same", 1)
    other, _ = mixed(run, node(), "other", 2)
    assert (run[0] / "one" / "mix.json").read_bytes() == (run[0] / "same" / "mix.json").read_bytes()
    assert str(run[0]) not in (run[0] / "one" / "mix.json").read_text()
    places = [[m.place(k) for k in range(len(m))] for m in (one, same, other)]
    assert places[0] == places[1]
    assert [p.source for p in places[0]] == [p.source for p in places[2]]
    assert [p.window for p in places[0]] != [p.window for p in places[2]]


def test_few_open_shards_give_the_same(run: tuple[Path, dict[str, NodeInput]]) -> None:
    mix, _ = mixed(run, node())
    narrow = open_mix(run[0] / "mix" / "mix.json", max_open=1)
    assert sum(len(i.parts) for i in run[1].values()) > 3
    for k in range(0, len(mix), 5):
        assert np.array_equal(mix.window(k), narrow.window(k))
        assert len(narrow._shards) == 1


def test_out_of_range(run: tuple[Path, dict[str, NodeInput]]) -> None:
    mix, _ = mixed(run, node())
    for k in (-1, len(mix)):
        with pytest.raises(IndexError, match="of a mix with 250"):
            mix.window(k)


def test_too_few_tokens_are_refused_before_anything_is_written(run: tuple[Path, dict[str, NodeInput]], tmp_path: Path) -> None:
    made = node(max_epochs={})
    with pytest.raises(RecipeError, match=r"books is needed .* times, at most 1 allowed: set max_epochs: \{books: "):
        made.run(run[1], tmp_path, WorkContext(), lambda share, what: None)
    assert not list(tmp_path.iterdir())
    with pytest.raises(RecipeError, match="not enough tokens"):
        made.forecast(run[1], exact=True)
    lines = made.forecast(run[1], exact=False)
    assert any("books" in line and "short (estimate)" in line for line in lines)
    assert made.forecast({}, exact=False) == ["no figures yet for web, books, code"]
    assert node().forecast(run[1], exact=True)[-1] == "250 windows of 32 tokens in 2 stages"


def test_sources_of_two_tokenizers(run: tuple[Path, dict[str, NodeInput]], tmp_path: Path) -> None:
    other = dataset(tmp_path, "code", unigram(tmp_path / "u.json"), TEXTS[:9], 1)
    with pytest.raises(DataError, match=r"code and web were tokenized differently \(.*curate\.tokenizer_sha256"):
        node().run({**run[1], "code": other}, tmp_path, WorkContext(), lambda share, what: None)


def test_a_changed_dataset_is_noticed(run: tuple[Path, dict[str, NodeInput]], tmp_path: Path) -> None:
    tokenizer = byte_bpe(tmp_path / "tokenizer.json")
    inputs = {"web": dataset(tmp_path, "web", tokenizer, TEXTS)}
    made = MixNode(seq_len=SEQ_LEN, stages=[{"tokens": 320, "weights": {"web": 1}}])
    mixed((tmp_path, inputs), made)
    os.unlink(tmp_path / "web")
    again = dataset(tmp_path / "x", "web", tokenizer, [*TEXTS[1:], TEXTS[0] + "!"])
    (tmp_path / "web").symlink_to(again.folder, target_is_directory=True)
    with pytest.raises(DataError, match="is not the shard that the mix was made of"):
        list(open_mix(tmp_path / "mix"))


def test_not_a_mix(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="can't be read as a mix"):
        open_mix(tmp_path)
    (tmp_path / "mix.json").write_text('{"format": 99}')
    with pytest.raises(DataError, match="has format 99"):
        open_mix(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"max_epochs": {"bok": 2}}, "max_epochs names bok"),
        ({"stages": [{"tokens": 64, "weights": {"web": 1}, "anneal": "linear"}]}, "first stage has no shares"),
        (
            {"stages": [{"tokens": 31, "weights": {"web": 1}}], "max_epochs": {}},
            r"stages\[0\]\.tokens must be at least seq_len \(32\), got 31",
        ),
        ({"stages": [{"tokens": "9X", "weights": {"web": 1}}]}, "number of tokens such as 900M"),
        ({"stages": [{"tokens": 64, "weights": {"web": 0}}]}, "greater than 0"),
        ({"stages": [{"tokens": 64, "weights": {}}]}, "at least 1 item"),
        ({"stages": []}, "at least 1 item"),
        ({"seq_len": 1}, "greater than or equal to 2"),
        ({"max_epochs": {"web": 0}}, "greater than 0"),
        ({"packing": "best"}, "'concat'"),
    ],
)
def test_settings_that_can_not_be(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        node(**change)


def test_settings_at_their_bounds() -> None:
    made = node(stages=[{"tokens": 32, "weights": {"web": 1}}, {"tokens": "0.1K", "weights": {"books": 2}}])
    assert made.inputs() == ("web", "books")
    sources = [
        {"name": n, "dataset": n, "documents": 1, "tokens": 320, "windows": 10, "ledger": {"in_windows": 320}} for n in ("web", "books")
    ]
    unit = 1 << 40
    assert [[(s.windows, s.shares) for s in stage] for stage in made.schedule(sources)] == [[(1, (unit, 0))], [(3, (0, unit))]]
