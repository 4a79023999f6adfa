"""LoRA, QLoRA and soft prompts through peft, and what is written in the end: a folder that AutoModelForCausalLM loads by itself.

A LoRA adapter is added to the weights (`merge: true`), or written beside its base (`adapter/`). transformers can't load a
soft prompt, so its vectors become tokens of their own, `<|soft_0|>` and on, with the vectors as embeddings, and the chat
template begins with them (the tokenizer's post-processor where there is no template): the written model reads what the
trained one read. `generation_config.json` keeps them from being drawn.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from curate.errors import DataError, MissingDependency, RecipeError
from train.posttraining.settings import Lora, SoftPrompt

ADAPTER = "adapter"
ON_CPU = (0, 50)  # of bitsandbytes: the oldest version with which a CPU run was tested


def peft_config(adapter: Lora | SoftPrompt | None, task: str, tokenizer: str, new_ids: Sequence[int] = ()) -> Any:
    """peft's settings for an adapter; None for none. task: CAUSAL_LM or SEQ_CLS; tokenizer: folder; new_ids: tokens whose embeddings are trained whole."""
    if adapter is None:
        return None
    try:
        import peft
    except ModuleNotFoundError as error:
        raise MissingDependency.extra("peft", "train", "adapter") from error
    if isinstance(adapter, Lora):
        return peft.LoraConfig(
            task_type=task,
            r=adapter.rank,
            lora_alpha=adapter.alpha if adapter.alpha is not None else 2 * adapter.rank,
            lora_dropout=adapter.dropout,
            target_modules=list(adapter.modules) if adapter.modules else "all-linear",
            use_dora=adapter.dora,
            use_rslora=adapter.rslora,
            trainable_token_indices={"embed_tokens": list(new_ids)} if new_ids else None,
        )
    if task != "CAUSAL_LM":
        raise RecipeError("adapter: a soft prompt is for language models; reward models take LoRA.")
    if adapter.text is None:
        return peft.PromptTuningConfig(task_type=task, num_virtual_tokens=adapter.tokens)
    return peft.PromptTuningConfig(
        task_type=task,
        num_virtual_tokens=adapter.tokens,
        prompt_tuning_init="TEXT",
        prompt_tuning_init_text=adapter.text,
        tokenizer_name_or_path=tokenizer,
    )


def quantization(adapter: Lora | SoftPrompt | None) -> Any:
    """transformers' settings for loading weights in 4 or 8 bits; None for whole ones. Raises MissingDependency or RecipeError where it can't be done."""
    bits = adapter.quantize if isinstance(adapter, Lora) else None
    if bits is None:
        return None
    from importlib.metadata import PackageNotFoundError, version

    try:
        found = version("bitsandbytes")
    except PackageNotFoundError as error:
        raise MissingDependency.extra("bitsandbytes", "qlora", "adapter.quantize") from error
    if not torch.cuda.is_available() and tuple(int(n) for n in found.split(".")[:2]) < ON_CPU:
        raise MissingDependency(
            f"adapter.quantize without a GPU needs bitsandbytes {'.'.join(map(str, ON_CPU))} or newer, {found} is installed. "
            "Run: pip install -U bitsandbytes, or leave `quantize` out to train LoRA on whole weights."
        )
    from transformers import BitsAndBytesConfig

    if bits == "8bit":
        return BitsAndBytesConfig(load_in_8bit=True)
    return BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True, bnb_4bit_compute_dtype=torch.bfloat16
    )


def merged(base: Any, config: Any, state: Mapping[str, torch.Tensor], adapter: Lora | SoftPrompt) -> Any:
    """The model with an adapter in its weights. base: the untouched model, on the CPU, in whole numbers of bits.

    The base is loaded anew, so that it does not matter how the trained one was quantized or split. An adapter trained on
    4-bit weights is added to whole ones: rounding the sum once more would undo part of the training.
    """
    from peft import get_peft_model, set_peft_model_state_dict

    whole = get_peft_model(base, config, autocast_adapter_dtype=False)
    left = set_peft_model_state_dict(whole, dict(state))
    if left.unexpected_keys and not isinstance(adapter, SoftPrompt):  # whose vectors peft puts in place before it looks for names
        raise DataError(f"the adapter does not fit its base: {left.unexpected_keys[0]} has no place in it")
    return _with_soft_tokens(whole) if isinstance(adapter, SoftPrompt) else whole.merge_and_unload(safe_merge=True)


def soft_tokens(count: int) -> list[str]:
    """Spelling of the tokens that a soft prompt becomes."""
    return [f"<|soft_{n}|>" for n in range(count)]


def _with_soft_tokens(model: Any) -> Any:
    """The base model with the trained vectors as embeddings of new tokens, from the first id that no row of the embedding has."""
    vectors = model.get_prompt(batch_size=1)[0].detach().float()
    base = model.get_base_model()
    first = base.get_input_embeddings().weight.shape[0]
    tied = bool(base.config.get_text_config().tie_word_embeddings)
    base.resize_token_embeddings(first + len(vectors), mean_resizing=False)
    with torch.no_grad():
        base.get_input_embeddings().weight[first:] = vectors
        head = base.get_output_embeddings()
        if head is not None and not tied:
            head.weight[first:] = 0
    base.generation_config.suppress_tokens = list(range(first, first + len(vectors)))
    base.curate_soft_first = first
    return base


def tokenizer_with_soft_tokens(tokenizer: Any, first: int, count: int) -> None:
    """Add the tokens of a soft prompt at ids `first` and on, and put them before everything that is read."""
    if len(tokenizer) > first:
        raise DataError(f"the tokenizer has {len(tokenizer)} ids, the embedding had {first} rows")
    filler = [f"<|unused_{n}|>" for n in range(len(tokenizer), first)]  # rows of the embedding beyond the vocabulary
    spelled = soft_tokens(count)
    tokenizer.add_special_tokens({"additional_special_tokens": [*filler, *spelled]}, replace_extra_special_tokens=False)
    found = tokenizer.convert_tokens_to_ids(spelled)
    if found != list(range(first, first + count)):
        raise DataError(f"the tokens of the soft prompt got the ids {found[:3]}..., expected {first} and on")
    if tokenizer.chat_template is not None:
        tokenizer.chat_template = "{{- '" + "".join(spelled) + "' -}}" + tokenizer.chat_template
        return
    from tokenizers import processors

    ids = [(text, first + n) for n, text in enumerate(spelled)]
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(single=" ".join(spelled) + " $A", special_tokens=ids)


def save_adapter(config: Any, state: Mapping[str, torch.Tensor], folder: Path, base: str) -> None:
    """Write an adapter alone, as PeftModel.from_pretrained loads it. base: name of the model that it belongs to."""
    from safetensors.torch import save_file

    target = folder / ADAPTER
    target.mkdir(parents=True, exist_ok=True)
    config.base_model_name_or_path, config.inference_mode = base, True
    config.save_pretrained(str(target))
    save_file({k: v.detach().contiguous().cpu() for k, v in state.items()}, target / "adapter_model.safetensors", {"format": "pt"})
