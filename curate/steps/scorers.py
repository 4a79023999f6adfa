"""Models that give a document a number: what `classifier`, `hf_classifier`, `toxicity` and `nsfw` share."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from curate.errors import RecipeError
from curate.registry import nearest

F64 = npt.NDArray[np.float64]
Scorer = Callable[[pa.LargeStringArray], F64]

FASTTEXT = (".bin", ".ftz")


def is_fasttext(model: str) -> bool:
    """Told by the file's ending: `.bin` or `.ftz`."""
    return model.endswith(FASTTEXT)


def fasttext_scorer(model: str, label: str) -> Scorer:
    """The probability of `label` in a fastText model: f64 holding the model's float32; 0.0 for text without a word.

    White space of every kind separates words, a newline too: what fastText gives for the text as one line. Raises
    RecipeError where the model has no such label, BadModel where the file is none.
    """
    from curate.kernels.langid import Identifier
    from curate.kernels.strings import views
    from curate.steps.fasttext_file import load

    identifier = Identifier(load(model))
    at = label_place(label, identifier.labels, model)

    def score(text: pa.LargeStringArray) -> F64:
        return np.ascontiguousarray(identifier.probabilities(*views(text))[:, at])

    return score


def label_place(label: str, labels: tuple[str, ...], model: str) -> int:
    """Where the label stands; RecipeError where it does not."""
    wanted = label.removeprefix("__label__")
    if wanted not in labels:
        shown = ", ".join(labels[:20]) + (", ..." if len(labels) > 20 else "")
        raise RecipeError(f"label: the model {model} has no label {wanted!r}.{nearest(wanted, list(labels))} It has: {shown}.")
    return labels.index(wanted)
