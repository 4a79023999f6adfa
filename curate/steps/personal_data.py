"""`pii`: find personal data by pattern and replace it, mask it, mark it or drop the document."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
import pyarrow as pa
from pydantic import Field, field_validator

from curate.schema import with_columns
from curate.step import BatchFn, Context, Outcome, Step, Verdict

if TYPE_CHECKING:
    from curate.kernels.strings import I64, U8
    from curate.steps.pii_search import Finds

Action = Literal["tag", "mask", "drop_document", "annotate"]

TYPES = ("key", "email", "iban", "card", "ssn", "ip", "phone")  # in order of priority where finds overlap
REGIONS = ("US", "GB", "CA", "AU", "DE", "FR", "IN", "IL", "BR", "CN")
SPANS = pa.list_(
    pa.struct([("start", pa.int64()), ("end", pa.int64()), ("type", pa.string()), ("score", pa.float64())])
)  # offsets in code points of the document's text as it leaves the step


class PersonalData(Step):
    """Find e-mail and IP addresses, phone numbers, payment cards, IBANs, US social security numbers and secret keys.

    Each type has an action: `tag` writes `<EMAIL>`, `<IP>`, ... in its place; `mask` writes `*` for its letters and
    digits; `drop_document` drops the document (its text stays as it was); `annotate` lists it in the column `pii_spans`.
    Naming any type looks for the named ones only; naming none looks for all and tags them.

    Where finds of two types overlap, the type that stands first in the order key, email, iban, card, ssn, ip, phone
    stays and the other find is ignored. Running the step on its own output changes nothing. With `mode: annotate` the
    text stays as it is and all finds are listed, whatever the actions.

    Patterns and checks (Luhn, mod 97, numbering plans) find what has a form. They do not find names, street addresses,
    dates of birth, account or passport numbers, addresses spelt out ("name at example dot com"), keys without a known
    prefix, or anything in pictures and encoded text. `curate.steps.pii_patterns` and `pii_phones` say per type what is missed.
    Which phone numbers exist depends on the installed version of `phonenumbers`.

    Reads text; the result depends on the document alone. About 120 MB/s per core on prose and web text.
    """

    name: ClassVar[str] = "pii"
    summary: ClassVar[str] = "replace, mask or mark personal data and keys found by pattern"
    origin: ClassVar[str] = "types after Presidio 2.2 and datatrove 0.10 PIIFormatter; own patterns"
    rewrites_text: ClassVar[bool] = True

    email: Action | None = Field(None, description="what to do with e-mail addresses; Unicode and IDN ones too")
    ip: Action | None = Field(None, description="what to do with IPv4 and IPv6 addresses")
    phone: Action | None = Field(None, description="what to do with phone numbers")
    card: Action | None = Field(None, description="what to do with payment card numbers (checked by Luhn)")
    iban: Action | None = Field(None, description="what to do with IBANs (checked by mod 97)")
    ssn: Action | None = Field(None, description="what to do with US social security numbers")
    key: Action | None = Field(None, description="what to do with API keys, tokens and private keys")
    regions: tuple[str, ...] = Field(REGIONS, max_length=64, description="countries whose national phone numbers are found (ISO 3166)")
    public_ips_only: bool = Field(
        False, description="leave private, reserved and documentation addresses alone, as datatrove does by default"
    )
    mode: Literal["drop", "annotate"] = Field("drop", description="annotate: change nothing, add the column pii_spans")

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
        return chosen or dict.fromkeys(TYPES, "tag")

    def adds(self) -> Mapping[str, pa.DataType]:
        """`pii_spans` in annotate mode or where a type is annotated; the verdict's columns in annotate mode."""
        columns: dict[str, pa.DataType] = {}
        if self.mode == "annotate" or "annotate" in self.actions().values():
            columns["pii_spans"] = SPANS
        if self.mode == "annotate" and self._dropping():
            columns |= {"pii_keep": pa.bool_(), "pii_reason": pa.string()}
        return columns

    def drops(self) -> tuple[str, ...]:
        """One reason for each type whose action is drop_document; none in annotate mode."""
        return tuple(f"pii.{name}" for name in self._dropping()) if self.mode == "drop" else ()

    def _dropping(self) -> list[str]:
        return [name for name, action in self.actions().items() if action == "drop_document"]

    def bind(self, ctx: Context) -> BatchFn:
        """Compile patterns and the scan; numbering plans are read at the first candidate."""
        from curate.kernels.strings import from_buffers, views
        from curate.steps.pii_patterns import pii_types
        from curate.steps.pii_search import rewrite, splice

        actions = self.actions()
        types = {name: kind for name, kind in pii_types(self.regions, self.public_ips_only).items() if name in actions}
        replacing: dict[str, bytes | None] = {"tag": b"", "mask": None}
        replacements = {
            TYPES.index(name): f"<{name.upper()}>".encode() if action == "tag" else replacing[action]
            for name, action in actions.items()
            if action in replacing and self.mode == "drop"
        }
        dropping = frozenset(TYPES.index(name) for name in self._dropping())
        added = self.adds()

        def run(batch: pa.RecordBatch) -> Outcome:
            text = batch.column("text")
            data, offsets = views(text)
            done = rewrite(data, offsets, types, replacements, dropping)
            columns: dict[str, pa.Array] = {}
            if done.changed:
                data, offsets = splice(data, offsets, done.changed)
                columns["text"] = from_buffers(data, offsets, text)
            if "pii_spans" in added:
                listed = actions if self.mode == "annotate" else [n for n, a in actions.items() if a == "annotate"]
                columns["pii_spans"] = _spans(data, offsets, done.finds, {n: types[n].score for n in listed})
            verdict = _verdict(len(batch), done.dropped) if dropping else None
            if verdict is not None and self.mode == "annotate":
                columns |= {"pii_keep": verdict.keep, "pii_reason": verdict.reason}
                verdict = None
            return Outcome(with_columns(batch, columns), verdict)

        return run


def _verdict(n: int, dropped: Mapping[int, tuple[int, int]]) -> Verdict:
    """Drop the documents named; value is the number of finds of the type that decided."""
    keep = np.ones(n, bool)
    reason: list[str | None] = [None] * n
    value: list[float | None] = [None] * n
    for doc, (kind, count) in dropped.items():
        keep[doc], reason[doc], value[doc] = False, f"pii.{TYPES[kind]}", float(count)
    return Verdict(pa.array(keep), pa.array(reason, pa.string()), pa.array(value, pa.float64()))


def _spans(data: U8, offsets: I64, finds: Finds, scores: Mapping[str, float]) -> pa.ListArray:
    """The column pii_spans: the finds of the types in `scores`, an empty list where there are none."""
    from curate.steps.pii_search import code_points

    sizes = np.zeros(len(offsets) - 1, np.int64)
    rows: list[dict[str, object]] = []
    buffer = data.data
    for doc in sorted(finds):
        here = [f for f in finds[doc] if TYPES[f.kind] in scores]
        places = code_points(buffer[offsets[doc] : offsets[doc + 1]], here)
        for (start, end), found in zip(places, here, strict=True):
            name = TYPES[found.kind]
            rows.append({"start": start, "end": end, "type": name, "score": scores[name]})
        sizes[doc] = len(here)
    ends = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(ends), pa.array(rows, SPANS.value_type))
