"""Signals of toxic and sexual text: the user's word lists by language, and classifiers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePath
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field, model_validator

from curate.errors import DataError
from curate.schema import with_columns
from curate.step import Asset, BatchFn, Context, Outcome, Signal, Step
from curate.steps.bounds import Bound, judge, judged_columns, ratio
from curate.steps.document_fields import column_of, field_text
from curate.steps.scorers import F64, Scorer, fasttext_scorer, is_fasttext
from curate.steps.transformer_scores import model_files, transformers_scorer
from curate.steps.word_files import all_entries
from curate.steps.word_lists import lowered

I64 = npt.NDArray[np.int64]


class SafetySignal(Step):
    """Base of `toxicity` and `nsfw`. Subclasses give the name, the label and the words of the documentation."""

    mode: Literal["drop", "annotate"] = Field("annotate", description="annotate: add columns, drop nothing; drop: apply the bounds")
    words: tuple[Annotated[str, Field(min_length=1)], ...] = Field((), description="words or phrases for the default language")
    files: tuple[str, ...] = Field((), description="lists, one entry a line, each named by its language", json_schema_extra={"path": True})
    language_column: str | None = Field(None, description="column or meta.KEY with the language; null: all are in the default language")
    default_language: str = Field("en", min_length=1, max_length=40, description="language of documents that name none")
    no_borders: tuple[str, ...] = Field(("ja", "th", "zh"), description="languages where an entry counts inside words too")
    split: Literal["unicode", "whitespace"] = Field("unicode", description="word split that the share is of; its marks count as words")
    max_count: int | None = Field(None, ge=0, le=1_000_000_000, description="most places with a listed entry; null: no bound")
    max_share: float | None = Field(None, ge=0, le=1, description="most such places per word; null: no bound")
    classifier: str | None = Field(
        None,
        description="a fastText model (.bin, .ftz), the folder of a Hugging Face one, or its name on the hub",
        json_schema_extra={"path": "optional"},
    )
    revision: str | None = Field(None, min_length=7, description="commit of a classifier on the hub")
    label: str | None = Field(
        None, min_length=1, description="the classifier's label; null: the step's name, or the one output of a regression"
    )
    max_score: float | None = Field(None, ge=-1e6, le=1e6, description="highest score of a kept document; null: no bound")

    @model_validator(mode="after")
    def _something_to_do(self) -> SafetySignal:
        if not (self.words or self.files or self.classifier):
            raise ValueError("give words or files (your own lists; none come with it), or a classifier")
        if self.max_score is not None and self.classifier is None:
            raise ValueError("max_score needs a classifier")
        if (self.max_count is not None or self.max_share is not None) and not (self.words or self.files):
            raise ValueError("max_count and max_share need words or files")
        return self

    @property
    def _listed(self) -> bool:
        return bool(self.words or self.files)

    def reads(self) -> frozenset[str]:
        """Text, source (for the ledger) and where the language is."""
        return frozenset({"text", "source"} | ({column_of(self.language_column)} if self.language_column else set()))

    def adds(self) -> Mapping[str, pa.DataType]:
        """In annotate mode: decision, reason and the signals that there are."""
        if self.mode == "drop":
            return {}
        columns: dict[str, pa.DataType] = {f"{self.name}_keep": pa.bool_(), f"{self.name}_reason": pa.string()}
        if self._listed:
            columns |= {f"{self.name}_count": pa.int64(), f"{self.name}_share": pa.float64()}
        return columns | ({f"{self.name}_score": pa.float64()} if self.classifier else {})

    def drops(self) -> tuple[str, ...]:
        """Reasons of the bounds that are set, in the order in which they are tested."""
        bounds = (("count", self.max_count), ("share", self.max_share), ("score", self.max_score))
        return tuple(f"{self.name}.{slug}" for slug, bound in bounds if bound is not None) if self.mode == "drop" else ()

    def signals(self) -> tuple[Signal, ...]:
        """Count, share and score, as far as they are there."""
        listed = (Signal(f"{self.name}_count", "max_count", "at_most"), Signal(f"{self.name}_share", "max_share", "at_most"))
        return (listed if self._listed else ()) + ((Signal(f"{self.name}_score", "max_score", "at_most"),) if self.classifier else ())

    def assets(self) -> tuple[Asset, ...]:
        """Lists and model."""
        lists = tuple(Asset(path, "word list") for path in self.files)
        if self.classifier is None:
            return lists
        return lists + (
            (Asset(self.classifier, "model"),) if is_fasttext(self.classifier) else model_files(self.classifier, self.revision, self.name)
        )

    def bind(self, ctx: Context) -> BatchFn:
        """Read the lists, build an automaton for each language, load the classifier."""
        lists = {language: _List(entries, language in self.no_borders, self.name) for language, entries in self._entries().items()}
        score = self._scorer()

        def run(batch: pa.RecordBatch) -> Outcome:
            text, n = batch.column("text"), len(batch)
            language = self._languages(batch)
            count = self._counts(text, language, lists)
            numbers: dict[str, F64] = {}
            bounds: list[Bound] = []
            if self._listed:
                numbers["share"] = ratio(count, np.diff(ctx.words(text, self.split).doc))
                bounds = [Bound(f"{self.name}.count", count.astype(np.float64), at_most=self.max_count),
                          Bound(f"{self.name}.share", numbers["share"], at_most=self.max_share)]  # fmt: skip
            if score is not None:
                numbers["score"] = score(text)
                bounds.append(Bound(f"{self.name}.score", numbers["score"], at_most=self.max_score))
            verdict = judge(bounds, n)
            figures = _figures(batch.column("source"), language, count, verdict.keep)
            if self.mode == "drop":
                return Outcome(batch, verdict, figures)
            signals: dict[str, npt.NDArray[Any]] = {f"{self.name}_count": count} if self._listed else {}
            signals |= {f"{self.name}_{slug}": values for slug, values in numbers.items()}
            return Outcome(with_columns(batch, judged_columns(self.name, verdict, signals)), None, figures)

        return run

    def _scorer(self) -> Scorer | None:
        if self.classifier is None:
            return None
        if is_fasttext(self.classifier):
            return fasttext_scorer(self.classifier, self.label or self.name)
        return transformers_scorer(self.classifier, self.label, self.name, revision=self.revision)

    def _counts(self, text: pa.LargeStringArray, language: npt.NDArray[Any], lists: Mapping[str, _List]) -> I64:
        """Places with a listed entry of the document's own language."""
        count = np.zeros(len(text), np.int64)
        for code, listed in lists.items():
            rows = np.flatnonzero(language == code)
            if len(rows):
                count[rows] = listed(text if len(rows) == len(text) else text.take(pa.array(rows)))
        return count

    def _entries(self) -> dict[str, list[str]]:
        """Lower-case entries by language; a file's name up to its first dot is its language."""
        files: dict[str, list[str]] = {self.default_language: []} if self.words else {}
        for path in self.files:
            files.setdefault(PurePath(path).name.partition(".")[0], []).append(path)
        return {
            language: list(dict.fromkeys(e.lower() for e in all_entries(self.words if language == self.default_language else (), paths)))
            for language, paths in files.items()
        }

    def _languages(self, batch: pa.RecordBatch) -> npt.NDArray[Any]:
        """Language of each document, as objects."""
        if self.language_column is None:
            return np.full(len(batch), self.default_language, object)
        return np.array(pc.fill_null(field_text(batch, self.language_column), self.default_language).to_pylist(), object)


class _List:
    """One language's entries."""

    def __init__(self, entries: list[str], anywhere: bool, step: str) -> None:
        from curate.kernels import listed_words, patterns

        try:
            self._machine = patterns.build([entry.encode() for entry in entries])
        except ValueError as error:
            raise DataError(f"{step}: {error}") from error
        self._borders = patterns.ANYWHERE if anywhere else patterns.WORD_BORDERS
        self._count = listed_words.occurrences

    def __call__(self, text: pa.LargeStringArray) -> I64:
        return self._count(lowered(text), self._machine, self._borders)


def _figures(source: pa.Array, language: npt.NDArray[Any], count: I64, keep: pa.BooleanArray) -> dict[str, dict[str, int]]:
    """For the ledger, by source: documents of each language, those with a listed entry, those over a bound."""
    over = ~keep.to_numpy(zero_copy_only=False)
    found: dict[str, dict[str, int]] = {}
    for name, code, places, crossed in zip(source.to_pylist(), language.tolist(), count.tolist(), over.tolist(), strict=True):
        inner = found.setdefault(name or "", {})
        for what, true in (("documents", True), ("with listed words", places > 0), ("over a bound", crossed)):
            if true:
                inner[f"{code} {what}"] = inner.get(f"{code} {what}", 0) + 1
    return found


class Toxicity(SafetySignal):
    """Add signals of abuse: how many listed words a document holds, their share, and a classifier's score.

    Reads `text`, `source` and the column with the language, where one is named; adds columns (`toxicity_keep`, `_reason`,
    `_count`, `_share`, `_score`) and drops nothing unless told to: `mode: drop` with `max_count`, `max_share` or `max_score`.
    Depends on nothing but the document, the lists and the model. About 40 MB/s per core by words. The ledger counts, by
    source and language, documents, those with a listed word and those over a bound.

    No list and no model comes with it. `files` are named by language (`en`, `en.txt`), as in LDNOOBW; an entry counts between
    characters that are no `\\w`, in any case, or anywhere in the languages of `no_borders`. Of entries that end in one place
    one counts. A document whose language has no list has a count of 0.

    A signal, not a verdict. Lists know no context: they find quotations, news, medicine and words that a group uses of
    itself, and miss abuse in plain words. Classifiers score dialects such as African American English and sentences that
    merely name a group (gay, Muslim, deaf) as more toxic than they are. Dropping by either removes the speech of the groups it is meant to
    protect; look at the counts by source and language, and at what goes (docs/classifiers.md).
    """

    name: ClassVar[str] = "toxicity"
    summary: ClassVar[str] = "signals of abuse: the user's word lists and classifiers"
    origin: ClassVar[str] = "what it gets wrong: Sap et al. 2019 (ACL), Dixon et al. 2018 (AIES), Dodge et al. 2021 (arXiv:2104.08758)"


class Nsfw(SafetySignal):
    """Add signals of sexual content: how many listed words a document holds, their share, and a classifier's score.

    Works as `toxicity` does, with columns `nsfw_keep`, `_reason`, `_count`, `_share`, `_score`, and drops nothing unless told to. No list and no
    model comes with it. About 40 MB/s per core by words.

    A signal, not a verdict: words of sex education, medicine, law and of LGBTQ life stand in lists of this kind, and the documents that
    lists remove from web text are to a good part not pornographic (docs/classifiers.md).
    """

    name: ClassVar[str] = "nsfw"
    summary: ClassVar[str] = "signals of sexual content: the user's word lists and classifiers"
    origin: ClassVar[str] = "what it gets wrong: Dodge et al. 2021 (arXiv:2104.08758), section 5.3"
