"""What a worker lends to the steps it binds: seed, folders of model nodes, and word splits shared between steps."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

if TYPE_CHECKING:
    from curate.kernels.words import Words

Place = tuple[int, int, int]  # of a column in memory: address, offset, rows

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
        self._words: dict[str, _Split] = {}

    def words(self, text: pa.LargeStringArray, split: str) -> Any:
        """Return `Words` of every document; the same column (same buffers), or what drops left of it, is split once for all steps."""
        from curate.kernels.words import split_words

        held = self._words.pop(split, None)
        if held is None or place(text) not in (place(held.text), place(held.left)):
            held = None  # its memory is what the new words need
            words = split_words(text, split)
        elif place(text) == place(held.text):
            self._words[split] = held
            return held.words
        else:
            words = words_of_rows(held.words, held.text, text, held.rows)
        self._words[split] = _Split(text, words, text, np.arange(len(text)))
        return words

    def rows_stay(self, before: pa.RecordBatch, after: pa.RecordBatch, keep: pa.BooleanArray) -> None:
        """Note that a verdict left the batch `after` of `before`: the text of rows that stay is not split again."""
        for split, held in self._words.items():
            if place(held.left) == place(before.column("text")):
                self._words[split] = held._replace(left=after.column("text"), rows=held.rows[keep.to_numpy(zero_copy_only=False)])

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


class _Split(NamedTuple):
    """Words of a column. Columns are held too, so that their addresses can't be given to other ones meanwhile."""

    text: pa.LargeStringArray
    words: Words
    left: pa.LargeStringArray  # what drops have left of it since
    rows: npt.NDArray[np.int64]  # which rows those are


def place(text: pa.LargeStringArray) -> Place:
    """Where a column lies: equal for two only if they are the same rows of the same buffer."""
    data = text.buffers()[2]
    return data.address if data is not None else 0, text.offset, len(text)


def words_of_rows(words: Words, before: pa.LargeStringArray, after: pa.LargeStringArray, rows: npt.NDArray[np.int64]) -> Words:
    """Words of a column `after` that holds these rows of `before`, from the words of `before`.

    rows: i64, ascending. What splitting `after` gives, at a third of the time or less: a copy of 25 bytes a word.
    """
    from curate.kernels.strings import views
    from curate.kernels.words import Words

    count = np.diff(words.doc)
    stays = np.zeros(len(count), bool)
    stays[rows] = True
    wanted = np.repeat(stays, count)
    moved = views(after)[1][:-1] - views(before)[1][:-1][rows]
    doc = np.append(0, np.cumsum(count[rows]))
    columns = (words.start[wanted] + np.repeat(moved, count[rows]), *(column[wanted] for column in words[2:]))
    for column in (doc, *columns):
        column.setflags(write=False)
    return Words(doc, *columns)
