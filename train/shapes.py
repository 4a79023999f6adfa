"""Shapes of models by name: Llama's architecture from 0.2M to 8B parameters. Needs no torch.

Head size is 128 from 160M on (attention kernels reach about half their speed at 64), and vocabularies are padded to a
multiple of 128 rows, which matrix units want.

Names up to 10M count the weights without embeddings, since a vocabulary of 32,000 would be most of such a model; from 60M on all of
them, with the vocabulary that models of the size usually have: 32,000 at 60M, 50,304 at 160M and 400M, 128,256 above. The 1B, 3B and 8B shapes are those of Llama 3.2 1B and 3B and Llama 3 8B
(their config.json), with the vocabulary of the tokenizer at hand.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from curate.errors import RecipeError
from curate.registry import nearest

VOCABULARY_MULTIPLE = 128


@dataclass(frozen=True)
class Shape:
    """What a preset fixes; the vocabulary is the tokenizer's."""

    layers: int
    width: int  # hidden size
    heads: int
    kv_heads: int
    ffn: int  # inner size of the gated feed-forward layer
    tied: bool  # the head's weights are the embedding's
    rope_theta: float = 10_000.0

    @property
    def head_dim(self) -> int:
        return self.width // self.heads


PRESETS: dict[str, Shape] = {
    "llama-tiny": Shape(2, 64, 4, 2, 192, True),
    "llama-1m": Shape(4, 128, 4, 4, 352, True),
    "llama-3m": Shape(4, 256, 4, 4, 640, True),
    "llama-10m": Shape(6, 384, 6, 6, 960, True),
    "llama-60m": Shape(10, 512, 8, 8, 1376, False),
    "llama-160m": Shape(12, 768, 6, 6, 2048, False),
    "llama-400m": Shape(24, 1024, 8, 8, 2816, False),
    "llama-1b": Shape(16, 2048, 32, 8, 8192, True, 500_000.0),
    "llama-3b": Shape(28, 3072, 24, 8, 8192, True, 500_000.0),
    "llama-8b": Shape(32, 4096, 32, 8, 14_336, False, 500_000.0),
}


def padded_vocabulary(size: int) -> int:
    """Rows of the embedding for a vocabulary of `size` ids."""
    return -(-size // VOCABULARY_MULTIPLE) * VOCABULARY_MULTIPLE


def preset(name: str) -> Shape:
    """The shape of that name. Raises RecipeError with the nearest one."""
    if name not in PRESETS:
        near = nearest(name, list(PRESETS))
        raise RecipeError(f"model.preset {name!r} is not known.{near} There are: {', '.join(PRESETS)}.")
    return PRESETS[name]


def llama_config(shape: Shape, vocab_size: int, context: int, bos: int | None, eos: int | None, pad: int | None = None) -> dict[str, Any]:
    """Fields of transformers' LlamaConfig.

    vocab_size: ids of the tokenizer, padded here; context: longest sequence, in tokens
    """
    return {
        "vocab_size": padded_vocabulary(vocab_size),
        "hidden_size": shape.width,
        "intermediate_size": shape.ffn,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.kv_heads,
        "head_dim": shape.head_dim,
        "max_position_embeddings": context,
        "rope_parameters": {"rope_type": "default", "rope_theta": shape.rope_theta},
        "rms_norm_eps": 1e-5,
        "tie_word_embeddings": shape.tied,
        "attention_dropout": 0.0,
        "bos_token_id": bos,
        "eos_token_id": eos,
        "pad_token_id": pad,
    }
