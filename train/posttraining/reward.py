"""`train: reward`: a model that scores answers, from pairs (Bradley-Terry)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from train.posttraining.rendering import Kind
from train.posttraining.settings import PostTraining

if TYPE_CHECKING:
    from train.posttraining.training import Parts


class Reward(PostTraining):
    """A model with a head of one number: the score of a conversation, read at its last token.

    Written as AutoModelForSequenceClassification with one label. Llama 3 (2024, section 4.1.3) drops the margin term, Llama 2
    (2023, section 3.2.2) has it.
    """

    kind: ClassVar[str] = "train:reward"
    summary: ClassVar[str] = "a reward model from pairs of answers"
    rows: ClassVar[Kind] = "pairs"
    head: ClassVar[Literal["language", "reward"]] = "reward"
    usual_lr: ClassVar[float] = 1e-5
    largest_micro: ClassVar[int] = 4

    margin: bool = Field(
        default=False, description="the score difference of a pair must exceed that of its grades; needs scores in the data"
    )
    center: float | None = Field(
        default=None, gt=0, le=10, description="weight that keeps scores around 0 (Eisenstein et al. 2023); 0.01 is usual"
    )

    def trainer(self, parts: Parts) -> Any:
        """trl's RewardTrainer on rows that are done."""
        import trl

        from train.posttraining.collators import WholeCollator
        from train.posttraining.flat import rewards_without_padding
        from train.posttraining.trainers import RewardModel as Trainer

        args = trl.RewardConfig(**parts.common, center_rewards_coefficient=self.center, max_length=None)
        collator = WholeCollator(parts.setup.tokenizer.pad_token_id, margins=self.margin)
        made = Trainer(args=args, data_collator=collator, **parts.given)
        if not parts.padding:
            rewards_without_padding(parts.bare(made.model), parts.attention)
        return made
