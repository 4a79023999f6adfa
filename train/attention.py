"""Attention that keeps packed documents apart, on the fast path: registered in transformers' AttentionInterface.

    curate_varlen   torch.nn.attention.varlen (flash attention over `cu_seq_lens`); on a CPU one document after the other
    curate_sdpa     scaled_dot_product_attention with a block-diagonal mask made once per batch
    curate_flex     flex_attention with a block mask made once per batch

transformers' own `sdpa` finds packed rows by their positions and then builds a dense T x T mask, which no flash kernel takes;
it stops finding them, without a word, once it gets an all-ones padding mask or a cache (versions 5.17 to 5.23). For a name
that has no mask function registered it hands over no mask at all, so what is isolated is only what we pass:
`cu_seq_lens_q` or `document_mask`, as keyword arguments of the model's forward. Without either, attention is plain causal.
`guard_packed` refuses what would switch isolation off.

A shape that stays the same from batch to batch (`cu_seq_lens` padded to a fixed length) keeps torch.compile from compiling again.
"""

from __future__ import annotations

import inspect
from functools import cache
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention.flex_attention import create_block_mask
from torch.nn.attention.flex_attention import flex_attention as plain_flex
from transformers import AttentionInterface, PreTrainedModel

from curate.errors import DataError, MissingDependency

try:
    from torch.nn.attention.varlen import varlen_attn

    # torch 2.10 has is_causal; 2.11 has window_size and scale; later ones know grouped heads.
    _VARLEN = frozenset(inspect.signature(varlen_attn).parameters)
except ImportError:  # before 2.10
    _VARLEN = frozenset()

PACKED = {"varlen": "curate_varlen", "sdpa": "curate_sdpa", "flex": "curate_flex"}


def use_attention(model: PreTrainedModel, name: str) -> None:
    """Make a model attend by one of PACKED."""
    if name == "varlen" and not _VARLEN and torch.cuda.is_available():
        raise MissingDependency(f"attention: varlen needs torch 2.10 or later, this is {torch.__version__}. Use sdpa or flex.")
    model.set_attn_implementation(PACKED[name])


def _grouped(module: nn.Module, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
    """Keys and values with as many heads as queries have."""
    groups = getattr(module, "num_key_value_groups", 1)
    return (key, value) if groups == 1 else (key.repeat_interleave(groups, 1), value.repeat_interleave(groups, 1))


def _causal(module: nn.Module, query: Tensor, key: Tensor, value: Tensor, scaling: float | None, dropout: float) -> Tensor:
    key, value = _grouped(module, key, value)
    mask = None
    if query.shape[2] not in (1, key.shape[2]):  # new tokens behind cached ones
        mask = torch.ones(query.shape[2], key.shape[2], dtype=torch.bool, device=query.device).tril(key.shape[2] - query.shape[2])
    causal = mask is None and query.shape[2] > 1
    return nn.functional.scaled_dot_product_attention(query, key, value, mask, dropout, causal, scale=scaling)


def varlen_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    cu_seq_lens_q: Tensor | None = None,
    max_length_q: int | None = None,
    **_: Any,
) -> tuple[Tensor, None]:
    """query: [B, H, T, D]; key, value: [B, G, T, D]; cu_seq_lens_q: i32[n+1] over the B * T tokens, padded with its last value."""
    if cu_seq_lens_q is None:
        return _causal(module, query, key, value, scaling, dropout).transpose(1, 2), None
    if dropout:
        raise DataError("curate_varlen has no dropout in attention. Set the model's attention_dropout to 0, or use attention: sdpa.")
    batch, heads, length, size = query.shape
    q, k, v = (x.transpose(1, 2).reshape(batch * length, -1, size) for x in (query, key, value))
    if q.is_cuda and torch.is_autocast_enabled("cuda"):  # rotary positions of a float32 stream leave q and k in float32
        q, k, v = (x.to(torch.get_autocast_dtype("cuda")) for x in (q, k, v))
    if q.is_cuda and q.dtype in (torch.bfloat16, torch.float16):  # the kernel knows no other
        out = _kernel(q, k, v, cu_seq_lens_q, max_length_q or length, scaling)
    else:
        out = _one_by_one(module, q, k, v, cu_seq_lens_q, scaling)
    return out.reshape(batch, length, heads, size), None


def _kernel(q: Tensor, k: Tensor, v: Tensor, ends: Tensor, longest: int, scaling: float | None) -> Tensor:
    """q: [N, H, D]; k, v: [N, G, D]"""
    options: dict[str, Any] = {"window_size": (-1, 0)} if "window_size" in _VARLEN else {"is_causal": True}
    if k.shape[1] != q.shape[1]:
        if "enable_gqa" in _VARLEN:
            options["enable_gqa"] = True
        else:
            k, v = (x.repeat_interleave(q.shape[1] // x.shape[1], 1) for x in (k, v))
    if "scale" in _VARLEN:
        options["scale"] = scaling
    elif scaling is not None:
        q = q * (scaling * q.shape[-1] ** 0.5)
    out: Tensor = varlen_attn(q, k, v, ends, ends, longest, longest, **options)
    return out


def _one_by_one(module: nn.Module, q: Tensor, k: Tensor, v: Tensor, ends: Tensor, scaling: float | None) -> Tensor:
    """The same without the kernel: each document on its own."""
    borders = ends.unique_consecutive().tolist()
    made = []
    for start, stop in pairwise(borders):
        a, b, c = (x[start:stop].transpose(0, 1).unsqueeze(0) for x in (q, k, v))
        made.append(_causal(module, a, b, c, scaling, 0.0)[0].transpose(0, 1))
    return torch.cat(made)


def sdpa_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    document_mask: Tensor | None = None,
    cu_seq_lens_q: Tensor | None = None,
    **_: Any,
) -> tuple[Tensor, None]:
    """document_mask: bool[B, 1, T, T], True where a query sees a key; made here from cu_seq_lens_q where only that is given."""
    if document_mask is None and cu_seq_lens_q is not None:
        document_mask = block_mask(document_numbers(cu_seq_lens_q, query.shape[0], query.shape[2]))
    if document_mask is None:
        out = _causal(module, query, key, value, scaling, dropout)
    else:
        key, value = _grouped(module, key, value)
        out = nn.functional.scaled_dot_product_attention(query, key, value, document_mask, dropout, scale=scaling)
    return out.transpose(1, 2), None


def flex_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    document_mask: Any = None,
    **_: Any,
) -> tuple[Tensor, None]:
    """document_mask: a BlockMask (`flex_mask`)."""
    if document_mask is None:
        return _causal(module, query, key, value, scaling, dropout).transpose(1, 2), None
    grouped = query.shape[1] != key.shape[1]
    attend = _compiled_flex() if query.is_cuda and not torch.compiler.is_compiling() else plain_flex
    out: Tensor = attend(query, key, value, block_mask=document_mask, scale=scaling, enable_gqa=grouped)
    return out.transpose(1, 2), None


@cache
def _compiled_flex() -> Any:
    return torch.compile(plain_flex)  # here, because it imports the compiler


def document_numbers(ends: Tensor, rows: int, length: int) -> Tensor:
    """Number of the document that each token belongs to: i64[rows, length]. ends: i32[n+1] over all tokens."""
    places = torch.arange(rows * length, device=ends.device)
    return torch.searchsorted(ends.long(), places, right=True).view(rows, length)


def block_mask(numbers: Tensor) -> Tensor:
    """bool[B, 1, T, T]: causal inside a document. numbers: i64[B, T]"""
    same = numbers[:, None, :, None] == numbers[:, None, None, :]
    return same & torch.ones(numbers.shape[1], numbers.shape[1], dtype=torch.bool, device=numbers.device).tril()


def flex_mask(numbers: Tensor) -> Any:
    """The same as a BlockMask for flex_attention."""

    def inside(b: Tensor, h: Tensor, q: Tensor, k: Tensor) -> Tensor:
        return (numbers[b, q] == numbers[b, k]) & (q >= k)

    rows, length = numbers.shape
    return create_block_mask(inside, rows, None, length, length, device=str(numbers.device))


def packed_inputs(name: str, tokens: Tensor, positions: Tensor, ends: Tensor, longest: int) -> dict[str, Any]:
    """Keyword arguments of a model's forward for packed rows.

    tokens, positions: i64[B, T], positions start anew in every document
    ends: i32[n+1], where documents begin and end in the B * T tokens, padded with its last value to a fixed length
    longest: upper bound of a document's length, always the same
    """
    if name == "varlen":
        flat = {"input_ids": tokens.reshape(1, -1), "position_ids": positions.reshape(1, -1)}
        return {**flat, "cu_seq_lens_q": ends, "cu_seq_lens_k": ends, "max_length_q": longest, "max_length_k": longest, "use_cache": False}
    numbers = document_numbers(ends, *tokens.shape)
    mask = flex_mask(numbers) if name == "flex" else block_mask(numbers)
    return {"input_ids": tokens, "position_ids": positions, "document_mask": mask, "use_cache": False}


def guard_packed(model: nn.Module) -> None:
    """Refuse forward calls of packed rows with a padding mask or a cache: either would let documents see each other."""

    def check(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        packed = any(kwargs.get(name) is not None for name in ("cu_seq_lens_q", "document_mask"))
        positions = kwargs.get("position_ids")
        if not packed and positions is not None and positions.shape[-1] > 1 and not positions.is_cuda:
            packed = bool((positions[..., 1:] == 0).any())
        if not packed:
            return
        if kwargs.get("attention_mask") is not None:
            raise DataError(
                "Packed rows came with an attention_mask. An all-ones padding mask switches the isolation of documents off in "
                "transformers. Leave it out; documents are told apart by cu_seq_lens_q or position_ids."
            )
        if kwargs.get("use_cache") or kwargs.get("past_key_values") is not None or _caches_by_default(module, kwargs):
            raise DataError(
                "Packed rows came with a cache, which switches the isolation of documents off in transformers. Pass use_cache=False."
            )

    model.register_forward_pre_hook(check, with_kwargs=True)


def _caches_by_default(module: nn.Module, kwargs: dict[str, Any]) -> bool:
    return kwargs.get("use_cache") is None and bool(getattr(getattr(module, "config", None), "use_cache", False))


for _name, _function in (("varlen", varlen_attention), ("sdpa", sdpa_attention), ("flex", flex_attention)):
    AttentionInterface.register(PACKED[_name], _function)
