"""What a training run costs before it starts: parameters, FLOPs, memory, time, money, and the tokens a scaling law would choose.

Formulas, printed with every figure:

    6ND          6 * matmul parameters (without the input embedding) per token, forward and backward
    exact        6 * N_matmul + 12 * layers * heads * head_dim * S, attention over whole sequences of S tokens (as PaLM, 2022,
                 appendix B, torchtitan and nanochat count); half of the attention term where attention is causal
    MFU          FLOPs a token * tokens/s / the GPU's dense bf16 rate on its datasheet
    memory       16 bytes a parameter (float32 weights, gradients, two moments) + activations of one micro-batch
    updates      28 bytes a parameter and step (AdamW reads four float32 and writes three) / the GPU's memory bandwidth
    tokens       20 a parameter (Hoffmann et al., 2022, table 3, approach 1 and 2)

Needs no torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from train.gpus import GPUS, Gpu, known_gpu
from train.shapes import PRESETS, Shape, padded_vocabulary

if TYPE_CHECKING:
    from train.pretrain import Pretrain

TOKENS_PER_PARAMETER = 20
STATE_BYTES = 16
UPDATE_BYTES = 28
ASSUMED_MFU = 0.4
ASSUMED_BATCH = 1 << 19  # tokens of a step, at most, where it is not set; about 500 steps where the run is shorter
ASSUMED_VOCABULARY, ASSUMED_CONTEXT = 32_000, 2048  # until there is a mix


@dataclass(frozen=True)
class Parameters:
    """Numbers of weights."""

    total: int
    inner: int  # without embedding and head: layers and norms
    matmul: int  # without the input embedding, with the head also where it is tied


def parameters(shape: Shape, vocab_size: int) -> Parameters:
    """Weights of a Llama with this shape; vocab_size is padded as the model's is."""
    rows = padded_vocabulary(vocab_size)
    attention = shape.width * shape.head_dim * (2 * shape.heads + 2 * shape.kv_heads)
    layer = attention + 3 * shape.width * shape.ffn
    norms = shape.width * (2 * shape.layers + 1)
    embedding = rows * shape.width
    inner = shape.layers * layer + norms
    return Parameters(inner + embedding * (1 if shape.tied else 2), inner, shape.layers * layer + embedding)


def attention_flops(layers: int, heads: int, head_dim: int, context: float) -> float:
    """FLOPs of attention per token, forward and backward, over whole sequences of `context` tokens."""
    return 12.0 * layers * heads * head_dim * context


def flops_per_token(shape: Shape, vocab_size: int, context: int) -> float:
    """Exact FLOPs per token, forward and backward, attention over whole sequences."""
    return 6.0 * parameters(shape, vocab_size).matmul + attention_flops(shape.layers, shape.heads, shape.head_dim, context)


def activation_bytes(shape: Shape, vocab_size: int, tokens: int, checkpointing: bool) -> float:
    """Bytes of activations that `tokens` tokens in flight need, in bf16: the loss is computed in chunks.

    About 34 * width + 8 * ffn bytes a token and layer without checkpointing (Korthikanti et al., 2022, equation 2, without
    attention scores and dropout masks), 2 * width with it, plus one layer's worth.
    """
    layer = 34.0 * shape.width + 8.0 * shape.ffn
    kept = shape.layers * 2.0 * shape.width + layer if checkpointing else shape.layers * layer
    return tokens * kept + 4.0 * min(tokens, 4096) * padded_vocabulary(vocab_size)


def forecast_lines(node: Pretrain, data_tokens: int, exact: bool, mix: Mapping[str, Any] | None = None) -> list[str]:
    """Lines for `curate plan`. mix: what mix.json holds, where it is there already"""
    mark = "" if exact else "~"
    assumed: dict[str, Any] = {"seq_len": ASSUMED_CONTEXT, "tokenizer": {"curate.vocab_size": ASSUMED_VOCABULARY}}
    window, vocabulary = (mix or assumed)["seq_len"], int((mix or assumed)["tokenizer"]["curate.vocab_size"])
    tokens = min(node.tokens or data_tokens, data_tokens) if data_tokens else node.tokens or 0
    if node.model is None:
        return [f"goes on from {node.init} over {mark}{tokens:,} tokens; its size is known when it is there"]
    shape, context = node.model.shape(), int(window)
    found = parameters(shape, vocabulary)
    each = flops_per_token(shape, vocabulary, context)
    total = each * tokens
    wanted = TOKENS_PER_PARAMETER * found.total
    in_flight = node.micro_batch_tokens or 32_768
    memory = STATE_BYTES * found.total + activation_bytes(shape, vocabulary, in_flight, node.activation_checkpointing)
    lines = [
        f"{found.total:,} parameters ({found.matmul:,} in matrix products), with a vocabulary of {'' if mix else 'about '}{vocabulary:,}",
        f"{mark}{tokens:,} tokens: 6ND {6.0 * found.matmul * tokens:.2e} FLOP, with attention over {context:,} tokens {total:.2e}",
        f"about {memory / 1e9:,.1f} GB on a GPU: {STATE_BYTES} bytes a parameter, activations of {in_flight:,} tokens",
    ]
    gpus = [known_gpu(node.gpu)] if node.gpu is not None else [GPUS["h200"], GPUS["h100"], GPUS["a100"]]
    planned = int((mix or {}).get("batch_windows") or 0) * context
    steps = tokens / (node.batch_tokens or planned or max(1, min(ASSUMED_BATCH, tokens // 500)))
    lines += [_on(gpu, total, steps * UPDATE_BYTES * found.total, memory, node.price) for gpu in gpus]
    lines.append(
        f"a scaling law (Hoffmann et al., 2022: {TOKENS_PER_PARAMETER} tokens a parameter) would choose {wanted:,} tokens: {mark}{tokens / wanted:.2f} of it are here"
    )
    return lines


def _on(gpu: Gpu, flops: float, moved: float, memory: float, price: float | None) -> str:
    """Time and money on one GPU. moved: bytes that updates of weights read and write; memory: bytes that are needed; price: of an hour"""
    compute, updates = flops / (gpu.bf16 * ASSUMED_MFU), moved / gpu.bandwidth
    hourly = price if price is not None else gpu.dollars_per_hour
    money = "" if hourly is None else f", ${(compute + updates) / 3600 * hourly:,.2f} at ${hourly:g}/h"
    fits = "" if memory <= gpu.memory_gb * 1e9 else ", which does not fit: cut it over several, or lower micro_batch_tokens"
    return (
        f"{gpu.name}: {duration(compute + updates)}{money} ({ASSUMED_MFU:.0%} of {gpu.bf16 / 1e12:,.0f} TFLOP/s, and {duration(updates)} of "
        f"updates at {gpu.bandwidth / 1e12:.2f} TB/s); {memory / 1e9:,.1f} of {gpu.memory_gb:,.0f} GB{fits}"
    )


def gpu_table() -> list[list[str]]:
    """Header and a line for each known GPU."""
    lines = [["gpu", "sold as", "bf16 TFLOP/s", "GB", "TB/s", "$/h", "source"]]
    for key, gpu in GPUS.items():
        rate, price = f"{gpu.bf16 / 1e12:g}", "" if gpu.dollars_per_hour is None else f"{gpu.dollars_per_hour:g}"
        lines.append([key, gpu.name, rate, f"{gpu.memory_gb:g}", f"{gpu.bandwidth / 1e12:g}", price, gpu.source])
    return lines


def preset_table() -> list[list[str]]:
    """Header and a line for each preset: its shape, and its weights without embeddings and with vocabularies in use."""
    vocabularies = (4096, ASSUMED_VOCABULARY, 50_304, 128_256)
    heads = ["preset", "layers", "width", "heads", "kv_heads", "ffn", "without embeddings", *(f"with {v:,} ids" for v in vocabularies)]
    lines = [heads]
    for name, shape in PRESETS.items():
        sizes = [parameters(shape, 1).inner, *(parameters(shape, v).total for v in vocabularies)]
        numbers = (shape.layers, shape.width, shape.heads, shape.kv_heads, shape.ffn)
        lines.append([name, *(f"{n:,}" for n in numbers), *(f"{n / 1e6:,.2f}M" for n in sizes)])
    return lines


def duration(seconds: float) -> str:
    """'38 s', '12.4 min', '7.3 h', '5.1 days'"""
    for limit, size, unit in ((120, 1, "s"), (7200, 60, "min"), (172_800, 3600, "h")):
        if seconds < limit:
            return f"{seconds / size:.{0 if size == 1 else 1}f} {unit}"
    return f"{seconds / 86_400:.1f} days"
