"""Shared fixtures. Real data lie in $CURATE_TEST_DATA (default ../shared/data); tests that need them are skipped without."""

from __future__ import annotations

import gzip
import io
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import zstandard
from hypothesis import settings

settings.register_profile("any_machine", deadline=None)  # no test is about time, and cores may be busy
settings.register_profile("same_every_time", deadline=None, derandomize=True)  # for .ci/run: what lands is not a matter of luck
settings.load_profile("any_machine")


@pytest.fixture(autouse=True)
def no_plugins_left() -> Iterator[None]:
    """Forget the plugins that a test loaded into this process: they would be steps in the next one."""
    from curate import registry

    yield
    registry.forget_plugins()


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of real labelled data; skips the test where it is absent."""
    folder = Path(os.environ.get("CURATE_TEST_DATA") or Path(__file__).resolve().parents[1].parent / "shared" / "data")
    if not (folder / "text").is_dir():
        pytest.skip(f"no real data at {folder} (set CURATE_TEST_DATA)")
    return folder


def read_rows(path: Path) -> Iterator[dict[str, object]]:
    """Rows of a .jsonl, .jsonl.gz or .jsonl.zst file, split on the newline byte alone."""
    raw = path.read_bytes()
    if path.suffix == ".gz":
        raw = gzip.decompress(raw)
    elif path.suffix == ".zst":
        raw = zstandard.ZstdDecompressor().stream_reader(io.BytesIO(raw)).read()
    for line in raw.split(b"\n"):
        if line.strip():
            yield json.loads(line)
