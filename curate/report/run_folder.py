"""A finished run as reports read it: manifest, locked recipe, and what lies beside each published dataset."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from curate.errors import RecipeError
from curate.store import DISTRIBUTIONS

LOCK = "recipe.lock.yaml"


@dataclass(frozen=True)
class RunFolder:
    """Paths and figures of one run. Nothing is read before it is asked for."""

    root: Path

    @cached_property
    def manifest(self) -> dict[str, Any]:
        """manifest.json. RecipeError where the folder holds no finished run."""
        path = self.root / "manifest.json"
        try:
            return dict(json.loads(path.read_bytes()))
        except FileNotFoundError:
            raise RecipeError(f"{self.root} has no manifest.json: it is no run folder, or its run has not finished.") from None
        except ValueError as error:
            raise RecipeError(f"{path} is damaged ({error}). Run the recipe again: what is finished is reused.") from None

    @cached_property
    def lock_text(self) -> str:
        """recipe.lock.yaml: the recipe with every default filled in; '' where there is none."""
        path = self.root / LOCK
        return path.read_text(encoding="utf-8") if path.exists() else ""

    @cached_property
    def lock(self) -> dict[str, Any]:
        """The same, read."""
        import yaml

        return dict(yaml.load(self.lock_text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)) or {})

    @property
    def datasets(self) -> dict[str, dict[str, Any]]:
        """The manifest's entries of plain datasets, in order."""
        return {name: entry for name, entry in self.manifest["datasets"].items() if entry["kind"] == "dataset"}

    @property
    def mixes(self) -> dict[str, dict[str, Any]]:
        """The manifest's entries of datasets of other kinds."""
        return {name: entry for name, entry in self.manifest["datasets"].items() if entry["kind"] != "dataset"}

    def settings(self, name: str) -> dict[str, Any]:
        """What the locked recipe says of a dataset; a recipe of one dataset has it at the top."""
        datasets = self.lock.get("datasets")
        return dict((datasets or {}).get(name) or ({} if datasets else self.lock))

    def steps(self, name: str) -> list[tuple[str, dict[str, Any]]]:
        """(name, settings) of every step of a dataset, in order."""
        found = []
        for step in self.settings(name).get("steps") or ():
            key, value = next(iter(step.items())) if isinstance(step, Mapping) else (step, {})
            found.append((str(key), dict(value or {}) if isinstance(value, Mapping) else {"": value}))
        return found

    def distributions(self, name: str) -> dict[str, Any]:
        """distributions.json of a dataset; {} where an older version of curate wrote it."""
        path = self.root / name / DISTRIBUTIONS
        return dict(json.loads(path.read_bytes())) if path.exists() else {}

    def parts(self, name: str) -> list[Path]:
        """Data files of a dataset, in order."""
        return sorted((self.root / name).glob("part-*"))

    def beside(self, name: str, kind: str) -> list[Path]:
        """Files of `ledger`, `dropped` or `quarantine` of a dataset, in order."""
        return sorted((self.root / name / kind).glob("part-*"))

    def stage_steps(self, name: str) -> Iterator[tuple[str, str, float]]:
        """(stage, what, seconds) of everything that was timed for a node."""
        for label, entry in self.manifest["stages"].items():
            if entry["node"] == name:
                for what, spent in self.manifest["seconds"].get(label, {}).items():
                    yield label, what, float(spent)


def open_run(root: Path) -> RunFolder:
    """The run in that folder. RecipeError where there is none."""
    run = RunFolder(root)
    _ = run.manifest
    return run
