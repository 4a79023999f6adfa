"""Read Megatron's .idx and .bin by the published layout (Megatron-Core, indexed_dataset.py), one number after the other."""

from __future__ import annotations

import struct
from pathlib import Path

FORMATS = {1: "B", 2: "b", 3: "h", 4: "i", 5: "q", 8: "H"}


def read(prefix: Path) -> tuple[list[list[int]], list[int]]:
    """(sequences, first sequence of every document and the number of sequences)."""
    index, tokens = Path(f"{prefix}.idx").read_bytes(), Path(f"{prefix}.bin").read_bytes()
    at = 0

    def take(format: str) -> int:
        nonlocal at
        (value,) = struct.unpack_from("<" + format, index, at)
        at += struct.calcsize("<" + format)
        return int(value)

    assert index[:9] == b"MMIDIDX\x00\x00"
    at = 9
    assert take("Q") == 1
    kind = FORMATS[take("B")]
    sequences, documents = take("Q"), take("Q")
    lengths = [take("i") for _ in range(sequences)]
    pointers = [take("q") for _ in range(sequences)]
    starts = [take("q") for _ in range(documents)]
    assert at == len(index)
    rows = [list(struct.unpack_from(f"<{length}{kind}", tokens, pointer)) for length, pointer in zip(lengths, pointers, strict=True)]
    assert sum(lengths) * struct.calcsize(kind) == len(tokens)
    return rows, starts
