"""Speed of the four quality filters together on text made to be slow: CPU time on one core, best of several.

    taskset -c 0 python tests/bench/quality_hostile.py [--save]

Each text is one document of 1 MB, words are `unicode`, their split is counted; all numbers are measured (`mode: annotate`), so
no filter stops early. The bar is 20 MB/s for one repeated character, word or line, and for random letters. The other
texts have a word or a line every two or three bytes, where the work for each one decides.
"""

from __future__ import annotations

import argparse
import json
import random
import string
import time
from pathlib import Path

import pyarrow as pa

from curate.context import WorkContext
from curate.steps.c4_rules import C4
from curate.steps.fineweb_rules import FineWeb
from curate.steps.quality import GopherQuality
from curate.steps.repetition import GopherRepetition
from tests.bench.measure import machine

RESULTS = Path(__file__).parent / "results" / "quality_hostile.json"
SIZE = 1_000_000
REPEATS = 7
BAR = 20.0  # MB/s
BESIDE = ("one letter and space", "one short line", "one paragraph")  # not under the bar


def texts() -> dict[str, str]:
    """By name; each of about SIZE bytes."""
    draw = random.Random(17)
    letters = "".join(draw.choices(string.ascii_lowercase, k=SIZE))
    spaced = "".join(draw.choices(string.ascii_lowercase + " ", k=SIZE))
    units = {
        "one letter": "a", "one space": " ", "one newline": "\n", "one full stop": ".", "one bracket": "[", "one hash": "#",
        "one CJK character": "\u4e2d", "one ideographic space": "\u3000", "one word": "word ", "one letter and space": "a ",
        "one line": "the same line of text again\n", "one short line": "a\n", "one paragraph": "a\n\n", "marks and spaces": ". ",
        "citations": "[1]", "open citations": "[citation ", "almost a phrase": "javascrip cookie policl ",
        "no-break spaces": "a\u00a0", "right quotes": "a\u2019s ", "combining marks": "e\u0301",
    }  # fmt: skip
    made = {name: unit * (SIZE // len(unit.encode())) for name, unit in units.items()}
    return made | {"random letters": letters, "random letters and spaces": spaced, "numbers": " ".join(map(str, range(SIZE // 7)))}


def speed(text: str) -> dict[str, float]:
    """MB/s of each filter and of all four with the word split; of the fastest runs."""
    batch = pa.RecordBatch.from_pydict({"text": pa.array([text], pa.large_string())})
    megabytes = len(text.encode()) / 1e6
    made = {
        step.name: step
        for step in (GopherQuality(mode="annotate"), GopherRepetition(mode="annotate"), C4(mode="annotate"), FineWeb(mode="annotate"))
    }
    best: dict[str, float] = {}
    for _ in range(REPEATS):
        context = WorkContext()
        whole = started = time.process_time()
        context.words(batch.column("text"), "unicode")
        spent = {"words": time.process_time() - started}
        for name, step in made.items():
            run = step.bind(context)
            started = time.process_time()
            run(batch)
            spent[name] = time.process_time() - started
        spent["all"] = time.process_time() - whole
        best = {name: min(seconds, best.get(name, seconds)) for name, seconds in spent.items()}
    return {name: round(megabytes / max(seconds, 1e-6), 1) for name, seconds in best.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--save", action="store_true")
    given = parser.parse_args()
    speed("Compile the kernels. " * 10)
    found = {name: speed(text) for name, text in texts().items()}
    print("MB/s".ljust(28) + "".join(name.rjust(20) for name in next(iter(found.values()))))
    for name, speeds in found.items():
        print(name.ljust(28) + "".join(f"{value:20.1f}" for value in speeds.values()))
    barred = [name for name in found if (name.startswith("one ") and name not in BESIDE) or name == "random letters"]
    slowest = min(barred, key=lambda name: found[name]["all"])
    print(f"slowest of a character, word, line or letters: {slowest}, {found[slowest]['all']} MB/s (bar {BAR:.0f})")
    others = min(found.keys() - set(barred), key=lambda name: found[name]["all"])
    print(f"slowest of the others: {others}, {found[others]['all']} MB/s")
    if given.save:
        RESULTS.write_text(json.dumps({"mb_per_s": found, "slowest": slowest, "bar": BAR, "machine": machine()}, indent=1) + "\n")


if __name__ == "__main__":
    main()
