"""Figures of a task from what the model said about its items."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from curate.errors import MissingDependency
from train.evaluation.items import Item


def choice_scores(item: Item, logprobs: Sequence[float], tokens: Sequence[int]) -> dict[str, float | int]:
    """What one item of multiple choice gives.

    pick: the choice of the highest log-likelihood; pick_norm: divided by characters (lm-eval's acc_norm); pick_bytes: by UTF-8 bytes.
    acc is 1 where the pick is right; with several right choices the best one (gold[0]) must beat all wrong ones (TruthfulQA's MC1), and
    mc2 is the share of probability on right ones. bits_gold: of the best choice, for bits per byte.
    """
    ll = np.array(logprobs)
    texts = item.choices
    right = set(item.gold)
    rivals = [i for i in range(len(texts)) if i == item.gold[0] or i not in right]
    found: dict[str, float | int] = {}
    for name, scale in (("", None), ("_norm", [len(t) for t in texts]), ("_bytes", [len(t.encode()) for t in texts])):
        scores = ll if scale is None else ll / np.maximum(scale, 1)
        pick = rivals[int(np.argmax(scores[rivals]))]
        found[f"pick{name}"] = pick
        found[f"acc{name}"] = float(pick == item.gold[0])
    if len(right) > 1:
        shares = np.exp(ll - ll.max())
        found["mc2"] = float(shares[list(item.gold)].sum() / shares.sum())
    found["bits_gold"] = float(-ll[item.gold[0]] / math.log(2))
    found["bytes_gold"] = len(texts[item.gold[0]].encode())
    found["tokens_gold"] = int(tokens[item.gold[0]])
    return found


def classification(picks: Sequence[int], golds: Sequence[int], labels: Sequence[str]) -> dict[str, Any]:
    """Precision, recall and F1 of each label and their means over labels, and the table of gold (rows) against pick (columns).

    A label that was never picked has precision 0, one that never was right recall 0 (scikit-learn's zero_division=0).
    """
    table = np.zeros((len(labels), len(labels)), np.int64)
    np.add.at(table, (np.array(golds), np.array(picks)), 1)
    hits, picked, there = np.diag(table), table.sum(0), table.sum(1)
    precision, recall = hits / np.maximum(picked, 1), hits / np.maximum(there, 1)
    f1 = 2 * hits / np.maximum(picked + there, 1)
    used = there + picked > 0
    by_label = {
        label: {"precision": float(p), "recall": float(r), "f1": float(f), "items": int(n)}
        for label, p, r, f, n in zip(labels, precision, recall, f1, there, strict=True)
    }
    means = {name: float(v[used].mean()) for name, v in (("precision", precision), ("recall", recall), ("f1", f1))}
    return {**means, "labels": by_label, "confusion": table.tolist()}


def bleu(answers: Sequence[str], references: Sequence[Sequence[str]]) -> dict[str, Any]:
    """Corpus BLEU by sacrebleu, 0 to 100, with its signature. Items may have several references."""
    try:
        from sacrebleu.metrics.bleu import BLEU
    except ModuleNotFoundError as error:
        raise MissingDependency.extra("sacrebleu", "eval", "BLEU") from error
    most = max(len(r) for r in references)
    streams: Any = [[r[i] if i < len(r) else None for r in references] for i in range(most)]
    metric = BLEU()
    return {"bleu": float(metric.corpus_score(list(answers), streams).score), "signature": str(metric.get_signature())}


def rouge(answer: str, references: Sequence[str]) -> dict[str, float]:
    """F measures of ROUGE-1, -2 and -L by rouge_score (with its stemmer), the best over the references."""
    try:
        from rouge_score.rouge_scorer import RougeScorer
    except ModuleNotFoundError as error:
        raise MissingDependency.extra("rouge-score", "eval", "ROUGE") from error
    scorer = RougeScorer(["rouge1", "rouge2", "rougeL"], use_stemmer=True)
    scores = [scorer.score(reference, answer) for reference in references]
    return {
        name.lower().replace("rougel", "rouge_l"): max(float(s[name].fmeasure) for s in scores) for name in ("rouge1", "rouge2", "rougeL")
    }


def bits_by_domain(rows: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, float]]:
    """Bits per byte and perplexity per token, over all rows and for each domain. rows: {domain, nats, tokens, bytes}."""
    found: dict[str, dict[str, float]] = {}
    for domain in ["", *sorted({str(r["domain"]) for r in rows})]:
        mine = [r for r in rows if not domain or r["domain"] == domain]
        nats, tokens, size = (math.fsum(r[k] for r in mine) for k in ("nats", "tokens", "bytes"))
        found[domain] = {
            "bits_per_byte": nats / math.log(2) / size if size else math.nan,
            "perplexity": math.exp(min(nats / tokens, 700.0)) if tokens else math.nan,
            "documents": len(mine),
            "tokens": tokens,
            "bytes": size,
        }
    return found
