"""Verifiers of answers: maths, choices, exact and partial agreement with a reference, patterns, JSON."""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Mapping
from functools import cached_property
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from curate.errors import MissingDependency
from formats.answers import final_answer, normalised
from formats.scoring.numbers import last_number, load_symbolic, number_of, same_expression, same_number
from formats.scoring.verifier import Verifier, field_of, text_field, text_fields

_LETTER = re.compile(r"^\s*[(\[]?([A-Ja-j])[)\].:]?\s*$")
_BLOCK = re.compile(r"```(?:json)?[ \t]*\n(.*?)```", re.DOTALL)
_ARTICLES = re.compile(r"\b(?:a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)


class _Extracting(Verifier):
    """What verifiers with a reference share: where it stands, and which part of the answer counts."""

    answer: str = Field(default="answer", min_length=1, description="field of the row with the reference; a dotted way goes into objects")
    pattern: str | None = Field(
        default=None, min_length=1, description="regular expression with one group: the part of an answer that counts, its last match"
    )

    @model_validator(mode="after")
    def _one_group(self) -> Self:
        if self.pattern is not None:
            _compiled(self.pattern, groups=1)
        return self

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        return re.compile(self.pattern or "", re.MULTILINE)

    def _matched(self, text: str) -> str | None:
        found = None
        for found in self._pattern.finditer(text):  # noqa: B007  the last one counts
            pass
        return None if found is None else found[1]


def _compiled(pattern: str, groups: int | None = None) -> re.Pattern[str]:
    try:
        made = re.compile(pattern)
    except re.error as error:
        raise ValueError(f"the pattern {pattern!r} is no regular expression: {error}") from error
    if groups is not None and made.groups != groups:
        raise ValueError(f"the pattern {pattern!r} needs {groups} group, it has {made.groups}")
    return made


class Math(_Extracting):
    """1 where the final answer is the reference's number or expression, 0 where not, null without a reference.

    The final answer is what `\\boxed{}`, `####` or "the answer is" mark, else the last number of the text (`extract`). A reference may be a whole
    solution with such a mark, as GSM8K's are. An answer without any number is 0.
    """

    name: ClassVar[str] = "math"
    summary: ClassVar[str] = "the final number or expression equals the reference's"

    extract: Literal["final", "marked", "whole"] = Field(
        default="final", description="final: what is marked, else the last number; marked: only what is marked; whole: the text as it is"
    )
    method: Literal["numeric", "symbolic"] = Field(
        default="numeric", description="symbolic: what numbers don't decide goes to math-verify (extra synth)"
    )

    def prepare(self) -> None:
        """Symbolic comparison needs math-verify."""
        if self.method == "symbolic":
            load_symbolic()

    def check(self, prompt: str, answer: str, row: Mapping[str, Any]) -> float | None:
        reference = text_field(row, self.answer)
        if reference is None:
            return None
        marked = final_answer(reference, ("boxed", "hashes"))
        wanted = marked[0] if marked else reference
        given = self.extracted(answer)
        return float(given is not None and self.same(given, wanted))

    def extracted(self, answer: str) -> str | None:
        """The part of an answer that counts; None where there is none."""
        if self.pattern is not None:
            return self._matched(answer)
        if self.extract == "whole":
            return answer
        found = final_answer(answer, ("boxed", "hashes", "phrase"))
        if found is not None:
            return self._of_phrase(found[0]) if found[1] == "phrase" else found[0]
        if self.extract == "marked":
            return None
        return answer if number_of(answer) is not None else last_number(answer)

    @staticmethod
    def _of_phrase(text: str) -> str:
        """ "the answer is 18 dollars a day": the number where the words hold one."""
        return text if same_number(text, text) is not None else last_number(text) or text

    def same(self, given: str, wanted: str) -> bool:
        """Whether two final answers mean the same."""
        equal = same_number(given, wanted)
        if equal is not None:
            return equal
        if normalised(given) == normalised(wanted):
            return bool(normalised(wanted))
        return self.method == "symbolic" and same_expression(given, wanted)


class Choice(_Extracting):
    """1 where the letter that an answer names is the reference's, 0 where it is another or none.

    The reference is a letter, or the number of a choice from 0. The letter is the last one that is named as the answer, alone on the last line, or in
    `\\boxed{}`.
    """

    name: ClassVar[str] = "choice"
    summary: ClassVar[str] = "the letter that is named is the reference's"

    def check(self, prompt: str, answer: str, row: Mapping[str, Any]) -> float | None:
        value = field_of(row, self.answer)
        if isinstance(value, int) and not isinstance(value, bool):
            wanted: str | None = string.ascii_uppercase[value] if 0 <= value < 26 else None
        else:
            found = _LETTER.match(text_field(row, self.answer) or "")
            wanted = found[1].upper() if found else None
        return None if wanted is None else float(self._letter(answer) == wanted)

    def _letter(self, answer: str) -> str | None:
        if self.pattern is not None:
            given = self._matched(answer)
        else:
            found = final_answer(answer, ("boxed", "choice"))
            given = found[0] if found else answer
        letter = _LETTER.match(given or "")
        return letter[1].upper() if letter else None


class Exact(_Extracting):
    """1 where the answer is the reference, or one of a list of references, 0 where not."""

    name: ClassVar[str] = "exact"
    summary: ClassVar[str] = "the answer is the reference, or one of them"

    normalize: bool = Field(default=True, description="compare without case, white space, punctuation and English articles (SQuAD)")

    def check(self, prompt: str, answer: str, row: Mapping[str, Any]) -> float | None:
        references = text_fields(row, self.answer)
        if references is None:
            return None
        given = answer if self.pattern is None else self._matched(answer)
        if given is None:
            return 0.0
        form = _squad if self.normalize else str
        return float(any(form(given) == form(r) for r in references))


class F1(_Extracting):
    """Harmonic mean of precision and recall over words, against the best of the references (Rajpurkar et al. 2016, SQuAD's script)."""

    name: ClassVar[str] = "f1"
    summary: ClassVar[str] = "words shared with the reference"

    def check(self, prompt: str, answer: str, row: Mapping[str, Any]) -> float | None:
        references = text_fields(row, self.answer)
        if references is None:
            return None
        given = _squad((answer if self.pattern is None else self._matched(answer)) or "").split()
        return max(_f1(given, _squad(r).split()) for r in references)


def _squad(text: str) -> str:
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split())


def _f1(given: list[str], wanted: list[str]) -> float:
    if not given or not wanted:
        return float(given == wanted)
    shared = (Counter(given) & Counter(wanted)).total()
    return 2 * shared / (len(given) + len(wanted))


class Regex(Verifier):
    """1 where the answer matches a pattern, 0 where not. Python's `re`: a pattern with nested repeats can take very long on long answers."""

    name: ClassVar[str] = "regex"
    summary: ClassVar[str] = "the answer matches a pattern"

    pattern: str | None = Field(default=None, min_length=1, description="regular expression")
    field: str | None = Field(default=None, min_length=1, description="field of the row that holds the pattern, in place of `pattern`")
    whole: bool = Field(default=False, description="the whole answer must match, not a part of it")
    max_chars: int = Field(default=100_000, ge=1, le=10**9, description="longer answers are 0")

    @model_validator(mode="after")
    def _given(self) -> Self:
        if (self.pattern is None) == (self.field is None):
            raise ValueError("give either 'pattern' or 'field'")
        if self.pattern is not None:
            _compiled(self.pattern)
        return self

    def check(self, prompt: str, answer: str, row: Mapping[str, Any]) -> float | None:
        pattern = self.pattern or text_field(row, self.field or "")
        if pattern is None:
            return None
        try:
            made = re.compile(pattern)  # cached by re
        except re.error:
            return None
        if len(answer) > self.max_chars:
            return 0.0
        return float((made.fullmatch(answer) if self.whole else made.search(answer)) is not None)


class JsonSchema(Verifier):
    """1 where the answer is JSON that fits a schema (any JSON without one), 0 where not. The last ```json block counts, else the whole answer."""

    name: ClassVar[str] = "json_schema"
    summary: ClassVar[str] = "the answer is JSON that fits a schema"

    schema_: dict[str, Any] | None = Field(default=None, alias="schema", description="JSON Schema; null: any JSON, or the row's `field`")
    field: str | None = Field(default=None, min_length=1, description="field of the row that holds the schema")

    def prepare(self) -> None:
        """Schemas need the package jsonschema."""
        if self.schema_ is None and self.field is None:
            return
        try:
            import jsonschema
        except ImportError as error:
            raise MissingDependency.extra("jsonschema", "synth", "the verifier json_schema") from error
        if self.schema_ is not None:
            jsonschema.validators.validator_for(self.schema_).check_schema(self.schema_)

    def check(self, prompt: str, answer: str, row: Mapping[str, Any]) -> float | None:
        schema = self.schema_
        if schema is None and self.field is not None:
            schema = field_of(row, self.field)
            if isinstance(schema, str):
                schema = parsed(schema)
            if not isinstance(schema, dict):
                return None
        blocks = _BLOCK.findall(answer)
        value = parsed(blocks[-1] if blocks else answer)
        if value is _NOT_JSON:
            return 0.0
        return 1.0 if schema is None else _fits(value, schema)


_NOT_JSON = object()


def parsed(text: str) -> Any:
    """A JSON value, or a mark that it is none."""
    from formats.json_text import loads

    try:
        return loads(text.strip())
    except (ValueError, RecursionError):
        return _NOT_JSON


def _fits(value: Any, schema: dict[str, Any]) -> float | None:
    import jsonschema
    import referencing

    try:
        # an empty registry: a schema that names others by URL fetches nothing
        validator = jsonschema.validators.validator_for(schema)
        validator.check_schema(schema)
        return float(validator(schema, registry=referencing.Registry()).is_valid(value))
    except (jsonschema.SchemaError, referencing.exceptions.Unresolvable, RecursionError, re.error):
        return None
