"""dedup_minhash with an index: slices remove what one pass removes; versions, reruns, damage, locks, merging."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import xxhash

import curate as toolkit
from curate.apply import outcomes
from curate.duplicate_index import Index, verify_segment
from curate.errors import StoreError
from curate.executors.local import LocalExecutor
from curate.fingerprint import canonical
from curate.kernels.index_pairs import nearest
from curate.kernels.shingles import ShingleSets
from curate.steps.indexed import POSTINGS, SETS, Reader
from curate.steps.minhash import DedupMinhash
from tests.bench.dedup_hostile import template
from tests.curate.engine_case import curate, damage, run_on
from tests.reference.shingles import jaccard, ngrams

SLICES = 3


def corpus() -> list[dict[str, str]]:
    """Families of copies with 0 to 3 words changed, in a random order."""
    make = random.Random(4)
    rows = []
    for family in range(60):
        base = [f"w{make.randrange(3000)}" for _ in range(make.randrange(30, 90))]
        for copy in range(5):
            words = [w if make.random() > 0.01 * copy else f"x{make.randrange(99)}" for w in base]
            rows.append({"id": f"d{family}.{copy}", "text": " ".join(words), "source": "ab"[copy % 2]})
    make.shuffle(rows)
    return [*rows, {"id": "none", "text": "?!", "source": "a"}]


def write(folder: Path, name: str, rows: list[dict[str, str]]) -> None:
    (folder / name).write_text("".join(json.dumps(r) + "\n" for r in rows))


def run(one: LocalExecutor, folder: Path, out: str, glob: str, settings: str, sample: int | None = None) -> toolkit.Result:
    recipe = folder / f"{out}.yaml"
    recipe.write_text(f'name: web\nread: {{jsonl: "{glob}", id: id, source: source}}\nsteps:\n  - dedup_minhash: {{{settings}}}\n')
    return run_on(one, recipe, folder / out, sample)


def ids(result: toolkit.Result) -> list[str]:
    return list(result["web"].table().column("id").to_pylist())


@pytest.fixture(scope="module")
def one() -> Iterator[LocalExecutor]:
    """One worker process for all runs here."""
    with LocalExecutor(1) as executor:
        yield executor


@pytest.fixture(scope="module")
def made(one: LocalExecutor, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str], list[str]]:
    """(folder with an index of three slices, ids that stay in one pass, ids that stay slice by slice)."""
    folder = tmp_path_factory.mktemp("index")
    rows = corpus()
    for n in range(SLICES):
        write(folder, f"in{n}.jsonl", rows[n * len(rows) // SLICES : (n + 1) * len(rows) // SLICES])
    whole = ids(run(one, folder, "whole", "in*.jsonl", "threshold: 0.8"))
    sliced = [i for n in range(SLICES) for i in ids(run(one, folder, f"s{n}", f"in{n}.jsonl", "threshold: 0.8, index: idx"))]
    return folder, whole, sliced


@pytest.fixture
def copy(made: tuple[Path, list[str], list[str]], tmp_path: Path) -> Path:
    """A folder of its own with the index, the inputs and the runs (hard links to the index are cut)."""
    shutil.copytree(made[0], tmp_path / "copy", symlinks=True)
    return tmp_path / "copy"


def test_slices_keep_what_one_pass_keeps(made: tuple[Path, list[str], list[str]]) -> None:
    _, whole, sliced = made
    assert sliced == whole and 60 < len(whole) < 200


def test_every_removal_names_an_indexed_document_that_is_near(made: tuple[Path, list[str], list[str]]) -> None:
    folder, _, sliced = made
    texts = {r["id"]: set(ngrams(r["text"], 5)) for r in corpus()}
    drops = pa.concat_tables(pq.read_table(p) for p in sorted((folder / "s2" / "web" / "ledger").glob("*.parquet"))).to_pylist()
    first = {r["id"] for r in corpus()[: 2 * len(corpus()) // SLICES]}
    assert any(d["partner"] in first for d in drops)
    for d in drops:
        similarity = jaccard(texts[d["id"]], texts[d["partner"]])  # type: ignore[arg-type]
        assert d["partner"] in sliced and d["value"] == similarity >= 0.8


def test_versions_form_a_chain_and_hold_what_stayed(made: tuple[Path, list[str], list[str]]) -> None:
    folder, _, sliced = made
    versions = list(Index(folder / "idx").chain())
    assert [len(v.segments) for v in versions] == [3, 2, 1] and versions[-1].parent is None
    assert versions[0].documents == len([i for i in sliced if i != "none"])  # a document without words is not in it
    for segment in versions[0].segments:
        verify_segment(folder / "idx", segment)


def test_a_rerun_reads_what_it_read_and_adds_nothing(one: LocalExecutor, made: tuple[Path, list[str], list[str]]) -> None:
    folder, _, sliced = made
    head = Index(folder / "idx").head
    again = run(one, folder, "s1", "in1.jsonl", "threshold: 0.8, index: idx")
    assert again.tasks["run"] == 0 and Index(folder / "idx").head == head
    shutil.rmtree(folder / "s1")
    assert [i for i in sliced if i in set(ids(run(one, folder, "s1", "in1.jsonl", "threshold: 0.8, index: idx")))] == ids(again)
    assert Index(folder / "idx").head == head


def test_a_run_that_died_before_publication_publishes_when_it_goes_on(one: LocalExecutor, copy: Path) -> None:
    index = Index(copy / "idx")
    head = next(index.chain())
    index.reset(head.parent)  # as if HEAD had not been written
    again = run(one, copy, "s2", "in2.jsonl", "threshold: 0.8, index: idx")
    assert again.tasks["run"] == 0 and index.head == head.name
    verify_segment(index.root, next(index.chain()).segments[-1])


def test_changed_settings_on_the_newest_files_take_the_place_of_the_version(one: LocalExecutor, copy: Path) -> None:
    index = Index(copy / "idx")
    before = next(index.chain())
    found = run(one, copy, "s2", "in2.jsonl", "threshold: 0.8, recall: null, index: idx, keep: longest")
    after = next(index.chain())
    assert after.parent == before.parent and after.name != before.name and len(ids(found)) > 10
    with pytest.raises(StoreError, match="later versions are built on it"):
        run(one, copy, "s0", "in0.jsonl", "threshold: 0.8, index: idx, keep: longest")


def test_a_sample_and_a_named_version_add_nothing(one: LocalExecutor, copy: Path) -> None:
    head = Index(copy / "idx").head
    write(copy, "new.jsonl", [{"id": f"n{i}", "text": f"entirely new text number {i} " * 5, "source": "a"} for i in range(20)])
    run(one, copy, "n", "new.jsonl", "threshold: 0.8, index: idx", sample=5)
    run(one, copy, "n", "new.jsonl", "threshold: 0.8, index: idx, index_version: empty")
    assert Index(copy / "idx").head == head


@pytest.mark.parametrize("kind", ["sets", "postings"])
def test_a_damaged_file_is_named_and_refused(copy: Path, kind: str) -> None:
    segment = sorted((copy / "idx" / "segments").iterdir())[0]
    file = next(f for f in sorted(segment.glob(f"{kind}-*")) if f.stat().st_size > 2000)
    content = damage(file)
    done = curate("index", "verify", copy / "idx", check=False)
    assert (
        done.returncode == 1 and file.name in done.stderr and "Take the file from a copy" in done.stderr and "Traceback" not in done.stderr
    )
    file.write_bytes(content[:-100])
    with pytest.raises(StoreError, match="bytes, expected"):
        for part in next(Index(copy / "idx").chain()).segments:
            verify_segment(copy / "idx", part)


def test_a_damaged_version_is_named_and_refused(copy: Path) -> None:
    index = Index(copy / "idx")
    path = copy / "idx" / "versions" / f"{index.head}.json"
    path.write_text(path.read_text().replace('"documents"', '"documentz"', 1))
    with pytest.raises(StoreError, match=f"{index.head}.json is damaged"):
        list(index.chain())
    path.unlink()
    with pytest.raises(StoreError, match="does not exist"):
        list(index.chain())


def test_versions_that_name_no_step_and_no_history_are_read(one: LocalExecutor, copy: Path) -> None:
    """As they were written at first."""
    index = Index(copy / "idx")
    line, head = index.version(str(index.head)).line, index.head
    for path in (copy / "idx" / "versions").iterdir():
        content = json.loads(path.read_bytes())
        del content["below"], content["made_for"]["step"], content["checksum"]
        content["checksum"] = xxhash.xxh3_128_hexdigest(canonical(content))
        path.unlink()
        path.write_text(json.dumps(content))
    assert len(line) == SLICES and index.version(str(head)).line == line
    again = run(one, copy, "s1", "in1.jsonl", "threshold: 0.8, index: idx")
    assert again.tasks["run"] == 0 and index.head == head


def test_two_at_once_the_second_is_told_who_holds_it(one: LocalExecutor, tmp_path: Path) -> None:
    write(tmp_path, "in.jsonl", corpus()[:5])
    with Index(tmp_path / "idx").hold(), pytest.raises(StoreError, match=r"idx is in use by process \d+ on "):
        run(one, tmp_path, "a", "in.jsonl", "index: idx")


def test_other_settings_are_refused(one: LocalExecutor, made: tuple[Path, list[str], list[str]]) -> None:
    with pytest.raises(StoreError, match="ngram: 5 there, 4 here"):
        run(one, made[0], "other", "in0.jsonl", "threshold: 0.8, ngram: 4, index: idx")
    for wrong in ({"verify": False}, {"closure": "transitive"}):
        with pytest.raises(ValueError, match="index needs"):
            DedupMinhash.model_validate({"index": "x", **wrong})
    with pytest.raises(ValueError, match="index_version needs index"):
        DedupMinhash(index_version="x")


def test_a_table_is_compared_with_the_newest_version(made: tuple[Path, list[str], list[str]]) -> None:
    folder, whole, _ = made
    rows = [r for r in corpus() if r["id"] in whole]
    batch = pa.RecordBatch.from_pylist([{"id": f"again {r['id']}", "text": r["text"]} for r in rows])
    batch = batch.set_column(1, "text", batch.column("text").cast(pa.large_string()))
    for step in (
        DedupMinhash(threshold=0.8, index=str(folder / "idx")),
        DedupMinhash(threshold=0.8, index=str(folder / "idx"), keep="longest"),
    ):
        (found,) = outcomes(step, [batch])
        assert found.verdict is not None and found.verdict.partner is not None
        assert found.verdict.keep.true_count == 1  # the one without words
        assert [p for p in found.verdict.partner.to_pylist() if p] == [r["id"] for r in rows if r["id"] != "none"]


def test_merged_indexes_hold_the_documents_of_both(one: LocalExecutor, made: tuple[Path, list[str], list[str]], tmp_path: Path) -> None:
    write(tmp_path, "in.jsonl", [{"id": f"n{i}", "text": " ".join(f"n{i}.{k}" for k in range(30)), "source": "a"} for i in range(7)])
    run(one, tmp_path, "a", "in.jsonl", "threshold: 0.8, index: idx")
    before = next(Index(made[0] / "idx").chain())
    curate("index", "merge", tmp_path / "idx", made[0] / "idx")
    merged = next(Index(tmp_path / "idx").chain())
    assert merged.documents == 7 + before.documents and next(Index(made[0] / "idx").chain()).name == before.name
    assert "every checksum is right" in curate("index", "verify", tmp_path / "idx").stdout
    told = json.loads(curate("index", "info", tmp_path / "idx", "--json").stdout)
    assert [v["documents"] for v in told["versions"]] == [merged.documents, 7]
    assert Index(tmp_path / "idx").merge([Index(made[0] / "idx")]).name == merged.name


def test_a_template_that_fills_the_index_hides_no_copy(one: LocalExecutor, tmp_path: Path) -> None:
    """80 % shared by all: similarity 0.65. Most buckets are cut, and the copies are found by the bands that are their own."""
    texts, make = template(800, words=200, own=40), random.Random(3)
    write(tmp_path, "in0.jsonl", [{"id": f"t{i}", "text": t or "", "source": "a"} for i, t in enumerate(texts[:400])])
    write(tmp_path, "in1.jsonl", [{"id": f"t{i}", "text": t or "", "source": "a"} for i, t in enumerate(texts[400:], 400)])
    copies = []
    for n in range(100):
        of = make.randrange(800)
        words = (texts[of] or "").split()
        words[make.randrange(len(words))] = "edited"
        copies.append({"id": f"{n} of t{of}", "text": " ".join(words), "source": "a"})
    write(tmp_path, "in2.jsonl", copies)
    assert [len(ids(run(one, tmp_path, f"s{n}", f"in{n}.jsonl", "threshold: 0.8, index: idx"))) for n in (0, 1)] == [400, 400]
    last = run(one, tmp_path, "s2", "in2.jsonl", "threshold: 0.8, index: idx")
    drops = pq.read_table(tmp_path / "s2" / "web" / "ledger").to_pylist()
    assert len(drops) >= 98 and all(d["id"].endswith(f" of {d['partner']}") and d["value"] > 0.9 for d in drops)
    assert last.manifest["datasets"]["web"]["findings"]["dedup_minhash"]["index_buckets_cut"] > 100


def test_candidates_are_cut_in_the_order_of_segments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make, index, made_for = np.random.default_rng(2), Index(tmp_path / "idx"), DedupMinhash().made_for()
    held: list[tuple[int, int]] = []  # (key, number), the newest segment first
    for s in range(3):
        pairs = np.unique(make.integers(0, 10, (40, 2)), axis=0)  # key, row
        rows = np.arange(10)
        sets = pa.table([rows, [f"{s}.{r}" for r in rows], [[1]] * 10], schema=SETS)
        for kind, table in (
            ("sets", sets),
            ("postings", pa.table([pa.array(pairs[:, 0].astype(np.uint64)), pairs[:, 1]], schema=POSTINGS)),
        ):
            with pa.ipc.new_file(tmp_path / f"{s}{kind}", table.schema) as out:
                out.write_table(table, max_chunksize=7)
        index.publish(f"v{s}", index.head, made_for, [(f"{k}-0000000.arrow", tmp_path / f"{s}{k}") for k in ("sets", "postings")], str(s))
        held = [(k, 10 * s + r) for k, r in pairs.tolist()] + held
    monkeypatch.setattr("curate.steps.indexed.LOOKED_UP", 4)
    asked = make.integers(0, 12, 30)
    for most in (100, 3):
        monkeypatch.setattr("curate.steps.indexed.POSTINGS_LOOKED", most)
        pieces = list(Reader(str(index.root), "v2", made_for).candidates(asked.astype(np.uint64), np.arange(30)))
        found = sorted(pair for row, number, _ in pieces for pair in zip(row.tolist(), number.tolist(), strict=True))
        assert found == sorted((i, number) for i, key in enumerate(asked) for number in [n for k, n in held if k == key][:most])
        assert len(pieces) == 8 and (sum(cut for _, _, cut in pieces) > 0) == (most == 3)


def test_a_folder_that_is_no_index_is_refused(tmp_path: Path) -> None:
    done = curate("index", "info", tmp_path, check=False)
    assert done.returncode == 2 and "is no index" in done.stderr


def test_the_kernel_finds_the_nearest_as_sets_do() -> None:
    make = np.random.default_rng(1)
    own, other = ([np.unique(make.integers(0, 40, make.integers(1, 30))).astype(np.uint64) for _ in range(n)] for n in (20, 15))
    sets = [ShingleSets(np.cumsum([0, *map(len, x)]), np.concatenate(x)) for x in (own, other)]
    pairs = np.array([(d, x) for d in range(20) for x in range(15) if make.random() < 0.5])
    for contained in (False, True):
        best, similarity = nearest(*sets, pairs[:, 0].copy(), pairs[:, 1].copy(), 0.4, contained)
        for d in range(20):
            a = set(own[d].tolist())
            scores = [
                (len(a & b) / (len(a) if contained else len(a | b)), -x) for e, x in pairs if e == d for b in [set(other[x].tolist())]
            ]
            top = max(scores, default=(0.0, 0))
            assert (similarity[d], best[d]) == ((top[0], -top[1]) if top[0] >= 0.4 else (0.0, -1))
