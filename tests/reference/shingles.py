"""Near-duplicate words and shingles as plain Python says them: strings, tuples and sets."""

from __future__ import annotations

CJK_RANGES = ((0x3040, 0x30FF), (0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xF900, 0xFAFF), (0x20000, 0x323AF))


def words(text: str) -> list[str]:
    """`re.findall(r"\\w+", text.lower())` with CJK by character; final sigma counts as sigma."""
    found: list[str] = []
    inside = False
    for char in text.lower().replace("\u03c2", "\u03c3"):
        if not (char.isalnum() or char == "_"):
            inside = False
        elif any(low <= ord(char) <= high for low, high in CJK_RANGES):
            found.append(char)
            inside = False
        elif inside:
            found[-1] += char
        else:
            found.append(char)
            inside = True
    return found


def ngrams(text: str, n: int) -> list[tuple[str, ...]]:
    """Runs of n words in order; one of all words where there are fewer."""
    found = words(text)
    return [tuple(found[i : i + n]) for i in range(max(len(found) - n + 1, min(len(found), 1)))]


def jaccard(a: set[object], b: set[object]) -> float:
    """Share of common elements in all."""
    return len(a & b) / len(a | b) if a | b else 0.0


def normalized(text: str) -> str:
    """Lower case, white space folded."""
    return " ".join(text.lower().replace("\u03c2", "\u03c3").split())
