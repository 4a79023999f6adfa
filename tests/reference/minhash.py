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


def edges(groups: Sequence[Sequence[set[Hashable]]], threshold: float, contained: bool = False) -> dict[tuple[int, int], float]:
    """{(weaker, stronger): similarity} of all pairs of a group at or above the threshold; an equal set has one edge, to the first."""
    out: dict[tuple[int, int], float] = {}
    start = 0
    for group in groups:
        for d, own in enumerate(group):
            first = group.index(own)
            for c in [first] if first < d else range(d):
                if contained:
                    similarity = len(own & group[c]) / len(own)
                else:
                    similarity = len(own & group[c]) / len(own | group[c])
                if (similarity >= threshold or first < d) and (first < d or group.index(group[c]) == c):
                    out[start + d, start + c] = 1.0 if first < d else similarity
        start += len(group)
    return out


def assign(found: Sequence[tuple[int, int, float, bool, int]]) -> dict[int, tuple[int, float] | None]:
    """{document: (partner, similarity), or None where it stays} of edges (weak, strong, similarity, same, order).

    The larger number must be the weaker document.
    """
    out: dict[int, tuple[int, float] | None] = {}
    for d in sorted({e[0] for e in found} | {e[1] for e in found}):
        own = [e for e in found if e[0] == d]
        staying = [e for e in own if out[e[1]] is None]
        equal = [e[1] for e in own if e[3]]
        if staying:
            best = min(staying, key=lambda e: (-e[2], e[4]))
            out[d] = (best[1], best[2])
        else:
            out[d] = out[equal[-1]] if equal else None
    return out
