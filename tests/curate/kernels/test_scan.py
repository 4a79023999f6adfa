"""The window scan: capacity, wanted kinds and batch independence. That windows miss nothing: steps/test_personal_data.py."""

from __future__ import annotations

import pyarrow as pa
import pytest

from curate.kernels.scan import CARD, EMAIL, IBAN, IP, KEY, KINDS, PHONE, prefixes, windows
from curate.kernels.strings import views

KEYS = prefixes(((b"AKIA", 1), (b"sk-", 2)))


def found(texts: list[str], wanted: int) -> list[tuple[int, str, str]]:
    data, offsets = views(pa.array(["before 1.1.1.1 a@b.c", *texts], pa.large_string()).slice(1))
    w = windows(data, offsets, wanted, KEYS)
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
        ("DE00aBCDEFGHIJK", False),
    ],
)
def test_iban_needs_eleven_more(text: str, yes: bool) -> None:
    assert bool(found([text], 1 << IBAN)) is yes


@pytest.mark.parametrize("before", ["", "a ", "abcdefg ", "-- ", "_-"])
def test_keys_at_every_distance_from_eight_bytes(before: str) -> None:
    """Eight bytes are passed over at once where nothing can begin in them."""
    for key in ("AKIA", "sk-"):
        for fill in range(18):
            text = before + " " * fill + key
            assert found([text], 1 << KEY) == [(0, "key", key)]


def test_documents_are_apart() -> None:
    assert found(["8.8.", "8.8", "a@", "b.c", "AK", "IA"], 127) == []


def test_more_windows_than_room() -> None:
    """The first guess is one window for 256 bytes; here every 6 bytes have one."""
    texts = ["a@b.c "] * 20_000
    assert [d for d, _, _ in found(texts, 1 << EMAIL)] == list(range(20_000))
    assert len(found(["a@b.c " * 20_000], 1 << EMAIL)) == 20_000
