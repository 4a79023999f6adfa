"""Keep documents by the score of a Hugging Face sequence classifier. The only module here that needs torch."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
from pydantic import Field

from curate.errors import MissingDependency, RecipeError
from curate.step import Asset
from curate.steps.scored import ColumnName, Scored
from curate.steps.scorers import F64, Scorer, label_place

GPU_BATCH = 64
POSITIONS_BEHIND_PADDING = ("roberta", "camembert", "longformer", "mpnet", "esm", "ibert", "xmod")
CHARS_PER_TOKEN = 32  # of text handed to the tokenizer at most, so that a long document is not tokenized for its first page


class HfClassifier(Scored):
    """Add the score of a Hugging Face sequence classifier; keep what lies above a bound, or the best share.

    Reads `text` (and `id` with `top_fraction`): its first `max_tokens` tokens (fewer where the model takes fewer), and nothing behind them. Adds
    `hf_classifier_score`, or the column that `column` names: with one output its raw value (a regression, such as 0 to 5 of
    FineWeb-Edu's classifier); with several the probability of `label`, by softmax, by sigmoid where the model says that its
    labels don't exclude each other. Runs on the first GPU where there is one.

    Documents are sorted by length and scored in batches on a GPU, one by one on a CPU: padding changes the last digits of a
    float, so a score on a GPU may depend on the neighbours by about 1e-3 in half precision (we use float32: about 1e-6), on a CPU on
    nothing but the document. Another version of torch or another CPU may change the last digits.

    Only weights in safetensors are loaded, and no code of a model's repository. A model of the hub needs `revision`, a
    commit: a name alone may mean another model tomorrow. Text without a word is scored like any other.
    """

    name: ClassVar[str] = "hf_classifier"
    summary: ClassVar[str] = "score documents with a Hugging Face sequence classifier; keep by threshold or the exact top share"
    origin: ClassVar[str] = "transformers AutoModelForSequenceClassification; FineWeb-Edu (arXiv:2406.17557), section 4"
    shorthand: ClassVar[str | None] = "model"

    model: str = Field(description="folder of a model, or its name on the hub", json_schema_extra={"path": "optional"})
    revision: str | None = Field(None, min_length=7, description="commit of a model on the hub")
    label: str | None = Field(None, min_length=1, description="the label whose probability is the score; null: the model has one output")
    min_score: float | None = Field(None, ge=-1e6, le=1e6, description="lowest score of a kept document; null: no bound")
    column: ColumnName = Field("hf_classifier_score", description="name of the score's column")
    max_tokens: int = Field(
        512, ge=8, le=1 << 20, description="tokens of a document that are looked at, special ones included; never more than the model takes"
    )
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="auto: the first GPU, else the CPU")
    batch_size: int | None = Field(None, ge=1, le=65_536, description="documents at a time; null: 64 on a GPU, 1 on a CPU")

    def assets(self) -> tuple[Asset, ...]:
        """Every file of a model's folder; for a model of the hub the revision stands in the settings."""
        return model_files(self.model, self.revision, self.name)

    def scorer(self) -> Scorer:
        """The regression or the probability of the label."""
        return transformers_scorer(
            self.model, self.label, self.name, revision=self.revision, max_tokens=self.max_tokens, device=self.device,
            batch_size=self.batch_size,
        )  # fmt: skip


def model_files(model: str, revision: str | None, step: str) -> tuple[Asset, ...]:
    """The files that a folder's score depends on. Raises RecipeError for a hub's name without a revision."""
    if os.path.isdir(model):
        return tuple(Asset(str(path), "model") for path in sorted(Path(model).iterdir()) if path.is_file())
    if revision is None:
        raise RecipeError(
            f"{step}.model: {model!r} is no folder here. For a model of the Hugging Face hub give its commit as revision too."
        )
    return ()


def transformers_scorer(
    model: str,
    label: str | None,
    step: str,
    *,
    revision: str | None,
    max_tokens: int = 512,
    device: str = "auto",
    batch_size: int | None = None,
) -> Scorer:
    """Load a sequence classifier and return the function from texts to scores, f64[n].

    Raises MissingDependency without torch and transformers, RecipeError where the model can't be loaded or has no such label.
    """
    try:
        import torch
        from transformers import AutoModelForSequenceClassification, AutoTokenizer
    except ModuleNotFoundError as error:
        raise MissingDependency.extra(error.name or "transformers", "train", f"step {step}") from error

    model_files(model, revision, step)
    if device == "cuda" and not torch.cuda.is_available():
        raise RecipeError(f"{step}.device is cuda, and torch sees no GPU. Give auto or cpu.")
    on = "cuda" if device != "cpu" and torch.cuda.is_available() else "cpu"
    try:
        tokenizer = AutoTokenizer.from_pretrained(model, revision=revision, trust_remote_code=False)
        network = AutoModelForSequenceClassification.from_pretrained(
            model, revision=revision, trust_remote_code=False, use_safetensors=True, dtype=torch.float32
        )
    except (OSError, ValueError) as error:
        raise RecipeError(f"{step}: the model {model} can't be loaded: {str(error).splitlines()[0]}") from error
    network = network.to(on).eval()
    reduce = _reduction(network.config, label, model)
    max_tokens = min(max_tokens, _room(network.config, tokenizer.model_max_length))
    size = batch_size or (GPU_BATCH if on == "cuda" else 1)

    def score(text: pa.LargeStringArray) -> F64:
        texts = [(t or "")[: max_tokens * CHARS_PER_TOKEN] for t in text.to_pylist()]
        found = np.zeros(len(texts), np.float64)
        encoded = tokenizer(texts, truncation=True, max_length=max_tokens)["input_ids"] if texts else []
        order = sorted(range(len(texts)), key=lambda i: (len(encoded[i]), i))
        with torch.inference_mode():
            for start in range(0, len(order), size):
                rows = order[start : start + size]
                batch = tokenizer.pad({"input_ids": [encoded[i] for i in rows]}, return_tensors="pt").to(on)
                found[rows] = reduce(network(**batch).logits).to("cpu", torch.float32).numpy()
        return found

    return score


def _room(config: Any, tokenizer_limit: int) -> int:
    """Tokens that the model takes. RoBERTa's kin number positions from behind the padding's, so the table has as many more."""
    positions = getattr(config, "max_position_embeddings", None) or tokenizer_limit
    if any(kin in config.model_type for kin in POSITIONS_BEHIND_PADDING):
        positions -= (config.pad_token_id or 0) + 1
    return int(min(positions, tokenizer_limit))


def _reduction(config: Any, label: str | None, model: str) -> Any:
    """From logits [n, L] to scores [n]."""
    if config.num_labels == 1:
        if label is not None:
            raise RecipeError(f"label: the model {model} has one output, a regression. Leave label out.")
        return lambda logits: logits[:, 0]
    labels = tuple(str(config.id2label[i]) for i in range(config.num_labels))
    if label is None:
        raise RecipeError(f"label: the model {model} has several labels, say which. It has: {', '.join(labels)}.")
    at = label_place(label, labels, model)
    if config.problem_type == "multi_label_classification":
        return lambda logits: logits[:, at].sigmoid()
    return lambda logits: logits.softmax(-1)[:, at]
