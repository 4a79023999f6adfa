"""The window scan: capacity, wanted kinds and batch independence. That windows miss nothing: steps/test_personal_data.py."""

from __future__ import annotations

import pyarrow as pa
import pytest

from curate.kernels.scan import windows
from curate.kernels.scan_tables import (
    CARD,
    CREDENTIALS,
    EMAIL,
    IBAN,
    IP,
    KEY,
    KINDS,
    NATIONAL_ID,
    NATIONAL_NUMBER,
    PHONE,
    hints,
    prefixes,
    row,
    shape,
)
from curate.kernels.strings import views

KNOWN = hints(((b"AKIA", 1), (b"sk-", 2)), ("DE", "GB"), ("L2D6L1", "D8L1", "D9L1"), ("3.3.3-2", "6+4", "1 2 2"))
EVERY = (1 << len(KINDS)) - 1


def found(texts: list[str], wanted: int) -> list[tuple[int, str, str]]:
    data, offsets = views(pa.array(["before 1.1.1.1 a@b.c", *texts], pa.large_string()).slice(1))
    w = windows(data, offsets, wanted, KNOWN)
    return [(int(d), KINDS[k], bytes(data[a:z]).decode()) for d, k, a, z in zip(w.doc, w.kind, w.start, w.end, strict=True)]


def test_only_wanted_kinds() -> None:
    text = "a@b.c 8.8.8.8 541-754-3010 AKIA"
    assert found([text], 1 << EMAIL) == [(0, "email", "a@b.c")]
    assert found([text], 1 << IP) == [(0, "ip", "8.8.8.8")]
    assert found([text], 1 << PHONE) == [(0, "phone", "c 8.8.8.8 541-754-3010 ")]
    assert found([text], 1 << CARD) == []
    assert found([text], 1 << KEY) == [(0, "key", "AKIA")]
    assert found([text], 0) == []


@pytest.mark.parametrize("number", ["1" * 12, "1111-1111-1111-1111", "1111 1111 1111 1111 111", "1111 111111 11111", "1111 111111 1111"])
def test_card_groups(number: str) -> None:
    assert found([f"a {number} b"], 1 << CARD) == [(0, "card", f"a {number} ")]
    assert found([number], 1 << CARD) == [(0, "card", number)]


@pytest.mark.parametrize("number", ["1" * 11, "111 1111 1111 111", "1111 1111 111 1111", "1111 111111 111", "1111 111111 111111"])
def test_other_groups(number: str) -> None:
    assert found([number], 1 << CARD) == []


@pytest.mark.parametrize(
    ("text", "yes"),
    [
        ("DE00ABCDEFGHIJK", True),
        ("DE00 A-B CDEFGHIJK", True),
        ("DE00ABCDEFGHIJ", False),
        ("DE00ABCDEFGHIJ ", False),
        ("DE00  ABCDEFGHIJK", False),
        ("de00aBcDEFGHIJK", True),
        ("FR00ABCDEFGHIJK", False),
        ("De00ABCDEFGHI_K", False),
    ],
)
def test_iban_needs_eleven_more(text: str, yes: bool) -> None:
    assert bool(found([text], 1 << IBAN)) is yes


@pytest.mark.parametrize("before", ["", "a ", "abcdefg ", "-- ", "_-"])
def test_things_at_every_distance_from_64_bytes(before: str) -> None:
    """64 bytes are looked at together, those at a buffer's ends one by one."""
    for thing, kind in (("AKIA", KEY), ("sk-", KEY), ("1.2.3.4", IP), ("a@b.c", EMAIL), ("1" * 12, CARD)):
        for fill in (*range(4), *range(44, 70), 130):
            for after in ("", " " * 200):
                windows = found([before + " " * fill + thing + after], 1 << kind)
                assert [w.rstrip()[-len(thing) :] for _, _, w in windows] == [thing], (fill, thing)


def test_a_document_may_begin_with_a_digit_behind_one_that_ends_with_one() -> None:
    assert found(["x" * 90 + "1", "1.2.3.4" + " " * 90], 1 << IP) == [(1, "ip", "1.2.3.4")]


def test_keys_are_told_by_bytes_that_the_scan_stops_at() -> None:
    with pytest.raises(ValueError, match="does not stop at byte 2 of b'abc-'"):
        prefixes(((b"abc-", 2),))
    with pytest.raises(ValueError, match="byte 3 of b'abc-'"):
        prefixes(((b"abc-", 3),))


@pytest.mark.parametrize(
    ("text", "yes"),
    [
        ("123456789", True), ("x123456789", False), ("123456789x", False), ("1" * 18, True), ("1" * 19, False), ("12345678", False),
        ("529.982.247-25", True), ("529.982.247.25", False), ("529.982.247-2", False), ("529. 982.247-25", False), ("7 529.982.247-25", True),
        ("123456+1234", True), ("123456-1234", False), ("1 22 33 4444", False), ("44444 1 22 33", True), ("44444 1\u00a022 33", True), ("44444 1 22 333", False),
    ],
)  # fmt: skip
def test_identity_numbers_have_groups_of_their_own(text: str, yes: bool) -> None:
    """Nine digits in one run, or one of the rows; a no-break space counts as a space, which the pattern then refuses."""
    assert bool(found([f"a {text} b"], 1 << NATIONAL_NUMBER | 1 << NATIONAL_ID)) is yes


def test_rows_are_told_apart() -> None:
    assert row("3.3.3-2") == (3 << 24 | (6 << 5 | 3) << 16 | (6 << 5 | 3) << 8 | (5 << 5 | 2), (1 << 29) - 1)
    assert len({row(r)[0] for r in ("3.3.3-2", "3-3-3-2", "3 3 3 2", "3/3/3/2", "3+3+3+2")}) == 5


@pytest.mark.parametrize(
    ("text", "yes"),
    [
        ("541-754-3010", True), ("541 754 301", False), ("054 754 301", True), ("54 1 754 301 0", False), ("1 541 754 3010", True),
        ("541    754 3010", False), ("541   754 3010", True), ("x541 7543010", False), ("12345678901", True), ("123456789012", False), ("0123456789012", True),
        ("01234567890123", False), ("8 0676815448167", True), ("1234567890a", False), ("1234567890x5", True), ("1234567890.5", False), ("+7 54", False), ("+754 3010", True),
        ("2019-12-30", False), ("300 12345 678901", True),
    ],
)  # fmt: skip
def test_groups_that_may_be_a_telephone_number(text: str, yes: bool) -> None:
    assert bool(found([f"a {text} b"], 1 << PHONE)) is yes


def test_documents_are_apart() -> None:
    assert found(["8.8.", "8.8", "a@", "b.c", "AK", "IA"], EVERY) == []


def test_more_windows_than_room() -> None:
    """The first guess is one window for 256 bytes; here every 6 bytes have one."""
    texts = ["a@b.c "] * 20_000
    assert [d for d, _, _ in found(texts, 1 << EMAIL)] == list(range(20_000))
    assert len(found(["a@b.c " * 20_000], 1 << EMAIL)) == 20_000


@pytest.mark.parametrize(
    ("text", "windows"),
    [
        ("AB123456C", ["AB123456C"]),
        ("x AB123456C,", ["AB123456C"]),
        ("no 12345678-Z", ["12345678-Z"]),
        ("131052-308T", ["131052-308T"]),
        ("AB 12 34 56 C", ["AB 12 34 56 C"]),
        ("AB123456", []),
        ("A12345678Z", []),
        ("12345678", []),
        ("B7-AB123456C", []),
        ("A1" * 40, []),
    ],
)
def test_tokens_of_capitals_and_digits(text: str, windows: list[str]) -> None:
    assert [w for _, _, w in found([text], 1 << NATIONAL_ID)] == windows


def test_shapes_are_told_apart() -> None:
    shapes = ["L2D6L1", "L2D6", "D6L1", "L2D7L1", "D2L6D1", "L6D2L1D2L1D3L1", "DhL1"]
    assert len({shape(s) for s in shapes}) == len(shapes)


@pytest.mark.parametrize(
    ("text", "window"),
    [
        ("ftp://joe:pw@host", "joe:pw"),
        ("x://:pw@h", ":pw"),
        ("https://joe@host", None),
        ("joe:pw@host", None),
        ("http:/joe:pw@host", None),
        ("http://a b:pw@host", None),
        ("http://h/joe:pw@host", None),
        (f"http://{'a' * 300}:pw@host", None),
    ],
)
def test_credentials_stand_in_urls(text: str, window: str | None) -> None:
    assert [w for _, _, w in found([text], 1 << CREDENTIALS)] == ([window] if window else [])


@pytest.mark.parametrize(
    ("text", "yes"), [("phone 467 3395", True), ("TEL. 467-3395", True), ("page 467 3395", False), ("phone" + " " * 40 + "4673395", False)]
)
def test_seven_digits_need_a_word(text: str, yes: bool) -> None:
    assert bool(found([text], 1 << PHONE)) is yes


@pytest.mark.parametrize(
    ("text", "yes"),
    [("1.2.3.4", True), ("1.2.3", False), ("1.2.3.4567", False), ("1..2.3.4", False), ("a.1.2.3.4", True), ("0.07528471", False)],
)
def test_addresses_are_four_short_groups(text: str, yes: bool) -> None:
    assert bool(found([text], 1 << IP)) is yes
