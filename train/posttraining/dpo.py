"""`train: dpo`: preference optimization on pairs, with all losses that trl has, the NLL term and length normalization."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from curate.step import Asset
from train.node import model_files
from train.posttraining.rendering import Kind
from train.posttraining.settings import PostTraining, SoftPrompt
from train.spec import kind_of_init

if TYPE_CHECKING:
    from train.posttraining.training import Parts

Loss = Literal[
    "sigmoid", "hinge", "ipo", "exo_pair", "nca_pair", "robust", "bco_pair", "sppo_hard", "aot", "aot_unpaired", "apo_zero", "apo_down",
    "discopop", "sft", "sigmoid_norm",
]  # fmt: skip


class Dpo(PostTraining):
    """A model that prefers the chosen answer (Rafailov et al. 2023).

    Llama 3's form (2024, section 4.1.4) is `lr: 1.0e-5, beta: 0.1, rpo_alpha: 0.2, mask_stop: true`; Tulu 3's (2024, section 5) is
    `lr: 5.0e-7, beta: 5, length_normalized: true`.
    """

    kind: ClassVar[str] = "train:dpo"
    summary: ClassVar[str] = "preference optimization on pairs of answers"
    rows: ClassVar[Kind] = "pairs"
    usual_lr: ClassVar[float] = 1e-6
    largest_micro: ClassVar[int] = 4
    compares: ClassVar[bool] = True

    warmup: Annotated[float, Field(ge=0, le=1)] = Field(default=0.1, description="share of the steps that lead up to the peak")
    beta: float = Field(default=0.1, gt=0, le=100, description="how closely the model is held to its reference")
    loss: Loss | list[Loss] = Field(default="sigmoid", description="one of trl's, or several that are added")
    loss_weights: list[float] | None = Field(default=None, min_length=1, description="weight of each loss")
    rpo_alpha: float | None = Field(
        default=None, gt=0, le=100, description="weight of the NLL of chosen answers, a mean over tokens (RPO, Pang et al. 2024)"
    )
    length_normalized: bool = Field(
        default=False, description="log-probabilities a token instead of sums (Tulu 3): sigmoid_norm for sigmoid"
    )
    label_smoothing: float = Field(
        default=0.0, ge=0, lt=0.5, description="share of pairs whose order is taken for wrong (cDPO, robust, exo_pair)"
    )
    length_desensitized: float | None = Field(
        default=None, ge=0, le=1, description="weight of tokens beyond the shorter answer (LD-DPO); null: 1"
    )
    divergence: Literal["reverse_kl", "forward_kl", "js_divergence", "alpha_divergence"] = Field(
        default="reverse_kl", description="f-DPO's divergence"
    )
    weighting: bool = Field(default=False, description="weigh pairs by their probability under the model (WPO, Zhou et al. 2024)")
    mask_stop: bool = Field(default=False, description="no loss on stop tokens, which both answers share")
    reference: str | None = Field(
        default=None,
        min_length=1,
        description="model to compare with; null: the model it starts from",
        json_schema_extra={"path": "optional"},
    )
    precompute_reference: bool = Field(default=False, description="reference log-probabilities once before training: one model in memory")

    @model_validator(mode="after")
    def _losses(self) -> Dpo:
        given = self.losses()
        if self.loss_weights is not None and len(self.loss_weights) != len([self.loss] if isinstance(self.loss, str) else self.loss):
            raise ValueError(f"loss_weights has {len(self.loss_weights)} numbers, loss has {len(given)}")
        if self.rpo_alpha is not None and "sft" in ([self.loss] if isinstance(self.loss, str) else self.loss):
            raise ValueError("rpo_alpha is the weight of the loss 'sft': give one of both")
        if "exo_pair" in given and self.label_smoothing == 0:
            raise ValueError("the loss exo_pair needs label_smoothing above 0; its paper uses 0.001")
        if self.reference is not None and self.adapter is not None:
            raise ValueError("with an adapter the reference is the model without it: leave out 'reference'")
        return self

    def losses(self) -> list[str]:
        """Names of the losses that are added, as trl spells them."""
        found = [self.loss] if isinstance(self.loss, str) else list(self.loss)
        if self.length_normalized:
            found = ["sigmoid_norm" if name == "sigmoid" else name for name in found]
        return [*found, "sft"] if self.rpo_alpha is not None else [str(name) for name in found]

    def summed_with(self) -> list[float] | None:
        """Their weights; None: 1 each."""
        if self.rpo_alpha is None:
            return self.loss_weights
        return [*(self.loss_weights or [1.0] * (len(self.losses()) - 1)), self.rpo_alpha]

    def more_inputs(self) -> tuple[str, ...]:
        """The reference, where it is a model of the recipe."""
        node = self.reference is not None and kind_of_init(self.reference) == "node"
        return (*super().more_inputs(), *((str(self.reference),) if node else ()))

    def assets(self) -> tuple[Asset, ...]:
        """Files of a reference in a folder, too."""
        from pathlib import Path

        given = self.reference is not None and kind_of_init(self.reference) == "folder"
        return (*super().assets(), *((Asset(str(f), "reference") for f in model_files(Path(str(self.reference)))) if given else ()))

    def trainer(self, parts: Parts) -> Any:
        """trl's DPOTrainer on rows that are done."""
        import trl

        from train.posttraining.collators import PairCollator
        from train.posttraining.flat import without_padding
        from train.posttraining.trainers import Dpo as Trainer

        args = trl.DPOConfig(
            **parts.common,
            beta=self.beta,
            loss_type=self.losses(),
            loss_weights=self.summed_with(),
            label_smoothing=self.label_smoothing,
            ld_alpha=self.length_desensitized,
            f_divergence_type=self.divergence,
            use_weighting=self.weighting,
            precompute_ref_log_probs=self.precompute_reference,
            max_length=None,
        )
        stop = parts.setup.maker.stop_ids if self.mask_stop else frozenset()
        collator = PairCollator(parts.setup.tokenizer.pad_token_id, stop_ids=stop)
        alone = isinstance(self.adapter, SoftPrompt) or (self.precompute_reference and self.reference is None)  # it is the model itself
        reference = None if alone else parts.reference(self.reference)
        made = Trainer(args=args, ref_model=reference, data_collator=collator, **parts.given)
        if not parts.padding:
            without_padding(parts.bare(made.model), parts.attention)
            if made.ref_model is not None:
                without_padding(parts.bare(made.accelerator.unwrap_model(made.ref_model)), parts.attention)
        return made
