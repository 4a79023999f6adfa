"""Drop documents that hold a word of the user's list, as C4 does."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePath
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from curate.errors import DataError
from curate.schema import with_columns
from curate.step import Asset, BatchFn, Context, Outcome, Signal, Step, Verdict
from curate.steps.document_fields import column_of, field_text
from curate.steps.sampling import draws
from curate.steps.word_files import all_entries

_REASON = "bad_words.listed"


class BadWords(Step):
    """Drop documents that hold a word of the user's list.

    Reads `text`, `id` and the column with the language, where one is named; adds columns only in `mode: annotate`.
    Depends on nothing but the document and the lists. 70 to 90 MB/s per core for 300 words in text of many scripts.

    No list comes with it. `files` are lists by language: `en`, `en.txt`, `en.txt.gz` are the list for `en`, as in the
    repository LDNOOBW that C4 used. `words` go to the list of `default_language`. A document whose language has no list
    is kept.

    Equal to datatrove's C4BadWordsFilter given the same lists: the text is lower-cased, and an entry counts between
    characters that are no `\\w`, or anywhere in the languages of `no_borders`. Differences: entries are lower-cased too
    (one with a capital can't match there); blank lines are no entries; what `keep_fraction` keeps follows from the id and
    the seed, not from the order of documents; and `allow` has no default (theirs takes four words of Japanese and Chinese
    out of every list).

    Lists of this kind also drop medicine, law, sex education and what minorities say of themselves (Dodge et al. 2021,
    arXiv:2104.08758, section 5.3): look at what goes before you rely on one.
    """

    name: ClassVar[str] = "bad_words"
    summary: ClassVar[str] = "drop documents that hold a word of the user's lists, by language (C4)"
    origin: ClassVar[str] = "Raffel et al. 2020 (arXiv:1910.10683), section 2.2; datatrove 0.10 C4BadWordsFilter"

    mode: Literal["drop", "annotate"] = Field("drop", description="annotate: add columns, drop nothing")
    words: tuple[Annotated[str, Field(min_length=1)], ...] = Field((), description="words or phrases for the default language")
    files: tuple[str, ...] = Field((), description="lists, one entry a line, each named by its language", json_schema_extra={"path": True})
    allow: tuple[str, ...] = Field((), description="entries to leave out of all lists")
    language_column: str | None = Field(None, description="column or meta.KEY with the language; null: all are in the default language")
    default_language: str = Field("en", min_length=1, max_length=40, description="language of documents that name none")
    no_borders: tuple[str, ...] = Field(("ja", "th", "zh"), description="languages where an entry counts inside words too")
    max_words: int = Field(0, ge=0, le=100_000, description="most different entries that a document may hold")
    keep_fraction: float = Field(0.0, ge=0, le=1, description="share of documents with listed words to keep all the same")
    seed: int | None = Field(None, ge=0, le=2**63 - 1, description="choice of what keep_fraction keeps; null: the recipe's seed")

    def reads(self) -> frozenset[str]:
        """Text, the id where chance decides, and where the language is."""
        chance = {"id"} if self.keep_fraction else set()
        return frozenset({"text"} | chance | ({column_of(self.language_column)} if self.language_column else set()))

    def adds(self) -> Mapping[str, pa.DataType]:
        """In annotate mode: decision, reason, number of different entries found, the one found first."""
        if self.mode == "drop":
            return {}
        return {
            "bad_words_keep": pa.bool_(),
            "bad_words_reason": pa.string(),
            "bad_words_count": pa.int64(),
            "bad_words_first": pa.string(),
        }

    def drops(self) -> tuple[str, ...]:
        """One reason."""
        return (_REASON,) if self.mode == "drop" else ()

    def signals(self) -> tuple[Signal, ...]:
        """The number of different entries."""
        return (Signal("bad_words_count", "max_words", "at_most"),)

    def assets(self) -> tuple[Asset, ...]:
        """The lists."""
        return tuple(Asset(path, "word list") for path in self.files)

    def bind(self, ctx: Context) -> BatchFn:
        """Read the lists and build an automaton for each language."""
        lists = {language: _List(entries, language in self.no_borders) for language, entries in self._entries().items()}
        first_only = self.mode == "drop" and self.max_words == 0
        seed = ctx.seed if self.seed is None else self.seed

        def run(batch: pa.RecordBatch) -> Outcome:
            text, n = batch.column("text"), len(batch)
            count, first = np.zeros(n, np.int64), np.full(n, None, object)
            language = self._languages(batch)
            for code, listed in lists.items():
                rows = np.flatnonzero(language == code)
                if len(rows):
                    part = text if len(rows) == n else text.take(pa.array(rows))
                    count[rows], first[rows] = listed(part, first_only)
            over = count > self.max_words
            if self.keep_fraction and over.any():
                over &= draws(batch.column("id"), seed) >= self.keep_fraction
            verdict = Verdict(
                pa.array(~over), pa.array(np.full(n, _REASON), pa.string(), mask=~over), pa.array(count.astype(float), mask=~over)
            )
            if self.mode == "drop":
                return Outcome(batch, verdict._replace(value=None) if first_only else verdict)
            columns = {"bad_words_keep": verdict.keep, "bad_words_reason": verdict.reason, "bad_words_count": pa.array(count),
                       "bad_words_first": pa.array(first, pa.string())}  # fmt: skip
            return Outcome(with_columns(batch, columns))

        return run

    def _entries(self) -> dict[str, list[str]]:
        """Lower-case entries by language."""
        files: dict[str, list[str]] = {self.default_language: []} if self.words else {}
        for path in self.files:
            files.setdefault(PurePath(path).name.partition(".")[0], []).append(path)
        allowed = {word.lower() for word in self.allow}
        found = {}
        for language, paths in files.items():
            given = self.words if language == self.default_language else ()
            found[language] = [e for e in dict.fromkeys(w.lower() for w in all_entries(given, paths)) if e not in allowed]
        return found

    def _languages(self, batch: pa.RecordBatch) -> npt.NDArray[Any]:
        """Language of each document, as objects."""
        if self.language_column is None:
            return np.full(len(batch), self.default_language, object)
        named = pc.fill_null(field_text(batch, self.language_column), self.default_language)
        return np.array(named.to_pylist(), object)


class _List:
    """One language's entries."""

    def __init__(self, entries: list[str], anywhere: bool) -> None:
        from curate.kernels import patterns

        try:
            self._machine = patterns.build([entry.encode() for entry in entries])
        except ValueError as error:
            raise DataError(f"bad_words: {error}") from error
        self._entries = np.array([*entries, None], object)  # -1 takes the last
        self._borders = [patterns.ANYWHERE if anywhere else patterns.WORD_BORDERS] * len(entries)
        self._scan = patterns.scan

    def __call__(self, text: pa.LargeStringArray, first_only: bool) -> tuple[npt.NDArray[np.int64], npt.NDArray[Any]]:
        """(different entries found, the one found first) of each document."""
        found = self._scan(lowered(text), self._machine, [0] * len(self._borders), self._borders, 1, first_only)
        return found.distinct[:, 0], self._entries[found.first[:, 0]]


def lowered(text: pa.LargeStringArray) -> pa.LargeStringArray:
    """str.lower of every document; Python is asked only where there is more than ASCII."""
    plain = pc.fill_null(pc.string_is_ascii(text), True)
    if plain.true_count == len(plain):
        return pc.ascii_lower(text)
    rows = np.flatnonzero(~plain.to_numpy(zero_copy_only=False))
    new = pa.array([t.lower() for t in text.take(pa.array(rows)).to_pylist()], pa.large_string())
    mask = np.zeros(len(text), bool)
    mask[rows] = True
    return pc.replace_with_mask(pc.ascii_lower(text), pa.array(mask), new)
