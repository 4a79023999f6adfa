"""What a finished node shows: which files of its last stage, under which names, and how they appear in one rename."""

from __future__ import annotations

from pathlib import Path

from curate.done import Done, data_files
from curate.store import Store

BESIDE = {"ledger.parquet": "ledger", "dropped.parquet": "dropped", "quarantine.jsonl": "quarantine"}


def side_files(stages: list[Done]) -> list[tuple[str, Path]]:
    """Ledgers, dropped and quarantined rows of all stages of a dataset that wrote documents."""
    found: list[tuple[str, Path]] = []
    numbers = dict.fromkeys(BESIDE.values(), 0)
    for stage in stages:
        for receipt in stage.receipts:
            for file in receipt["files"]:
                folder = BESIDE.get(file["name"])
                if folder is not None:
                    suffix = Path(file["name"]).suffix
                    found.append((f"{folder}/part-{numbers[folder]:05d}{suffix}", stage.folder.task(receipt["task"]) / file["name"]))
                    numbers[folder] += 1
    return found


def publish(store: Store, name: str, last: Done, stages: list[Done], notes: dict[str, bytes]) -> Path:
    """Show a finished node under its name. stages: those whose ledgers count, in order."""
    return store.publish(name, last.key, [*data_files(last), *side_files(stages)], notes)
