"""What the data doctor knows to look for, how much of it a run may have, and what is done with such rows.

Every defect has a share of rows up to which a run goes on; above it, the run is refused with counts and examples before a
model is loaded. Rows with a defect are left out of the training, counted, unless the defect is one of those that stay.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from curate.errors import DataError

_EXAMPLES = 3
_SHOWN = 200


class Defect(NamedTuple):
    """One kind of defect. allowed: share of rows with it that a run may have; stays: whether such rows are trained."""

    meaning: str
    fix: str
    allowed: float = 0.0
    stays: bool = False


DEFECTS: dict[str, Defect] = {
    "unreadable": Defect("rows that are not of the data's format", "mend or remove them; `curate convert` quarantines them", 0.001),
    "no_trained_tokens": Defect("no token of the row has a loss", "remove the row, or change `train_on` or the weights of its turns"),
    "stop_untrained": Defect("the answer's stop token is not trained: the model would not learn to stop", "train the stop token: `curate inspect --mask` shows the mask"),
    "stop_masked_as_pad": Defect("the stop token is also the pad token, and labels are masked wherever it stands", "mask by position, or use a pad token of its own"),
    "cut_off": Defect("the row ends inside an answer, without a stop token", "don't cut rows: too_long: drop or cut_turns"),
    "labels_shifted": Defect("labels are the next tokens: they are shifted again in the model", "give labels that equal the token at their own place"),
    "labels_differ": Defect("labels are neither -100 nor the token at their place", "render the rows again"),
    "out_of_vocabulary": Defect("a token id is not in the vocabulary", "use the tokenizer that made the rows"),
    "double_bos": Defect("the row begins with two BOS tokens", "encode rendered text without special tokens"),
    "prompt_not_prefix": Defect("the prompt's tokens are not the beginning of prompt and answer", "use a template that renders a prompt alone as it does before an answer"),
    "special_text": Defect("a message spells out a special token", "remove it, or special_text: escape"),
    "not_rendered": Defect("the template can't say the row, or its mask can't be proved", "the examples say why; `curate render` tries it out"),
    "no_answer": Defect("there is nothing to answer with", "remove the row"),
    "empty_answer": Defect("an answer is empty", "remove the row; an empty answer teaches to stop at once"),
    "same_answers": Defect("chosen and rejected are the same", "remove the pair; it has no gradient but noise"),
    "no_pair": Defect("no two candidates of different rank, score or label", "select pairs first"),
    "no_label": Defect("a candidate has no label", "label or threshold first"),
    "scores_contradict": Defect("the rejected answer has the higher score", "swap or remove the pair"),
    "contradicting_pairs": Defect("the same two answers stand in another row the other way round", "keep one of them"),
    "one_label": Defect("all labels are the same: there is nothing to tell apart", "add rows of the other label"),
    "wrong_role_order": Defect("turns do not alternate between user and assistant", "convert --policy consecutive=join, leading_assistant=drop", stays=True),
    "duplicate_row": Defect("the row stands in the set before", "remove it: `dedup_prompts_exact`, `dedup_exact`", 0.02, stays=True),
    "too_long": Defect("longer than max_length", "raise max_length, or too_long: keep_end", 0.05),
    "shortened": Defect("lost turns to fit into max_length", "raise max_length", 0.2, stays=True),
    "contaminated": Defect("holds an item of an evaluation set", "remove it: the step `decontaminate`"),
}  # fmt: skip

# Reasons that `formats` gives when it refuses a row.
OF_REFUSAL = {
    "nothing_trained": "no_trained_tokens",
    "no_answer": "no_answer",
    "no_good_answer": "no_answer",
    "raw_text": "not_rendered",
    "no_stop": "stop_untrained",
    "stop_outside_mask": "stop_untrained",
    "template_rewrites": "prompt_not_prefix",
    "prompt_not_prefix": "prompt_not_prefix",
    "special_text": "special_text",
    "too_long": "too_long",
    "no_pair": "no_pair",
    "tied": "no_pair",
    "no_label": "no_label",
}


def of_refusal(reason: str) -> str:
    """The defect that a refused row has."""
    return OF_REFUSAL.get(reason, "not_rendered")


@dataclass
class Findings:
    """Counts and examples of one set. rows: looked at; trained: went on; left_out: rows of defects that do not stay."""

    rows: int = 0
    trained: int = 0
    left_out: int = 0
    tokens: int = 0
    trained_tokens: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[str]] = field(default_factory=dict)
    skipped: list[str] = field(default_factory=list)  # checks that could not be made, with the reason

    def add(self, defect: str, where: str, message: str) -> None:
        """Count a defect of a row, and keep the first few."""
        assert defect in DEFECTS
        self.counts[defect] += 1
        held = self.examples.setdefault(defect, [])
        if len(held) < _EXAMPLES:
            shown = " ".join(message[: 4 * _SHOWN].split())
            held.append(f"{where}: {shown[:_SHOWN]}{'...' if len(shown) > _SHOWN else ''}")

    def share(self, defect: str) -> float:
        """Share of the rows that have it."""
        return self.counts[defect] / self.rows if self.rows else 0.0

    def above(self, allow: Mapping[str, float]) -> list[str]:
        """Defects of which there are more than allowed. allow: {defect: share}, over the defaults."""
        bounds = {name: allow.get(name, about.allowed) for name, about in DEFECTS.items()}
        return [name for name in DEFECTS if self.counts[name] and self.share(name) > bounds[name]]

    def check(self, allow: Mapping[str, float], where: str) -> None:
        """Raise DataError, with everything found, where a defect is above its bound or no row is left."""
        bad = self.above(allow)
        if not bad and (self.trained or not self.rows):
            return
        head = f"{where}: not trained on, the data doctor refuses it." if bad else f"{where}: no row is left to train on."
        accept = ", ".join(f"{name}: {_round_up(self.share(name))}" for name in bad)
        tail = [f"To go on with those rows left out, or kept where the table says so: doctor: {{allow: {{{accept}}}}}"] if bad else []
        raise DataError("\n".join([head, *self.lines(allow), *tail]))

    def lines(self, allow: Mapping[str, float] | None = None) -> list[str]:
        """For people: every defect found, with its share, bound and examples."""
        bounds = allow or {}
        made = [f"{self.rows:,} rows: {self.trained:,} to train on, {self.left_out:,} left out"]
        for name, about in DEFECTS.items():
            count = self.counts[name]
            if not count:
                continue
            bound = bounds.get(name, about.allowed)
            verdict = "too many" if self.share(name) > bound else "kept" if about.stays else "left out"
            made.append(f"  {name}: {count:,} ({self.share(name):.2%}, {bound:.2%} allowed; {verdict}): {about.meaning}. Fix: {about.fix}.")
            made += [f"      {text}" for text in self.examples[name]]
        return [*made, *(f"  not checked: {text}" for text in self.skipped)]

    def as_json(self) -> dict[str, Any]:
        """Plain JSON, in a stable order."""
        return {
            "rows": self.rows,
            "trained": self.trained,
            "left_out": self.left_out,
            "tokens": self.tokens,
            "trained_tokens": self.trained_tokens,
            "defects": {name: self.counts[name] for name in DEFECTS if self.counts[name]},
            "examples": {name: self.examples[name] for name in DEFECTS if name in self.examples},
            "not_checked": self.skipped,
        }


def _round_up(share: float) -> float:
    """A share with two digits that is not below it."""
    for digits in range(2, 8):
        found = round(share + 0.5 * 10.0**-digits, digits)
        if found >= share and found < 10 * share:
            return min(found, 1.0)
    return 1.0
