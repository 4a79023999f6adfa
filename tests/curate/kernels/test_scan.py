"""The window scan: capacity, wanted kinds and batch independence. That windows miss nothing: steps/test_personal_data.py."""

from __future__ import annotations

import pyarrow as pa

from curate.kernels.scan import CARD, EMAIL, IP, KEY, KINDS, PHONE, prefixes, windows
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
    assert found([text], 1 << CARD) == [(0, "card", "c 8.8.8.8 541-754-3010 ")]
    assert found([text], 1 << KEY) == [(0, "key", "AKIA")]
    assert found([text], 0) == []


def test_documents_are_apart() -> None:
    assert found(["8.8.", "8.8", "a@", "b.c", "AK", "IA"], 127) == []


def test_more_windows_than_room() -> None:
    """The first guess is one window for 256 bytes; here every 6 bytes have one."""
    texts = ["a@b.c "] * 20_000
    assert [d for d, _, _ in found(texts, 1 << EMAIL)] == list(range(20_000))
    assert len(found(["a@b.c " * 20_000], 1 << EMAIL)) == 20_000
