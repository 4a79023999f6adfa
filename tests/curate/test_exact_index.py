"""dedup_exact with an index: slices keep what one pass keeps, by every kind of key; versions, reruns, damage, merging."""

from __future__ import annotations

import json
import os
import random
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

import curate as toolkit
from curate.apply import outcomes, run_step
from curate.duplicate_index import OPEN_FILES, Index, verify_segment
from curate.errors import RecipeError, StoreError
from curate.executors.local import LocalExecutor
from curate.steps.exact import REASON, DedupExact
from curate.steps.exact_index import VALUES, Values, sorted_values
from tests.curate.engine_case import curate, damage, run_on, tree_digest

SLICES = 10
STEPS = {
    "text": "",
    "url": "by: url",
    "parts": "by: [normalized_text, meta.part], within: source",
}


def corpus() -> list[dict[str, Any]]:
    """Few values for many documents; some empty or absent."""
    make = random.Random(2)
    rows: list[dict[str, Any]] = []
    for n in range(400):
        text = make.choice(["", f"Value {make.randrange(150)}", f"value  {make.randrange(150)}"])
        url = make.choice([None, "", f"https://a.org/{make.randrange(99)}", f"http://A.org/{make.randrange(99)}/#top"])
        rows.append({"id": f"d{n}", "text": text, "source": make.choice("ab"), "url": url, "part": make.choice(["p", "q", ""])})
    return rows


def write(folder: Path, name: str, rows: list[dict[str, Any]]) -> None:
    (folder / name).write_text("".join(json.dumps(r) + "\n" for r in rows))


def run(one: LocalExecutor, folder: Path, out: str, glob: str, steps: dict[str, str], indexed: bool = True) -> toolkit.Result:
    """One dataset for each of `steps`, with an index of its own."""
    read = f'read: {{jsonl: "{glob}", id: id, source: source, columns: {{url: string}}}}'
    lines = ["name: exact", "datasets:"]
    for name, settings in steps.items():
        index = f"index: {name}.idx" if indexed else ""
        lines += [
            f"  {name}:",
            f"    {read}",
            "    steps:",
            f"      - dedup_exact: {{{', '.join(s for s in (settings, index) if s)}}}",
        ]
    recipe = folder / f"{out}.yaml"
    recipe.write_text("\n".join(lines) + "\n")
    return run_on(one, recipe, folder / out)


def ids(result: toolkit.Result, name: str) -> list[str]:
    return list(result[name].table().column("id").to_pylist())


def key(row: dict[str, Any], name: str) -> object:
    """What a dict in Python would compare."""
    if name == "parts":
        return (" ".join(row["text"].lower().split()), row["part"], row["source"])
    return row["text"] if name == "text" else (row["url"] or "").lower().partition("//")[2].partition("#")[0].rstrip("/")


def files(index: Path) -> dict[str, str]:
    """Digests of what an index holds."""
    return {name: digest for name, digest in tree_digest(index).items() if name != ".lock"}  # which names the process


@pytest.fixture(scope="module")
def one() -> Iterator[LocalExecutor]:
    """One worker process for all runs here."""
    with LocalExecutor(1) as executor:
        yield executor


@pytest.fixture(scope="module")
def made(one: LocalExecutor, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, list[str]]]:
    """(folder with three indexes of ten slices, ids that stayed slice by slice)."""
    folder = tmp_path_factory.mktemp("index")
    rows = corpus()
    sliced: dict[str, list[str]] = {name: [] for name in STEPS}
    for n in range(SLICES):
        write(folder, f"in{n}.jsonl", rows[n * 40 : n * 40 + 40])
        result = run(one, folder, f"s{n}", f"in{n}.jsonl", STEPS)
        for name in STEPS:
            sliced[name] += ids(result, name)
    return folder, sliced


def test_ten_slices_keep_what_one_pass_keeps(one: LocalExecutor, made: tuple[Path, dict[str, list[str]]]) -> None:
    folder, sliced = made
    whole = run(one, folder, "whole", "in?.jsonl", STEPS, indexed=False)
    for name in STEPS:
        seen: set[object] = set()
        valid = [r for r in corpus() if name == "text" or r["url" if name == "url" else "part"]]
        expected = {r["id"] for r in valid if key(r, name) not in seen and not seen.add(key(r, name))}  # type: ignore[func-returns-value]
        expected |= {r["id"] for r in corpus()} - {r["id"] for r in valid}
        assert sliced[name] == ids(whole, name) and set(sliced[name]) == expected and len(expected) < 330
        assert next(Index(folder / f"{name}.idx").chain()).documents == len(seen), "documents without a value are in no index"


def test_every_removal_names_the_document_that_stays(made: tuple[Path, dict[str, list[str]]]) -> None:
    folder, sliced = made
    by_id = {r["id"]: r for r in corpus()}
    drops = pq.read_table(folder / "s9" / "parts" / "ledger").to_pylist()
    assert len(drops) > 10 and {d["reason"] for d in drops} == {REASON}
    assert all(d["partner"] in sliced["parts"] and key(by_id[d["partner"]], "parts") == key(by_id[d["id"]], "parts") for d in drops)
    figures = json.loads((folder / "s9" / "manifest.json").read_bytes())["datasets"]["parts"]["findings"]["dedup_exact"]
    earlier = [d for d in drops if int(d["partner"][1:]) < 360]
    assert figures["duplicates_of_indexed_documents"] == len(earlier) > 5 and not figures["duplicates_of_the_same_id_in_the_index"]


def test_a_rerun_and_a_run_that_died_before_publication(
    one: LocalExecutor, made: tuple[Path, dict[str, list[str]]], tmp_path: Path
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(made[0], copy, symlinks=True)
    index = Index(copy / "url.idx")
    head, before, shards = index.head, files(copy / "url.idx"), tree_digest(copy / "s9" / "url")
    index.reset(next(index.chain()).parent)  # as if HEAD had not been written
    again = run(one, copy, "s9", "in9.jsonl", STEPS)
    assert again.tasks["run"] == 0 and index.head == head and files(copy / "url.idx") == before
    shutil.rmtree(copy / "s9")
    run(one, copy, "s9", "in9.jsonl", STEPS)
    assert files(copy / "url.idx") == before and tree_digest(copy / "s9" / "url") == shards


def test_bytes_do_not_depend_on_workers(one: LocalExecutor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("curate.jobs.MIN_TASK_BYTES", 4000)
    monkeypatch.setattr("curate.jobs.PARTITION_BYTES", 8000)
    digests = []
    (tmp_path / "in").mkdir()
    for n in range(4):
        write(tmp_path / "in", f"in{n}.jsonl", corpus()[n * 100 : n * 100 + 100])
    with LocalExecutor(2) as both:
        for name, workers in (("1", one), ("2", both)):
            folder = tmp_path / name
            shutil.copytree(tmp_path / "in", folder)  # with the times of the files, which name versions
            first = run(workers, folder, "a", "in[01].jsonl", {"text": "keep: longest"})
            second = run(workers, folder, "b", "in[23].jsonl", {"text": "keep: longest, mode: annotate"})
            assert first.tasks["run"] > 8 and second["text"].table().num_rows == 200
            digests.append([files(folder / "text.idx"), tree_digest(folder / "a" / "text"), tree_digest(folder / "b" / "text")])
    assert digests[0] == digests[1] and sum("values-" in name for name in digests[0][0]) > 4


def test_settings_that_make_other_hashes_are_refused(one: LocalExecutor, made: tuple[Path, dict[str, list[str]]], tmp_path: Path) -> None:
    folder, _ = made
    for settings, message in (
        ("by: [url, text]", r"by: \['url'\] there, \['url', 'text'\] here"),
        ("by: url, within: source", "within: None"),
    ):
        with pytest.raises(StoreError, match=message):
            run(one, folder, "other", "in0.jsonl", {"url": settings})
        assert not (folder / "other" / ".stages").exists(), "before a document is read"
    head = Index(folder / "text.idx").head
    assert head is not None
    near = "name: n\nread: {jsonl: in0.jsonl}\nsteps:\n  - dedup_minhash: {index: text.idx}\n"
    (folder / "near.yaml").write_text(near)
    with pytest.raises(StoreError, match="made by dedup_exact, so dedup_minhash"):
        run_on(one, folder / "near.yaml", tmp_path / "near")
    (folder / "both.yaml").write_text(near.replace("text.idx", "new.idx") + "  - dedup_exact: {index: new.idx}\n")
    with pytest.raises(RecipeError, match=r"n\.dedup_minhash and n\.dedup_exact both name .*new\.idx"):
        run_on(one, folder / "both.yaml", tmp_path / "both")
    assert not (tmp_path / "both").exists()


def test_settings_that_mean_the_same_share_an_index() -> None:
    same = [
        DedupExact(by="normalized_text"),
        DedupExact(normalize=["whitespace", "case"]),
        DedupExact(by=["text"], normalize=["case", "whitespace"]),
    ]
    assert len({json.dumps(s.made_for(), sort_keys=True) for s in same}) == 1
    other = [DedupExact(), DedupExact(by=["normalized_text", "url"]), DedupExact(by="normalized_text", within="source")]
    assert len({json.dumps(s.made_for(), sort_keys=True) for s in [*same, *other]}) == 4


def test_bloom_and_a_version_without_an_index_are_refused() -> None:
    with pytest.raises(ValidationError, match="values that bloom forgets"):
        DedupExact(index="x", bloom={"expected": 10})
    with pytest.raises(ValidationError, match="index_version needs index"):
        DedupExact(index_version="x")


def test_a_damaged_file_is_named_and_refused(one: LocalExecutor, made: tuple[Path, dict[str, list[str]]], tmp_path: Path) -> None:
    shutil.copytree(made[0] / "text.idx", tmp_path / "text.idx")
    write(tmp_path, "in.jsonl", corpus()[:50])
    file = max((tmp_path / "text.idx" / "segments").glob("*/values-*"), key=lambda f: f.stat().st_size)
    damage(file)
    done = curate("index", "verify", tmp_path / "text.idx", check=False)
    assert done.returncode == 1 and str(file) in done.stderr and "Traceback" not in done.stderr
    with pytest.raises(toolkit.CurateError, match=file.name):
        run(one, tmp_path, "out", "in.jsonl", {"text": ""})


def test_merged_indexes_hold_the_values_of_both(one: LocalExecutor, made: tuple[Path, dict[str, list[str]]], tmp_path: Path) -> None:
    rows = [{"id": f"n{i}", "text": f"new {i}" if i else "Value 1", "source": "a"} for i in range(7)]
    write(tmp_path, "in.jsonl", rows)
    run(one, tmp_path, "a", "in.jsonl", {"text": ""})
    before = next(Index(made[0] / "text.idx").chain())
    curate("index", "merge", tmp_path / "text.idx", made[0] / "text.idx")
    told = json.loads(curate("index", "info", tmp_path / "text.idx", "--json").stdout)
    assert [v["documents"] for v in told["versions"]] == [7 + before.documents, 7]
    assert told["versions"][0]["made_for"] == {"step": "dedup_exact", "by": ["text"], "normalize": [], "within": None}
    step = DedupExact(index=str(tmp_path / "text.idx"), mode="annotate")
    table = pa.table({"id": ["x", "y", "z", "again", "n3"], "text": ["Value 1", "new 2", "other", "other", "new 3"]})
    found = run_step(step, table)
    assert found.column("exact_dup_of").to_pylist() == ["n0", "n2", None, "z", "n3"], "of two, the document of the older segment"
    assert found.column("exact_dup_cluster").to_pylist() == ["n0", "n2", "z", "z", "n3"]
    assert found.column("exact_dup_size").to_pylist() == [2, 2, 2, 2, 2]
    with pytest.raises(StoreError, match="made with other settings"):
        Index(tmp_path / "text.idx").merge([Index(made[0] / "url.idx")])


def test_adding_much_is_told_once(
    one: LocalExecutor, made: tuple[Path, dict[str, list[str]]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("curate.steps.index_versions.TOLD_GIGABYTES", 0.0)
    said: list[str] = []
    monkeypatch.setattr("curate.runner.Silent.note", lambda self, text: said.append(text))
    write(tmp_path, "in.jsonl", corpus()[:5])
    for _ in range(2):
        run(one, tmp_path, "out", "in.jsonl", {"text": ""})
    assert said == [f"adding 0.0 GB to {tmp_path / 'text.idx'}: all of it is read once, for its checksums"]


def test_a_run_without_values_adds_an_empty_segment(one: LocalExecutor, tmp_path: Path) -> None:
    for n, url in enumerate((None, "https://a.org/", "http://a.org")):
        write(tmp_path, f"in{n}.jsonl", [{"id": f"d{n}", "text": "t", "source": "s", "url": url}])
        assert ids(run(one, tmp_path, f"s{n}", f"in{n}.jsonl", {"url": "by: url"}), "url") == ([f"d{n}"] if n < 2 else [])
    assert [v.documents for v in Index(tmp_path / "url.idx").chain()] == [1, 1, 0]


def test_an_indexed_document_stays_whatever_keep_says(made: tuple[Path, dict[str, list[str]]]) -> None:
    rows = [r for r in corpus() if r["text"]][:30]
    table = pa.table({"id": [f"a{r['id']}" for r in rows], "text": pa.array([r["text"] for r in rows], pa.large_string())})
    for keep in ("first", "longest"):
        (found,) = outcomes(DedupExact(index=str(made[0] / "text.idx"), keep=keep), table.to_batches())
        assert found.verdict is not None and found.verdict.keep.true_count == 0
    step = DedupExact(index=str(made[0] / "text.idx"))
    assert "read again" in step.findings({"duplicates_of_the_same_id_in_the_index": 3})["warnings"][0]
    assert "warnings" not in step.findings({"duplicates_of_the_same_id_in_the_index": 0})


def segments(root: Path, tables: list[pa.Table]) -> Index:
    """An index with a segment for each table of values."""
    index, made_for = Index(root), DedupExact().made_for()
    for number, table in enumerate(tables):
        file = root.parent / f"{root.name}.{number}.arrow"
        with pa.ipc.new_file(file, VALUES) as out:
            out.write_table(sorted_values(table), max_chunksize=50)
        index.publish(f"v{number:03}", index.head, made_for, [("values-0000000.arrow", file)], str(number))
    return index


def test_values_are_found_as_a_dict_finds_them(tmp_path: Path) -> None:
    """Keys that several hashes share, blocks that begin with the key that another ends with, one value in two segments."""
    make = np.random.default_rng(5)
    tables, truth = [], {}
    for s in range(3):
        pairs = np.unique(make.integers(0, 12, (300, 2)), axis=0)
        pairs = pairs[make.random(len(pairs)) < 0.4]
        names = [f"s{s}.{i}" for i in range(len(pairs))]
        tables.append(pa.table([pa.array(pairs[:, n].astype(np.uint64)) for n in (0, 1)] + [pa.array(names)], schema=VALUES))
        for pair, name in zip(pairs.tolist(), names, strict=True):
            truth.setdefault(tuple(pair), name)
    index = segments(tmp_path / "idx", tables)
    assert index.head is not None and max(len(f["blocks"]) for s in next(index.chain()).segments for f in s["files"]) > 1
    asked = np.array([(a, b) for a in range(14) for b in range(14)], np.uint64)
    found = Values(str(index.root), index.head, DedupExact().made_for()).ids(asked[:, 0].copy(), asked[:, 1].copy())
    assert found.to_pylist() == [truth.get(tuple(p)) for p in asked.tolist()]


def test_an_index_of_many_files_holds_few_of_them_open(tmp_path: Path) -> None:
    count = OPEN_FILES + 20
    index = segments(tmp_path / "idx", [pa.table([[n], [n], [f"d{n}"]], schema=VALUES) for n in range(count)])
    before = len(os.listdir("/proc/self/fd"))
    assert index.head is not None
    values = np.arange(count, dtype=np.uint64)
    for _ in range(2):
        assert Values(str(index.root), index.head, DedupExact().made_for()).ids(values, values).to_pylist() == [
            f"d{n}" for n in range(count)
        ]
    for segment in next(index.chain()).segments:
        verify_segment(index.root, segment)
    assert len(os.listdir("/proc/self/fd")) <= before + OPEN_FILES


def test_hashes_outlive_versions_of_the_toolkit() -> None:
    """What indexes hold: other values here mean a new format of the index."""
    batch = pa.RecordBatch.from_pydict(
        {
            "id": ["a"],
            "_row": [0],
            "text": pa.array(["A  \u00c9 12, x"], pa.large_string()),
            "url": ["http://A.org/%7Ex/?b=1&a=2&utm_source=z"],
        }
    )
    lanes = [DedupExact(**given)._lanes(batch)[0][0].tolist() for given in ({}, {"by": ["normalized_text", "url"], "within": "id"})]
    assert lanes == [[12404088207548301189, 9437924033183749636], [10973938858322610012, 16298001583926065900]]
