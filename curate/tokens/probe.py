"""Strings that tell encoders apart: what a fast encoder must get right before it is trusted with a tokenizer."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence

# Pieces on which splits, normalisers and byte fallback are known to differ.
PIECES = (
    "a", "B", "the", "The", "THE", "don't", "DON'T", "it\u2019s", "'s", "'LL", "'re'", "\u017f", "'\u017f", "\u0130", "\u00df", "\u1e9e", "\ufb01",
    " ", "  ", "   ", "\t", "\n", "\n\n", "\r\n", "\r", " \n", "\n ", "\x0b", "\x0c", "\x1c", "\x1f", "\x85", "\xa0", "\u1680", "\u2003", "\u2028",
    "\u2029", "\u202f", "\u3000", "\u180e", "\u200b", "\u200c", "\u200d", "\u2060", "\ufeff", "\x00", "\x01", "\x7f", "\ufffd", "\uffff", "\U0010ffff",
    "0", "1", "12", "123", "1234", "12345678", "3.14", "1,000", "\u0663\u0664\u0665", "\u0967\u0968\u0969\u096a", "\u00bd", "\u00b2", "\u2160", "\uff11\uff12\uff13\uff14",
    ".", "...", "!", "?!", "--", "_", "__init__", "()", "{}\n", ";\r\n", "/", "//", "\\", "#", "@", "$", "+", "=", "<", ">", "|", "~", "`", "^", "\u20ac", "\u00a9",
    "\u00e9", "e\u0301", "a\u0300\u0301\u0302", "\u212b", "\u00c5", "\u01c5", "\u0149", "\uac00", "\u1100\u1161\u11a8", "\u4e2d\u6587", "\u65e5\u672c\u8a9e", "\u3042", "\u30ab\u3099",
    "\u30ac", "\uff76\uff9e", "\U00020000", "\u0627\u0644", "\u0644\u064e", "\u05e9\u05dc", "\u0928\u092e\u0938\u094d\u0924\u0947", "\u0e44\u0e17\u0e22", "\u041f\u0440\u0438\u0432\u0435\u0442", "\u03a3\u03c3\u03c2",
    "\U0001f600", "\U0001f468\u200d\U0001f469\u200d\U0001f467", "\U0001f1e9\U0001f1ea", "\u2764\ufe0f", "\u2581", "\u2581\u2581", "\u0120", "\u010a", "\u0100", "##", "##s", "<0x41>", "<0x0A>",
    "http://a.b/c?d=e&f=1", "x@y.org", "foo_bar", "fooBar", "MixedCASEWord", "HTMLParser", "aaaaaaaaaaaaaaaaaaaaaaaa", "I'm", "we'd've", "\u00ad", "\u0345", "\u20dd",
)  # fmt: skip


def probe_texts(special: Iterable[str], added: Iterable[str], count: int = 1500, pieces: Sequence[str] = ()) -> list[str]:
    """Return texts to compare two encoders on: random joins of hostile pieces, every special and added token in company, joins
    of the vocabulary's own pieces, which reach its merges, and long runs.

    special, added: spellings of the tokenizer's own tokens; at most 300 of them are tried, evenly spread. Always the same texts.
    pieces: texts of the tokenizer's vocabulary
    """
    tokens = list(dict.fromkeys([*special, *added]))
    tokens = tokens[:: max(1, -(-len(tokens) // 300))]
    texts = ["", *PIECES, *(f"{p}{p}" for p in PIECES), *(f"a{p}b" for p in PIECES), *(f"x {p} y" for p in PIECES)]
    for token in tokens:
        texts += [
            token,
            f"a{token}b",
            f" {token} ",
            f"\n{token}\n",
            f"  {token}  ",
            f"\t{token}.",
            f"({token})",
            token * 2,
            token.upper(),
            token.lower(),
            token[:-1],
            token[1:],
            f"1{token}1",
        ]
    pick = random.Random(20240229)
    pool = [*PIECES, *tokens[:64]]
    for _ in range(count):
        texts.append("".join(pick.choices(pool, k=pick.randint(2, 24))))
    for _ in range(count // 3 if pieces else 0):
        texts.append("".join(pick.choices(pieces, k=pick.randint(2, 12))))
    for _ in range(count // 3 if pieces else 0):
        texts.append("".join(pick.choices([*PIECES, *pieces], k=pick.randint(2, 16))))
    # The longest are single pieces to most splits: merges far from the ends, caches, integer widths.
    return [*texts, "a" * 5000, "\u4e2d" * 3000, " " * 3000, "\n" * 2000, "ab" * 4000, "1" * 3000, "=" * 3000, "\U0001f600" * 1000]
