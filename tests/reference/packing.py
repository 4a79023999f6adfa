"""Naive twin of how documents get their BOS and EOS."""

from __future__ import annotations


def documents(ids: list[list[int]], bos: int | None, eos: int | None) -> list[list[int]]:
    """Each document's ids between BOS and EOS, where there are any."""
    head, tail = [bos] if bos is not None else [], [eos] if eos is not None else []
    return [[*head, *one, *tail] for one in ids]
