"""What counts as a phone number: a way of writing, and a number that exists in the numbering plan of a country.

International form: `+`, country code, number. National form: for each of the given regions, with its trunk prefix (0 in
most countries) or without where the country writes it so. The plans are those of the package `phonenumbers` (Google's
libphonenumber), read as compiled patterns: parsing a candidate for ten regions takes half a millisecond, this takes
microseconds. A number without `+` and without a leading 0 must also be grouped as its country groups it, and with no
separators at all it must be a mobile number of its plan; otherwise every order number would be somebody's phone.

Not found: local numbers without area code, national numbers of fewer than 9 digits, vanity numbers (1-800-FLOWERS), short
codes, national forms of other regions. Left out on purpose: dates, decimal fractions, and, unless a word such as "phone"
stands before them, what looks like part of a table, of a hex dump or of an outline, ISBNs, and ten digits in one run.
After such a word seven digits in groups are enough.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import cache, lru_cache
from typing import TYPE_CHECKING, NamedTuple

from curate.steps.pii_patterns import Match, before

if TYPE_CHECKING:
    from phonenumbers import PhoneMetadata, PhoneNumberDesc

_SEPARATOR = rb"(?:[ ./()-]|\xc2\xa0|\xe2\x80[\x90-\x95\xaf])"
PHONE_PATTERN = re.compile(
    rb"(?<![0-9A-Za-z_+./-])(?<![0-9][:,])(?:"
    rb"\(?\+\(?[0-9](?:" + _SEPARATOR + rb"{0,3}[0-9]){6,14}"
    rb"|\(?0(?:" + _SEPARATOR + rb"{0,3}[0-9]){8,12}"
    rb"|\(?[1-9](?:" + _SEPARATOR + rb"{0,2}[0-9]){6,10})"
)  # fmt: skip
_GROUP = re.compile(rb"[0-9]+")
_DATE = re.compile(rb"\(?(?:[0-3]?[0-9]([ ./-])[01]?[0-9]\1(?:19|20)[0-9]{2}|(?:19|20)[0-9]{2}([ ./-])[01]?[0-9]\2[0-3]?[0-9])(?![0-9])")
_EXTENSION = re.compile(rb"[ ,;]{0,2}(?:x|ext\.?|extension)[ .:]{0,2}[0-9]{1,6}(?![0-9A-Za-z_])", re.IGNORECASE)
_GLUED = re.compile(rb"[0-9A-Za-z_]|[./-][0-9]")  # what must not follow a number
_COUNTING = "01234567890123456789 12345678910"
_FEWEST_NATIONAL, _FEWEST_INTERNATIONAL = 9, 7  # digits; shorter national numbers exist, but most such runs are something else

# Words of telephones. The scan looks for the first three letters of the short list, so every word there has one of them.
_LOCAL_WORDS = rb"tele?phon\w{0,4}|telefax|telefon\w{0,4}|phones?|tel|fax|call|mobile|cell|cellphone|celular"
_OTHER_WORDS = rb"t\xc3\xa9l\S{0,10}|whatsapp|sms|hotline|dial|handy|mobil|contact|number|pager|portable|\xe7\x94\xb5\xe8\xaf\x9d|\xe6\x89\x8b\xe6\x9c\xba"
_LOCAL_WORD = re.compile(  # and nothing but such words between it and the number
    rb"(?<![<a-z])(?:" + _LOCAL_WORDS + rb")[^0-9a-z]{0,4}"
    rb"(?:(?:numbers?|no|nr|num|is|at|us|me|him|her|on|to|or|was|line|office|home|work)[^0-9a-z]{1,4}){0,4}\Z"
)
_PHONE_WORD = re.compile(rb"(?<![<a-z])(?:" + _LOCAL_WORDS + rb"|" + _OTHER_WORDS + rb")(?![a-z])")
_WORD_BYTES = 32
_BOOK_WORD = re.compile(rb"isbn|asin|issn")
_NUMBER_BEFORE = re.compile(rb"[0-9](?: |\xc2\xa0|\xe2\x80\xaf)+-?\Z")
_ROW_BEFORE = re.compile(rb"[0-9 ]*[0-9] +")  # nothing but numbers: no word can be in sight
_NUMBER_AFTER = re.compile(rb"(?: |\xc2\xa0|\xe2\x80\xaf){1,4}-?[0-9]")
_PAIR_BEFORE, _PAIR_AFTER = re.compile(rb"(?<![0-9a-f])[0-9a-f]{2}[ .]\Z"), re.compile(rb"[ .][0-9a-fA-F]{2}(?![0-9A-Za-z])")
_WIDE = re.compile(rb"(?:[ ]|\xc2\xa0|\xe2\x80\xaf){2}")
_DATE_GROUP = re.compile(r"(?:1[5-9]|20)[0-9]{2}(?:0[1-9]|1[0-2])(?:0[1-9]|[12][0-9]|3[01])")
_YEAR = re.compile(r"1[5-9][0-9]{2}|20[0-2][0-9]")
_CHINESE_MOBILE = re.compile(r"1[3-9][0-9]{9}")
_OUTLINE_MOST = 12  # pairs that are all this small number sections (05.02.06.02.01) or are bytes


class Layout(NamedTuple):
    """How a country writes the numbers of one pattern."""

    leading: str  # patterns; compiled when a number is looked up, since most are never reached
    number: str
    breaks: frozenset[int]  # positions between digits where groups end
    needs_prefix: bool  # written with the trunk prefix, always


@cache
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern)


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
        return next((x for x in self.layouts if _compiled(x.leading).match(number) and _compiled(x.number).fullmatch(number)), None)


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
        yield Layout(leading, rule.pattern or "(?!)", frozenset(breaks), needs)


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


class Candidate(NamedTuple):
    """Digits in groups that may be a national number: how they are written, and what stands around."""

    found: bytes
    groups: tuple[str, ...]
    before: bytes  # _WORD_BYTES, in lower case
    after: bytes


def _is_part_of_numbers(c: Candidate) -> bool:
    """Whether this rather belongs to a table, a hex dump, an outline, a decimal fraction or a file name."""
    digits = "".join(c.groups)
    separators = _GROUP.sub(b"", c.found)
    first_year, last_year = _YEAR.fullmatch(c.groups[0]), _YEAR.fullmatch(c.groups[-1])
    if len(c.groups) > 1 and (first_year or (last_year and separators[-1:] in (b" ", b"("))):
        return True
    if tuple(map(len, c.groups)) == (5, 5) and separators.strip(b" \xc2\xa0"):
        return True  # a range: 65001-65012
    if c.groups[0] == "0" and b")" not in c.found[:4]:
        return True
    if _WIDE.search(c.found) or c.found.count(b"/") > 1 or c.found.rfind(b"(") > 1 or any(_DATE_GROUP.fullmatch(g) for g in c.groups):
        return True
    if not separators.strip(b" \xc2\xa0\xe2\x80\xaf(") and (_NUMBER_BEFORE.search(c.before) or _NUMBER_AFTER.match(c.after)):
        return True
    if len(c.groups) > 2 and all(len(g) == 2 for g in c.groups):
        small = all(int(g) <= _OUTLINE_MOST for g in c.groups[1:])
        return small or bool(_PAIR_BEFORE.search(c.before) or _PAIR_AFTER.match(c.after))
    if len(c.groups) == 1:
        in_name = (c.before.endswith(b"(") or (c.found[:1] == b"(" and b")" not in c.found)) and c.after[:2] == b")."
        return in_name or _is_isbn(digits) or _BOOK_WORD.search(c.before) is not None
    return False


def _is_isbn(digits: str) -> bool:
    """Whether ten digits have the check digit of a book."""
    return len(digits) == 10 and sum((10 - i) * int(d) for i, d in enumerate(digits)) % 11 == 0


def _needs_word(groups: tuple[str, ...]) -> bool:
    """Whether nothing but length tells the number: no trunk prefix, no grouping, no Chinese mobile."""
    whole = groups[-1] if len(groups) == 1 or groups[:-1] == ("1",) else ""
    return bool(whole) and groups[0][0] != "0" and not _CHINESE_MOBILE.fullmatch(whole)


def _is_local(c: Candidate) -> bool:
    """Whether digits right after a word of telephones are a number, perhaps without area code: 7 to 12 in groups of two to five."""
    sizes = [len(g) for g in c.groups]
    grouped = len(sizes) > 1 and min(sizes) >= 2 and max(sizes) <= 5 and 7 <= sum(sizes) <= 12
    years = any(_YEAR.fullmatch(g) for g in c.groups[:1])
    if (
        not grouped
        or years
        or b"/" in c.found
        or c.found.rfind(b"(") > 0
        or _DATE.match(c.found)
        or (sizes == [4, 4] and c.found[4:5] != b" ")
    ):
        return False
    return not _WIDE.search(c.found)


def phone_check(regions: tuple[str, ...]) -> Callable[[memoryview, Match], tuple[int, int] | None]:
    """Return the check of phone numbers that looks for national forms of `regions`; the longest valid one wins."""

    @cache
    def plans() -> tuple[Plan, ...]:
        return tuple(plan(r) for r in regions)

    def is_national(text: memoryview, start: int, past: int, groups: tuple[str, ...], near: bytes, local: bool) -> bool:
        digits = "".join(groups)
        valid = len(digits) >= _FEWEST_NATIONAL and _is_national(digits, tuple(map(len, groups)), plans())
        if not valid and not local:  # most candidates end here
            return False
        c = Candidate(bytes(text[start:past]), groups, near, bytes(text[past : past + 8]))
        if local and _is_local(c):
            return True
        if not valid or (len(groups) == 1 and digits in _COUNTING):
            return False
        return _PHONE_WORD.search(near) is not None or not (_needs_word(groups) or _is_part_of_numbers(c))

    def span_of(text: memoryview, match: Match) -> tuple[int, int] | None:
        found, start = match.group(), match.start()
        row = start > 1 and text[start - 1] == 0x20 and not found.translate(None, b"0123456789 ")
        if row and _ROW_BEFORE.fullmatch(text, max(0, start - _WORD_BYTES), start):
            return None
        spots = [m.span() for m in _GROUP.finditer(found)]
        international = b"+" in found
        if not international:
            if _DATE.match(found):
                return None
            cut = next((i for i, (a, z) in enumerate(spots) if i and z - a < 2), len(spots))
            spots = spots[:cut]
        groups = tuple(found[a:z].decode("ascii") for a, z in spots)
        near = b"" if international else before(text, start, _WORD_BYTES)
        local = not international and _LOCAL_WORD.search(near) is not None
        for last in range(len(spots), 0, -1):
            digits = "".join(groups[:last])
            if len(digits) < _FEWEST_INTERNATIONAL:
                break
            past = start + spots[last - 1][1]
            extension = _EXTENSION.match(text, past, past + 24)
            if extension is None and _GLUED.match(text, past):
                continue
            if not international and last == 2 and found[spots[0][1] : spots[1][0]] == b".":
                continue  # a decimal fraction
            if is_international(digits) if international else is_national(text, start, past, groups[:last], near, local):
                return start, extension.end() if extension else past
        return None

    return span_of
