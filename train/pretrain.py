"""`train: pretrain`: a language model from a mix, by our own loop (train.loop). This module holds the settings and needs no torch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from curate.mix_schedule import TokenCount
from curate.node import NodeInput, Progress
from curate.step import Asset
from train.evaluation.settings import TaskEvaluation
from train.gpus import known_gpu
from train.node import MIX, ModelNode, TrainJob


class _Settings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)


class Optimizer(_Settings):
    """How weights move. Defaults: AdamW as in Llama and OLMo (betas 0.9, 0.95; decay 0.1 on matrices only)."""

    name: Literal["adamw", "muon"] = Field(default="adamw", description="muon: for the matrices of layers; AdamW for the rest")
    lr: float | None = Field(default=None, gt=0, le=10, description="peak learning rate; chosen by the width of the model where not set")
    beta1: float = Field(default=0.9, ge=0, lt=1, description="AdamW's mean of gradients")
    beta2: float = Field(default=0.95, ge=0, lt=1, description="AdamW's mean of squares")
    eps: float = Field(default=1e-8, gt=0, le=1, description="AdamW's smallest denominator")
    weight_decay: float = Field(default=0.1, ge=0, le=10, description="of matrices; norms, biases and embeddings have none")
    muon_lr: float = Field(default=0.02, gt=0, le=10, description="peak learning rate of matrices under Muon")
    momentum: float = Field(default=0.95, ge=0, lt=1, description="Muon's momentum, Nesterov's form")


class Schedule(_Settings):
    """The learning rate over the run, as a share of its peak."""

    name: Literal["cosine", "wsd", "linear", "constant"] = Field(
        default="wsd", description="wsd: warm-up, stable, then linear decay over the last `decay` of the run"
    )
    warmup: float = Field(default=0.02, ge=0, le=1, description="share of the steps that lead up to the peak")
    decay: float = Field(default=0.2, ge=0, le=1, description="share of the steps in which wsd comes down")
    final: float = Field(default=0.0, ge=0, le=1, description="share of the peak that is left at the end")


class BatchRamp(_Settings):
    """Smaller batches at the start."""

    start: TokenCount = Field(ge=1, le=1 << 40, description="tokens of a batch at the start")
    until: float = Field(
        default=0.1, gt=0, le=1, description="share of the run's tokens after which batches are whole; steps of a doubling"
    )


class Spikes(_Settings):
    """What happens when the loss jumps."""

    above: float = Field(default=6.0, gt=0, le=1e6, description="robust deviations above the median of the last `window` losses")
    window: int = Field(default=64, ge=8, le=10_000, description="steps looked back on")
    action: Literal["report", "skip"] = Field(default="report", description="skip: leave out the update of such a step")
    max_bad: int = Field(default=3, ge=0, le=10_000, description="steps in a row with a loss that is no number before the run stops")
    documents: int = Field(default=20, ge=1, le=1000, description="documents with the highest loss that a report names")


class Checkpoints(_Settings):
    """When the state is saved, to go on from after an interruption."""

    every_steps: int | None = Field(default=None, ge=1, le=10**9, description="save every so many steps")
    every_minutes: float | None = Field(default=15.0, gt=0, le=1e5, description="and every so many minutes")
    keep: int = Field(default=2, ge=1, le=1000, description="newest checkpoints that stay")


class Validation(_Settings):
    """Loss on other mixes while training."""

    data: list[Annotated[str, Field(min_length=1)]] = Field(
        min_length=1,
        max_length=100,
        description="mixes with the same tokenizer and seq_len; of the mix that is trained on, what it holds out",
    )
    every_steps: int | None = Field(default=None, ge=1, le=10**9, description="null: at the end only")
    windows: int = Field(default=256, ge=1, le=10**7, description="windows read from each, spread evenly")


class Pretrain(ModelNode):
    """A causal language model trained on a mix."""

    kind: ClassVar[str] = "train:pretrain"
    summary: ClassVar[str] = "a language model learnt from a mix of tokens"
    fresh: ClassVar[bool] = True

    tokens: TokenCount | None = Field(default=None, ge=1, le=1 << 50, description="tokens to train on; the whole mix where not set")
    batch_tokens: TokenCount | None = Field(
        default=None,
        ge=1,
        le=1 << 40,
        description="tokens of a step over all processes, in whole windows; the mix's batch_windows where not set, else chosen",
    )
    batch_ramp: BatchRamp | None = Field(default=None, description="smaller batches at the start")
    micro_batch_tokens: TokenCount | None = Field(
        default=None, ge=1, le=1 << 30, description="tokens that one process works on at a time; chosen by the device where not set"
    )
    optimizer: Optimizer = Field(default=Optimizer(), description="AdamW or Muon")
    schedule: Schedule = Field(default=Schedule(), description="learning rate over the run")
    clip: float | None = Field(default=1.0, gt=0, le=1e6, description="largest norm of the gradient")
    z_loss: float = Field(default=0.0, ge=0, le=1, description="weight of log(Z)^2 (PaLM, 2022, section 5), which keeps logits small")
    precision: Literal["auto", "fp32", "bf16"] = Field(
        default="auto", description="bf16: arithmetic; weights stay float32. auto: bf16 on a GPU"
    )
    attention: Literal["auto", "varlen", "sdpa", "flex"] = Field(default="auto", description="auto: varlen on a GPU, sdpa on a CPU")
    isolate: bool = Field(default=True, description="documents in a window don't see each other, and positions start anew")
    compile: bool | None = Field(default=None, description="torch.compile of the decoder layers; where not set: on a GPU")
    activation_checkpointing: bool = Field(default=False, description="compute activations twice to save memory")
    deterministic: bool = Field(default=False, description="the same bits every time on a GPU too, at some cost; a CPU gives them anyway")
    parallel: Literal["ddp", "fsdp2"] = Field(
        default="ddp", description="what is split over processes: the data, or weights and states too"
    )
    checkpoints: Checkpoints = Field(default=Checkpoints(), description="when the state is saved")
    validation: Validation | None = Field(default=None, description="loss on other mixes")
    evaluate: TaskEvaluation | None = Field(default=None, description="tasks asked while training: {every: 500, tasks: [arc_easy.jsonl]}")
    loss_by: list[Annotated[str, Field(min_length=1)]] = Field(
        default=["dataset"],
        max_length=8,
        description="by what the loss is told apart at every step: dataset (the mix's names), or columns of the token shards: source, lang_code",
    )
    buckets: dict[str, Annotated[list[float], Field(min_length=1, max_length=100)]] = Field(
        default_factory=dict, description="borders that put a column of numbers into buckets: {quality_score: [1, 2, 3]}"
    )
    spikes: Spikes = Field(default=Spikes(), description="what happens when the loss jumps")
    exclude: str | None = Field(
        default=None, min_length=1, description="JSONL with `id`s of documents that are not learnt from", json_schema_extra={"path": True}
    )
    prove_isolation: bool = Field(default=True, description="before the first step, change a document and look that no other one moves")
    track: list[Literal["tensorboard", "wandb"]] = Field(default=[], description="where metrics go beside metrics.jsonl")
    # For plans only: what they say decides no weight, so they are in no key and no checkpoint's identity.
    gpu: str | None = Field(default=None, min_length=1, exclude=True, description="GPU that a plan counts time and money for: h100")
    price: float | None = Field(default=None, ge=0, le=1e6, exclude=True, description="dollars an hour of that GPU, in a plan")

    @model_validator(mode="after")
    def _check(self) -> Pretrain:
        unknown = sorted(self.buckets.keys() - set(self.loss_by))
        if unknown:
            raise ValueError(f"buckets names {', '.join(unknown)}, which loss_by does not have")
        if self.batch_ramp is not None and self.batch_tokens is not None and self.batch_ramp.start > self.batch_tokens:
            raise ValueError(f"batch_ramp.start ({self.batch_ramp.start}) must be at most batch_tokens ({self.batch_tokens})")
        if self.gpu is not None:
            known_gpu(self.gpu)
        return self

    def more_inputs(self) -> tuple[str, ...]:
        return tuple(self.validation.data) if self.validation is not None else ()

    def assets(self) -> tuple[Asset, ...]:
        """Model files, and those of tasks that are asked while training."""
        return (*super().assets(), *(self.evaluate.assets() if self.evaluate is not None else ()))

    def forecast(self, inputs: Mapping[str, NodeInput], exact: bool) -> list[str]:
        """Parameters, FLOPs, memory, time and money."""
        from train.cost import forecast_lines

        data = inputs.get(self.data)
        mix = Path(data.folder) / MIX if data is not None and data.folder else None
        known = json.loads(mix.read_bytes()) if mix is not None and mix.is_file() else None
        lines = forecast_lines(self, data.tokens if data is not None else 0, exact, known)
        return [*lines, *([self.evaluate.forecast()] if self.evaluate is not None else [])]

    def train(self, job: TrainJob, progress: Progress) -> dict[str, Any]:
        from train.loop import pretrain

        return pretrain(self, job, progress)
