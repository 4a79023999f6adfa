"""From text to what near-duplicate search works on: band hashes, and exact shingle sets, for every kind of shingle.

words: word         `\\w+` of the lower-cased text, CJK by character (DESIGN: the default, whatever other steps use)
words: unicode      the quality steps' split, lower-cased; marks count as words
words: whitespace   what str.split() gives, lower-cased
shingle: {chars: N} N characters in a row, lower-cased, white space folded to one blank
"""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pydantic import BaseModel, ConfigDict, Field, model_validator

from curate.step import Context

U64 = npt.NDArray[np.uint64]
I64 = npt.NDArray[np.int64]


class Shingle(BaseModel):
    """What a shingle is: exactly one of these."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    words: int | None = Field(None, ge=1, le=64, description="words in a shingle")
    chars: int | None = Field(None, ge=1, le=64, description="characters in a shingle: for languages without spaces, and code")

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.words is None) == (self.chars is None):
            raise ValueError("needs exactly one of words and chars")
        return self


class Sketch(NamedTuple):
    """Settings that decide band hashes and shingle sets."""

    words: str
    chars: bool
    ngram: int
    bands: int
    rows: int
    seed: int
    signature: str


class Sketcher(Protocol):
    """What the phases ask for."""

    def bands(self, text: pa.Array) -> tuple[U64, npt.NDArray[np.bool_]]:
        """(band hashes u64[n, bands], bool[n]: the document has shingles)"""
        ...

    def sets(self, text: pa.Array) -> tuple[I64, U64]:
        """(offsets i64[n+1], sorted shingle hashes of each document)"""
        ...


def make_sketcher(sketch: Sketch, ctx: Context) -> Sketcher:
    """The sketcher of these settings. MissingDependency where a signature needs a package."""
    if sketch.signature == "curate":
        return _Own(sketch, ctx)
    from curate.steps.foreign_signatures import ForeignSketcher

    return ForeignSketcher(sketch)


class _Own:
    def __init__(self, sketch: Sketch, ctx: Context) -> None:
        from curate.kernels import minhash, shingles, units

        self._sketch, self._ctx = sketch, ctx
        self._minhash, self._shingles, self._units = minhash, shingles, units

    def bands(self, text: pa.Array) -> tuple[U64, npt.NDArray[np.bool_]]:
        s, minhash = self._sketch, self._minhash
        if s.chars or s.words == "word":
            kind = minhash.CHARACTERS if s.chars else minhash.WORDS
            found = minhash.band_hashes(text, s.ngram, s.bands, s.rows, s.seed, kind)
        else:
            found = minhash.band_hashes_of(self._split(text), s.ngram, s.bands, s.rows, s.seed)
        return found.hash, found.shingles > 0

    def sets(self, text: pa.Array) -> tuple[I64, U64]:
        found = self._shingles.shingles(self._split(text), self._sketch.ngram)
        return found.doc, found.hash

    def _split(self, text: pa.Array) -> Any:
        if self._sketch.chars:
            return self._units.character_hashes(text)
        if self._sketch.words == "word":
            return self._shingles.word_hashes(text)
        return self._units.folded_words(text, self._ctx.words(text, self._sketch.words))
