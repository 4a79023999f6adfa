"""Time the word splits beside spaCy's tokenizer and datatrove's split_into_words, on the same bytes in one run.

    taskset -c 0 python tests/bench/word_splits.py [--mb 3] [--rounds 5] [--save]

Per source the peers see --mb megabytes, and we the same, in turn, once a round; CPU time of this thread, best round and
median ratio. Words of `spacy_en` are compared with both peers'. Our splits also give hashes, lengths and flags, theirs strings.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

import pyarrow as pa
import zstandard
from measure import machine

from curate.kernels.strings import views
from curate.kernels.words import split_words

RESULTS = Path(__file__).resolve().parent / "results" / "word_splits.json"
SOURCES = {"wikipedia_en_pages": "English encyclopedia", "novels_eltec": "novels", "mdn_multi": "technical pages"}
LINE = "{:22} {:>18} {:>9} {:>9} {:>8}"


def texts(folder: Path, name: str, megabytes: float) -> list[str]:
    """The first texts of a source, none over 200,000 characters."""
    found, left = [], megabytes * 1e6
    with zstandard.open(folder / "text" / f"{name}.jsonl.zst", "rt", encoding="utf-8", newline="\n") as lines:
        for line in lines:
            text = str(json.loads(line)["text"])[:200_000]
            left -= len(text.encode())
            found.append(text)
            if left < 0:
                return found
    return found


def seconds(work: Callable[[], Any]) -> tuple[float, Any]:
    """(CPU seconds, result)."""
    started = time.thread_time()
    result = work()
    return time.thread_time() - started, result


def spelled(column: pa.LargeStringArray) -> list[list[str]]:
    """Our `spacy_en` words as strings."""
    words, (data, _) = split_words(column, "spacy_en"), views(column)
    every = [bytes(data[s : s + n]).decode() for s, n in zip(words.start.tolist(), words.size.tolist(), strict=True)]
    return [every[a:b] for a, b in zip(words.doc[:-1].tolist(), words.doc[1:].tolist(), strict=True)]


def contestants(given: list[str]) -> Iterator[tuple[str, Callable[[], Any]]]:
    """(name, work) of everything that is timed."""
    import spacy  # type: ignore[import-not-found,unused-ignore]
    from datatrove.utils.text import split_into_words  # type: ignore[import-untyped,unused-ignore]

    column = pa.array(given, pa.large_string())
    tokenizer = spacy.blank("en").tokenizer
    for split in ("spacy_en", "unicode", "whitespace"):
        yield split, lambda split=split: split_words(column, split)  # type: ignore[misc]
    yield "spaCy", lambda: [[token.text for token in tokenizer(text) if token.text.strip()] for text in given]
    yield "datatrove", lambda: [split_into_words(text, "eng") for text in given]


def source(given: list[str], rounds: int) -> dict[str, Any]:
    """Figures of one source."""
    size = sum(len(text.encode()) for text in given) / 1e6
    work = dict(contestants(given))
    times: dict[str, list[float]] = {name: [] for name in work}
    results: dict[str, Any] = {}
    work["spacy_en"]()
    for _ in range(rounds):
        for name, job in work.items():
            spent, results[name] = seconds(job)
            times[name].append(spent)
    mine = spelled(pa.array(given, pa.large_string()))
    ratios = {f"{a} / {b}": median(y / x for x, y in zip(times[a], times[b], strict=True))
              for a in ("spacy_en", "unicode") for b in ("spaCy", "datatrove")}  # fmt: skip
    return {
        "mb": round(size, 2),
        "words": sum(map(len, mine)),
        "mb_per_s": {name: round(size / min(spent), 2) for name, spent in times.items()},
        "ratio": {name: round(value, 1) for name, value in ratios.items()},
        "same_words": {peer: mine == results[peer] for peer in ("spaCy", "datatrove")},
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mb", type=float, default=3.0)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--save", action="store_true", help=f"write {RESULTS.name}")
    arguments = parser.parse_args()
    folder = Path(os.environ.get("CURATE_TEST_DATA") or RESULTS.parents[3].parent / "shared" / "data")
    versions = {name: version(name) for name in ("curate", "spacy", "datatrove", "numba")}
    found: dict[str, Any] = {"machine": machine(), "versions": versions, "sources": {}}
    print(LINE.format("", "split", "MB/s", "", "ratio"))
    for name, what in SOURCES.items():
        figures = found["sources"][name] = source(texts(folder, name, arguments.mb), arguments.rounds)
        for split, rate in figures["mb_per_s"].items():
            print(LINE.format(what, split, rate, "", ""))
        for pair, ratio in figures["ratio"].items():
            print(LINE.format(what, pair, "", "", ratio))
        print(f"{what}: {figures['words']} words of {figures['mb']} MB; same as the peers': {figures['same_words']}")
    print(found["machine"], versions)
    if arguments.save:
        RESULTS.parent.mkdir(exist_ok=True)
        RESULTS.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
