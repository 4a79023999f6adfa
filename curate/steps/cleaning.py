"""Mend text: wrong decodings, leftovers of HTML, invisible characters, Unicode form, line ends, white space, stop words."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from curate.kernels.strings import from_buffers, views
from curate.schema import with_columns
from curate.step import Asset, BatchFn, Context, Outcome, Step
from curate.steps import html_leftovers, text_repairs

_MAX_ROUNDS = 8

Repair = Callable[[str], str]
Flags = npt.NDArray[np.uint8]

# In the order in which they run; the number of a name is its bit in the flags of `curate.kernels.repairs`.
_IN_ORDER = ("mojibake", "entities", "tags", "invisible", "nfc", "line_ends", "blanks")
_STOP_WORDS = 128


class Clean(Step):
    """Rewrite `text` until no repair that is switched on has anything left to do; rows are neither dropped nor added.

    Reads and rewrites `text`; depends on nothing but the document. One scan (about 400 MB/s per core) tells which
    documents may need which repair; only those reach Python. The repairs run in the order of the fields below, and again
    on what they changed, at most 8 times. A text that still changes then (nothing but text built for it does) stays as it
    was, so that cleaning twice is always the same as cleaning once.

    Misses, on purpose: indentation and runs of spaces inside lines stay, tags that could be text stay (see
    `curate.steps.html_leftovers`), quotes and dashes keep their form, compatibility characters (NFKC) too.
    """

    name: ClassVar[str] = "clean"
    summary: ClassVar[str] = "mend encoding, HTML leftovers, invisible characters, Unicode form and white space"
    origin: ClassVar[str] = "ftfy 6.3 fix_encoding; NFC of Unicode Standard Annex 15; HTML Living Standard, named character references"
    rewrites_text: ClassVar[bool] = True

    mojibake: bool = Field(True, description="undo wrong decodings (ftfy's fix_encoding, line by line)")
    entities: bool = Field(True, description="decode HTML character references such as &amp; &nbsp; &#39;")
    tags: bool = Field(True, description="remove HTML tags, where it is evident that they are markup, and comments")
    invisible: bool = Field(True, description="remove control and zero-width characters; joiners stay where they carry meaning")
    nfc: bool = Field(True, description="normalise to Unicode NFC")
    line_ends: bool = Field(True, description="make every line end a line feed")
    blanks: bool = Field(True, description="remove blanks at line ends; leave at most two empty lines in a row")
    remove_stop_words: tuple[str, ...] = Field((), description="words to remove, regardless of case; default: none")
    stop_words_file: str | None = Field(None, description="more words to remove: a text file, one a line", json_schema_extra={"path": True})

    def assets(self) -> tuple[Asset, ...]:
        """The list of words, where one is given."""
        return (Asset(self.stop_words_file, "word list"),) if self.stop_words_file is not None else ()

    def bind(self, ctx: Context) -> BatchFn:
        """Build the scan's tables (about 0.3 s) and read the list of words."""
        from curate.kernels.repairs import BLANKS, trimmed

        repairs, flags_of = self._repairs(), self._scanner()

        def run(batch: pa.RecordBatch) -> Outcome:
            text = original = _large(batch.column("text"))
            flags = flags_of(text)
            if text.null_count:
                flags = np.where(pc.is_valid(text).to_numpy(zero_copy_only=False), flags, 0)
            # Blanks are what most texts that need anything need, and nothing else: a kernel does those.
            only_blanks = np.flatnonzero(flags == BLANKS)
            if len(only_blanks):
                new = from_buffers(*trimmed(*views(text.take(pa.array(only_blanks)))))
                text = _replaced(text, only_blanks, new)
                flags[only_blanks] = flags_of(new)
            rows = np.flatnonzero(flags)
            before = text.take(pa.array(rows)).to_pylist()
            after = _settled(before, flags[rows], repairs, flags_of)
            changed = [i for i, (old, new) in enumerate(zip(before, after, strict=True)) if old != new]
            if changed:
                text = _replaced(text, rows[changed], pa.array([after[i] for i in changed], pa.large_string()))
            return Outcome(batch if text is original else with_columns(batch, {"text": text}))

        return run

    def _scanner(self) -> Callable[[pa.Array], Flags]:
        """A function from a large_string column to the repairs that each text may need, of those that are wanted."""
        from curate.kernels.repairs import Scanner

        scanner = Scanner()
        wanted = np.uint8(sum(1 << bit for bit, name in enumerate(_IN_ORDER) if getattr(self, name)))
        always = np.uint8(_STOP_WORDS if self.remove_stop_words or self.stop_words_file else 0)
        return lambda text: (scanner(*views(text)) & wanted) | always

    def _repairs(self) -> list[tuple[int, Repair]]:
        """(flag, repair) in the order they run."""
        functions: list[Repair] = [
            text_repairs.mojibake, html_leftovers.entities, html_leftovers.tags, text_repairs.invisible,
            text_repairs.compose, text_repairs.line_ends, text_repairs.blanks,
        ]  # fmt: skip
        repairs = [(1 << bit, function) for bit, function in enumerate(functions)]
        words = [*self.remove_stop_words, *(_lines(self.stop_words_file) if self.stop_words_file else [])]
        return [*repairs, (_STOP_WORDS, text_repairs.stop_words(frozenset(word.lower() for word in words)))]


def _large(text: pa.Array) -> pa.LargeStringArray:
    return text if text.type == pa.large_string() else text.cast(pa.large_string())


def _replaced(text: pa.LargeStringArray, rows: npt.NDArray[np.int64], new: pa.LargeStringArray) -> pa.LargeStringArray:
    """The column with `new` in these rows (ascending)."""
    mask = np.zeros(len(text), np.bool_)
    mask[rows] = True
    return pc.replace_with_mask(text, pa.array(mask), new)


def _settled(texts: list[str], flags: Flags, repairs: list[tuple[int, Repair]], flags_of: Callable[[pa.Array], Flags]) -> list[str]:
    """Apply flagged repairs to each text until nothing changes; texts that keep changing come back as they were."""
    current, pending = list(texts), list(range(len(texts)))
    for _ in range(_MAX_ROUNDS):
        changed = []
        for i, flag in zip(pending, flags.tolist(), strict=True):
            text = current[i]
            for bit, repair in repairs:
                if flag & bit:
                    text = repair(text)
            if text != current[i]:
                current[i] = text
                changed.append(i)
        if not changed:
            return current
        pending = changed
        flags = flags_of(pa.array([current[i] for i in pending], pa.large_string()))
    for i in pending:
        current[i] = texts[i]
    return current


def _lines(path: str) -> list[str]:
    import fsspec

    with fsspec.open(path, "rt", encoding="utf-8") as file:
        return [line.strip() for line in file if line.strip()]
