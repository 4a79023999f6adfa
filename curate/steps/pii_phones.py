"""What counts as a phone number: a way of writing, and a number that exists in the numbering plan of a country.

International form: `+`, country code, number. National form: for each of the given regions, with its trunk prefix (0 in
most countries) or without where the country writes it so. The plans are those of the package `phonenumbers` (Google's
libphonenumber), read as compiled patterns: parsing a candidate for ten regions takes half a millisecond, this takes
microseconds. A number without `+` and without a leading 0 must also be grouped as its country groups it, and with no
separators at all it must be a mobile number of its plan; otherwise every order number would be somebody's phone.

Not found: local numbers without area code, national numbers of fewer than 9 digits, of 9 where only a region's rare
services have so many and no 0 in front, vanity numbers (1-800-FLOWERS), short
codes, national forms of other regions. Left out on purpose: dates, decimal fractions, and, unless a word such as "phone"
stands before them, what looks like part of a table, of a hex dump or of an outline, ISBNs, and ten digits in one run.
After such a word seven digits in groups are enough.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import cache, lru_cache
from itertools import accumulate
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
_BEFORE_EXTENSION = b" ,;xXeE"
_WORD = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz"
_TO_SPACES = bytes(b if 48 <= b < 58 else 32 for b in range(256))
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
_FILL_BYTES = 5  # between a word of `_LOCAL_WORD` and the number at most four bytes are neither letter nor digit
_BOOK_WORD = re.compile(rb"isbn|asin|issn")
_NUMBER_BEFORE = re.compile(rb"[0-9](?: |\xc2\xa0|\xe2\x80\xaf)+-?\Z")
_ROW_BEFORE = re.compile(rb"[0-9 ]*[0-9] +")  # nothing but numbers: no word can be in sight
_NUMBER_AFTER = re.compile(rb"(?: |\xc2\xa0|\xe2\x80\xaf){1,4}-?[0-9]")
_PAIR_BEFORE, _PAIR_AFTER = re.compile(rb"(?<![0-9a-f])[0-9a-f]{2}[ .]\Z"), re.compile(rb"[ .][0-9a-fA-F]{2}(?![0-9A-Za-z])")
_WIDE = re.compile(rb"(?:[ ]|\xc2\xa0|\xe2\x80\xaf){2}")
_DATE_GROUP = re.compile(r"(?:1[5-9]|20)[0-9]{2}(?:0[1-9]|1[0-2])(?:0[1-9]|[12][0-9]|3[01])")
_YEAR = re.compile(r"1[5-9][0-9]{2}|20[0-2][0-9]")
_CHINESE_MOBILE = re.compile(r"1[3-9][0-9]{9}")
_LAYOUT_GROUP = re.compile(r"\(\\d(?:\{(\d+)(?:,(\d+))?\})?\)")  # as numbering plans write them
_MOST_FORMS = 1 << 14  # of numbers whose plans are remembered
_OUTLINE_MOST = 12  # pairs that are all this small number sections (05.02.06.02.01) or are bytes


class Layout(NamedTuple):
    """How a country writes the numbers of one pattern."""

    leading: str  # pattern; compiled when a number is looked up, since most are never reached
    number: str  # pattern; '' where the length alone decides
    sizes: range  # of the number
    breaks: frozenset[int]  # positions between digits where groups end
    needs_prefix: bool  # written with the trunk prefix, always

    def fits(self, number: str) -> bool:
        """Whether this is a number of the pattern."""
        in_form = len(number) in self.sizes and _compiled(self.leading).match(number) is not None
        return in_form and (not self.number or _compiled(self.number).fullmatch(number) is not None)

    def ends_groups(self, breaks: set[int]) -> bool:
        """Whether groups that end there are this layout's; a trunk prefix may stand in a group of its own."""
        return breaks <= self.breaks | {0}


@cache
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern)


class Plan:
    """Numbering plan of one region, for national significant numbers (without country code and trunk prefix).

    Patterns are compiled when they are first asked: most regions never see a candidate of theirs, and all of them take
    a tenth of a second.
    """

    def __init__(self, found: PhoneMetadata, written: PhoneMetadata) -> None:
        """found: what the package has of the region; written: of the region whose formats it uses."""
        assert found.general_desc is not None  # every region has one
        self.prefix = found.national_prefix or ""  # trunk prefix, '' where there is none
        self.sizes = frozenset(found.general_desc.possible_length)
        self.layouts = tuple(_layouts(written))
        self._usual_sizes = _usual_sizes(found)
        self._general = found.general_desc.national_number_pattern or "(?!)"
        self._mobile = _described([found.mobile])
        self._kinds = _described([
            found.premium_rate, found.toll_free, found.shared_cost, found.voip, found.personal_number, found.pager, found.uan,
            found.voicemail, found.fixed_line, found.mobile,
        ])  # fmt: skip
        self._dialled = found.national_prefix_for_parsing or "(?!)"  # what may stand before a number: trunk prefix, carrier codes
        self._rewrite = found.national_prefix_transform_rule  # what it becomes, where it is not simply left out

    def is_valid(self, number: str) -> bool:
        """Whether libphonenumber's `is_valid_number` would be true."""
        in_general = len(number) in self.sizes and _compiled(self._general).fullmatch(number) is not None
        return in_general and _compiled(self._kinds).fullmatch(number) is not None

    def is_mobile(self, number: str) -> bool:
        """Whether a valid number is a mobile telephone's."""
        return _compiled(self._mobile).fullmatch(number) is not None

    def without_prefix(self, number: str) -> str | None:
        """The number without trunk prefix and carrier code, as libphonenumber's parser takes them off; None if it has none."""
        match = _compiled(self._dialled).match(number)
        if match is None or not match.end():
            return None
        if self._rewrite is None or not match.re.groups or match.group(match.re.groups) is None:
            return number[match.end() :]
        return match.expand(self._rewrite) + number[match.end() :]

    def has_nine_digits(self) -> bool:
        """Whether telephones here have numbers of nine digits that are written without a trunk prefix."""
        return 9 in self._usual_sizes and any(9 in x.sizes and not x.needs_prefix for x in self.layouts)

    def layout(self, number: str) -> Layout | None:
        """The way this number is written; None where the plan has no rule for it."""
        return next((x for x in self.layouts if x.fits(number)), None)


def _usual_sizes(found: PhoneMetadata) -> set[int]:
    """Digits of mobile numbers, and of the example of a fixed line: a plan's possible lengths hold those of rare services too."""
    mobile = set(found.mobile.possible_length) if found.mobile is not None else set()
    return mobile | ({len(found.fixed_line.example_number or "")} if found.fixed_line is not None else set())


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
    written = found
    if not found.number_format and not region.isdigit():  # members of the North American plan share the formats of the US
        assert found.country_code is not None  # every region has one
        written = PhoneMetadata.metadata_for_region(_main_region(found.country_code)) or found
    return Plan(found, written)


def _main_region(calling_code: int) -> str:
    from phonenumbers import COUNTRY_CODE_TO_REGION_CODE

    return COUNTRY_CODE_TO_REGION_CODE[calling_code][0]


def _layouts(found: PhoneMetadata) -> Iterator[Layout]:
    for rule in found.number_format:
        leading = rule.leading_digits_pattern[-1] if rule.leading_digits_pattern else ""
        written = rule.national_prefix_formatting_rule or ""
        needs = bool(found.national_prefix and found.national_prefix in written) and not rule.national_prefix_optional_when_formatting
        pattern = rule.pattern or "(?!)"
        groups = [(int(least or 1), int(most or least or 1)) for least, most in _LAYOUT_GROUP.findall(pattern)]
        # Groups of fixed length end at known places; the last one ends the number.
        breaks = frozenset(accumulate(least for least, _ in groups[:-1]))
        sizes = range(sum(least for least, _ in groups), sum(most for _, most in groups) + 1)
        yield Layout(leading, "" if _LAYOUT_GROUP.sub("", pattern) == "" else pattern, sizes, breaks, needs)


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


class National:
    """The plans of some regions, asked for numbers without a country code."""

    def __init__(self, regions: tuple[str, ...]) -> None:
        self._regions = regions
        self._asked: dict[tuple[tuple[int, ...], str], list[_Writing]] = {}

    def has(self, digits: str, groups: tuple[int, ...]) -> bool:
        """Whether digits written in groups of these lengths are a number of one of the plans."""
        known = self._asked.get((groups, digits[0]))
        if known is None:
            if len(self._asked) >= _MOST_FORMS:
                self._asked.clear()
            known = self._asked[groups, digits[0]] = [w for r in self._regions if (w := _writing(plan(r), groups, digits[0])) is not None]
        return any(_fits(digits, groups, writing) for writing in known)


class _Writing(NamedTuple):
    """What of a plan can be written with these groups and this first digit. Most plans have nothing, which a look tells."""

    plan: Plan
    with_prefix: bool
    lax: bool  # with the prefix any groups will do
    bare: bool


def _writing(p: Plan, groups: tuple[int, ...], first: str) -> _Writing | None:
    """None where no number of the plan is written like this."""
    size, skip = sum(groups), len(p.prefix)
    # Pairs all through are an outline number ("05.02.06.02.01") where the country does not write pairs.
    lax = first == "0" and (len(groups) == 1 or max(groups) > 2)
    with_prefix = bool(p.prefix) and p.prefix[0] == first and size - skip in p.sizes
    can = with_prefix and (lax or any(size - skip in x.sizes and x.ends_groups(_breaks(groups, skip)) for x in p.layouts))
    bare = first != "0" and size in p.sizes
    bare = bare and any(size in x.sizes and not x.needs_prefix and x.ends_groups(_breaks(groups, 0)) for x in p.layouts)
    return _Writing(p, with_prefix, lax, bare) if can or bare else None


def _fits(digits: str, groups: tuple[int, ...], writing: _Writing) -> bool:
    p = writing.plan
    number = digits[len(p.prefix) :]
    if writing.with_prefix and digits.startswith(p.prefix) and p.is_valid(number):
        return writing.lax or _well_grouped(number, groups, len(p.prefix), p)
    return writing.bare and p.is_valid(digits) and _well_grouped(digits, groups, 0, p)


def _well_grouped(number: str, groups: tuple[int, ...], skip: int, p: Plan) -> bool:
    """Whether a number without a leading 0 is written as its country writes it. skip: digits of the trunk prefix."""
    layout = p.layout(number)
    if layout is None or (layout.needs_prefix and not skip):
        return False
    return p.is_mobile(number) if len(groups) == 1 else layout.ends_groups(_breaks(groups, skip))


def _breaks(groups: tuple[int, ...], skip: int) -> set[int]:
    """Where the groups but the last end, counted behind the trunk prefix."""
    return {end - skip for end in accumulate(groups[:-1])}


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


def has_nine_digits(regions: tuple[str, ...]) -> bool:
    """Whether numbers of nine digits without `+` and leading 0 exist in one of the regions. In the default ones they do not."""
    return any(plan(region).has_nine_digits() for region in regions)


def phone_check(regions: tuple[str, ...]) -> Callable[[memoryview, Match], tuple[int, int] | None]:
    """Return the check of phone numbers that looks for national forms of `regions`; the longest valid one wins."""
    national = National(regions)

    def is_national(text: memoryview, start: int, past: int, groups: tuple[str, ...], near: bytes, local: bool) -> bool:
        digits = "".join(groups)
        valid = len(digits) >= _FEWEST_NATIONAL and national.has(digits, tuple(map(len, groups)))
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
        if _is_in_row(text, found, start):
            return None
        groups = tuple(found.translate(_TO_SPACES).decode("ascii").split())
        if b"+" in found:
            return _longest(text, found, start, groups, lambda past, given: is_international("".join(given)))
        # What national numbers end with: groups of one digit are none of theirs.
        groups = groups[: next((i for i, group in enumerate(groups) if i and len(group) < 2), len(groups))]
        digits = sum(map(len, groups))
        if digits < _FEWEST_INTERNATIONAL or _DATE.match(found):
            return None
        near = before(text, start, _WORD_BYTES)
        local = near[-_FILL_BYTES:].islower() and _LOCAL_WORD.search(near) is not None
        if digits < _FEWEST_NATIONAL and not local:
            return None
        return _longest(text, found, start, groups, lambda past, given: is_national(text, start, past, given, near, local))

    return span_of


def _is_in_row(text: memoryview, found: bytes, start: int) -> bool:
    """Whether a number of digits and spaces stands behind nothing but such numbers: no word can be in sight."""
    if not start or text[start - 1] != 0x20 or found.translate(None, b"0123456789 "):
        return False
    return _ROW_BEFORE.fullmatch(text, max(0, start - _WORD_BYTES), start) is not None


def _longest(
    text: memoryview, found: bytes, start: int, groups: tuple[str, ...], is_number: Callable[[int, tuple[str, ...]], bool]
) -> tuple[int, int] | None:
    """The longest row of the first groups that is a number and may end where it does, with its extension."""
    ends = [m.end() for m in _GROUP.finditer(found)]
    digits = sum(map(len, groups))
    for last in range(len(groups), 0, -1):
        if digits < _FEWEST_INTERNATIONAL:
            break
        digits -= len(groups[last - 1])
        past = start + ends[last - 1]
        follows = text[past] if past < len(text) else 0
        extension = _EXTENSION.match(text, past, past + 24) if follows in _BEFORE_EXTENSION else None
        if extension is None and (follows in _WORD or (follows in b"./-" and past + 1 < len(text) and 48 <= text[past + 1] < 58)):
            continue  # glued to what follows
        if last == 2 and found[ends[0] : ends[1] - len(groups[1])] == b"." and b"+" not in found:
            continue  # a decimal fraction
        if is_number(past, groups[:last]):
            return start, extension.end() if extension else past
    return None
