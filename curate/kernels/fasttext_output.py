"""From the mean vector of a text to the labels of a fastText model and their probabilities.

n documents, D dimensions, L labels, K labels asked for.

The probability of a label is fastText's for every loss, plus 1e-5 as there (so a score may exceed 1 by some 1e-5):

    softmax     exp of the dot product over the sum of them
    ns, ova     the logistic function of the dot product, from fastText's table of 512 steps over [-8, 8]: a label has
                nothing to do with the others, and several often have exactly the same score
    hs          product over the branches of a Huffman tree, each plus 1e-5; fastText names no label below 1e-5 in all

Among equal scores the label with the higher number comes first, as in fastText for one label. The exponential is our own
polynomial: the C library's may differ in the last bit from one CPU type to another. Dot products are float32, one
dimension after the other, for all labels at once.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import types

from curate.kernels.compiled import kernel, leaf, ro, rw
from curate.kernels.fasttext_model import HIERARCHICAL, SOFTMAX

_I64_0: Any = np.int64(0)
_LN2_HIGH, _LN2_LOW = 6.93147180369123816490e-01, 1.90821492927058770002e-10
_INVERSE_FACTORIALS = np.array([1.0 / math.factorial(i) for i in range(13, -1, -1)])
_EXTRA = 1e-5  # fastText's logarithm is log(x + 1e-5)
_STEPS, _LIMIT = 512, 8  # of fastText's table of the logistic function


@kernel(types.float64(types.float64), allocates=False)
def _exp(x: Any) -> Any:
    """exp(x) for |x| up to 40 (clipped beyond), the same bits on every CPU."""
    y = min(max(x, -40.0), 40.0)
    k = math.floor(y * 1.4426950408889634 + 0.5)
    r = (y - k * _LN2_HIGH) - k * _LN2_LOW
    p = 0.0
    for i in range(14):
        p = p * r + _INVERSE_FACTORIALS[i]
    return math.ldexp(p, int(k))


@leaf
def _mean(total: Any, first: Any, rows: Any, hidden: Any) -> None:
    """hidden f32[D] = total[first : first + D] / rows."""
    for q in range(hidden.shape[0]):
        hidden[q] = np.float32(total[first + q] / rows)


@leaf
def _logistic(dot: Any) -> Any:
    """f32: fastText's sigmoid(dot)."""
    if dot < -_LIMIT:
        return np.float32(0)
    if dot > _LIMIT:
        return np.float32(1)
    step = np.int64((dot + np.float32(_LIMIT)) * np.float32(_STEPS) / np.float32(_LIMIT) / np.float32(2))
    x = np.float64(np.float32(step * 2 * _LIMIT) / np.float32(_STEPS) - np.float32(_LIMIT))
    return np.float32(1.0 / (1.0 + _exp(-x)))


@leaf
def _branch(node: Any, n_labels: Any, output: Any, hidden: Any) -> Any:
    """f64: probability of the right branch at an inner node; output f32[L * D]."""
    dim = hidden.shape[0]
    dot = np.float32(0)
    for q in range(dim):
        dot += output[(node - n_labels) * dim + q] * hidden[q]
    return np.float64(np.float32(1.0 / (1.0 + _exp(-np.float64(dot)))))


@leaf
def _tree_chances(output: Any, left: Any, right: Any, hidden: Any, chance: Any) -> None:
    """Probability of every node of the tree: chance f64[2L - 1], labels first; children come before their parent."""
    n_labels = (left.shape[0] + 1) // 2
    chance[2 * n_labels - 2] = 1.0
    for node in range(2 * n_labels - 2, n_labels - 1, -1):
        f = _branch(node, n_labels, output, hidden)
        chance[left[node]], chance[right[node]] = chance[node] * (1.0 - f + _EXTRA), chance[node] * (f + _EXTRA)
    for label in range(n_labels):
        if chance[label] < _EXTRA:
            chance[label] = -1.0


@leaf
def _flat_chances(output: Any, hidden: Any, dots: Any, chance: Any, softmax: Any) -> None:
    """Probability of every label; output f32[D * L], one dimension after the other; dots f32[L]: scratch."""
    n_labels = dots.shape[0]
    dots[:] = np.float32(0)
    for q in range(hidden.shape[0]):
        for label in range(n_labels):
            dots[label] += output[q * n_labels + label] * hidden[q]
    if not softmax:
        for label in range(n_labels):
            chance[label] = np.float64(_logistic(dots[label])) + _EXTRA
        return
    top = np.float32(-np.inf)
    for label in range(n_labels):
        top = max(top, dots[label])
    z = 0.0
    for label in range(n_labels):
        chance[label] = _exp(np.float64(dots[label]) - np.float64(top))
        z += chance[label]
    for label in range(n_labels):
        chance[label] = chance[label] / z + _EXTRA


_TREE = (rw(types.float32), rw(types.int64), rw(types.float64), rw(types.int32), rw(types.float64))
_SUMS = (ro(types.float64), ro(types.int64), ro(types.float32), ro(types.int32), ro(types.int32))


@kernel(types.void(*_SUMS, *_TREE), allocates=False)
def best_leaf(
    total: Any, n_rows: Any, output: Any, left: Any, right: Any, hidden: Any, stack: Any, chance: Any, label: Any, score: Any
) -> None:  # fmt: skip
    """Write the most probable leaf of the tree for each document: the likelier branch first, no branch below the best leaf.

    total f64[n * D], n_rows i64[n]: what `pool` wrote; output f32[L * D]; left, right i32[2L - 1]
    hidden f32[D], stack i64[2L + 1], chance f64[2L + 1]: scratch
    label i32[n]: -1 where n_rows is 0; score f64[n]: a float32 value, 0.0 there
    """
    n_labels = (left.shape[0] + 1) // 2
    for d in range(n_rows.shape[0]):
        label[d], score[d] = -1, 0.0
        if n_rows[d] == 0:
            continue
        _mean(total, d * hidden.shape[0], n_rows[d], hidden)
        best, best_label = -1.0, _I64_0 - 1
        stack[0], chance[0], depth = 2 * n_labels - 2, 1.0, 1
        while depth > 0:
            depth -= 1
            node, p = stack[depth], chance[depth]
            if p <= best:
                continue
            if node < n_labels:
                best, best_label = p, node
                continue
            f = _branch(node, n_labels, output, hidden)
            p_right, p_left = p * (f + _EXTRA), p * (1.0 - f + _EXTRA)
            right_last = p_right >= p_left
            stack[depth], chance[depth] = (left[node], p_left) if right_last else (right[node], p_right)
            stack[depth + 1], chance[depth + 1] = (right[node], p_right) if right_last else (left[node], p_left)
            depth += 2
        if best >= _EXTRA:
            label[d], score[d] = best_label, np.float64(np.float32(best))


_EVERY = types.void(
    *_SUMS, types.int64, types.int64, rw(types.float32), rw(types.float32), rw(types.float64), rw(types.int32), rw(types.float64)
)


@kernel(_EVERY, allocates=False)
def best_labels(
    total: Any, n_rows: Any, output: Any, left: Any, right: Any, loss: Any, k: Any, hidden: Any, dots: Any, chance: Any, label: Any, score: Any
) -> None:  # fmt: skip
    """Write the `k` most probable labels of each document, best first, for any loss; k = 0: the probability of every label.

    output f32[L * D] of a tree, f32[D * L] otherwise; hidden f32[D], dots f32[L], chance f64[2L - 1]: scratch
    label i32[n * k], score f64[n * k]: -1 and 0.0 where there are no more labels; score f64[n * L] where k is 0
    """
    n_labels = dots.shape[0]
    label[:] = -1
    score[:] = 0.0
    for d in range(n_rows.shape[0]):
        if n_rows[d] == 0:
            continue
        _mean(total, d * hidden.shape[0], n_rows[d], hidden)
        if loss == HIERARCHICAL:
            _tree_chances(output, left, right, hidden, chance)
        else:
            _flat_chances(output, hidden, dots, chance, loss == SOFTMAX)
        if k == 0:
            for number in range(n_labels):
                score[d * n_labels + number] = np.float64(np.float32(max(chance[number], 0.0)))
            continue
        first, held = d * k, 0
        for number in range(n_labels):
            if chance[number] < 0.0 or (held == k and chance[number] < score[first + k - 1]):
                continue
            held = min(held + 1, k)
            at = held - 1
            while at > 0 and score[first + at - 1] <= chance[number]:
                score[first + at], label[first + at] = score[first + at - 1], label[first + at - 1]
                at -= 1
            score[first + at], label[first + at] = chance[number], number
        for at in range(held):
            score[first + at] = np.float64(np.float32(score[first + at]))
