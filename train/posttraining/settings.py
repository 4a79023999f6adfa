"""Settings that all kinds of post-training share. Need no torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from curate.errors import MissingDependency
from curate.node import NodeInput, Progress
from curate.step import Asset
from formats.lengths import TooLong
from train.evaluation.settings import TaskEvaluation
from train.node import ModelNode, TrainJob
from train.posttraining.launching import Parallel
from train.posttraining.rendering import Kind, Rendering
from train.pretrain import Checkpoints

if TYPE_CHECKING:
    from train.posttraining.runner import Plan, Setup
    from train.posttraining.training import Parts

Name = Annotated[str, Field(min_length=1)]
Share = Annotated[float, Field(ge=0, le=1)]
LORA_LR_FACTOR = 10  # Schulman et al. 2025, "LoRA Without Regret": the best rate is about ten times that of full training
SOFT_LR = 0.03


class _Settings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)


class Lora(_Settings):
    """Low-rank adapters (Hu et al. 2021). Defaults: rank 16, alpha twice that, on every linear layer but the head (QLoRA, 2023, section 4)."""

    rank: int = Field(default=16, ge=1, le=4096, description="inner size of the adapter")
    alpha: float | None = Field(default=None, gt=0, le=1e5, description="scale; twice the rank where not set")
    dropout: float = Field(default=0.0, ge=0, lt=1, description="of the adapter's input")
    modules: list[Name] | None = Field(default=None, min_length=1, description="names of layers; null: every linear layer but the head")
    dora: bool = Field(default=False, description="magnitude and direction apart (Liu et al. 2024)")
    rslora: bool = Field(default=False, description="scale by the root of the rank (Kalajdzievski 2023)")
    quantize: Literal["4bit", "8bit"] | None = Field(
        default=None, description="load the frozen weights in so many bits (QLoRA); needs bitsandbytes"
    )
    merge: bool = Field(default=True, description="write the model with the adapter in its weights; false: the adapter beside it alone")


class SoftPrompt(_Settings):
    """Trained vectors before every input, the model itself frozen (Lester et al. 2021)."""

    tokens: int = Field(default=20, ge=1, le=4096, description="how many vectors")
    text: str | None = Field(default=None, min_length=1, description="text whose embeddings they start from; null: drawn at random")
    merge: bool = Field(default=True, description="write a model in which they are tokens; false: the adapter beside the model as it was")


class DoctorSettings(_Settings):
    """What the data doctor lets pass, before anything is trained."""

    allow: dict[str, Share] = Field(default_factory=dict, description="share of rows that may have a defect: {empty_answer: 0.01}")
    against: list[Name] = Field(
        default=[], description="files of evaluation sets that must not be in the data", json_schema_extra={"path": True}
    )
    refuse: bool = Field(default=True, description="false: report, leave defective rows out and go on")

    @model_validator(mode="after")
    def _known(self) -> DoctorSettings:
        from train.posttraining.findings import DEFECTS

        unknown = [name for name in self.allow if name not in DEFECTS]
        if unknown:
            from curate.registry import nearest

            raise ValueError(f"allow: there is no defect {unknown[0]!r}.{nearest(unknown[0], list(DEFECTS))} Known: {', '.join(DEFECTS)}")
        return self


class Evaluation(_Settings):
    """Loss on held-out rows of the same kind."""

    data: Name = Field(description="dataset of the recipe, or a folder or file")
    every_steps: int | None = Field(default=None, ge=1, le=10**9, description="null: at the end only")


class PostTraining(ModelNode):
    """Base of the kinds that start from a model and train it on rows."""

    packages: ClassVar[tuple[str, ...]] = ("torch", "transformers", "trl", "datasets", "accelerate")
    rows: ClassVar[Kind]
    head: ClassVar[Literal["language", "reward"]] = "language"
    generates: ClassVar[bool] = False  # draws answers while it trains
    compares: ClassVar[bool] = False  # runs a reference model beside
    largest_micro: ClassVar[int] = 8  # rows at a time, where not set
    usual_lr: ClassVar[float] = 2e-5

    epochs: float = Field(default=1.0, gt=0, le=1000, description="passes over the rows; the last step is filled up from the next pass")
    steps: int | None = Field(default=None, ge=1, le=10**9, description="optimizer steps, in place of epochs")
    shuffle: bool = Field(default=True, description="false: rows in the order of the data, as the stages of a blend want it")
    batch_size: int = Field(default=32, ge=1, le=1 << 20, description="rows (packed: sequences) of a step, over all processes")
    micro_batch_size: int | None = Field(
        default=None,
        ge=1,
        le=1 << 16,
        description="rows that one process works on at a time; null: the largest divisor of its share up to 8",
    )
    lr: float | None = Field(
        default=None, gt=0, le=10, description="peak learning rate; chosen by the kind, ten times that with LoRA, 0.03 for a soft prompt"
    )
    schedule: Literal["cosine", "linear", "constant", "wsd"] = Field(
        default="linear", description="learning rate after the warm-up; wsd: the last fifth comes down"
    )
    warmup: Share = Field(default=0.03, description="share of the steps that lead up to the peak")
    weight_decay: float = Field(default=0.0, ge=0, le=10, description="of matrices")
    beta2: float = Field(default=0.999, ge=0, lt=1, description="AdamW's mean of squares")
    clip: float | None = Field(default=1.0, gt=0, le=1e6, description="largest norm of the gradient")
    precision: Literal["auto", "fp32", "bf16"] = Field(default="auto", description="arithmetic; auto: bf16 on a GPU")
    weights: Literal["fp32", "bf16"] = Field(
        default="fp32", description="trained weights and optimizer states; bf16 halves memory and rounds small updates away"
    )
    activation_checkpointing: bool = Field(default=False, description="compute activations twice to save memory")
    attention: Literal["auto", "varlen", "sdpa", "flex"] = Field(default="auto", description="auto: varlen on a GPU, sdpa on a CPU")
    padding: bool = Field(
        default=False, description="true: pad rows to the longest of a batch; false: rows one after the other, kept apart"
    )
    template: str | None = Field(
        default=None, min_length=1, description="chat template: a name, a .jinja file, none: plain text; null: the tokenizer's own",
        json_schema_extra={"path": "optional"},
    )  # fmt: skip
    special_text: Literal["refuse", "escape"] = Field(default="refuse", description="special tokens spelled out in a message")
    stop: str | None = Field(default=None, min_length=1, description="token that ends an answer; null: found by rendering")
    new_tokens: list[Name] = Field(
        default=[], max_length=10_000, description="special tokens to add to tokenizer and model, such as the template's"
    )
    max_length: int | None = Field(
        default=None, ge=2, le=1 << 22, description="most tokens of a row, of the longer side of a pair; null: what the model reads"
    )
    too_long: TooLong = Field(
        default="drop", description="drop; cut_turns: whole exchanges from the end; keep_end: the oldest exchanges go"
    )
    adapter: Lora | SoftPrompt | None = Field(
        default=None, description="{rank: 16} trains LoRA adapters, {tokens: 20} a soft prompt; null: all weights"
    )
    doctor: DoctorSettings = Field(default=DoctorSettings(), description="what the data doctor lets pass")
    evaluation: Evaluation | None = Field(default=None, description="loss on held-out rows")
    evaluate: TaskEvaluation | None = Field(
        default=None, description="tasks asked while training, of whole language models: {every: 100, tasks: [arc_easy.jsonl]}"
    )
    checkpoints: Checkpoints = Field(default=Checkpoints(), description="when the state is saved")
    parallel: Parallel = Field(default=Parallel(), description="how several processes share the work")
    track: list[Literal["tensorboard", "wandb"]] = Field(default=[], description="where metrics go beside metrics.jsonl")

    @model_validator(mode="after")
    def _whole_matrices(self) -> PostTraining:
        if self.parallel.tensor > 1 and (self.adapter is not None or self.head != "language" or self.generates):
            raise ValueError(
                "parallel.tensor goes with whole language models (sft, dpo, kto): no adapter, no reward model, no answers drawn"
            )
        if self.evaluate is not None and (self.adapter is not None or self.head != "language"):
            raise ValueError(
                "evaluate goes with whole language models: no adapter, no reward model. Ask those with `curate eval` at the end"
            )
        return self

    def check_packages(self, needed_by: str) -> None:
        super().check_packages(needed_by)
        if self.adapter is not None:
            MissingDependency.check(("peft",), "train", "adapter")
        if isinstance(self.adapter, Lora) and self.adapter.quantize is not None:
            MissingDependency.check(("bitsandbytes",), "qlora", "adapter.quantize")

    def more_inputs(self) -> tuple[str, ...]:
        return (self.evaluation.data,) if self.evaluation is not None else ()

    def assets(self) -> tuple[Asset, ...]:
        """Model files, evaluation sets that are checked against, a template's file."""
        from curate.steps.benchmark_items import expand

        files = [*expand(self.doctor.against)] if self.doctor.against else []
        template = [self.template] if self.template is not None and self.template.endswith((".jinja", ".jinja2", ".j2")) else []
        asked = self.evaluate.assets() if self.evaluate is not None else ()
        return (*super().assets(), *asked, *(Asset(f, "evaluation set") for f in files), *(Asset(f, "chat template") for f in template))

    def rendering(self, max_length: int | None) -> Rendering:
        """How its rows are made. max_length: what the model can read."""
        limits = [n for n in (self.max_length, max_length) if n is not None]
        return Rendering(
            template=self.template,
            special_text=self.special_text,
            max_length=min(limits, default=None),
            too_long=self.too_long,
            stop=self.stop,
        )

    def peak_lr(self) -> float:
        """The learning rate that is used."""
        if self.lr is not None:
            return self.lr
        return SOFT_LR if isinstance(self.adapter, SoftPrompt) else self.usual_lr * (LORA_LR_FACTOR if self.adapter is not None else 1)

    def places(self, rows: int) -> int:
        """Places of a pass over so many rows: a row may stand at several."""
        return rows

    def flops_per_token(self, model: Any) -> float:
        """Of a step, a token: 6 a weight (2 forward, 4 backward), 4 where weights are frozen; 2 more for a reference. The head is counted, embeddings are not."""
        tied = bool(getattr(model.config, "tie_word_embeddings", False))
        weights = sum(p.numel() for p in model.parameters()) - (0 if tied else model.get_input_embeddings().weight.numel())
        return 0.0 if self.generates else weights * ((6 if self.adapter is None else 4) + (2 if self.compares else 0))

    def dataset(self, setup: Setup, held_out: bool = False) -> Any:
        """Rows as the trainer reads them."""
        return setup.dataset(held_out)

    def order(self, setup: Setup, rows: int, plan: Plan) -> Any:
        """The sampler of the run: every row once a pass."""
        from train.posttraining.order import Order

        return Order(rows, plan.steps * plan.batch, setup.job.seed if self.shuffle else None)

    def trainer(self, parts: Parts) -> Any:
        """The trainer of the kind, made of the parts. Imports torch."""
        raise NotImplementedError

    def forecast(self, inputs: Mapping[str, NodeInput], exact: bool) -> list[str]:
        """Rows and steps, as far as they are known."""
        rows = inputs[self.data].rows if self.data in inputs else 0
        steps = self.steps or (round(self.epochs * rows / self.batch_size) if rows else None)
        mark = "" if exact else "~"
        asked = [self.evaluate.forecast()] if self.evaluate is not None else []
        about = f"{self.kind.partition(':')[2]} on {mark}{rows:,} rows: {mark}{steps:,} steps of {self.batch_size:,}"
        return [*([about] if steps else []), *asked]

    def train(self, job: TrainJob, progress: Progress) -> dict[str, Any]:
        from train.posttraining.runner import run

        return run(self, job, progress)
