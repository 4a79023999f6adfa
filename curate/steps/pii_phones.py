"""What counts as a phone number: a way of writing, and a number that exists in the numbering plan of a country.

International form: `+`, country code, number. National form: for each of the given regions, with its trunk prefix (0 in
most countries) or without where the country writes it so. The plans are those of the package `phonenumbers` (Google's
libphonenumber), read as compiled patterns: parsing a candidate for ten regions takes half a millisecond, this takes
microseconds. A number without `+` and without a leading 0 must also be grouped as its country groups it, and with no
separators at all it must be a mobile number of its plan; otherwise every order number would be somebody's phone.

Not found: local numbers without area code, national numbers of fewer than 9 digits, vanity numbers (1-800-FLOWERS), short
codes, national forms of other regions. Dates and decimal fractions are left out on purpose.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import cache, lru_cache
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from phonenumbers import PhoneMetadata, PhoneNumberDesc

Match = re.Match[bytes]

_SEPARATOR = rb"(?:[ ./()-]|\xc2\xa0|\xe2\x80[\x90-\x95\xaf])"
PHONE = re.compile(
    rb"(?<![0-9A-Za-z_+./-])(?:"
    rb"\+\(?[0-9](?:" + _SEPARATOR + rb"{0,3}[0-9]){6,14}"
    rb"|\(?0(?:" + _SEPARATOR + rb"{0,3}[0-9]){8,12}"
    rb"|\(?[1-9](?:" + _SEPARATOR + rb"{0,2}[0-9]){9,10})"
)  # fmt: skip
_GROUP = re.compile(rb"[0-9]+")
_DATE = re.compile(rb"\(?(?:[0-3]?[0-9]([ ./-])[01]?[0-9]\1(?:19|20)[0-9]{2}|(?:19|20)[0-9]{2}([ ./-])[01]?[0-9]\2[0-3]?[0-9])(?![0-9])")
_EXTENSION = re.compile(rb"[ ,;]{0,2}(?:x|ext\.?|extension)[ .:]{0,2}[0-9]{1,6}(?![0-9A-Za-z_])", re.IGNORECASE)
_GLUED = re.compile(rb"[0-9A-Za-z_]|[./-][0-9]")  # what must not follow a number
_COUNTING = "01234567890123456789 12345678910"
_FEWEST_NATIONAL, _FEWEST_INTERNATIONAL = 9, 7  # digits; shorter national numbers exist, but most such runs are something else


class Layout(NamedTuple):
    """How a country writes the numbers of one pattern."""

    leading: re.Pattern[str]
    number: re.Pattern[str]
    breaks: frozenset[int]  # positions between digits where groups end
    needs_prefix: bool  # written with the trunk prefix, always


class Plan(NamedTuple):
    """Numbering plan of one region, for national significant numbers (without country code and trunk prefix)."""

    prefix: str  # trunk prefix, '' where there is none
    sizes: frozenset[int]
    valid: re.Pattern[str]
    mobile: re.Pattern[str]
    layouts: tuple[Layout, ...]
    dialled: re.Pattern[str]  # what may stand before a number: trunk prefix, carrier codes
    rewrite: str | None  # what it becomes, where it is not simply left out

    def is_valid(self, number: str) -> bool:
        """Whether libphonenumber's `is_valid_number` would be true."""
        return len(number) in self.sizes and self.valid.fullmatch(number) is not None

    def without_prefix(self, number: str) -> str | None:
        """The number without trunk prefix and carrier code, as libphonenumber's parser takes them off; None if it has none."""
        match = self.dialled.match(number)
        if match is None or not match.end():
            return None
        if self.rewrite is None or not match.re.groups or match.group(match.re.groups) is None:
            return number[match.end() :]
        return match.expand(self.rewrite) + number[match.end() :]

    def layout(self, number: str) -> Layout | None:
        """The way this number is written; None where the plan has no rule for it."""
        return next((x for x in self.layouts if x.leading.match(number) and x.number.fullmatch(number)), None)


def _described(kinds: list[PhoneNumberDesc | None]) -> str:
    """Alternatives for the kinds of number that exist, each with its possible lengths."""
    found = []
    for kind in kinds:
        if kind is not None and kind.national_number_pattern is not None:
            sizes = "|".join(rf"[0-9]{{{n}}}\Z" for n in kind.possible_length)
            found.append(rf"(?={sizes})(?:{kind.national_number_pattern})" if sizes else f"(?:{kind.national_number_pattern})")
    return "|".join(found) or "(?!)"


@cache
def plan(region: str) -> Plan:
    """Read the plan of a region ("US"), or of a calling code that belongs to none ("800")."""
    from phonenumbers import PhoneMetadata

    found = PhoneMetadata.metadata_for_nongeo_region(int(region)) if region.isdigit() else PhoneMetadata.metadata_for_region(region)
    if found is None:
        raise ValueError(f"phonenumbers knows no region {region!r}")
    general = found.general_desc
    assert general is not None and found.country_code is not None  # every region has both
    kinds = [
        found.premium_rate, found.toll_free, found.shared_cost, found.voip, found.personal_number, found.pager, found.uan,
        found.voicemail, found.fixed_line, found.mobile,
    ]  # fmt: skip
    home = found
    if not found.number_format and not region.isdigit():  # members of the North American plan share the formats of the US
        home = PhoneMetadata.metadata_for_region(_main_region(found.country_code)) or found
    return Plan(
        found.national_prefix or "",
        frozenset(general.possible_length),
        re.compile(rf"(?=(?:{general.national_number_pattern or '(?!)'})\Z)(?:{_described(kinds)})"),
        re.compile(_described([found.mobile])),
        tuple(_layouts(home)),
        re.compile(found.national_prefix_for_parsing or "(?!)"),
        found.national_prefix_transform_rule,
    )


def _main_region(calling_code: int) -> str:
    from phonenumbers import COUNTRY_CODE_TO_REGION_CODE

    return COUNTRY_CODE_TO_REGION_CODE[calling_code][0]


def _layouts(found: PhoneMetadata) -> Iterator[Layout]:
    for rule in found.number_format:
        leading = rule.leading_digits_pattern[-1] if rule.leading_digits_pattern else ""
        written = rule.national_prefix_formatting_rule or ""
        needs = bool(found.national_prefix and found.national_prefix in written) and not rule.national_prefix_optional_when_formatting
        # Groups of fixed length end at known places; the last one ends the number.
        at, breaks = 0, set()
        for size in re.findall(r"\(\\d(?:\{(\d+)(?:,\d+)?\})?\)", rule.pattern or "")[:-1]:
            at += int(size or 1)
            breaks.add(at)
        yield Layout(re.compile(leading), re.compile(rule.pattern or "(?!)"), frozenset(breaks), needs)


@lru_cache(maxsize=1 << 14)
def is_international(digits: str) -> bool:
    """Whether digits after `+` are a valid number: country code, and national number with or without trunk prefix."""
    from phonenumbers import COUNTRY_CODE_TO_REGION_CODE

    for size in (1, 2, 3):
        regions = COUNTRY_CODE_TO_REGION_CODE.get(int(digits[:size])) if digits[0] != "0" else None
        if regions is None:
            continue
        rest = digits[size:]
        plans = [plan(digits[:size] if r == "001" else r) for r in regions]
        bare = plans[0].without_prefix(rest)  # the first region is the main one of its code: its rules are used to parse
        return any(p.is_valid(rest) or (bare is not None and p.is_valid(bare)) for p in plans)
    return False


def _is_national(digits: str, groups: tuple[int, ...], plans: tuple[Plan, ...]) -> bool:
    """Whether digits written in groups of these lengths are a number of one of the plans."""
    return any(_fits(digits, groups, p) for p in plans)


def _fits(digits: str, groups: tuple[int, ...], p: Plan) -> bool:
    skip = len(p.prefix)
    if p.prefix and digits.startswith(p.prefix) and p.is_valid(digits[skip:]):
        # Pairs all through are an outline number ("05.02.06.02.01") where the country does not write pairs.
        lax = digits[0] == "0" and (len(groups) == 1 or max(groups) > 2)
        return lax or _well_grouped(digits[skip:], groups, skip, p)
    if digits[0] == "0" or not p.is_valid(digits):
        return False
    return _well_grouped(digits, groups, 0, p)


def _well_grouped(number: str, groups: tuple[int, ...], skip: int, p: Plan) -> bool:
    """Whether a number without a leading 0 is written as its country writes it. skip: digits of the trunk prefix."""
    layout = p.layout(number)
    if layout is None or (layout.needs_prefix and not skip):
        return False
    if len(groups) == 1:
        return p.mobile.fullmatch(number) is not None
    at, breaks = -skip, set()
    for size in groups[:-1]:
        at += size
        breaks.add(at)
    return breaks <= layout.breaks | {0}


def phone_check(regions: tuple[str, ...]) -> Callable[[memoryview, Match], int]:
    """Return the check of phone numbers that looks for national forms of `regions`; the longest valid one wins."""

    @cache
    def plans() -> tuple[Plan, ...]:
        return tuple(plan(r) for r in regions)

    def end_of(text: memoryview, match: Match) -> int:
        found = match.group()
        groups = [(m.start(), m.end()) for m in _GROUP.finditer(found)]
        international = found[0] == 0x2B
        if not international and (_DATE.match(found) or (len(groups) == 2 and found[groups[0][1] : groups[1][0]] == b".")):
            return -1
        digits = b"".join(found[a:z] for a, z in groups).decode("ascii")
        sizes = tuple(z - a for a, z in groups)
        if not international and any(size < 2 for size in sizes[1:]):
            cut = next(i for i, size in enumerate(sizes) if i and size < 2)
            groups, sizes = groups[:cut], sizes[:cut]
        for last in range(len(groups), 0, -1):
            used = sum(sizes[:last])
            if used < (_FEWEST_INTERNATIONAL if international else _FEWEST_NATIONAL):
                break
            past = match.start() + groups[last - 1][1]
            extension = _EXTENSION.match(text, past, past + 24)
            if extension is None and _GLUED.match(text, past):
                continue
            number = digits[:used]
            if international:
                good = is_international(number)
            else:
                good = (last > 1 or number not in _COUNTING) and _is_national(number, sizes[:last], plans())
            if good:
                return extension.end() if extension else past
        return -1

    return end_of
