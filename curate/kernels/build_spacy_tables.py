"""Write `spacy_tables.npz`: the rules of spaCy's English tokenizer as data for `spacy_words`.

Run by hand (`python -m curate.kernels.build_spacy_tables`) when spaCy's rules change; needs the package `spacy`. A test
rebuilds the tables with the spaCy that is installed and compares, so a change is noticed. Rule lists that don't have the
shape the kernels know are refused: a new kind of rule needs new code, not new data.

Source: spaCy 3.8.18 (MIT), lang/punctuation.py, lang/en/punctuation.py, lang/tokenizer_exceptions.py and
lang/en/tokenizer_exceptions.py, as a blank English pipeline puts them together.
"""

from __future__ import annotations

import hashlib
import itertools
import re
import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from curate.kernels import spacy_rules as rules
from curate.kernels import tables
from curate.kernels.build_tables import STAGE1_ENTRIES

PREFIXES = {r"\+(?![0-9])", "……", r"\.\.+", r"US\$", r"C\$", r"A\$"}  # those of more than one character
SUFFIXES = {"……", r"\.\.+", "'s", "'S", "’s", "’S", r"(?<=[0-9])\+", r"(?<=°[FfCcKk])\."}
DIGITS = "0-9])"
HYPHENS = "-|–|—|--|---|——|~"
URL_DIGEST = "61f1d0b21ddc100c"  # of the URL pattern without its class of lower-case letters: `url_host` is a port of it
SURROGATES = range(0xD800, 0xE000)


class UnknownRules(ValueError):
    """A rule that the kernels don't know."""

    def __init__(self, kind: str, found: object) -> None:
        super().__init__(f"spaCy's {kind} rules have a shape that curate's kernels don't know: {found!r:.300}")


def english() -> tuple[Any, Any]:
    """(defaults, tokenizer) of spaCy's blank English pipeline."""
    import spacy  # type: ignore[import-not-found,unused-ignore]  # only where tables are made

    pipeline = spacy.blank("en")
    tokenizer: Any = pipeline.tokenizer
    if tokenizer.token_match is not None or not tokenizer.faster_heuristics:
        raise UnknownRules("token match", tokenizer.token_match)
    return pipeline.Defaults, tokenizer


def url_pattern(defaults: Any) -> tuple[str, str]:
    """(the pattern with "{lower}" for its class of lower-case letters, that class)."""
    from spacy.lang.char_classes import ALPHA_LOWER  # type: ignore[import-not-found,unused-ignore]

    pattern = defaults.url_match.__self__.pattern
    return pattern.replace(ALPHA_LOWER, "{lower}"), ALPHA_LOWER


def digest() -> str:
    """SHA-256 of every rule of the spaCy that is installed, as hexadecimal digits."""
    from spacy.pipeline import Sentencizer

    defaults, tokenizer = english()
    parts = [*defaults.prefixes, "\1", *defaults.suffixes, "\1", *defaults.infixes, "\1", *url_pattern(defaults), "\1"]
    parts += Sentencizer.default_punct_chars
    parts += [f"{text}\2{chr(3).join(pieces(tokenizer, text))}" for text in sorted(tokenizer.rules)]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def pieces(tokenizer: Any, text: str) -> list[str]:
    """The words of a special case."""
    from spacy.symbols import ORTH  # type: ignore[import-not-found,unused-ignore]

    return [piece[ORTH] for piece in tokenizer.rules[text]]


def split_singles(entries: Iterable[str]) -> tuple[str, set[str]]:
    """(a pattern of the rules that match one character, the other rules)."""
    single, other = [], set()
    for entry in entries:
        if entry.strip():
            is_class = entry.startswith("[") and entry.endswith("]") and "]" not in re.sub(r"\\.", "", entry[1:-1])
            if is_class or len(re.sub(r"\\(.)", r"\1", entry)) == 1:
                single.append(entry)
            else:
                other.add(entry)
    return "|".join(single), other


def dotted(rule: str, kind: str) -> str:
    """CLASS of a rule `(?<=CLASS)\\.`."""
    if not (rule.startswith("(?<=[") and rule.endswith(r"])\.")):
        raise UnknownRules(kind, rule)
    return rule[len("(?<=") : -len(r")\.")]


def between(rule: str, middle: str, kind: str) -> tuple[str, str]:
    """(A, B) of a rule `(?<=A)MIDDLE(?=B)`."""
    left, found, right = rule.partition(f"]){middle}(?=[")
    if not (found and left.startswith("(?<=[") and right.endswith("])")):
        raise UnknownRules(kind, rule)
    return f"[{left[len('(?<=[') :]}]", f"[{right[:-2]}]"


def suffix_classes(suffixes: Sequence[str]) -> tuple[str, str, str, list[str]]:
    """(single suffixes, what a full stop may follow, capitals, units and currencies after a digit)."""
    single, other = split_singles(suffixes)
    if not other >= SUFFIXES:
        raise UnknownRules("suffix", SUFFIXES - other)
    units: list[str] = []
    stops: list[str] = []
    for rule in sorted(other - SUFFIXES):
        if rule.startswith("(?<=[0-9])(?:") and rule.endswith(")"):
            units += [re.sub(r"\\(.)", r"\1", unit) for unit in rule[len("(?<=[0-9])(?:") : -1].split("|")]
        else:
            stops.append(dotted(rule, "suffix"))
    after = [stop for stop in stops if stop.startswith("[0-9")]
    capitals = [stop for stop in stops if not stop.startswith("[0-9")]
    half = len(capitals[0]) // 2 if capitals else 0
    if len(after) != 1 or len(capitals) != 1 or capitals[0][:half] != capitals[0][half:]:
        raise UnknownRules("suffix", stops)
    return single, after[0], capitals[0][:half], sorted(set(units))


def infix_classes(infixes: Sequence[str]) -> tuple[str, str, str, str]:
    """(single infixes, left of a full stop, right of it, letters)."""
    single, other = split_singles(infixes)
    found: dict[str, tuple[str, str]] = {}
    for rule in other - {r"\.\.+", r"(?<=[0-9])[+\-\*^](?=[0-9-])"}:
        for middle in (r"\.", ",", f"(?:{HYPHENS})", "[:<>=/]"):
            if f"]){middle}(?=[" in rule:
                found[middle] = between(rule, middle, "infix")
    letters = found.get(",", ("", ""))[0]
    with_digits = letters[:-1] + "0-9]"
    expected = {",": (letters, letters), f"(?:{HYPHENS})": (with_digits, letters), "[:<>=/]": (with_digits, letters)}
    if len(other) != 6 or len(found) != 4 or any(found[middle] != sides for middle, sides in expected.items()):
        raise UnknownRules("infix", sorted(other))
    return single, *found[r"\."], letters


def class_bits() -> npt.NDArray[np.uint32]:
    """Class bits of every code point; 0 for surrogates. u32[0x110000]"""
    from spacy.pipeline import Sentencizer  # type: ignore[import-not-found,unused-ignore]

    defaults, _ = english()
    pattern, lower = url_pattern(defaults)
    if not hashlib.sha256(pattern.encode()).hexdigest().startswith(URL_DIGEST):
        raise UnknownRules("URL", pattern)
    prefix, other = split_singles(defaults.prefixes)
    if other != PREFIXES:
        raise UnknownRules("prefix", other ^ PREFIXES)
    suffix, after, capitals, units = suffix_classes(defaults.suffixes)
    infix, left, right, letters = infix_classes(defaults.infixes)
    every = "".join(chr(c) for c in range(0x110000) if c not in SURROGATES)
    bits = np.zeros(0x110000, np.uint32)

    def mark(characters: Iterable[str], bit: int) -> None:
        bits[[ord(c) for c in characters]] |= np.uint32(bit)

    for expression, bit in (
        (prefix, rules.PREFIX), (suffix, rules.SUFFIX), (infix, rules.INFIX), (letters, rules.ALPHA), (capitals, rules.UPPER),
        (after, rules.BEFORE_STOP), (left, rules.LEFT_OF_STOP), (right, rules.RIGHT_OF_STOP), (f"[{lower}]", rules.LOWER),
        (r"\w", rules.WORD), (r"\d", rules.DECIMAL), ("[0-9]", rules.DIGIT),
    ):  # fmt: skip
        mark(re.findall(expression, every), bit)
    mark({unit[-1] for unit in units}, rules.UNIT_END)
    mark((c for c in every if c.isspace()), rules.SPACE)
    mark((c for c in every if unicodedata.category(c).startswith("P")), rules.PUNCTUATION)
    mark(Sentencizer.default_punct_chars, rules.SENTENCE_END)
    ruled = (bits & (rules.PREFIX | rules.SUFFIX | rules.INFIX)) != 0
    ruled[[ord(c) for c in "+.-–—~,:<>=/*^'’$"]] = True
    bits[ruled] |= np.uint32(rules.RULED)
    stage1, stage2 = tables.classes()
    shared = stage2.reshape(-1, 256)[stage1[: 0x110000 >> 8]].reshape(-1)
    bits[(shared & tables.LETTER) != 0] |= np.uint32(rules.LETTER)
    bits[(shared & tables.SYMBOL) != 0] |= np.uint32(rules.SYMBOL)
    return bits


def two_stages(bits: npt.NDArray[np.uint32]) -> tuple[npt.NDArray[np.uint16], npt.NDArray[np.uint32]]:
    """Share equal blocks of 256: class of c is stage2[stage1[c >> 8] * 256 + (c & 255)]. Block 0 comes first."""
    blocks: dict[bytes, int] = {}
    numbers = [blocks.setdefault(block.tobytes(), len(blocks)) for block in bits.reshape(-1, 256)]
    beyond = blocks.setdefault(bytes(1024), len(blocks))
    stage1 = np.full(STAGE1_ENTRIES, beyond, np.uint16)
    stage1[: len(numbers)] = numbers
    return stage1, np.frombuffer(b"".join(blocks), np.uint32)


def phrases(tokenizer: Any) -> dict[str, list[str]]:
    """Special cases that spaCy looks for among the words of a text: what the affix rules make of each of them.

    Those are the ones that an affix rule touches; a phrase of one word changes nothing and is left out.
    """
    from spacy.tokenizer import Tokenizer  # type: ignore[import-not-found,unused-ignore]
    from spacy.vocab import Vocab  # type: ignore[import-not-found,unused-ignore]

    searches = (tokenizer.prefix_search, tokenizer.suffix_search, tokenizer.infix_finditer, tokenizer.token_match, tokenizer.url_match)
    plain = Tokenizer(Vocab(strings=[]), {}, *searches)
    found = {}
    for text in tokenizer.rules:
        if tokenizer.find_prefix(text) or tokenizer.find_infix(text) or tokenizer.find_suffix(text) or " " in text:
            words = [token.text for token in plain(text)]
            if len(words) > 1:
                found[text] = words
            elif pieces(tokenizer, text) != words:
                raise UnknownRules("special case", text)
    return found


def ends(words: Sequence[str]) -> list[int]:
    """Byte position behind each word of a text."""
    return np.cumsum([len(word.encode()) for word in words]).tolist()  # type: ignore[no-any-return]


def strings() -> dict[str, npt.NDArray[Any]]:
    """Special cases, units and pairs of neighbours in phrases, as the arrays of `spacy_rules.Rules`."""
    defaults, tokenizer = english()
    special = {text: pieces(tokenizer, text) for text in tokenizer.rules if text.strip()}
    if any(character.isspace() for text in special for character in text):
        raise UnknownRules("special case", [text for text in special if text.split() != [text]])
    phrase = phrases(tokenizer)
    pair = {a + b for words in phrase.values() for a, b in itertools.pairwise(words)}
    unit = suffix_classes(defaults.suffixes)[3]
    every = sorted({*special, *phrase, *pair, *unit})
    kinds = ((special, rules.SPECIAL), (phrase, rules.PHRASE), (pair, rules.PAIR), (unit, rules.UNIT))
    piece = [ends(special.get(text, ())) for text in every]
    token = [ends(phrase.get(text, ())) for text in every]
    return {
        "text": np.frombuffer("".join(every).encode(), np.uint8),
        "at": np.array([0, *ends(every)], np.int32),
        "kind": np.array([sum(bit for group, bit in kinds if text in group) for text in every], np.uint8),
        "piece": np.array(list(itertools.chain.from_iterable(piece)), np.uint8),
        "piece_at": np.cumsum([0, *map(len, piece)], dtype=np.int32),
        "token": np.array(list(itertools.chain.from_iterable(token)), np.uint8),
        "token_at": np.cumsum([0, *map(len, token)], dtype=np.int32),
    }


def build() -> dict[str, npt.NDArray[Any]]:
    """Everything that the file holds."""
    from importlib.metadata import version

    stage1, stage2 = two_stages(class_bits())
    origin = {"unicode": np.array(unicodedata.unidata_version), "version": np.array(version("spacy")), "digest": np.array(digest())}
    return {"stage1": stage1, "stage2": stage2, **strings(), **origin}


def main() -> None:
    """Write the file beside this module."""
    np.savez_compressed(Path(__file__).with_name("spacy_tables.npz"), **build())  # type: ignore[arg-type,unused-ignore]


if __name__ == "__main__":
    main()
