"""The window scan of `pii` against its full patterns over whole texts, on every document of DATA/text.

    python tests/bench/pii_oracle.py DATA [--part 0/4]

Full patterns do about 0.2 MB/s, so all of it takes twenty minutes on an idle core; `--part i/n` takes every n-th document.
tests/parity/test_pii_parity.py does the same on a sample. Exits with 1 where anything differs.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import pyarrow as pa

from curate.kernels.strings import views
from curate.steps.personal_data import REGIONS
from curate.steps.pii_patterns import pii_types, search
from curate.steps.pii_search import Find, find, settle
from tests.conftest import read_rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--part", default="0/1", help="i/n: documents i, i + n, i + 2n, ...")
    arguments = parser.parse_args()
    part, parts = map(int, arguments.part.split("/"))
    types = pii_types(REGIONS, False)
    documents = found = different = 0
    size, started = 0.0, time.time()
    for file in sorted((arguments.data / "text").glob("*.jsonl.*")):
        texts = [max((v for v in row.values() if isinstance(v, str)), key=len, default="") for row in read_rows(file)][part::parts]
        data, offsets = views(pa.array(texts, pa.large_string()))
        ours = find(data, offsets, types)
        buffer = data.data
        for doc in range(len(texts)):
            text = buffer[offsets[doc] : offsets[doc + 1]]
            full = settle([Find(a, z, k) for k, kind in enumerate(types.values()) for a, z in search(kind, text, 0, len(text))])
            found += len(full)
            if full != ours.get(doc, []):
                different += 1
                print(f"differs: {file.name} document {part + doc * parts}")
        documents += len(texts)
        size += int(offsets[-1]) / 1e6
        print(
            f"{file.name}: {documents:,} documents, {size:.1f} MB, {found} finds, {different} differ, {time.time() - started:.0f} s",
            flush=True,
        )
    sys.exit(bool(different))


if __name__ == "__main__":
    main()
