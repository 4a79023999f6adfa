"""`engine: presidio`: Presidio's recognisers, context words and NER models inside the step.

    engine: [fast, presidio]
    presidio: {models: {en: "spacy:en_core_web_lg", de: blank}, entities: [PERSON, LOCATION], min_score: 0.5}
    entities: {person: tag, location: mask}

A model is `blank` (tokens only: pattern recognisers and context words work, names are not found), `spacy:NAME`,
`transformers:NAME` (any token-classification model) or `gliner:NAME`. Models are loaded from what is installed or cached;
nothing is downloaded, a missing one is named with the command that gets it.

Presidio 2.2 does about 0.1 MB/s on one core with patterns alone, far less with a model. Names are found as well as the
model finds them: read its card, and look at the figures that `curate audit pii` prints.
"""

from __future__ import annotations

import bisect
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field, field_validator

from curate.errors import MissingDependency

if TYPE_CHECKING:
    from presidio_analyzer import BatchAnalyzerEngine, RecognizerRegistry
    from presidio_analyzer.nlp_engine import NlpEngine

PIECE_CHARS = 100_000  # longer documents are analysed in pieces, cut at white space: spaCy refuses more than 10^6
# Presidio's entities that are types of ours; all others keep their name in lower case.
SAME_TYPE = {
    "EMAIL_ADDRESS": "email", "IP_ADDRESS": "ip", "PHONE_NUMBER": "phone", "CREDIT_CARD": "card", "IBAN_CODE": "iban", "US_SSN": "ssn",
}  # fmt: skip
NOT_PERSONAL = frozenset({"url", "date_time"})  # found by Presidio, acted on only where a recipe names them
_TAG = re.compile(r"<[A-Z][A-Z_]{0,40}(?:_[a-p]{16})?>")


class PatternRule(BaseModel):
    """A pattern of a recogniser of your own."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    regex: str = Field(min_length=1, max_length=2000, description="regular expression (Python's); its time is yours to bound")
    score: float = Field(0.5, ge=0.0, le=1.0, description="score without context words")

    @field_validator("regex")
    @classmethod
    def _compiles(cls, value: str) -> str:
        try:
            re.compile(value)
        except re.error as error:
            raise ValueError(f"is no regular expression: {error}") from error
        return value


class Recognizer(BaseModel):
    """A recogniser of your own: patterns, and words near them that raise the score."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    entity: str = Field(pattern=r"^[A-Z][A-Z0-9_]{1,39}$", description="name of the entity, in capitals: EMPLOYEE_ID")
    patterns: tuple[PatternRule, ...] = Field(min_length=1, max_length=100, description="what it looks like")
    context: tuple[str, ...] = Field((), max_length=200, description="words near it that raise the score by 0.35")
    language: str = Field("en", min_length=2, max_length=8, description="language of the documents it is for")


class PresidioSettings(BaseModel):
    """How Presidio is set up."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    models: Mapping[str, str] = Field(
        {"en": "blank"}, min_length=1, description="model by language: blank, spacy:NAME, transformers:NAME or gliner:NAME"
    )
    language_column: str | None = Field(
        None, description="column with the language of each document (lang_code); documents in other languages are read in the first one"
    )
    entities: tuple[str, ...] | None = Field(None, description="look for these only (PERSON, US_PASSPORT, ...); default: all")
    min_score: float = Field(0.4, ge=0.0, le=1.0, description="leave out what Presidio scores lower")
    min_scores: Mapping[str, float] = Field({}, description="other bounds by entity")
    recognizers: tuple[Recognizer, ...] = Field((), max_length=200, description="recognisers of your own")
    batch_size: int = Field(32, ge=1, le=4096, description="texts a model sees at once")

    @field_validator("models")
    @classmethod
    def _known_kinds(cls, models: Mapping[str, str]) -> Mapping[str, str]:
        for language, model in models.items():
            if model != "blank" and model.partition(":")[0] not in ("spacy", "transformers", "gliner"):
                raise ValueError(f"{language}: must be blank, spacy:NAME, transformers:NAME or gliner:NAME, got {model!r}")
        return models


class Presidio:
    """An analyser per language, made once per process."""

    def __init__(self, settings: PresidioSettings) -> None:
        self._settings = settings
        self._analyzers = {language: _analyzer(language, model, settings) for language, model in settings.models.items()}

    def spans(self, texts: Sequence[str], languages: Sequence[str | None]) -> list[list[tuple[int, int, str, float]]]:
        """(start, end, type, score) in code points for each text, without overlaps.

        Where two of Presidio's own finds overlap the one with the higher score stays, then the longer, then the earlier.
        What touches a tag such as <EMAIL> is left out.
        """
        found: list[list[tuple[int, int, str, float]]] = [[] for _ in texts]
        first = next(iter(self._analyzers))
        spoken = [lang if lang in self._analyzers else first for lang in languages]
        for language, analyzer in self._analyzers.items():
            pieces = [(row, at, piece) for row, text in enumerate(texts) if spoken[row] == language for at, piece in _pieces(text)]
            wanted = list(self._settings.entities) if self._settings.entities else None
            results = analyzer.analyze_iterator(
                [piece for _, _, piece in pieces], language, batch_size=self._settings.batch_size, entities=wanted, score_threshold=0.0
            )
            for (row, at, _), entities in zip(pieces, results, strict=True):
                found[row] += [(at + e.start, at + e.end, e.entity_type, e.score) for e in entities if self._good(e)]
        return [_settled(spans, text) for spans, text in zip(found, texts, strict=True)]

    def _good(self, result: Any) -> bool:
        return bool(
            result.end > result.start and result.score >= self._settings.min_scores.get(result.entity_type, self._settings.min_score)
        )


def type_name(entity: str) -> str:
    """Our name of one of Presidio's entities."""
    return SAME_TYPE.get(entity, entity.lower())


def _pieces(text: str) -> Iterator[tuple[int, str]]:
    at = 0
    while len(text) - at > PIECE_CHARS:
        cut = max(text.rfind(" ", at, at + PIECE_CHARS), text.rfind("\n", at, at + PIECE_CHARS)) + 1
        cut = cut if cut > at else at + PIECE_CHARS
        yield at, text[at:cut]
        at = cut
    if at < len(text):
        yield at, text[at:]


def _settled(spans: list[tuple[int, int, str, float]], text: str) -> list[tuple[int, int, str, float]]:
    kept = [(m.start(), m.end(), "", 2.0) for m in _TAG.finditer(text)] if "<" in text else []
    for span in sorted(spans, key=lambda s: (-s[3], s[0] - s[1], s[0], s[2])):
        at = bisect.bisect_right(kept, span)
        if (at == 0 or kept[at - 1][1] <= span[0]) and (at == len(kept) or kept[at][0] >= span[1]):
            kept.insert(at, span)
    return [(a, z, type_name(name), score) for a, z, name, score in kept if name]


def _analyzer(language: str, model: str, settings: PresidioSettings) -> BatchAnalyzerEngine:
    try:
        from presidio_analyzer import AnalyzerEngine, BatchAnalyzerEngine, Pattern, PatternRecognizer, RecognizerRegistry
    except ImportError as error:
        raise MissingDependency.extra("presidio-analyzer", "pii", "engine: presidio") from error
    _stay_offline()
    kind, _, name = model.partition(":")
    engine = _nlp_engine(language, name if kind == "spacy" else "")
    registry = RecognizerRegistry(supported_languages=[language])
    registry.load_predefined_recognizers(languages=[language], nlp_engine=engine)
    for number, own in enumerate(r for r in settings.recognizers if r.language == language):
        patterns = [Pattern(f"{own.entity}-{i}", p.regex, p.score) for i, p in enumerate(own.patterns)]
        registry.add_recognizer(
            PatternRecognizer(own.entity, name=f"own-{number}", patterns=patterns, context=list(own.context), supported_language=language)
        )
    if kind in ("transformers", "gliner"):
        _add_model(registry, kind, name, language)
    return BatchAnalyzerEngine(AnalyzerEngine(registry=registry, nlp_engine=engine, supported_languages=[language]))


def _stay_offline() -> None:
    """Keep tldextract, which Presidio asks whether a domain exists, to the list it carries: else it fetches one, and finds vary."""
    import tldextract.tldextract as inner

    if inner.TLD_EXTRACTOR.suffix_list_urls:
        inner.TLD_EXTRACTOR = inner.TLDExtract(cache_dir=None, suffix_list_urls=())


def _nlp_engine(language: str, model: str) -> NlpEngine:
    """spaCy with an installed model, or without one: then a token is its own lemma, so that context words work."""
    import spacy
    from presidio_analyzer.nlp_engine import NerModelConfiguration, NlpArtifacts, SpacyNlpEngine

    if model and not spacy.util.is_package(model):
        raise MissingDependency(
            f"engine: presidio needs the spaCy model {model!r} for {language}, which is not installed. Run: python -m spacy download {model}"
        )

    class Tokens(SpacyNlpEngine):
        def load(self) -> None:
            try:
                pipeline = spacy.load(model) if model else spacy.blank(language)
            except ImportError:  # spaCy has no rules for this language
                pipeline = spacy.blank("xx")
            pipeline.max_length = 2 * PIECE_CHARS
            self.nlp = {language: pipeline}  # type: ignore[assignment]  # Presidio says it is always None

        def _doc_to_nlp_artifact(self, doc: Any, language: str) -> Any:
            artifacts = super()._doc_to_nlp_artifact(doc, language)
            if not model:
                artifacts.lemmas = [token.lower_ for token in doc]
                artifacts.keywords = NlpArtifacts.set_keywords(self, artifacts.lemmas, language)
            return artifacts

    engine = Tokens(models=[{"lang_code": language, "model_name": model or "blank"}], ner_model_configuration=NerModelConfiguration())
    engine.load()
    return engine


def _add_model(registry: RecognizerRegistry, kind: str, name: str, language: str) -> None:
    """Add a model that finds entities by itself. Only what is on this machine is used."""
    import os

    from presidio_analyzer.predefined_recognizers import GLiNERRecognizer
    from presidio_analyzer.predefined_recognizers.ner import HuggingFaceNerRecognizer

    package, maker = ("gliner", GLiNERRecognizer) if kind == "gliner" else ("transformers", HuggingFaceNerRecognizer)
    before = os.environ.get("HF_HUB_OFFLINE")
    os.environ["HF_HUB_OFFLINE"] = "1"
    try:
        recognizer = maker(model_name=name, supported_language=language)
        recognizer.load()
    except ImportError as error:
        raise MissingDependency(f"engine: presidio with {kind}:{name} needs the package {package!r}. Run: pip install {package}") from error
    except (OSError, ValueError) as error:
        raise MissingDependency(
            f"engine: presidio can't load the {kind} model {name!r} for {language}: {str(error).splitlines()[0]}. "
            f"Run: hf download {name}, or give the path of a folder that has it."
        ) from error
    finally:
        if before is None:
            del os.environ["HF_HUB_OFFLINE"]
        else:
            os.environ["HF_HUB_OFFLINE"] = before
    registry.add_recognizer(recognizer)
