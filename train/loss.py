"""Next-token loss without the whole table of logits: the head and the cross-entropy in chunks of tokens.

With 128,256 ids the logits of 65,536 tokens take 33 GB in float32. Here a chunk of tokens goes through the head, the softmax and
both of the head's gradients at once, in the forward pass (the way of Liger-Kernel's fused linear cross-entropy, 2024); what is kept
is the gradient of the hidden states, in their type, and that of the head, in float32. So `loss.backward()` may be called once.

N tokens, d width, V ids.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from curate.errors import DataError

IGNORED = -100
CHUNK_BYTES = {"cuda": 4 << 30, "cpu": 256 << 20}  # of logits, if they were float32


def chunk_tokens(vocabulary: int, device: str) -> int:
    """Tokens of a chunk: a power of two between 512 and 8,192. The gradient of the head is added up once a chunk."""
    fits = CHUNK_BYTES.get(device, CHUNK_BYTES["cpu"]) // (4 * vocabulary)
    return int(min(8192, max(512, 1 << (fits.bit_length() - 1)))) if fits else 512


def _losses(hidden: Tensor, weight: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(loss f32[n], 0 where ignored; log of the normaliser f32[n]; logits f32[n, V])"""
    logits = (hidden @ weight.T).float()
    total = logits.logsumexp(1)
    target = logits.gather(1, labels.clamp(min=0)[:, None])[:, 0]
    return torch.where(labels == IGNORED, 0.0, total - target), total, logits


def _with_gradient(hidden: Tensor, weight: Tensor, labels: Tensor, scale: Tensor, z: float) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """(loss, log of the normaliser, gradient of the hidden states, of the weight), of scale * sum(loss + z * normaliser^2)"""
    losses, total, logits = _losses(hidden, weight, labels)
    each = torch.where(labels == IGNORED, 0.0, scale)
    gradient = (logits - total[:, None]).exp() * (1.0 + 2.0 * z * total)[:, None]
    hit = torch.arange(logits.shape[1], device=logits.device)[None, :] == labels[:, None]
    gradient = ((gradient - hit.float()) * each[:, None]).to(hidden.dtype)
    return losses, total, gradient @ weight, gradient.T @ hidden


class _ChunkedLoss(torch.autograd.Function):  # type: ignore[misc]  # torch is Any to the type checker
    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, labels: Tensor, scale: Tensor, z: float, compiled: bool) -> tuple[Tensor, Tensor]:
        size = chunk_tokens(weight.shape[0], weight.device.type)
        low = weight.to(hidden.dtype)
        losses = torch.empty(len(labels), dtype=torch.float32, device=hidden.device)
        on_hidden = torch.empty_like(hidden)
        on_weight = torch.zeros(weight.shape, dtype=torch.float32, device=hidden.device)
        extra = torch.zeros((), dtype=torch.float32, device=hidden.device)
        step = _compiled() if compiled else _with_gradient
        for start in range(0, len(labels), size):
            part = slice(start, start + size)
            losses[part], total, on_hidden[part], gradient = step(hidden[part], low, labels[part], scale, z)
            on_weight += gradient
            if z:
                extra += torch.where(labels[part] == IGNORED, 0.0, total.square()).sum()
        ctx.save_for_backward(on_hidden, on_weight)
        ctx.mark_non_differentiable(losses)
        return (losses.sum() + z * extra) * scale, losses

    @staticmethod
    def backward(ctx: Any, of_loss: Tensor, of_losses: Tensor) -> tuple[Tensor | None, ...]:
        on_hidden, on_weight = ctx.saved_tensors
        return on_hidden.mul_(of_loss.to(on_hidden.dtype)), on_weight.mul_(of_loss), None, None, None, None


_made: list[Any] = []


def _compiled() -> Any:
    if not _made:
        _made.append(torch.compile(_with_gradient, dynamic=False))
    return _made[0]


def next_token_loss(
    hidden: Tensor, weight: Tensor, labels: Tensor, scale: Tensor, z: float = 0.0, compiled: bool = False
) -> tuple[Tensor, Tensor]:
    """(scale * sum of losses, a scalar to call backward on; loss of every token f32[N], without gradient).

    hidden: [N, d]; weight: [V, d], of the head; labels: i64[N], the next token, IGNORED where nothing is learnt
    scale: scalar tensor, 1 / number of real tokens of the whole step; z: weight of the squared log of the normaliser
    """
    if not torch.is_grad_enabled():
        size = chunk_tokens(weight.shape[0], weight.device.type)
        low = weight.to(hidden.dtype)
        losses = torch.cat([_losses(h, low, y)[0] for h, y in zip(hidden.split(size), labels.split(size), strict=True)])
        return losses.sum() * scale, losses
    loss, losses = _ChunkedLoss.apply(hidden, weight, labels, scale, z, compiled)
    return loss, losses.detach()


def head_weight(model: PreTrainedModel) -> nn.Parameter:
    """The head's weights. Raises DataError where logits are more than hidden states times these."""
    head = model.get_output_embeddings()
    odd = [n for n in ("final_logit_softcapping", "logit_scale", "logits_scaling") if getattr(model.config, n, None) not in (None, 1, 1.0)]
    if getattr(head, "bias", None) is not None or odd:
        what = f"{', '.join(odd)} in its config" if odd else "a bias in its head"
        raise DataError(f"Pretraining computes logits as hidden states times the head's weights; {type(model).__name__} has {what}.")
    weight: nn.Parameter = head.weight
    return weight


def document_sums(losses: Tensor, pieces: Tensor) -> Tensor:
    """Sum of losses of each document: f64[p], each in the order of its tokens: the same bits every time."""
    return torch.segment_reduce(losses.double(), "sum", offsets=pieces)


class PackedLoss(nn.Module):  # type: ignore[misc]
    """A language model and its loss as one module, so that DDP and FSDP see all parameters in one forward."""

    def __init__(self, model: PreTrainedModel, z: float, compiled: bool) -> None:
        super().__init__()
        head_weight(model)
        self.model, self.z, self.compiled = model, z, compiled

    def forward(self, inputs: dict[str, Any], labels: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
        """See next_token_loss. inputs: of `packed_inputs`; labels: i64[B * T]"""
        hidden = self.model.base_model(**inputs).last_hidden_state
        if torch.is_autocast_enabled(hidden.device.type):
            hidden = hidden.to(torch.get_autocast_dtype(hidden.device.type))  # the last norm multiplies by float32 weights
        return next_token_loss(hidden.flatten(0, 1), head_weight(self.model), labels, scale, self.z, self.compiled)
