"""Proof, on the model and device at hand, that packed documents don't see each other.

In a real micro-batch one document's tokens are replaced; the hidden states of all others must not move: not at all on a CPU, by no
more than rounding on a GPU. The document itself must move, so that a test that sees nothing is no proof.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from curate.errors import DataError

ROUNDING = 1e-3  # share of the largest hidden state, for kernels whose order of sums may differ


@torch.no_grad()  # type: ignore[untyped-decorator]
def leakage(model: PreTrainedModel, inputs: dict[str, Any], ends: Tensor) -> tuple[float, float]:
    """(largest change of other documents, largest change of the changed document), as shares of the largest hidden state.

    inputs: of `packed_inputs`; ends: i32[n+1], borders of documents in all tokens. The longest document that has one behind it is changed.
    """
    borders = ends.unique_consecutive().long()
    lengths = borders.diff()
    if len(lengths) < 2:
        return 0.0, 1.0
    chosen = int(lengths[:-1].argmax())
    start, stop = int(borders[chosen]), int(borders[chosen + 1])
    tokens = inputs["input_ids"]
    changed = tokens.clone().reshape(-1)
    changed[start:stop] = (changed[start:stop] + 1) % model.get_input_embeddings().weight.shape[0]
    training = model.training
    model.eval()
    before = model.base_model(**inputs).last_hidden_state.flatten(0, 1).float()
    after = model.base_model(**{**inputs, "input_ids": changed.view(tokens.shape)}).last_hidden_state.flatten(0, 1).float()
    model.train(training)
    moved = (after - before).abs().amax(1) / before.abs().max()
    inside = torch.zeros(len(moved), dtype=torch.bool, device=moved.device)
    inside[start:stop] = True
    return float(moved[~inside].max()), float(moved[inside].max())


def prove(model: PreTrainedModel, inputs: dict[str, Any], ends: Tensor) -> dict[str, float]:
    """Raise DataError where a document sees another one. Returns {"leak", "moved"}."""
    leak, moved = leakage(model, inputs, ends)
    allowed = ROUNDING if ends.is_cuda else 0.0
    if not leak <= allowed or not moved > 10 * allowed:
        raise DataError(
            f"Documents in packed rows are not kept apart: changing one moved others by {leak:.3g} of the largest hidden state "
            f"(allowed {allowed:g}; the document itself moved by {moved:.3g}). Choose another `attention`, or say isolate: false."
        )
    return {"leak": leak, "moved": moved}
