"""Figures of tasks against plain definitions, and intervals that mean what they say."""

from __future__ import annotations

from math import isclose, log, log2

import numpy as np
import pytest

pytest.importorskip("torch", reason="train needs torch")

from train.evaluation.bootstrap import mean_interval, paired_difference, ratio_interval
from train.evaluation.evaluate import TaskResult
from train.evaluation.items import Item
from train.evaluation.metrics import bits_by_domain, choice_scores, classification
from train.evaluation.tables import comparison_lines, markdown, task_lines


def test_choices_by_likelihood_by_characters_and_by_bytes() -> None:
    item = Item("choice", "Q", ("aa", "bbbb", "\u00e9\u00e9\u00e9"), (1,))
    found = choice_scores(item, [-2.0, -3.0, -2.7], [1, 2, 1])
    assert (found["pick"], found["pick_norm"], found["pick_bytes"]) == (0, 1, 2)  # -1, -0.75, -0.9 by characters; -0.45 by bytes
    assert (found["acc"], found["acc_norm"], found["acc_bytes"]) == (0.0, 1.0, 0.0)
    assert isclose(found["bits_gold"], 3 / log(2)) and found["bytes_gold"] == 4 and "mc2" not in found


def test_the_best_of_several_right_choices_must_beat_the_wrong_ones() -> None:
    item = Item("choice", "Q", ("best", "also", "no"), (0, 1))
    found = choice_scores(item, [log(0.3), log(0.5), log(0.2)], [1, 1, 1])
    assert found["acc"] == 1.0 and isclose(found["mc2"], 0.8)
    assert choice_scores(item, [log(0.2), log(0.5), log(0.3)], [1, 1, 1])["acc"] == 0.0


def test_classification_by_hand() -> None:
    found = classification([0, 0, 1, 1, 0], [0, 1, 1, 1, 0], ["no", "yes", "never"])
    assert found["labels"]["no"] == {"precision": 2 / 3, "recall": 1.0, "f1": 0.8, "items": 2}
    assert found["labels"]["yes"] == {"precision": 1.0, "recall": 2 / 3, "f1": 0.8, "items": 3}
    assert found["labels"]["never"] == {"precision": 0.0, "recall": 0.0, "f1": 0.0, "items": 0}
    assert isclose(found["precision"], 5 / 6) and isclose(found["f1"], 0.8)
    assert found["confusion"] == [[2, 0, 0], [1, 2, 0], [0, 0, 0]]


def test_bits_are_summed_before_they_are_divided() -> None:
    rows = [
        {"domain": "a", "nats": 10 * log(2), "tokens": 5, "bytes": 10},
        {"domain": "a", "nats": 30 * log(2), "tokens": 5, "bytes": 10},
        {"domain": "b", "nats": 8 * log(2), "tokens": 4, "bytes": 16},
    ]
    found = bits_by_domain(rows)
    assert isclose(found["a"]["bits_per_byte"], 2.0) and isclose(found["b"]["bits_per_byte"], 0.5)
    assert isclose(found[""]["bits_per_byte"], 48 / 36) and isclose(log2(found["a"]["perplexity"]), 4.0)


def test_intervals_are_deterministic_and_hold_the_value() -> None:
    values = np.random.Generator(np.random.PCG64(1)).normal(0.3, 1.0, 400)
    one = mean_interval(values)
    assert one == mean_interval(values) and one.low < values.mean() < one.high
    half = 1.96 * values.std() / 20
    assert abs((one.high - one.low) / 2 - half) < 0.1 * half


def test_intervals_cover_the_truth_as_often_as_they_say() -> None:
    chance = np.random.Generator(np.random.PCG64(2))
    hits = sum(i.low <= 0.5 <= i.high for i in (mean_interval(chance.random(60), draws=1000) for _ in range(300)))
    assert 0.91 <= hits / 300 <= 0.98


def test_pairing_removes_what_is_common() -> None:
    chance = np.random.Generator(np.random.PCG64(3))
    hard = chance.normal(0, 5, 300)
    a, b = hard + chance.normal(0, 0.1, 300), hard + chance.normal(0.1, 0.1, 300)
    assert paired_difference(a, b).decided
    with pytest.raises(ValueError, match="300 against 299"):
        paired_difference(a, b[:-1])


def test_a_ratio_is_weighted() -> None:
    assert ratio_interval([10.0, 10.0], [10, 30]).value == 0.5


def result(task: str, values: list[float], main: str = "acc", digest: str = "d") -> TaskResult:
    return TaskResult(task, "choice", digest, main, {"acc": sum(values) / len(values)}, [{"value": v} for v in values])


def test_tables_never_rank_by_means_alone() -> None:
    base = [result("t", [0.0, 1.0] * 20), result("u", [1.0] * 9 + [0.0]), result("v", [0.0] * 30), result("w", [1.0])]
    other = [result("t", [0.0, 1.0] * 20), result("u", [1.0] * 10), result("v", [1.0] * 30), result("w", [1.0], digest="e")]
    lines = comparison_lines({"a": base, "b": other})
    verdicts = [line[3].rpartition(": ")[2] for line in lines[1:]]
    assert verdicts == ["equal)", "undecided)", "better)", "asked otherwise"]
    assert markdown(task_lines(base)).splitlines()[2].startswith("| t | 40 | acc | 0.5000 |")
