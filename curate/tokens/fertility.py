"""How many tokens tokenizers need for the same texts, by source and by language: what `curate tokenizer report` measures.

Fertility is tokens per word (Rust et al. 2021, "How Good is Your Tokenizer?"), with words as `curate.kernels.words` has them
by default: a CJK character is a word, so its fertility is tokens per character there. Bytes per token is what a token is worth.
Text is encoded without BOS and EOS.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate.tokens.encoder import Encoder

EVERYTHING = "all"


@dataclass
class Group:
    """Sums over the documents of a source, of a language, or over all."""

    documents: int = 0
    bytes: int = 0
    characters: int = 0
    words: int = 0
    tokens: dict[str, int] = field(default_factory=dict)  # by tokenizer
    unknown: dict[str, int] = field(default_factory=dict)

    def fertility(self, tokenizer: str) -> float:
        """Tokens per word; NaN without words."""
        return self.tokens[tokenizer] / self.words if self.words else float("nan")

    def bytes_per_token(self, tokenizer: str) -> float:
        """UTF-8 bytes per token; NaN without tokens."""
        return self.bytes / self.tokens[tokenizer] if self.tokens[tokenizer] else float("nan")


@dataclass
class Fertility:
    """The figures of a report."""

    tokenizers: dict[str, dict[str, object]]  # name -> vocabulary size, library, ids used
    sources: dict[str, Group]  # largest first, `all` in front
    languages: dict[str, Group]


def measure(batches: Iterable[pa.RecordBatch], encoders: Mapping[str, Encoder], unknown: Mapping[str, int | None]) -> Fertility:
    """Encode every text with every tokenizer.

    batches: with `text`, `source` and, where languages count, `lang_code`
    unknown: id of the unknown token of each tokenizer
    """
    sources: dict[str, Group] = {}
    languages: dict[str, Group] = {}
    used = {name: np.zeros(encoder.size, bool) for name, encoder in encoders.items()}
    for batch in batches:
        _add_batch(batch, encoders, unknown, used, sources, languages)
    about: dict[str, dict[str, object]] = {
        name: {"vocab_size": encoder.size, "library": encoder.library, "ids_used": int(used[name].sum())}
        for name, encoder in encoders.items()
    }
    return Fertility(about, _in_order(sources), _in_order(languages))


def _add_batch(batch: pa.RecordBatch, encoders: Mapping[str, Encoder], unknown: Mapping[str, int | None], used: Mapping[str, np.ndarray],
               sources: dict[str, Group], languages: dict[str, Group]) -> None:  # fmt: skip
    from curate.kernels.words import split_words

    text = batch.column("text")
    counts = {
        "documents": np.ones(len(batch), np.int64),
        "bytes": pc.fill_null(pc.binary_length(text), 0).to_numpy(zero_copy_only=False),
        "characters": pc.fill_null(pc.utf8_length(text), 0).to_numpy(zero_copy_only=False),
        "words": np.diff(split_words(text, "unicode").doc),
    }
    tokens, strange = {}, {}
    for name, encoder in encoders.items():
        ids, ends = encoder.encode(text)
        used[name][ids] = True
        tokens[name] = np.diff(ends)
        number = unknown[name]
        hits = np.zeros(len(ids) + 1, np.int64)
        if number is not None:
            np.cumsum(ids == number, out=hits[1:])
        strange[name] = np.diff(hits[ends])
    for groups, column in ((sources, "source"), (languages, "lang_code")):
        if column not in batch.schema.names:
            continue
        keys = pc.fill_null(batch.column(column), "").dictionary_encode()
        names, rows = keys.dictionary.to_pylist(), keys.indices.to_numpy(zero_copy_only=False)
        for at, name in enumerate([*names, EVERYTHING]):
            chosen = rows == at if at < len(names) else np.ones(len(rows), bool)
            group = groups.setdefault(name, Group(tokens=dict.fromkeys(encoders, 0), unknown=dict.fromkeys(encoders, 0)))
            for what, values in counts.items():
                setattr(group, what, getattr(group, what) + int(values[chosen].sum()))
            for tokenizer in encoders:
                group.tokens[tokenizer] += int(tokens[tokenizer][chosen].sum())
                group.unknown[tokenizer] += int(strange[tokenizer][chosen].sum())


def _in_order(groups: dict[str, Group]) -> dict[str, Group]:
    return dict(sorted(groups.items(), key=lambda item: (item[0] != EVERYTHING, -item[1].bytes, item[0])))
