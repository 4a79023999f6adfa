"""Models: fresh ones from a shape, loaded ones from a folder or the hub, and the folder that is written.

Weights are read and written as safetensors only; no pickle is opened (`use_safetensors`), no code of a model repository is run.
"""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, GenerationConfig, LlamaConfig, LlamaForCausalLM, PreTrainedModel
from transformers.utils import logging as hf_logging

from curate.errors import DataError, MissingDependency, RecipeError
from curate.registry import nearest
from curate.tokens.vocabulary import CONFIG, FILE
from train.shapes import llama_config
from train.spec import HUB, Initial

NOTES = "training.json"
TOKENIZER_FILES = (FILE, CONFIG, "special_tokens_map.json", "chat_template.jinja")
hf_logging.disable_progress_bar()


def init_model(
    initial: Initial,
    *,
    vocab_size: int,
    context: int,
    seed: int,
    bos: int | None = None,
    eos: int | None = None,
    dtype: torch.dtype = torch.float32,
) -> PreTrainedModel:
    """Make or load a causal language model, on the CPU, with weights of `dtype`.

    vocab_size: ids of the tokenizer; a loaded model must have at least as many
    context: tokens of the longest sequence; used for fresh models, checked for loaded ones
    seed: of fresh weights. They do not depend on anything else, so every process makes the same ones.
    """
    if initial.spec is None:
        model = load_model(initial.folder or f"{HUB}{initial.hub}", dtype)
        _check_fits(model, vocab_size, context)
        return model
    spec = initial.spec
    fields = llama_config(spec.shape(), vocab_size, spec.context or context, bos, eos)
    unknown = sorted(name for name in spec.config or {} if not hasattr(LlamaConfig(), name))
    if unknown:
        raise RecipeError(f"model.config: LlamaConfig has no field {unknown[0]!r}.{nearest(unknown[0], list(LlamaConfig().to_dict()))}")
    config = LlamaConfig(**{**fields, **(spec.config or {})}, use_cache=False)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed % (1 << 63))
        model = LlamaForCausalLM(config)
        if spec.scaled_init is not False:
            _scale_residual(model)
    return model.to(dtype)


def _scale_residual(model: PreTrainedModel) -> None:
    """Divide the weights of layers that write to the residual stream by sqrt(2 * layers), as GPT-2 does (2019, section 2.3)."""
    factor = 1 / math.sqrt(2 * model.config.num_hidden_layers)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if name.endswith(("o_proj.weight", "down_proj.weight")):
                weight.mul_(factor)


def load_model(where: str | Path, dtype: torch.dtype = torch.float32, parts: Mapping[str, Any] | None = None) -> PreTrainedModel:
    """Load a causal language model from a folder, or from the hub (`hub:name`, `hub:name@revision`).

    parts: sizes of transformers' DistributedConfig: every process loads its part of the matrices
    """
    more: dict[str, Any] = {}
    if parts is not None:
        try:
            from transformers.distributed import DistributedConfig
        except ImportError as error:
            raise MissingDependency("parallel.tensor needs transformers 5.23 or newer. Run: pip install -U transformers") from error
        more["distributed_config"] = DistributedConfig(**parts)
    name, revision = str(where), None
    if name.startswith(HUB):
        name, _, revision = name.removeprefix(HUB).partition("@")
    elif not (Path(name) / "config.json").is_file():
        raise DataError(f"{name} is no model: it has no config.json. Give the folder that a training run or save_pretrained wrote.")
    try:
        config = AutoConfig.from_pretrained(name, revision=revision or None, trust_remote_code=False)
        model = AutoModelForCausalLM.from_pretrained(
            name, config=config, revision=revision or None, dtype=dtype, use_safetensors=True, trust_remote_code=False, **more
        )
    except (OSError, ValueError) as error:
        raise DataError(f"The model {name} can't be loaded (safetensors only, no code from the repository): {error}") from error
    model.config.use_cache = False
    return model


def _check_fits(model: PreTrainedModel, vocab_size: int, context: int) -> None:
    rows, longest = model.get_input_embeddings().weight.shape[0], getattr(model.config, "max_position_embeddings", None)
    if rows < vocab_size:
        raise DataError(
            f"The model has {rows:,} embeddings, the tokenizer of the data {vocab_size:,} ids. Tokenize the data with the model's tokenizer."
        )
    if longest is not None and longest < context:
        raise DataError(
            f"The model reads at most {longest:,} tokens, the data has sequences of {context:,}. Make the mix with a shorter seq_len."
        )


def save_model(
    model: PreTrainedModel,
    folder: Path,
    *,
    tokenizer: str | Path | None = None,
    notes: Mapping[str, Any] | None = None,
    state: Mapping[str, torch.Tensor] | None = None,
    dtype: torch.dtype | None = None,
) -> None:
    """Write a folder that AutoModelForCausalLM and AutoTokenizer load: safetensors, config, generation config, tokenizer, notes.

    tokenizer: folder to copy tokenizer files from
    state: weights to write in place of the model's own (gathered from shards, averaged)
    dtype: of the written weights
    """
    folder.mkdir(parents=True, exist_ok=True)
    weights = dict(state) if state is not None else {k: v.detach() for k, v in model.state_dict().items()}
    if dtype is not None:
        weights = {k: v.to(dtype) if v.is_floating_point() else v for k, v in weights.items()}
    kept = {name: getattr(model.config, name, None) for name in ("use_cache", "dtype")}
    if getattr(model.config, "distributed_config", None) is not None:
        kept["distributed_config"] = model.config.distributed_config
        model.config.distributed_config = None  # the weights are whole: no other process takes part, no reader needs it
    model.config.use_cache, model.config.dtype = True, str(dtype or next(iter(weights.values())).dtype).removeprefix("torch.")
    if model.generation_config is None or model.generation_config.eos_token_id is None:
        model.generation_config = GenerationConfig.from_model_config(model.config)
    model.generation_config.use_cache = True
    try:
        model.save_pretrained(folder, state_dict=weights, max_shard_size="4GB")
    finally:
        for name, value in kept.items():
            setattr(model.config, name, value)
    for name in TOKENIZER_FILES if tokenizer is not None else ():
        if (Path(str(tokenizer)) / name).is_file():
            shutil.copyfile(Path(str(tokenizer)) / name, folder / name)
    if notes is not None:
        (folder / NOTES).write_text(json.dumps(notes, sort_keys=True, indent=1, ensure_ascii=False) + "\n", "utf-8")
