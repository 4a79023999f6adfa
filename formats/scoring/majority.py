"""Agreement of a group: which candidates end in the answer that most of them end in."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from formats.answers import normalised
from formats.scoring.answer_checks import Math
from formats.scoring.numbers import number_of


def majority_scores(answers: Sequence[str], math: Math, min_share: float) -> list[float | None]:
    """1 for candidates whose final answer is the most frequent one, 0 for others, None for all where no answer has more than the next.

    Equal numbers are one answer ("1/2" and "0.5"). Candidates without a final answer are 0 and do not vote. min_share: votes that the winner
    needs, as a share of all candidates; below it every score is None.
    """
    keys = [_key(math.extracted(a)) for a in answers]
    votes = Counter(k for k in keys if k is not None).most_common(2)
    if not votes or votes[0][1] < min_share * len(answers) or (len(votes) > 1 and votes[1][1] == votes[0][1]):
        return [None] * len(answers)
    return [float(k == votes[0][0]) for k in keys]


def _key(answer: str | None) -> str | None:
    if answer is None:
        return None
    number = number_of(answer)
    return str(round(number[0], 6)) if number is not None else normalised(answer) or None
