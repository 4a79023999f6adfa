"""The node `train: tokenizer`: a tokenizer learnt from datasets of the recipe."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from importlib.metadata import version as installed
from pathlib import Path
from typing import Annotated, ClassVar

import pyarrow as pa
from pydantic import Field, model_validator

from curate.errors import DataError
from curate.node import Node, NodeInput, NodeResult, Progress
from curate.step import Context
from curate.tokens.samples import bytes_by_source, drawn, shares
from curate.tokens.training import Algorithm, Split, train_tokenizer
from curate.tokens.vocabulary import CONFIG, FILE

NOTES = "training.json"
BATCH_ROWS = 4096
Name = Annotated[str, Field(min_length=1)]


class TokenizerNode(Node):
    """A tokenizer.json, trained by the tokenizers library on the text of datasets.

    Above `max_bytes` of text a sample is used: documents whose id, hashed with the seed, falls below the share, so that
    order, shards and other documents don't matter. With `weights` each source has its share of the bytes; one that is too
    small for it is read more than once, and training.json says how often. Writes tokenizer.json, tokenizer_config.json (names the first special
    token as EOS; transformers opens the folder) and training.json. Same inputs, same bytes.
    """

    kind: ClassVar[str] = "train:tokenizer"
    summary: ClassVar[str] = "a tokenizer learnt from datasets of the recipe"
    is_model: ClassVar[bool] = True

    data: Name | Annotated[list[Name], Field(min_length=1)] = Field(description="dataset, or list of datasets, to learn from")
    vocab_size: int = Field(ge=2, le=4_000_000, description="ids, special tokens counted in")
    algorithm: Algorithm = Field(
        default="bpe",
        description="bpe: byte-level; wordpiece: as in BERT, cased; unigram: as in SentencePiece (extra sentencepiece)",
    )
    pretokenizer: Split | None = Field(default=None, description="split before merges, for bpe; gpt2 where it is not set")
    special_tokens: list[Name] = Field(default=["<|endoftext|>"], max_length=10_000, description="the first is EOS")
    min_frequency: int = Field(default=2, ge=1, le=1_000_000_000, description="how often a pair must occur to be merged")
    max_bytes: int = Field(default=512_000_000, ge=1000, le=1 << 40, description="text to learn from; a sample above")

    weights: dict[str, Annotated[float, Field(gt=0, le=1e9)]] | None = Field(
        default=None, min_length=1, max_length=4096, description="share of the text by the column `source`; null: as it comes"
    )

    @model_validator(mode="after")
    def _check(self) -> TokenizerNode:
        if self.algorithm != "bpe" and self.pretokenizer is not None:
            raise ValueError(f"pretokenizer is for bpe; {self.algorithm} has its own")
        return self

    def inputs(self) -> tuple[str, ...]:
        return (self.data,) if isinstance(self.data, str) else tuple(dict.fromkeys(self.data))

    def forecast(self, inputs: Mapping[str, NodeInput], exact: bool) -> list[str]:
        known = [inputs[name] for name in self.inputs() if name in inputs]
        total = sum(i.bytes for i in known)
        share = min(1.0, self.max_bytes / total) if total else 1.0
        mark = "" if exact and len(known) == len(self.inputs()) else "~"
        return [
            f"{self.algorithm} of {self.vocab_size:,} ids from {mark}{total * share / 1e6:,.1f} MB of text ({mark}{share:.1%} of the documents)"
        ]

    def run(self, inputs: Mapping[str, NodeInput], out: Path, ctx: Context, progress: Progress) -> NodeResult:
        given = [inputs[name] for name in self.inputs()]
        texts = _Texts(given, self.max_bytes, self.weights, ctx.seed, progress)
        trained = train_tokenizer(
            texts,
            vocab_size=self.vocab_size,
            algorithm=self.algorithm,
            pretokenizer=self.pretokenizer or "gpt2",
            special_tokens=self.special_tokens,
            min_frequency=self.min_frequency,
        )
        info = {
            "algorithm": self.algorithm,
            "vocab_size": trained.vocab_size,
            "sha256": hashlib.sha256(trained.content).hexdigest(),
            "documents": texts.documents,
            "bytes": texts.bytes,
            **({"share": texts.share[""]} if self.weights is None else {"times_read": dict(sorted(texts.share.items()))}),
            "tokenizers": installed("tokenizers"),
        }
        (out / FILE).write_bytes(trained.content)
        config = {"tokenizer_class": "PreTrainedTokenizerFast", **({"eos_token": trained.eos} if trained.eos else {})}
        (out / CONFIG).write_text(json.dumps(config, sort_keys=True, indent=1) + "\n", "utf-8")
        (out / NOTES).write_text(json.dumps(info, sort_keys=True, indent=1) + "\n", "utf-8")
        progress(1.0, "done")
        return NodeResult(rows_out=trained.vocab_size, info=info)


class _Texts:
    """Lists of texts out of the inputs, sampled; can be read again. `documents` and `bytes` are those of the last reading."""

    def __init__(self, inputs: list[NodeInput], max_bytes: int, weights: Mapping[str, float] | None, seed: int, progress: Progress) -> None:
        self._parts = [part for i in inputs for part in sorted(i.parts)]
        self._seed, self._progress = seed, progress
        self._columns = ["id", "text"] if weights is None else ["id", "text", "source"]
        if weights is None:
            sizes = {"": sum(i.bytes for i in inputs) or sum(_text_bytes(part) for part in self._parts)}
        else:
            sizes = bytes_by_source(batch for part in self._parts for batch in _read(part, self._columns))
        self.share = shares(sizes, max_bytes, weights)
        self.documents = self.bytes = 0

    def __iter__(self) -> Iterator[list[str]]:
        self.documents = self.bytes = 0
        for number, part in enumerate(self._parts):
            self._progress(0.5 * number / len(self._parts), "reading")
            for batch in _read(part, self._columns):
                texts = drawn(batch, self.share, self._seed)
                self.documents += len(texts)
                self.bytes += sum(len(text.encode()) for text in texts)
                yield texts


def _read(part: str, columns: list[str]) -> Iterator[pa.RecordBatch]:
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(part) as file:
            yield from file.iter_batches(BATCH_ROWS, columns=columns)
    except (pa.ArrowInvalid, OSError) as error:
        raise DataError(f"{part} can't be read as Parquet with columns {', '.join(columns)}: {error}") from error


def _text_bytes(part: str) -> int:
    """Bytes of text in a part, by a reading of the column."""
    import pyarrow.compute as pc

    return sum(pc.sum(pc.binary_length(batch.column("text"))).as_py() or 0 for batch in _read(part, ["text"]))
