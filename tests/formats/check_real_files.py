"""Every row of every real file through every format that can hold it: `python -m tests.formats.check_real_files FOLDER`.

The sampled form of this is in test_round_trip.py. Prints a line a file: rows, refused rows by reason, and for each format
how many records it held; ends with an error where a difference is not named by the loss report.
"""

from __future__ import annotations

import copy
import sys
from collections import Counter
from pathlib import Path

from formats.adapters.adapter import Unreadable
from formats.catalog import adapter
from formats.detect import detect
from tests.conftest import read_rows
from tests.formats.cases import TARGETS, excused, round_trip, through_arrow


def check(file: Path) -> list[str]:
    """Differences that no report names."""
    rows = list(read_rows(file))
    name = detect(iter(rows), file.name).format
    refused: Counter[str] = Counter()
    held: Counter[str] = Counter()
    wrong = []
    for number, row in enumerate(rows):
        try:
            source = adapter(name).read(copy.deepcopy(row))
        except Unreadable as error:
            refused[error.reason] += 1
            continue
        if adapter(name).write(source, set()) != [row] or through_arrow([source]) != [source]:
            wrong.append(f"{file.name} row {number}: does not come back as {name}")
        for target in TARGETS:
            trip = round_trip(source, target)
            if trip is not None:
                held[target] += 1
                if excused(*trip):
                    wrong.append(f"{file.name} row {number} -> {target}: {excused(*trip)}")
    print(f"{file.name}: {len(rows)} rows, {name}, refused {dict(refused)}, held {dict(held)}, wrong {len(wrong)}", flush=True)
    return wrong


if __name__ == "__main__":
    found = [line for path in sorted(Path(sys.argv[1]).glob("*.jsonl*")) for line in check(path)]
    sys.exit("\n".join(found[:50]))
