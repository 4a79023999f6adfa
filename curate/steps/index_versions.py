"""What the deduplication steps with an index share: the version that a run reads, and the one that it adds."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from curate.duplicate_index import NAME_CHARS, Index, check_settings
from curate.fingerprint import digest
from curate.schema import ROW
from curate.step import CorpusStep

EMPTY = "empty"  # name of the version below the first one
TOLD_GIGABYTES = 1.0  # so much takes seconds to add

IndexFolder = Annotated[
    str | None,
    Field(
        min_length=1,
        json_schema_extra={"path": "output"},
        description="folder of an index: duplicates of indexed documents go too, and those that stay are added to it",
    ),
]
IndexVersion = Annotated[
    str | None,
    Field(
        min_length=1,
        description="version of the index to read (empty: none of its documents); then nothing is added; null: the newest",
    ),
]


class AddsToIndex(NamedTuple):
    """What a step with an index has outside the run, as the engine sees it (`curate.step.Outside`)."""

    root: str
    given: str | None  # the version that the recipe names: it is read, and nothing is added
    identity: str  # digest of the step
    made_for: dict[str, Any]  # settings of its hashes; `step` names the step
    kinds: tuple[str, ...]  # of files: phases whose records are added

    @classmethod
    def of(cls, step: CorpusStep, root: str, given: str | None, made_for: dict[str, Any], kinds: tuple[str, ...]) -> AddsToIndex:
        """For a step with the settings `index` (root) and `index_version` (given)."""
        settings = step.model_dump(mode="json", exclude={"checkpoint", "index", "index_version"})
        return cls(root, given, digest([step.name, step.version, settings]), made_for, kinds)

    @contextmanager
    def hold(self) -> Iterator[None]:
        """Keep others out of the index while the run goes on. StoreError where somebody is in, or it was made with other settings."""
        with Index(self.root).hold():
            self._check()
            yield

    def _check(self) -> None:
        newest = version_to_read(self.root, self.given)
        if newest:
            check_settings(Index(self.root).version(newest), self.made_for)

    def pinned(self, sent: str, source: str) -> dict[str, Any]:
        """Settings that fix the version to read. sent: digest of what the first phase made; source: of the input files."""
        index = Index(self.root)
        self._check()  # an earlier step of the run may have made it
        version = self.given or index.resolve(lambda parent: self._name(sent, parent), source) or EMPTY
        return {"index_version": version}

    def finish(self, sent: str, source: str, files: Mapping[str, list[Path]], say: Callable[[str], None]) -> None:
        """Add what the phases named by `kinds` made as a new version, unless it is there. files: by phase, in task order."""
        if self.given is not None:
            return
        parent = Index(self.root).resolve(lambda below: self._name(sent, below), source)
        gigabytes = sum(path.stat().st_size for kind in self.kinds for path in files[kind]) / 1e9
        if gigabytes >= TOLD_GIGABYTES and not Index(self.root).has(self._name(sent, parent)):
            say(f"adding {gigabytes:,.1f} GB to {self.root}: all of it is read once, for its checksums")
        named = [(f"{kind}-{number:07d}.arrow", path) for kind in self.kinds for number, path in enumerate(files[kind])]
        Index(self.root).publish(self._name(sent, parent), parent, self.made_for, named, source)

    def _name(self, sent: str, parent: str | None) -> str:
        return digest([self.identity, sent, parent])[:NAME_CHARS]


def version_to_read(root: str, pinned: str | None) -> str | None:
    """Name of the version: the one that the engine or the recipe fixed, else the newest; None for an empty index."""
    version = pinned or Index(root).head
    return None if version == EMPTY else version


def kept(batch: pa.RecordBatch, verdicts: pa.Table) -> pa.RecordBatch:
    """Documents of the batch that stay. verdicts: of the task, sorted by row."""
    gone = verdicts.filter(verdicts.column("reason").is_valid()).column(ROW)
    return batch.filter(pc.invert(pc.is_in(batch.column(ROW), value_set=gone.combine_chunks())))


def same_id_warning(figures: Mapping[str, int], name: str, like: str) -> list[str]:
    """A warning where documents met themselves in the index."""
    count = figures.get(name, 0)
    if not count:
        return []
    return [f"{count} documents are {like} one of their own id in the index: files that were added to it before have been read again."]
