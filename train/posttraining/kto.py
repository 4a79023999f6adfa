"""`train: kto`: preference optimization on single answers that are good or bad."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field, model_validator

from train.posttraining.rendering import Kind
from train.posttraining.settings import PostTraining, SoftPrompt

if TYPE_CHECKING:
    from train.posttraining.runner import Setup
    from train.posttraining.training import Parts


class Kto(PostTraining):
    """A model that prefers good answers to bad ones, without pairs (Ethayarajh et al. 2024)."""

    kind: ClassVar[str] = "train:kto"
    summary: ClassVar[str] = "preference optimization on good and bad answers"
    rows: ClassVar[Kind] = "labelled"
    usual_lr: ClassVar[float] = 1e-6
    compares: ClassVar[bool] = True

    beta: float = Field(default=0.1, gt=0, le=100, description="how closely the model is held to its reference")
    loss: Literal["kto", "apo_zero_unpaired"] = Field(default="kto", description="apo_zero_unpaired: without the KL term")
    desirable_weight: float | None = Field(
        default=None, gt=0, le=1000, description="weight of good answers; null: balances the two by their numbers (paper, eq. 8)"
    )
    undesirable_weight: float | None = Field(default=None, gt=0, le=1000, description="weight of bad answers; null: balances")

    @model_validator(mode="after")
    def _pairs_up(self) -> Kto:
        if self.loss == "kto" and self.micro_batch_size == 1:
            raise ValueError("the loss kto pairs the answers of a micro-batch with each other: micro_batch_size must be at least 2")
        return self

    def balance(self, setup: Setup) -> tuple[float, float]:
        """(of good answers, of bad ones): the rarer kind weighs as much as the other in sum, where neither is given."""
        if self.desirable_weight is not None or self.undesirable_weight is not None:
            return self.desirable_weight or 1.0, self.undesirable_weight or 1.0
        labels = setup.dataset().data.table.column("label").to_pylist()
        good = sum(labels)
        bad = len(labels) - good
        if not good or not bad:
            return 1.0, 1.0
        return max(1.0, bad / good), max(1.0, good / bad)

    def trainer(self, parts: Parts) -> Any:
        """trl's KTOTrainer on rows that are done."""
        import trl

        from curate.errors import RecipeError
        from train.posttraining.collators import LabelledCollator
        from train.posttraining.flat import without_padding
        from train.posttraining.trainers import Kto as Trainer

        if self.loss == "kto" and parts.plan.micro < 2:
            raise RecipeError(
                f"kto: a micro-batch of {parts.plan.micro} row has no other answer to pair it with. Set micro_batch_size to at least 2."
            )
        good, bad = self.balance(parts.setup)
        args = trl.KTOConfig(
            **parts.common, beta=self.beta, loss_type=self.loss, desirable_weight=good, undesirable_weight=bad, max_length=None,
            train_sampling_strategy="sequential",
        )  # fmt: skip
        collator = LabelledCollator(parts.setup.tokenizer.pad_token_id, pair_up=self.loss == "kto")
        reference = None if isinstance(self.adapter, SoftPrompt) else parts.reference()
        made = Trainer(args=args, ref_model=reference, data_collator=collator, **parts.given)
        if not parts.padding:
            without_padding(parts.bare(made.model), parts.attention)
            if made.ref_model is not None:
                without_padding(parts.bare(made.accelerator.unwrap_model(made.ref_model)), parts.attention)
        return made
