"""How hard an instruction makes its answer, by a language model: IFD and perplexity."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Self

import numpy as np
import pyarrow as pa
from pydantic import Field, model_validator

from curate.errors import MissingDependency, StepError
from curate.schema import with_columns
from curate.step import Asset, BatchFn, Context, Outcome, Signal, Step, Verdict
from formats.batches import from_batch
from formats.steps.prompts import READS
from formats.templates.rendering import Refused, Renderer, Row, Settings

_COLUMNS = {"ifd_score": pa.float64(), "ifd_perplexity": pa.float64(), "ifd_alone_perplexity": pa.float64()}


class Ifd(Step):
    """Score each record's last answer with a causal language model, and drop what lies outside bounds.

    `ifd_perplexity`: exp of the mean loss of the answer's tokens after the prompt; `ifd_alone_perplexity`: of the same tokens without a prompt;
    `ifd_score`: their ratio, on the losses' exponentials as in Superfiltering. Above 1 the prompt makes the answer less likely: they don't
    belong together. The tokens are those that `render` trains, so the stop token counts; the first answer token is left out of both where the
    tokenizer has no bos token, since it has no context alone. Rows that can't be rendered, or are longer than `max_length`, have no
    score and are kept: null is never taken for a number. A small model does (GPT-2 in Superfiltering). Two forward passes a row:
    what they cost is the model's speed.
    """

    name: ClassVar[str] = "ifd"
    summary: ClassVar[str] = "instruction-following difficulty and perplexity of answers, by a language model"
    origin: ClassVar[str] = "Li et al. 2024 (Cherry LLM), section 2; Li et al. 2024 (Superfiltering)"

    model: str = Field(
        min_length=1, description="folder of a causal language model with its tokenizer (safetensors)", json_schema_extra={"path": True}
    )
    template: str | None = Field(
        None,
        min_length=1,
        description="a known template or a .jinja file; null: the tokenizer's own",
        json_schema_extra={"path": "optional"},
    )
    min_ifd: float | None = Field(None, ge=0, le=1e9, description="lowest score that survives")
    max_ifd: float | None = Field(1.0, ge=0, le=1e9, description="highest score that survives")
    max_perplexity: float | None = Field(None, ge=1, le=1e12, description="highest perplexity of the answer after the prompt that survives")
    max_length: int = Field(1024, ge=2, le=1 << 20, description="rows of more tokens have no score")
    mode: Literal["drop", "annotate"] = Field("drop", description="drop, or only add columns")

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.min_ifd is not None and self.max_ifd is not None and self.min_ifd > self.max_ifd:
            raise ValueError(f"min_ifd ({self.min_ifd}) must not be above max_ifd ({self.max_ifd})")
        return self

    def reads(self) -> frozenset[str]:
        """Columns that must exist before this step."""
        return READS

    def adds(self) -> Mapping[str, pa.DataType]:
        """Columns that exist after it, with their types."""
        return _COLUMNS if self.mode == "drop" else {"ifd_keep": pa.bool_(), "ifd_reason": pa.string(), **_COLUMNS}

    def drops(self) -> tuple[str, ...]:
        """Every drop reason it can give."""
        return ("ifd.too_easy", "ifd.too_hard", "ifd.perplexity_too_high") if self.mode == "drop" else ()

    def signals(self) -> tuple[Signal, ...]:
        """Numbers and their bounds."""
        return (
            Signal("ifd_score", "min_ifd", "at_least"),
            Signal("ifd_score", "max_ifd", "at_most"),
            Signal("ifd_perplexity", "max_perplexity", "at_most"),
        )

    def assets(self) -> tuple[Asset, ...]:
        """Every file of the model's folder."""
        from curate.steps.transformer_scores import model_files

        return model_files(self.model, None, self.name)

    def bind(self, ctx: Context) -> BatchFn:
        """Load the model."""
        from formats.templates.probe import check
        from formats.templates.tokenizer import load

        chat = load(self.model, self.template)
        check(chat)
        renderer = Renderer(chat, Settings("last"))
        losses = _losses(self.model)
        bos = chat.special.get("bos_token")
        start = None if bos is None else chat.tokenizer.token_to_id(bos)

        def run(batch: pa.RecordBatch) -> Outcome:
            found = [self._score(row, losses, start) for row in renderer.rows(from_batch(batch))]
            return self._outcome(batch, found)

        return run

    def _score(self, row: Row | Refused, losses: Any, start: int | None) -> tuple[float, float, float] | None:
        if isinstance(row, Refused) or len(row.ids) > self.max_length:
            return None
        at = np.flatnonzero(row.trained)
        answer = [row.ids[n] for n in at]
        whole = losses(row.ids)[at[at > 0] - 1]  # loss of token n stands at n - 1
        alone = losses(answer) if start is None else losses([start, *answer])
        whole = whole[len(whole) - len(alone) :]
        if not len(alone):
            return None
        after, without = float(np.exp(whole.mean())), float(np.exp(alone.mean()))
        return after / without, after, without

    def _outcome(self, batch: pa.RecordBatch, found: list[tuple[float, float, float] | None]) -> Outcome:
        columns = {name: pa.array([f and f[k] for f in found], pa.float64()) for k, name in enumerate(_COLUMNS)}
        reasons = [None if f is None else self._reason(f[0], f[1]) for f in found]
        reason = pa.array([r and f"ifd.{r[0]}" for r in reasons], pa.string())
        made = with_columns(batch, columns)
        if self.mode == "drop":
            return Outcome(made, Verdict(reason.is_null(), reason, pa.array([r and r[1] for r in reasons], pa.float64())))
        return Outcome(with_columns(made, {"ifd_keep": reason.is_null(), "ifd_reason": reason}))

    def _reason(self, score: float, perplexity: float) -> tuple[str, float] | None:
        if self.min_ifd is not None and score < self.min_ifd:
            return "too_easy", score
        if self.max_ifd is not None and not score <= self.max_ifd:
            return "too_hard", score
        if self.max_perplexity is not None and not perplexity <= self.max_perplexity:
            return "perplexity_too_high", perplexity
        return None


def _losses(folder: str) -> Any:
    """A function: ids to the loss of each token but the first, float64[n - 1]. One row at a time, so that padding decides nothing."""
    try:
        import torch
        from transformers import AutoModelForCausalLM
    except ImportError as error:
        raise MissingDependency("step 'ifd' needs torch and transformers: pip install 'curate[train]'.") from error
    model: Any = AutoModelForCausalLM.from_pretrained(
        folder, local_files_only=True, trust_remote_code=False, use_safetensors=True, dtype=torch.float32
    )
    model.eval()

    def losses(ids: list[int]) -> np.ndarray:
        if len(ids) < 2:
            return np.zeros(0)
        with torch.inference_mode():
            tensor = torch.tensor([ids])
            logits = model(input_ids=tensor).logits[0, :-1].float()
            found: np.ndarray = torch.nn.functional.cross_entropy(logits, tensor[0, 1:], reduction="none").double().numpy()
        if not math.isfinite(float(found.sum())):
            raise StepError("ifd: the model gives losses that are no numbers; check its weights.")
        return found

    return losses
