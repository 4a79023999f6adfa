"""`pii`: find personal data and replace it, mask it, mark it or drop the document."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
from pydantic import Field, field_validator, model_validator

from curate.errors import DataError
from curate.schema import with_columns
from curate.step import BatchFn, Context, Outcome, Step, Verdict, counted
from curate.steps.pii_actions import Action, EntityAction
from curate.steps.pii_presidio import NOT_PERSONAL, PresidioSettings

if TYPE_CHECKING:
    from curate.kernels.strings import I64, U8
    from curate.steps.pii_actions import Replace
    from curate.steps.pii_search import Finder, Finds

TYPES = ("key", "credentials", "email", "iban", "card", "ssn", "national_id", "ip", "phone")  # in order of priority where finds overlap
REGIONS = ("US", "GB", "CA", "AU", "DE", "FR", "IN", "IL", "BR", "CN")
SPANS = pa.list_(
    pa.struct([("start", pa.int64()), ("end", pa.int64()), ("type", pa.string()), ("score", pa.float64())])
)  # offsets in code points of the document's text as it leaves the step


class PersonalData(Step):
    """Find personal data and secrets: addresses, numbers and keys by pattern and check, names with Presidio and a model.

    Each type has an action: `tag` writes `<EMAIL>`, `<IP>`, ... in its place; `mask` writes `*` for its letters and
    digits; `hash` writes `<EMAIL_...>` with a keyed hash; `fake` writes something of the same shape that is nobody's, the
    same for the same value in every document; `drop_document` drops the document (its text stays as it was); `annotate`
    lists it in the column `pii_spans`. Naming any type looks for the named ones only; naming none looks for all and tags
    them. Running the step on its own output changes nothing. With `mode: annotate` the text stays as it is and all finds
    are listed, whatever the actions. How many were found, by type and source, stands in the manifest beside the step.

    Chat and preference rows are rewritten in their turns, and their text is made anew from them.

    Where finds of two types overlap, the type that stands first in the order key, credentials, email, iban, card, ssn,
    national_id, ip, phone stays and the other find is ignored; Presidio's come last.

    The fast engine finds what has a form: patterns and checks (Luhn, mod 97, numbering plans, check digits). It does not
    find names, street addresses, dates of birth, account or passport numbers, addresses spelt out ("name at example dot
    com"), keys without a known prefix, or anything in pictures and encoded text. `docs/personal-data.md` says per type what
    is missed, and with `curate audit pii RUN` it can be measured. Which phone numbers exist depends on the installed
    version of `phonenumbers`.

    Reads text; the result depends on the document alone. About 450 MB/s per core on prose and web text with the fast engine,
    0.1 MB/s with Presidio.
    """

    name: ClassVar[str] = "pii"
    version: ClassVar[int] = 2
    summary: ClassVar[str] = "replace, mask, fake or mark personal data and secrets"
    origin: ClassVar[str] = "types after Presidio 2.2 and datatrove 0.10 PIIFormatter; own patterns"
    rewrites_text: ClassVar[bool] = True

    email: Action | None = Field(None, description="what to do with e-mail addresses; Unicode and IDN ones too")
    ip: Action | None = Field(None, description="what to do with IPv4 and IPv6 addresses")
    phone: Action | None = Field(None, description="what to do with phone numbers")
    card: Action | None = Field(None, description="what to do with payment card numbers (checked by Luhn)")
    iban: Action | None = Field(None, description="what to do with IBANs (checked by form and mod 97)")
    ssn: Action | None = Field(None, description="what to do with US social security numbers")
    national_id: Action | None = Field(
        None, description="what to do with other countries' identity, tax and insurance numbers that have check digits"
    )
    credentials: Action | None = Field(None, description="what to do with user:password in URLs; the host stays")
    key: Action | None = Field(None, description="what to do with API keys, tokens and private keys")
    entities: Mapping[str, EntityAction] = Field({}, description="what to do with Presidio's other entities: {person: tag, location: mask}")
    regions: tuple[str, ...] = Field(REGIONS, max_length=64, description="countries whose national phone numbers are found (ISO 3166)")
    public_ips_only: bool = Field(
        False, description="leave private, reserved and documentation addresses alone, as datatrove does by default"
    )
    engine: tuple[Literal["fast", "presidio"], ...] = Field(
        ("fast",), min_length=1, max_length=2, description="fast, presidio, or both: [fast, presidio]"
    )
    presidio: PresidioSettings = Field(
        PresidioSettings.model_validate({}), description="models, entities, bounds and recognisers of Presidio"
    )
    secret_file: str | None = Field(
        None,
        json_schema_extra={"path": True},
        description="file whose content keys `hash` and `fake`; without one the recipe's seed does, which is no secret",
    )
    mode: Literal["drop", "annotate"] = Field("drop", description="annotate: change nothing, add the column pii_spans")

    @field_validator("engine", mode="before")
    @classmethod
    def _one_engine(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else value

    @field_validator("entities")
    @classmethod
    def _own_names(cls, entities: Mapping[str, EntityAction]) -> Mapping[str, EntityAction]:
        lower = {name.lower(): action for name, action in entities.items()}
        same = sorted(set(lower) & set(TYPES))
        if same:
            raise ValueError(f"{same[0]} is a type of its own: say `{same[0]}: {lower[same[0]]}` beside `entities`")
        return lower

    @model_validator(mode="after")
    def _entities_need_presidio(self) -> PersonalData:
        if self.entities and "presidio" not in self.engine:
            raise ValueError("entities are found by Presidio only: set `engine: [fast, presidio]`")
        return self

    @field_validator("regions")
    @classmethod
    def _known(cls, regions: tuple[str, ...]) -> tuple[str, ...]:
        if set(regions) <= set(REGIONS):
            return regions
        from phonenumbers import SUPPORTED_REGIONS

        unknown = [r for r in regions if r not in SUPPORTED_REGIONS]
        if unknown:
            raise ValueError(f"unknown regions {unknown}; expected two-letter codes such as 'US' or 'DE'")
        return regions

    def actions(self) -> dict[str, Action]:
        """Action by type, in order of priority."""
        named: dict[str, Action | None] = {name: getattr(self, name) for name in TYPES}
        chosen: dict[str, Action] = {name: action for name, action in named.items() if action is not None}
        return chosen if chosen or self.entities else dict.fromkeys(TYPES, "tag")

    def action_of(self, name: str) -> Action | None:
        """Action for a type, Presidio's entities among them; None: it is left alone."""
        found = self.actions().get(name) or self.entities.get(name)
        everything = not self.entities and all(getattr(self, t) is None for t in TYPES)
        return found or ("tag" if everything and name not in TYPES and name not in NOT_PERSONAL else None)

    def reads(self) -> frozenset[str]:
        """Text, and the column of languages where Presidio has one."""
        column = self.presidio.language_column if "presidio" in self.engine else None
        return frozenset({"text", column} if column else {"text"})

    def adds(self) -> Mapping[str, pa.DataType]:
        """`pii_spans` in annotate mode or where a type is annotated; the verdict's columns in annotate mode."""
        columns: dict[str, pa.DataType] = {}
        if self.mode == "annotate" or "annotate" in (*self.actions().values(), *self.entities.values()):
            columns["pii_spans"] = SPANS
        if self.mode == "annotate" and self._dropping():
            columns |= {"pii_keep": pa.bool_(), "pii_reason": pa.string()}
        return columns

    def drops(self) -> tuple[str, ...]:
        """One reason for each type whose action is drop_document; none in annotate mode."""
        return tuple(f"pii.{name}" for name in self._dropping()) if self.mode == "drop" else ()

    def _dropping(self) -> list[str]:
        return [name for name, action in (*self.actions().items(), *self.entities.items()) if action == "drop_document"]

    def _rewrites(self) -> bool:
        """Whether any find can change the text: Presidio's entities are tagged where nothing is named."""
        named = {*self.actions().values(), *self.entities.values()} - {"annotate", "drop_document"}
        return self.mode == "drop" and bool(named)

    def bind(self, ctx: Context) -> BatchFn:
        """Compile patterns and the scan, load Presidio's models; numbering plans are read at the first candidate."""
        from curate.kernels.strings import from_buffers, views
        from curate.steps.pii_search import rewrite, splice
        from curate.steps.turns import Turns, has_turns

        finder = self.finder()
        writes = _Writes(self, self._replacer(ctx.seed))
        dropping = frozenset(self._dropping())
        added, rewrites = self.adds(), self._rewrites()
        column = self.presidio.language_column if finder.needs_languages else None

        def run(batch: pa.RecordBatch) -> Outcome:
            text = batch.column("text")
            data, offsets = views(text)
            languages = batch.column(column).to_pylist() if column else [None] * (len(batch) if finder.needs_languages else 0)
            turns = Turns(batch) if rewrites and has_turns(batch.schema, "pii") else None
            done = rewrite(data, offsets, finder, languages, writes, dropping, turns)
            columns: dict[str, pa.Array] = {}
            if done.changed:
                data, offsets = splice(data, offsets, done.changed)
                columns["text"] = from_buffers(data, offsets, text)
                columns |= turns.columns(done.changed) if turns is not None else {}
            if "pii_spans" in added:
                columns["pii_spans"] = self._spans(data, offsets, done.finds, finder)
            verdict = _verdict(len(batch), done.dropped) if dropping else None
            if verdict is not None and self.mode == "annotate":
                columns |= {"pii_keep": verdict.keep, "pii_reason": verdict.reason}
                verdict = None
            sources = batch.column("source") if "source" in batch.schema.names else pa.nulls(len(batch), pa.string())
            counts = counted(sources, finder.names, self._acted_on(done.counted, finder))
            return Outcome(with_columns(batch, columns), verdict, counts, unreadable=turns.broken if turns is not None else {})

        return run

    def finder(self) -> Finder:
        """The engines, for the types that have an action."""
        from curate.steps.pii_patterns import pii_types
        from curate.steps.pii_search import TYPE_OF_KIND, Finder

        presidio = None
        if "presidio" in self.engine:
            from curate.steps.pii_presidio import Presidio

            presidio = Presidio(self.presidio)
        actions = self.actions() if "fast" in self.engine else {}
        kinds = pii_types(self.regions, self.public_ips_only)
        return Finder({kind: t for (kind, t), name in zip(kinds.items(), TYPE_OF_KIND, strict=True) if name in actions}, presidio)

    def _replacer(self, seed: int) -> Any:
        """The function that makes the replacement of a type and action."""
        from curate.steps.pii_actions import Keyed, replacement
        from curate.steps.pii_fakes import Fakes
        from curate.steps.pii_patterns import pii_types, search

        keyed = Keyed(_secret(self.secret_file, seed))
        kinds = pii_types(self.regions, self.public_ips_only)

        def is_found(value: bytes) -> bool:
            text = memoryview(value)
            return any(next(search(kind, text, 0, len(text)), None) for kind in kinds.values())

        fakes = Fakes(keyed, is_found, self.regions)
        return lambda action, name: replacement(action, name, keyed, fakes.of)

    def _spans(self, data: U8, offsets: I64, finds: Finds, finder: Finder) -> pa.ListArray:
        """The column pii_spans: finds of types with an action (in annotate mode), or with the action annotate."""
        from curate.steps.pii_search import code_points

        sizes = np.zeros(len(offsets) - 1, np.int64)
        rows: list[dict[str, object]] = []
        buffer = data.data
        for doc in sorted(finds):
            here = [f for f in finds[doc] if self._listed(finder.names[f.kind])]
            places = code_points(buffer[offsets[doc] : offsets[doc + 1]], here)
            for (start, end), found in zip(places, here, strict=True):
                rows.append({"start": start, "end": end, "type": finder.names[found.kind], "score": finder.score(found)})
            sizes[doc] = len(here)
        ends = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int32)
        return pa.ListArray.from_arrays(pa.array(ends), pa.array(rows, SPANS.value_type))

    def _listed(self, name: str) -> bool:
        action = self.action_of(name)
        return action is not None and (self.mode == "annotate" or action == "annotate")

    def _acted_on(self, pairs: list[tuple[int, int]], finder: Finder) -> list[tuple[int, int]]:
        acted_on = {kind for kind in {kind for _, kind in pairs} if self.action_of(finder.names[kind]) is not None}
        return [pair for pair in pairs if pair[1] in acted_on]


class _Writes(Mapping[str, "Replace"]):
    """Replacements by type, made when first asked for: Presidio's entities are not known before they are found."""

    def __init__(self, step: PersonalData, make: Any) -> None:
        self._step, self._make, self._made = step, make, {}  # type: ignore[var-annotated]

    def __getitem__(self, name: str) -> Replace:
        if name not in self._made:
            action = self._step.action_of(name)
            self._made[name] = self._make(action, name) if action is not None and self._step.mode == "drop" else None
        if self._made[name] is None:
            raise KeyError(name)
        found: Replace = self._made[name]
        return found

    def __iter__(self) -> Any:
        return iter([name for name, made in self._made.items() if made is not None])

    def __len__(self) -> int:
        return sum(made is not None for made in self._made.values())


def _secret(path: str | None, seed: int) -> bytes:
    """What keys hashes and fakes."""
    if path is None:
        return f"curate pii, seed {seed}".encode()
    try:
        secret = Path(path).read_bytes().strip()
    except OSError as error:
        raise DataError(f"pii.secret_file {path} can't be read: {error.strerror}. Make one: openssl rand -hex 32 > {path}") from error
    if len(secret) < 16:
        raise DataError(
            f"pii.secret_file {path} holds {len(secret)} bytes; at least 16 are needed. Make one: openssl rand -hex 32 > {path}"
        )
    return secret


def _verdict(n: int, dropped: Mapping[int, tuple[str, int]]) -> Verdict:
    """Drop the documents named; value is the number of finds of the type that decided."""
    keep = np.ones(n, bool)
    reason: list[str | None] = [None] * n
    value: list[float | None] = [None] * n
    for doc, (kind, count) in dropped.items():
        keep[doc], reason[doc], value[doc] = False, f"pii.{kind}", float(count)
    return Verdict(pa.array(keep), pa.array(reason, pa.string()), pa.array(value, pa.float64()))
