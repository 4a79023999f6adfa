"""Rows one after the other instead of padded: what the model gets, and how trainers that pad are made to do the same.

trl's DPO, KTO and reward trainers give `input_ids` of B rows padded to the longest (its padding_free is switched off for
DPO). `without_padding(model)` replaces the model's forward: real tokens are laid one after the other, positions start
anew for each row, boundaries are named and there is no attention mask (an all-ones one would switch isolation off). What
comes out is put back into the padded shape, so the trainer notices nothing but the time.

Wrap after the trainer has patched the forward (trl's fused head), before anything wraps the module.
"""

from __future__ import annotations

import types
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from train.attention import PACKED, packed_inputs, use_attention

_PER_TOKEN = ("log_probs", "entropy", "log_sum_sq_probs", "mean_logits", "is_top1", "label_mask")
IGNORED = -100
BY_POSITIONS = "positions"  # transformers' own attention, which finds rows by positions that start anew


def choose_attention(model: Any, wanted: str, padding: bool) -> str:
    """Set the attention of a model and return its name for `flat_inputs`.

    wanted: auto (varlen on a GPU, sdpa on a CPU) or one of PACKED. A model with a sliding window, soft caps or sinks keeps
    transformers' own attention, which knows them; so does a run with padding.
    """
    config = model.config.get_text_config()
    layers = getattr(config, "layer_types", None) or []
    special = any(kind != "full_attention" for kind in layers) or (getattr(config, "sliding_window", None) and not layers)
    special = special or getattr(config, "attn_logit_softcapping", None) or any("sinks" in name for name, _ in model.named_parameters())
    if padding or special:
        return BY_POSITIONS
    name = ("varlen" if torch.cuda.is_available() else "sdpa") if wanted == "auto" else wanted
    use_attention(model, name)
    return name


def flat_inputs(attention: str, ids: Tensor, lengths: Tensor) -> dict[str, Any]:
    """Keyword arguments of a forward. ids: i64[T], rows one after the other; lengths: i64[B] of the rows, on the same device."""
    ends = torch.cat([lengths.new_zeros(1), lengths.cumsum(0)])
    places = torch.arange(len(ids), device=ids.device) - torch.repeat_interleave(ends[:-1], lengths, output_size=len(ids))
    if attention not in PACKED:
        return {"input_ids": ids[None], "position_ids": places[None], "use_cache": False}
    return packed_inputs(attention, ids[None], places[None], ends.int(), int(lengths.max()))


def without_padding(model: Any, attention: str) -> None:
    """Replace model.forward (a causal model with trl's fused head). Calls without a 2-D mask, or without the head, stay as they are."""
    inner = model.forward

    def forward(self: Any, *args: Any, **kwargs: Any) -> Any:
        mask, ids, labels = kwargs.get("attention_mask"), kwargs.get("input_ids"), kwargs.get("labels")
        if not kwargs.get("fused_lm_head") or mask is None or mask.dim() != 2 or ids is None or labels is None:
            return inner(*args, **kwargs)
        real = mask.bool()
        lengths = real.sum(1)
        flat_labels = labels[real]
        flat_labels[lengths.cumsum(0) - lengths] = IGNORED  # predicted from the row before
        rest = {k: v for k, v in kwargs.items() if k not in ("attention_mask", "input_ids", "labels", "position_ids", "use_cache")}
        out = inner(*args, labels=flat_labels[None], **flat_inputs(attention, ids[real], lengths), **rest)
        for name in _PER_TOKEN:
            if (value := getattr(out, name, None)) is not None:
                setattr(out, name, _padded(value, real))
        return out

    model.forward = types.MethodType(forward, model)


def rewards_without_padding(model: Any, attention: str) -> None:
    """Replace model.forward of a reward model (`AutoModelForSequenceClassification`, one label): the score of each row's last token.

    The last token by length, not by "the last one that is not pad": with pad == eos the latter reads the score before the stop token.
    """

    def forward(self: Any, input_ids: Any = None, attention_mask: Any = None, **kwargs: Any) -> Any:
        from transformers.modeling_outputs import SequenceClassifierOutputWithPast

        real = attention_mask.bool() if attention_mask is not None else torch.ones_like(input_ids, dtype=torch.bool)
        lengths = real.sum(1)
        backbone = getattr(self, self.base_model_prefix)
        hidden = backbone(**flat_inputs(attention, input_ids[real], lengths)).last_hidden_state[0]
        return SequenceClassifierOutputWithPast(logits=self.score(hidden[lengths.cumsum(0) - 1]))

    model.forward = types.MethodType(forward, model)


def _padded(flat: Tensor, real: Tensor) -> Tensor:
    """[1, T - 1] of predictions of the next token back to [B, L - 1]; zero where the row has none."""
    values = torch.cat([flat[0], flat.new_zeros(1)])
    return values.new_zeros(real.shape).masked_scatter(real, values)[:, :-1]


class FlatCollator:
    """Rows with `input_ids` and `labels` (and `seq_lengths` of packed ones) as one flat sequence."""

    def __init__(self, attention: str) -> None:
        self.attention = attention

    def __call__(self, rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """input_ids, labels, position_ids: [1, T], and the boundaries as the attention wants them."""
        lengths = torch.tensor([n for row in rows for n in (row.get("seq_lengths") or [len(row["input_ids"])])])
        ids = torch.tensor([i for row in rows for i in row["input_ids"]])
        labels = torch.tensor([i for row in rows for i in row["labels"]])
        labels[lengths.cumsum(0) - lengths] = IGNORED
        return {**flat_inputs(self.attention, ids, lengths), "labels": labels[None]}
