"""LLaMA-Factory's own registry and demo files, read as they stand: set CURATE_LLAMAFACTORY to its `data` folder."""

from __future__ import annotations

import copy
import os
from pathlib import Path

import pytest

from curate.io.reader import Split
from formats.adapters.mapped import Mapped, read_registry
from formats.catalog import adapter
from formats.sources import Line, rows_of
from tests.formats.cases import differences


def test_every_demo_set_is_read_whole() -> None:
    folder = Path(os.environ.get("CURATE_LLAMAFACTORY", ""))
    if not (folder / "dataset_info.json").is_file():
        pytest.skip("no data folder of LLaMA-Factory (set CURATE_LLAMAFACTORY)")
    entries = read_registry(str(folder / "dataset_info.json"))
    assert len(entries) > 50
    read = 0
    for name, entry in entries.items():
        if entry.file is None or not entry.file.endswith((".json", ".jsonl")) or not Path(entry.file).is_file():
            continue
        kind = Mapped(adapter(entry.format), entry.columns, entry.tags)
        rows = list(rows_of(Split(entry.file, name, 0, "")))
        assert rows and all(isinstance(row, Line) for row in rows), name
        for row in rows:
            assert isinstance(row, Line)
            record = kind.read(copy.deepcopy(row.value))
            (written,) = kind.write(record, set())
            assert differences(record, adapter(entry.format).read(written)) == set(), name
        read += 1
    print(f"{read} local sets of {len(entries)}")
    assert read >= 10
