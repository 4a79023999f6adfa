"""Identity: canonical bytes of settings, and digests of files.

A permissive str() would be a silent bug: two settings that print alike would share results, and one that prints its
memory address would never be reused. So everything that has no stable form is refused.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import xxhash


def canonical(value: Any) -> bytes:
    """Return the one JSON form of plain data: sorted keys, no spaces, UTF-8. Raises TypeError for anything else."""
    return json.dumps(_plain(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        if not math.isfinite(value):
            raise TypeError(f"{value!r} has no JSON form; use null or a number")
        return value
    if isinstance(value, Mapping):
        return {_key(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    if isinstance(value, set | frozenset):
        return sorted(_plain(v) for v in value)
    raise TypeError(f"{type(value).__name__} has no stable form; give it as text, number, list or mapping")


def _key(key: Any) -> str:
    if not isinstance(key, str):
        raise TypeError(f"keys must be text, got {key!r}")
    return key


def digest(value: Any) -> str:
    """sha256 (hex) of the canonical form: names of stages."""
    return hashlib.sha256(canonical(value)).hexdigest()


@lru_cache(maxsize=4096)
def _file_digest(path: str, size: int, mtime_ns: int) -> str:
    content = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            content.update(block)
    return content.hexdigest()


def file_digest(path: str) -> str:
    """sha256 (hex) of a local file's content; remembered while its size and mtime stay."""
    info = os.stat(path)
    return _file_digest(path, info.st_size, info.st_mtime_ns)


def file_checksum(path: str) -> str:
    """xxh3-128 (hex) of a file: fast integrity check of shards, not protection against forgery."""
    content = xxhash.xxh3_128()
    with open(path, "rb", buffering=0) as file:
        while block := file.read(4 << 20):
            content.update(block)
    return content.hexdigest()
