"""Keep documents that a fastText classifier prefers."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from curate.step import Asset
from curate.steps.scored import ColumnName, Scored
from curate.steps.scorers import Scorer, fasttext_scorer


class Classifier(Scored):
    """Add the probability that a fastText classifier gives a label; keep what lies above a bound, or the best share.

    Reads `text` (and `id` with `top_fraction`), all of it, as one line. Adds `classifier_score` (float64 holding the model's
    float32), or the column that `column` names. With `min_score` the result depends on nothing but the document; with
    `top_fraction` on all documents of the dataset that reach the step, and on nothing else: not on workers or their number.
    30 to 85 MB/s per core, by the size of the model.

    `top_fraction` keeps exactly that share, rounded up to whole documents; of equal scores the smaller ids. DCLM keeps about
    the best 10 % by a fixed threshold.
    Any supervised model, .bin or .ftz, is taken: softmax, hierarchical, negative sampling, one against all; word n-grams.
    `curate classifier train` writes one with the labels hq and lq, as DCLM's has. Text without a word scores 0.

    What it misses: a classifier prefers what its positive examples look like. It is as much about topic, register and
    dialect as about quality (docs/classifiers.md).
    """

    name: ClassVar[str] = "classifier"
    summary: ClassVar[str] = "score documents with a fastText classifier; keep by threshold or the exact top share"
    origin: ClassVar[str] = "Joulin et al. 2016 (arXiv:1607.01759); Li et al. 2024, DataComp-LM (arXiv:2406.11794), section 4.4"
    shorthand: ClassVar[str | None] = "model"

    model: str = Field(description="a supervised fastText model, .bin or .ftz", json_schema_extra={"path": True})
    label: str = Field("hq", min_length=1, description="the label whose probability is the score")
    min_score: float | None = Field(None, ge=0, le=1, description="lowest score of a kept document; null: no bound")
    column: ColumnName = Field("classifier_score", description="name of the score's column")

    def assets(self) -> tuple[Asset, ...]:
        """The model."""
        return (Asset(self.model, "model"),)

    def scorer(self) -> Scorer:
        """The probability of the label."""
        return fasttext_scorer(self.model, self.label)
