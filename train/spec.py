"""Settings that name what a model starts from. Need no torch."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from train.shapes import PRESETS, Shape, preset

HUB = "hub:"
NODE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", re.ASCII)
HUB_NAME = re.compile(r"[A-Za-z0-9_.-]+/[A-Za-z0-9_.-]+(@[A-Za-z0-9_./-]+)?", re.ASCII)


OWN_NAMES = {  # of LlamaConfig, and what says it here
    "num_hidden_layers": "`layers`",
    "hidden_size": "`width`",
    "num_attention_heads": "`heads`",
    "num_key_value_heads": "`kv_heads`",
    "intermediate_size": "`ffn`",
    "tie_word_embeddings": "`tied`",
    "max_position_embeddings": "`context`",
    "rope_theta": "`rope_theta`",
    "rope_parameters": "`rope_theta`",
    "vocab_size": "the tokenizer's",
    "bos_token_id": "the tokenizer's",
    "eos_token_id": "the tokenizer's",
    "pad_token_id": "the tokenizer's",
    "head_dim": "width / heads",
    "attention_dropout": "0: runs are repeated exactly",
    "use_cache": "not the shape's",
}


class ModelSpec(BaseModel):
    """The shape of a new model: a preset, perhaps with some of its numbers changed."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)

    preset: str = Field(description=f"one of {', '.join(PRESETS)}")
    layers: int | None = Field(default=None, ge=1, le=1000, description="decoder layers, in place of the preset's")
    width: int | None = Field(default=None, ge=8, le=65_536, description="hidden size")
    heads: int | None = Field(default=None, ge=1, le=1024, description="attention heads; width must be a multiple")
    kv_heads: int | None = Field(default=None, ge=1, le=1024, description="heads of keys and values; heads must be a multiple")
    ffn: int | None = Field(default=None, ge=8, le=1 << 20, description="inner size of the feed-forward layer")
    tied: bool | None = Field(default=None, description="the head's weights are the embedding's")
    rope_theta: float | None = Field(
        default=None, ge=10, le=1e9, description="base of the rotary angles; 10,000 or 500,000 with the presets, less for short sequences"
    )
    scaled_init: bool | None = Field(
        default=None, description="divide fresh weights that write to the residual stream by sqrt(2 * layers), as GPT-2 does; null: yes. "
        "Very small models learn faster without",
    )  # fmt: skip
    config: dict[str, bool | int | float | str] | None = Field(
        default=None, max_length=100, description="other fields of transformers' LlamaConfig: {rms_norm_eps: 1.0e-6, attention_bias: true}"
    )
    context: int | None = Field(default=None, ge=2, le=1 << 22, description="longest sequence; that of the data where it is not set")

    @model_validator(mode="after")
    def _check(self) -> ModelSpec:
        for name, instead in OWN_NAMES.items():
            if name in (self.config or {}):
                raise ValueError(f"config.{name} is {instead}; leave it out of config")
        shape = self.shape()
        if shape.width % shape.heads or shape.head_dim % 2:
            raise ValueError(f"width ({shape.width}) must be an even multiple of heads ({shape.heads})")
        if shape.heads % shape.kv_heads:
            raise ValueError(f"heads ({shape.heads}) must be a multiple of kv_heads ({shape.kv_heads})")
        return self

    def shape(self) -> Shape:
        """The preset with the changes."""
        given = {k: v for k, v in self.model_dump().items() if v is not None and k not in ("preset", "context", "scaled_init", "config")}
        if "heads" in given and "kv_heads" not in given:
            given["kv_heads"] = given["heads"]
        return Shape(**{**vars(preset(self.preset)), **given})


@dataclass(frozen=True)
class Initial:
    """What a model starts from: exactly one of these."""

    spec: ModelSpec | None = None  # fresh weights
    folder: str | None = None  # a folder that transformers can load
    hub: str | None = None  # a name on the Hugging Face hub, perhaps with @revision


def kind_of_init(value: str) -> Literal["node", "folder", "hub"]:
    """What an `init:` means: a path once it is resolved, `org/name` or `hub:name` on the hub, else a node of the recipe.

    A bare name is a node even where a folder of that name lies in the working folder: paths of recipes are absolute.
    """
    if value.startswith(HUB):
        return "hub"
    if os.path.isabs(value) or value.startswith((".", "~")) or (os.sep in value and Path(value).is_dir()):
        return "folder"
    return "hub" if HUB_NAME.fullmatch(value) else "node"
