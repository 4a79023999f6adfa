"""The four quality filters against datatrove's, on the same English text in one process: CPU time on one core, same decisions.

    taskset -c 0 python tests/bench/quality_filters.py [--mb 3] [--repeats 3] [--save]
    taskset -c 0 python tests/bench/quality_filters.py --one-pass [--save]     # ours alone, with MinHash signatures; adds to the saved file

GopherQuality, GopherRepetition, C4Quality and FineWebQuality of datatrove 0.10.1 as shipped (words and sentences by
spaCy), and patched to split words as our `unicode` does and to count sentences by our rule; ours with `unicode`, and with
`spacy_en` where that split exists. Every filter sees every document, as it was. Peers and ours alternate; the best run of
each counts. Decisions and reasons must be the same wherever words and sentences are; where not, the share that agrees is
printed. Reading, and the start-up of both sides (imports, compilation, spaCy's model), are not counted.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any, get_args
from unittest.mock import patch

import pyarrow as pa

from curate.context import WorkContext
from curate.kernels import words as split_module
from curate.schema import ROW
from curate.step import Step
from curate.steps.c4_rules import C4
from curate.steps.fineweb_rules import FineWeb
from curate.steps.minhash import DedupMinhash
from curate.steps.quality import GopherQuality
from curate.steps.repetition import GopherRepetition
from tests.bench.measure import machine
from tests.conftest import read_rows
from tests.reference import c4 as naive_c4
from tests.reference import words as naive_words

RESULTS = Path(__file__).parent / "results" / "quality_filters.json"
ENGLISH = ("wikipedia_en_pages", "wiki_demo", "c4_demo", "nltk_free_corpora", "wikitext2_valid", "arxiv_example", "dolma_test_docs")
SEED = 17
PACKAGES = ("datatrove", "spacy", "numba", "numpy", "pyarrow")
BARS = {"unicode": 80.0, "spacy_en": 60.0}
Answers = dict[str, list[str | None]]


def sample(folder: Path, megabytes: float) -> list[str]:
    """About so many 10^6 bytes of English documents, in a seeded order."""
    texts = []
    for file in sorted((folder / "text").iterdir()):
        if file.name.startswith(ENGLISH):
            texts += [text for row in read_rows(file) if isinstance(text := row.get("text"), str) and text.strip()]
    random.Random(SEED).shuffle(texts)
    left = megabytes * 1e6
    chosen = []
    for text in texts:
        left -= len(text.encode())
        if left < 0:
            break
        chosen.append(text)
    return chosen


def steps(split: str) -> dict[str, Step]:
    c4 = {"words": split} if "words" in C4.model_fields else {}
    return {
        "gopher_quality": GopherQuality(words=split),
        "gopher_repetition": GopherRepetition(words=split),
        "c4": C4(**c4),
        "fineweb": FineWeb(words=split),
    }


class CountingContext(WorkContext):
    """Counts the documents that were split, and the time it took."""

    split_documents, split_s = 0, 0.0

    def words(self, text: pa.LargeStringArray, split: str) -> Any:
        started = time.process_time()
        before = self._words.get(split)
        found = super().words(text, split)
        if self._words[split] is not before:
            self.split_documents += len(text)
        self.split_s += time.process_time() - started
        return found


def ours(split: str, batch: pa.RecordBatch) -> tuple[float, Answers, dict[str, float]]:
    """(CPU seconds, reasons by step, seconds by part) of one run over the batch."""
    context = CountingContext()
    bound = {name: step.bind(context) for name, step in steps(split).items()}
    answers: Answers = {}
    parts: dict[str, float] = {}
    started = time.process_time()
    for name, run in bound.items():
        step_started, split_before = time.process_time(), context.split_s
        outcome = run(batch)
        assert outcome.verdict is not None
        answers[name] = outcome.verdict.reason.to_pylist()
        parts[name] = time.process_time() - step_started - (context.split_s - split_before)
    spent = time.process_time() - started
    assert context.split_documents == len(batch), "every document is split once for all steps"
    return spent, answers, {"word split": context.split_s, **parts}


def datatrove() -> dict[str, Any]:
    from datatrove.pipeline.filters import C4QualityFilter, FineWebQualityFilter, GopherQualityFilter, GopherRepetitionFilter

    return {
        "gopher_quality": GopherQualityFilter(),
        "gopher_repetition": GopherRepetitionFilter(),
        "c4": C4QualityFilter(),
        "fineweb": FineWebQualityFilter(),
    }


def theirs(filters: dict[str, Any], texts: list[str]) -> tuple[float, Answers, dict[str, float]]:
    """The same of datatrove."""
    from datatrove.data import Document

    answers: Answers = {}
    parts = {}
    for name, one in filters.items():
        documents = [Document(text=text, id="") for text in texts]
        started = time.process_time()
        found = [one.filter(document) for document in documents]
        parts[name] = time.process_time() - started
        answers[name] = [None if answer is True else answer[1] for answer in found]
    return sum(parts.values()), answers, parts


def patched(run: Callable[[], Any]) -> Any:
    """Run with our words and sentences in place of spaCy's."""
    folder = "datatrove.pipeline.filters."
    words = {f"{folder}{name}.split_into_words" for name in ("gopher_quality_filter", "gopher_repetition_filter", "fineweb_quality_filter")}
    patches = [patch(name, lambda text, language: naive_words.split(text, "unicode")) for name in words]
    patches.append(patch(f"{folder}c4_filters.split_into_sentences", lambda text, language: naive_c4.sentences(text)))
    for one in patches:
        one.start()
    try:
        return run()
    finally:
        for one in patches:
            one.stop()


def same(a: Answers, b: Answers) -> dict[str, float]:
    """Share of documents, by filter, on which both decide the same, and for the same reason (whatever it is called)."""
    shares = {}
    for name in a:
        called: dict[str | None, str | None] = {None: None}
        for x, y in zip(a[name], b[name], strict=True):
            if x is not None and y is not None:
                called.setdefault(x, y)
        if len(set(called.values())) < len(called):
            called = {x: y for x, y in called.items() if x is None}  # two names for one reason: no reason agrees
        shares[name] = sum(x in called and called[x] == y for x, y in zip(a[name], b[name], strict=True)) / len(a[name])
    return shares


def measure(texts: list[str], repeats: int) -> dict[str, Any]:
    megabytes = sum(len(text.encode()) for text in texts) / 1e6
    batch = pa.RecordBatch.from_pydict({"text": pa.array(texts, pa.large_string())})
    splits = ["unicode", *(["spacy_en"] if "spacy_en" in get_args(getattr(split_module, "WordSplit", None)) else [])]
    filters = datatrove()
    theirs(filters, texts[:2])  # loads spaCy
    sides: dict[str, Callable[[], Any]] = {f"curate {split}": lambda split=split: ours(split, batch) for split in splits}
    sides["datatrove as shipped"] = lambda: theirs(filters, texts)
    sides["datatrove patched"] = lambda: patched(lambda: theirs(filters, texts))
    for split in splits:
        ours(split, batch)  # compiles the kernels
    best: dict[str, Any] = {}
    for _ in range(repeats):
        for name, run in sides.items():
            for _ in range(5 if name.startswith("curate") else 1):
                found = run()
                best[name] = min(best.get(name, found), found, key=lambda one: one[0])
            print(f"  {name}: {best[name][0]:.3f} s", flush=True)
    agreement = {f"{a} / {b}": same(best[a][1], best[b][1]) for a in sides if a.startswith("curate") for b in sides if b.startswith("data")}
    for pair in ("curate unicode / datatrove patched", "curate spacy_en / datatrove as shipped"):
        if pair in agreement and set(agreement[pair].values()) != {1.0}:
            raise SystemExit(f"{pair}: decisions or reasons differ: {agreement[pair]}")
    return {
        "documents": len(texts),
        "text_mb": round(megabytes, 3),
        "cpu_s": {name: round(found[0], 4) for name, found in best.items()},
        "ms_per_mb": {name: {part: round(s / megabytes * 1e3, 2) for part, s in found[2].items()} for name, found in best.items()},
        "dropped": {
            name: {step: sum(r is not None for r in reasons) for step, reasons in found[1].items()} for name, found in best.items()
        },
        "ratios": {pair: round(best[pair.split(" / ")[1]][0] / best[pair.split(" / ")[0]][0], 1) for pair in agreement},
        "agreement": agreement,
        "peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6),
    }


def one_pass(texts: list[str], repeats: int) -> dict[str, Any]:
    """ms per MB of the four steps (`unicode`) and of MinHash band hashes, with the same words or with words of their own, in one pass."""
    batch = pa.RecordBatch.from_pydict({"text": pa.array(texts, pa.large_string()), ROW: range(len(texts))})
    megabytes = sum(len(text.encode()) for text in texts) / 1e6
    best: dict[str, dict[str, float]] = {}
    for _ in range(repeats + 1):  # the first run loads kernels
        for words in ("unicode", "word"):
            context = CountingContext()
            bands = DedupMinhash(words=words).bind_phase("bands", context)
            parts: dict[str, float] = {}
            for name, run in {name: step.bind(context) for name, step in steps("unicode").items()}.items():
                parts[name] = _own_time(context, lambda run=run: run(batch))
            parts["signatures"] = _own_time(context, lambda bands=bands: bands(batch, {}))
            parts["word split"] = context.split_s
            assert context.split_documents == len(batch), "every document is split once for all five"
            total = {name: round(seconds / megabytes * 1e3, 2) for name, seconds in parts.items()}
            best[words] = min(best.get(words, total), total, key=lambda one: sum(one.values()))
    return {"documents": len(texts), "text_mb": round(megabytes, 3), "ms_per_mb": best}


def _own_time(context: CountingContext, run: Callable[[], Any]) -> float:
    """CPU seconds of a call without those of the word split."""
    started, split_before = time.process_time(), context.split_s
    run()
    return time.process_time() - started - (context.split_s - split_before)


def show(found: dict[str, Any]) -> None:
    print(f"\n{found['documents']} documents, {found['text_mb']} MB of English text; peak memory of the process {found['peak_mb']} MB")
    for name, spent in found["cpu_s"].items():
        parts = ", ".join(f"{part} {ms}" for part, ms in found["ms_per_mb"][name].items())
        print(f"{name:<22} {spent:8.3f} s  {found['text_mb'] / spent:8.2f} MB/s   ms per MB: {parts}")
    for pair, ratio in found["ratios"].items():
        bar = BARS[pair.split()[1]]
        agree = ", ".join(f"{name} {share:.2%}" for name, share in found["agreement"][pair].items())
        print(f"{pair}: {ratio} times (bar {bar:.0f}); same decision and reason: {agree}")
    print("The words of every document were split once for all four steps (asserted).")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path(__file__).resolve().parents[3] / "shared" / "data")
    parser.add_argument("--mb", type=float, default=3.0)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--one-pass", action="store_true")
    parser.add_argument("--save", action="store_true")
    given = parser.parse_args()
    if given.one_pass:
        passed = {"one_pass": {**one_pass(sample(given.data, given.mb), given.repeats), "machine": machine()}}
        print(json.dumps(passed, indent=1))
        if given.save:
            RESULTS.write_text(json.dumps(json.loads(RESULTS.read_text()) | passed, indent=1) + "\n")
        return
    found = measure(sample(given.data, given.mb), given.repeats)
    found |= {"machine": machine(), "versions": {name: version(name) for name in PACKAGES}, "seed": SEED}
    show(found)
    if given.save:
        RESULTS.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
