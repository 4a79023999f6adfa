"""Documents to token ids: `tokenize`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import ClassVar, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pydantic import Field

from curate.errors import MissingDependency, RecipeError
from curate.schema import with_columns
from curate.step import Asset, BatchFn, Context, Outcome, Step
from curate.tokens.tiktoken_file import SplitName
from curate.tokens.vocabulary import CONFIG, FILE, PREFIX, load_vocabulary

UINT16_VOCABULARY = 65536
FILES = (FILE, "tokenizer.model", "spiece.model")  # what a folder is searched for, in this order
SUFFIXES = (".json", ".model", ".tiktoken")


class Tokenize(Step):
    """Turn each document into the ids of a tokenizer, plus EOS.

    Reads `text`; adds `tokens` (uint16 up to 65,536 ids, else uint32) and `n_tokens` (BOS and EOS counted); removes
    `text` and `meta`. Text that spells a special token is encoded as plain text. The ids are those of the tokenizers
    library without its post-processor, truncation and padding (of a SentencePiece .model: those of sentencepiece). An empty
    document is its EOS. 40 to 70 MB/s a core with byte-level BPE, about 3 where only the tokenizers library can do it.
    Depends on nothing but the document.
    """

    name: ClassVar[str] = "tokenize"
    summary: ClassVar[str] = "text to token ids, for token shards"
    origin: ClassVar[str] = "ids of Hugging Face tokenizers, encoded by gigatoken where it is proven equal"
    shorthand: ClassVar[str | None] = "tokenizer"

    tokenizer: str = Field(
        min_length=1,
        description="a tokenizer node of the recipe, a tokenizer.json, .model (SentencePiece) or .tiktoken file or its folder, "
        "or a name on the Hugging Face hub (name@revision)",
        json_schema_extra={"path": "optional"},
    )
    eos: bool = Field(default=True, description="end every document with the EOS token")
    bos: bool = Field(default=False, description="begin every document with the BOS token")
    eos_token: str | None = Field(default=None, min_length=1, description="the EOS token, where the tokenizer does not say it")
    bos_token: str | None = Field(default=None, min_length=1, description="the BOS token, where the tokenizer does not say it")
    split: SplitName | None = Field(
        default=None, description="how a .tiktoken file cuts text before merging, where its name does not say it"
    )
    engine: Literal["auto", "tokenizers"] = Field(default="auto", description="tokenizers: leave the fast encoder out")

    def adds(self) -> Mapping[str, pa.DataType]:
        return {"tokens": pa.large_list(pa.uint16()), "n_tokens": pa.int32()}

    def removes(self) -> frozenset[str]:
        return frozenset({"text", "meta"})

    def assets(self) -> tuple[Asset, ...]:
        """The tokenizer's file, and the one beside it that may name EOS and BOS, where it is given as a path."""
        file = _as_file(self.tokenizer)
        if file is None:
            return ()
        config = os.path.join(os.path.dirname(file), CONFIG)
        return (Asset(file, "tokenizer"), *((Asset(config, "tokenizer settings"),) if os.path.isfile(config) else ()))

    def models(self) -> tuple[str, ...]:
        return () if _as_file(self.tokenizer) else (self.tokenizer,)

    def bind(self, ctx: Context) -> BatchFn:
        from curate.tokens.encoder import Encoder

        folder = ctx.model(self.tokenizer)
        file = os.path.join(folder, FILE) if folder is not None else tokenizer_file(self.tokenizer)
        vocabulary = load_vocabulary(file, self.split)
        bos = vocabulary.token_id("bos", self.bos_token) if self.bos else None
        eos = vocabulary.token_id("eos", self.eos_token) if self.eos else None
        encoder = Encoder(vocabulary, self.engine)
        width = np.uint16 if vocabulary.size <= UINT16_VOCABULARY else np.uint32
        metadata = {
            PREFIX + "tokenizer_sha256": vocabulary.sha256,
            PREFIX + "vocab_size": str(vocabulary.size),
            PREFIX + "bos_id": "" if bos is None else str(bos),
            PREFIX + "eos_id": "" if eos is None else str(eos),
            PREFIX + "document": " ".join([*(["bos"] if self.bos else []), "ids", *(["eos"] if self.eos else [])]),
            PREFIX + "template": vocabulary.template(),
        }

        def run(batch: pa.RecordBatch) -> Outcome:
            ids, ends = encoder.encode(batch.column("text"))
            tokens, n_tokens = documents(ids, ends, bos, eos, width)
            done = with_columns(
                batch.drop_columns([n for n in ("text", "meta") if n in batch.schema.names]), {"tokens": tokens, "n_tokens": n_tokens}
            )
            return Outcome(done.replace_schema_metadata({**(done.schema.metadata or {}), **metadata}))

        return run


def documents(
    ids: npt.NDArray[np.uint32], ends: npt.NDArray[np.int64], bos: int | None, eos: int | None, width: type[np.uint16] | type[np.uint32]
) -> tuple[pa.LargeListArray, pa.Int32Array]:
    """Put BOS and EOS around every document.

    ids: u32[t]; ends: i64[n+1], ends[0] = 0
    Returns (tokens: n lists of `width`, n_tokens: i32[n]).
    """
    n = len(ends) - 1
    extra = (bos is not None) + (eos is not None)
    offsets = ends + extra * np.arange(n + 1)
    values = np.empty(int(offsets[-1]), width)
    text = np.ones(len(values), bool)
    if bos is not None:
        values[offsets[:-1]] = bos
        text[offsets[:-1]] = False
    if eos is not None:
        values[offsets[1:] - 1] = eos
        text[offsets[1:] - 1] = False
    values[text] = ids
    return pa.LargeListArray.from_arrays(pa.array(offsets), pa.array(values)), pa.array(np.diff(offsets).astype(np.int32))


def tokenizer_file(name: str) -> str:
    """The file of a tokenizer given as a path, a folder, or a name on the Hugging Face hub. Raises RecipeError where there is none."""
    return _as_file(os.path.abspath(name) if os.path.isdir(name) else name) or _from_hub(name)


def _as_file(name: str) -> str | None:
    """The file that a path means; None for a name of something else.

    A bare name is no folder, even where one of that name lies in the working folder: paths of recipes are absolute, so it is a node.
    """
    path = os.path.expanduser(name)
    if os.sep in path and os.path.isdir(path):
        inside = (os.path.join(path, file) for file in FILES)
        path = next(filter(os.path.isfile, inside), os.path.join(path, FILE))
    elif not (os.path.isfile(path) or path.endswith(SUFFIXES) or path.startswith(("/", "."))):
        return None
    return os.path.abspath(path)


def _from_hub(name: str) -> str:
    """Download tokenizer.json of a repository on the hub, or find it in the local cache."""
    repository, _, revision = name.partition("@")
    try:
        from huggingface_hub import hf_hub_download
    except ImportError as error:
        raise MissingDependency.extra(
            "huggingface_hub", "hub", f"the tokenizer {name!r} is neither a node of the recipe nor a path: the hub"
        ) from error
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return str(hf_hub_download(repository, FILE, revision=revision or None))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        first = str(error).partition("\n")[0]
        raise RecipeError(
            f"tokenize.tokenizer {name!r} is no node of the recipe, no file, and can't be fetched from the Hugging Face hub: {first}"
        ) from error
