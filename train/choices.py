"""What the settings of a run leave open, chosen by the data and the device."""

from __future__ import annotations

from dataclasses import dataclass

from curate.errors import RecipeError
from curate.loader import Mix
from train.batches import StepPlan, plan_steps
from train.pretrain import Pretrain

MOST_BATCH_TOKENS, STEPS_WANTED = 1 << 19, 500
MICRO_TOKENS = {"cuda": 32_768, "cpu": 2048}


@dataclass(frozen=True)
class Choices:
    """Settings with everything chosen that they leave open."""

    plan: StepPlan
    micro: int  # windows of a micro-batch, at most
    bf16: bool
    attention: str
    compiled: bool


def choose(node: Pretrain, mix: Mix, device: str) -> Choices:
    """Fill in what the settings leave to the data and the device."""
    windows = min(len(mix), (node.tokens or len(mix) * mix.seq_len) // mix.seq_len)
    if node.tokens is not None and node.tokens > len(mix) * mix.seq_len:
        raise RecipeError(
            f"tokens: {node.tokens:,} are asked for and the mix has {len(mix) * mix.seq_len:,}. Make a longer mix, or ask for fewer."
        )
    planned = (mix.description.get("batch_windows") or 0) * mix.seq_len
    wanted = node.batch_tokens or planned or min(MOST_BATCH_TOKENS, max(1, windows * mix.seq_len // STEPS_WANTED))
    batch = max(1, wanted // mix.seq_len)
    if node.batch_tokens is None and not planned:
        batch = 1 << (batch.bit_length() - 1)
    ramp = node.batch_ramp
    start = max(1, ramp.start // mix.seq_len) if ramp is not None else None
    cuda = device == "cuda"
    if node.attention == "flex" and not cuda:
        raise RecipeError("attention: flex has no backward pass on a CPU. Use sdpa, or auto.")
    return Choices(
        plan_steps(windows, batch, start, ramp.until if ramp is not None else 0.0),
        max(1, (node.micro_batch_tokens or MICRO_TOKENS["cuda" if cuda else "cpu"]) // mix.seq_len),
        node.precision == "bf16" or (node.precision == "auto" and cuda),
        node.attention if node.attention != "auto" else "varlen" if cuda else "sdpa",
        cuda if node.compile is None else node.compile,
    )
