"""MinHash, components and verified removal in slow, obvious Python on whole numbers."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterable, Sequence

MASK = 2**64 - 1
STEP = 0x9E3779B97F4A7C15


def mix64(z: int) -> int:
    """SplitMix64's finaliser."""
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
    return z ^ (z >> 31)


def splitmix64(seed: int, count: int) -> list[int]:
    """The first outputs of the generator."""
    return [mix64((seed + i * STEP) & MASK) for i in range(1, count + 1)]


def band_hashes(shingles: Sequence[int], bands: int, rows: int, seed: int) -> list[int]:
    """Band hashes of a document from its shingle hashes."""
    if not shingles:
        return [0] * bands
    high = [s >> 32 for s in shingles]
    minima = []
    for z in splitmix64(seed, bands * rows):
        a, b = (z >> 32) | 1, z & 0xFFFFFFFF
        minima.append(min((a * x + b) & 0xFFFFFFFF for x in high))
    out = []
    for band in range(bands):
        g = ((band + 1) * STEP) & MASK
        for value in minima[band * rows : (band + 1) * rows]:
            g = (mix64(g ^ value) * STEP) & MASK
        out.append(mix64(g))
    return out


def components(edges: Iterable[tuple[int, int]]) -> dict[int, int]:
    """Smallest node connected to each node, by walking."""
    near: dict[int, set[int]] = defaultdict(set)
    for a, b in edges:
        near[a].add(b)
        near[b].add(a)
    found: dict[int, int] = {}
    for start in sorted(near):
        if start in found:
            continue
        todo = [start]
        while todo:
            node = todo.pop()
            if node not in found:
                found[node] = start
                todo += near[node]
    return found


def choose(bands: Sequence[Sequence[int]], sets: Sequence[set[Hashable]], threshold: float) -> list[tuple[int, float]]:
    """(partner or -1, similarity) of each document, in order; without bounds on the work."""
    kept: list[int] = []
    out: list[tuple[int, float]] = []
    for d, own in enumerate(sets):
        best, most = -1, 0.0
        for c in kept:
            if set(bands[c]) & set(bands[d]):
                similarity = len(own & sets[c]) / len(own | sets[c])
                if similarity >= threshold and similarity > most:
                    best, most = c, similarity
        out.append((best, most))
        if best < 0:
            kept.append(d)
    return out
