"""`train: grpo` and `train: rloo`: answers are drawn, scored by rewards, and compared within the group of their prompt; and what `train: ppo` says."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from curate.node import NodeInput
from curate.step import Asset
from train.node import ModelNode, model_files
from train.posttraining.rendering import Kind
from train.posttraining.rewards import RewardSpec, check
from train.posttraining.settings import PostTraining, SoftPrompt
from train.spec import kind_of_init

if TYPE_CHECKING:
    from train.posttraining.runner import Plan, Setup
    from train.posttraining.training import Parts


class _Group(PostTraining):
    """What both share. A batch counts answers, not prompts."""

    rows: ClassVar[Kind] = "prompts"
    generates: ClassVar[bool] = True
    usual_lr: ClassVar[float] = 1e-6
    largest_micro: ClassVar[int] = 64

    batch_size: int = Field(default=64, ge=2, le=1 << 20, description="answers of a step, over all processes: a multiple of `answers`")
    answers: int = Field(default=8, ge=2, le=4096, description="answers drawn to each prompt")
    rewards: Annotated[list[RewardSpec], Field(min_length=1, max_length=32)] = Field(
        description="what scores answers: [{verifier: exact}], [{model: rm0, weight: 0.5}]"
    )
    max_answer: int = Field(default=256, ge=1, le=1 << 20, description="tokens of an answer")
    temperature: float = Field(default=1.0, gt=0, le=10, description="of drawing")
    top_p: float = Field(default=1.0, gt=0, le=1, description="share of the probability that is drawn from")
    iterations: int = Field(default=1, ge=1, le=100, description="steps on the same answers")
    epsilon: float = Field(default=0.2, gt=0, le=10, description="how far a step may move the ratio of probabilities")
    mask_cut_answers: bool = Field(default=False, description="no loss on answers that did not end within max_answer")

    @model_validator(mode="after")
    def _divides(self) -> _Group:
        if self.batch_size % self.answers:
            raise ValueError(f"batch_size ({self.batch_size}) must be a multiple of answers ({self.answers})")
        if isinstance(self.adapter, SoftPrompt):
            raise ValueError(
                "a soft prompt can't be trained here: answers are drawn with a cache, which peft does not give it. Take {rank: 16}"
            )
        return self

    def more_inputs(self) -> tuple[str, ...]:
        """Reward models of the recipe."""
        models = [r.model for r in self.rewards if r.model is not None and kind_of_init(r.model) == "node"]
        return (*super().more_inputs(), *models)

    def assets(self) -> tuple[Asset, ...]:
        """Files of reward models in folders, too."""
        folders = [r.model for r in self.rewards if r.model is not None and kind_of_init(r.model) == "folder"]
        return (*super().assets(), *(Asset(str(f), "reward model") for folder in folders for f in model_files(Path(folder))))

    def places(self, rows: int) -> int:
        """Answers of a pass."""
        return rows * self.answers

    def order(self, setup: Setup, rows: int, plan: Plan) -> Any:
        """Prompts in blocks, each answered several times."""
        from curate.errors import RecipeError
        from train.posttraining.order import GroupedOrder

        if plan.batch % self.answers:
            raise RecipeError(
                f"{len(self.rewards)} rows of prompts make a batch of {plan.batch} answers, no multiple of answers ({self.answers})."
            )
        blocks = -(-plan.steps // self.iterations)
        seed = setup.job.seed if self.shuffle else None
        return GroupedOrder(rows, blocks, plan.batch // self.answers, self.answers, plan.times * self.iterations, seed)

    def forecast(self, inputs: Mapping[str, NodeInput], exact: bool) -> list[str]:
        """Steps, and whether the rewards are there."""
        for spec in self.rewards:
            check(spec)
        return super().forecast(inputs, exact)

    def arguments(self, parts: Parts) -> dict[str, Any]:
        """Arguments that both trl configurations share."""
        common = {k: v for k, v in parts.common.items() if k != "per_device_eval_batch_size"}
        return {
            **common,
            "per_device_eval_batch_size": self.answers,
            "num_generations": self.answers,
            "max_completion_length": self.max_answer,
            "temperature": self.temperature,
            "top_p": self.top_p,
            "num_iterations": self.iterations,
            "epsilon": self.epsilon,
            "mask_truncated_completions": self.mask_cut_answers,
            "reward_weights": [r.weight for r in self.rewards],
        }

    def functions(self, parts: Parts) -> list[Any]:
        """Sources of rewards, as trl calls them."""
        from train.posttraining.reward_models import load_reward

        return [load_reward(spec, parts.setup) for spec in self.rewards]


class Grpo(_Group):
    """Group-relative policy optimization (Shao et al. 2024), by default with DAPO's loss (Yu et al. 2025), as in trl."""

    kind: ClassVar[str] = "train:grpo"
    summary: ClassVar[str] = "answers drawn, scored by rewards, compared within their group"

    beta: float = Field(default=0.0, ge=0, le=100, description="weight of the KL term; 0 needs no reference in memory")
    loss: Literal["dapo", "grpo", "dr_grpo", "bnpo"] = Field(
        default="dapo", description="how tokens are averaged: over the batch, the answer, a constant"
    )
    scale: Literal["group", "batch", "none"] = Field(
        default="group", description="what rewards are divided by: their spread in the group, in the batch, nothing"
    )
    epsilon_high: float | None = Field(default=None, gt=0, le=10, description="upper bound of the ratio; null: epsilon. DAPO: 0.28")

    def trainer(self, parts: Parts) -> Any:
        """trl's GRPOTrainer on rendered prompts."""
        import trl

        from train.posttraining.trainers import Grpo as Trainer

        args = trl.GRPOConfig(
            **self.arguments(parts), beta=self.beta, loss_type=self.loss, scale_rewards=self.scale, epsilon_high=self.epsilon_high
        )
        made = Trainer(args=args, reward_funcs=self.functions(parts), **parts.given)
        made.curate_encode = parts.setup.maker.prompt_ids
        return made


class Rloo(_Group):
    """REINFORCE with the mean of the other answers as the baseline (Ahmadian et al. 2024)."""

    kind: ClassVar[str] = "train:rloo"
    summary: ClassVar[str] = "answers drawn, scored by rewards, against the mean of the others"

    beta: float = Field(default=0.05, ge=0, le=100, description="weight of the KL term")
    normalize: bool = Field(default=False, description="divide advantages by their spread in the batch")

    def trainer(self, parts: Parts) -> Any:
        """trl's RLOOTrainer on rendered prompts."""
        import trl

        from train.posttraining.trainers import Rloo as Trainer

        args = trl.RLOOConfig(**self.arguments(parts), beta=self.beta, normalize_advantages=self.normalize)
        made = Trainer(args=args, reward_funcs=self.functions(parts), **parts.given)
        made.curate_encode = parts.setup.maker.prompt_ids
        return made


class Ppo(ModelNode):
    """Not there: trl has had no PPO trainer since 1.0, so this kind says what to take."""

    kind: ClassVar[str] = "train:ppo"
    summary: ClassVar[str] = "not available: trl has no PPO trainer any more; see grpo and rloo"

    @model_validator(mode="before")
    @classmethod
    def _gone(cls, values: Any) -> Any:
        raise ValueError(
            "trl has no PPO trainer any more (1.16: SFT, DPO, KTO, reward, GRPO, RLOO). Take 'train: grpo' or 'train: rloo': they draw several answers a prompt and need no value model"
        )
