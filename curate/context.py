"""What a worker lends to the steps it binds: seed, folders of model nodes, and word splits shared between steps."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

KEPT = ".kept"  # in a run's folder; `curate gc` leaves it alone


class WorkContext:
    """One per worker process and stage. Caches the word split of the current batch, so that steps share it."""

    def __init__(self, seed: int = 0, models: Mapping[str, str] | None = None, run: str | None = None) -> None:
        """run: the run's folder; None where a step is called without one, from Python."""
        self.seed = seed
        self.on_say: Callable[[float, str], None] | None = None
        self._models = dict(models or {})
        self._run = run
        self.bound: dict[str, Any] = {}  # what steps returned when the worker bound them, by place in the job
        self._words: dict[str, tuple[tuple[int, int, int], pa.Array, Any]] = {}

    def words(self, text: pa.LargeStringArray, split: str) -> Any:
        """Return `Words` of every document; the same column (same buffers) is split once for all steps."""
        from curate.kernels.words import split_words

        data = text.buffers()[2]
        key = (data.address if data is not None else 0, text.offset, len(text))
        held = self._words.get(split)
        if held is None or held[0] != key:
            # The column is held too, so that its address can't be given to another one meanwhile.
            held = (key, text, split_words(text, split))
            self._words[split] = held
        return held[2]

    def model(self, name: str) -> str | None:
        """Folder of the model node of that name, or None."""
        return self._models.get(name)

    def kept(self, name: str) -> Path:
        """Folder of the run that outlives its stages; without a run a new temporary one, which stays."""
        if self._run is None:
            self._run = tempfile.mkdtemp(prefix="curate-")
        return Path(self._run, KEPT, name)

    def say(self, share: float, text: str) -> None:
        """Pass on what a task says of itself."""
        if self.on_say is not None:
            self.on_say(share, text)
