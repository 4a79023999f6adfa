"""How far filters and classifiers agree with people: ROC-AUC on documents that people would keep or drop.

    python tests/bench/quality_auc.py [--data FILE] [--save]

The data: 369 web documents of DCLM (Li et al. 2024), labelled by several people each; the label is the majority's. 206 are unanimous.
Every preset's filters give two scores: `decision`, 1 where all of them keep the document (its AUC is the mean of the shares of
good documents kept and bad ones dropped), and `rules`, the share of rules passed, each rule applied alone with its bound of the preset.
Numbers of single signals come from `mode: annotate`. A classifier is trained on four fifths and scores the last one; the
AUC is of each fold, the mean over 5 folds and 5 seeds. Bootstrap intervals (95 %, 2,000 draws of documents) are of the data's noise.
"""

from __future__ import annotations

import argparse
import gzip
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

sys.path.insert(0, str(Path(__file__).parents[2]))

from curate import presets, registry
from curate.apply import run_step
from curate.classifiers.evaluation import roc_auc
from curate.classifiers.training import Corpus, Settings, shuffled, train_model
from curate.kernels.langid import Identifier
from curate.kernels.strings import views
from curate.step import Step
from tests.bench.measure import machine

HERE = Path(__file__).parent
FILTERS = ("gopher_quality", "gopher_repetition", "c4", "fineweb")
FLAGS = ("drop_lorem_ipsum", "drop_curly_bracket")
CLASSIFIERS = {
    "fastText, words": Settings(epochs=25, lr=0.5, dim=50),
    "fastText, words and pairs": Settings(epochs=25, lr=0.5, dim=50, word_ngrams=2, buckets=200_000),
    "fastText, words, fastText's defaults (5 epochs, lr 0.1)": Settings(),
}
FOLDS = SEEDS = 5
DRAWS = 2000

F64 = npt.NDArray[np.float64]
Truth = npt.NDArray[np.bool_]


def preset_steps(name: str) -> list[Step]:
    """The filters of a preset that judge one document by its text."""
    found = []
    for item in presets.load(name).steps:
        entry = item.plain()
        step, settings = (entry, {}) if isinstance(entry, str) else next(iter(entry.items()))
        if step in FILTERS:
            found.append(registry.load("steps", step)(**(settings or {})))
    return found


def kept(step: Step, table: pa.Table) -> Truth:
    """bool[n]: what the filter keeps."""
    marked = run_step(type(step)(**(step.model_dump() | {"mode": "annotate"})), table)
    return np.array(marked.column(f"{step.name}_keep").to_pylist(), bool)


def rules(step: Step, table: pa.Table) -> list[Truth]:
    """bool[n] for each bound or flag of the filter: what it keeps with all others off."""
    given = step.model_dump()
    off: dict[str, Any] = {name: None for name, value in given.items() if name.startswith(("min_", "max_")) and value is not None}
    if step.name == "c4":  # what happens to lines stays: these belong to the document
        off = {"min_sentences": None} | dict.fromkeys(FLAGS, False)
    return [kept(type(step)(**(given | off | {name: given[name]})), table) for name in off]


def score_table(table: pa.Table, truth: Truth, sure: Truth) -> list[dict[str, Any]]:
    """One row per preset and filter: decision and rules."""
    named = {f"preset {name}": preset_steps(name) for name in ("gopher", "c4", "c4_dclm", "fineweb", "dclm")}
    named |= {f"filter {name}": [registry.load("steps", name)()] for name in FILTERS}
    rows = []
    for name, steps in named.items():
        decision = np.logical_and.reduce([kept(step, table) for step in steps])
        passed = np.mean([rule for step in steps for rule in rules(step, table)], axis=0)
        row = {"name": name, "kept_good": round(float(decision[truth].mean()), 3), "kept_bad": round(float(decision[~truth].mean()), 3)}
        rows.append(row | {"decision": figures(decision.astype(float), truth, sure), "rules": figures(passed, truth, sure)})
    return rows


def signal_table(table: pa.Table, truth: Truth, sure: Truth) -> list[dict[str, Any]]:
    """AUC of every number that the filters give, as a score; below 0.5 it is turned round."""
    rows = []
    for name in FILTERS:
        marked = run_step(registry.load("steps", name)(mode="annotate"), table)
        for column in marked.column_names:
            kind = marked.schema.field(column).type
            if column.startswith((f"{name}_", f"{name.partition('_')[0]}_")):
                if not (pa.types.is_integer(kind) or pa.types.is_floating(kind)):
                    continue
                values = np.nan_to_num(np.array(marked.column(column).to_pylist(), np.float64))
                sign = -1.0 if roc_auc(values, truth) < 0.5 else 1.0
                rows.append({"name": column, "better": "more" if sign > 0 else "less", "auc": figures(sign * values, truth, sure)})
    return sorted(rows, key=lambda row: -row["auc"]["auc"])


def figures(score: F64, truth: Truth, sure: Truth) -> dict[str, Any]:
    """AUC with its bootstrap interval, and on unanimous documents alone."""
    rng = np.random.default_rng(0)
    draws = [roc_auc(score[i], truth[i]) for i in (rng.integers(0, len(truth), len(truth)) for _ in range(DRAWS))]
    low, high = np.nanpercentile(draws, [2.5, 97.5])
    made = {"auc": roc_auc(score, truth), "low": low, "high": high, "unanimous": roc_auc(score[sure], truth[sure])}
    return {name: round(float(value), 3) for name, value in made.items()}


def cross_validated(texts: pa.LargeStringArray, truth: Truth, sure: Truth, settings: Settings) -> dict[str, Any]:
    """Mean and spread of the AUC over folds, and of the scores put together over seeds."""
    folds, together = [], np.zeros(len(truth))
    for seed in range(SEEDS):
        place = np.empty(len(truth), np.int64)
        for label in (True, False):  # each fold gets its share of both
            rows = np.flatnonzero(truth == label)
            place[rows[shuffled(len(rows), seed)]] = np.arange(len(rows)) % FOLDS
        for fold in range(FOLDS):
            test = place == fold
            corpus = Corpus(("hq", "lq"))
            corpus.add(texts.filter(pa.array(~test)), np.where(truth[~test], 0, 1).astype(np.int32))
            scores = scored(train_model(corpus, settings), texts.filter(pa.array(test)))
            folds.append(roc_auc(scores, truth[test]))
            together[test] += scores
    return {"auc_folds_mean": round(float(np.mean(folds)), 3), "auc_folds_sd": round(float(np.std(folds)), 3)} | figures(
        together, truth, sure
    )


def scored(model: Any, texts: pa.LargeStringArray) -> F64:
    """Probability of hq by the model as it is used: written, read, run."""
    import tempfile

    from curate.classifiers.binary import write_model
    from curate.steps.fasttext_file import load

    with tempfile.TemporaryDirectory() as folder:
        write_model(model, Path(folder) / "m.bin")
        identifier = Identifier(load(str(Path(folder) / "m.bin")))
        return identifier.probabilities(*views(texts))[:, identifier.labels.index("hq")].copy()


def show(found: dict[str, Any]) -> str:
    """The tables of docs/classifiers.md."""
    lines = ["| score | rules passed: AUC (95 %) | unanimous | all kept: AUC | good kept | bad kept |", "|---|---|---|---|---|---|"]
    for row in found["filters"]:
        r, d = row["rules"], row["decision"]
        lines.append(
            f"| {row['name']} | {r['auc']:.3f} ({r['low']:.3f}-{r['high']:.3f}) | {r['unanimous']:.3f} | {d['auc']:.3f} | "
            f"{row['kept_good']:.1%} | {row['kept_bad']:.1%} |"
        )
    for name, f in found["classifiers"].items():
        lines.append(
            f"| {name} | {f['auc']:.3f} ({f['low']:.3f}-{f['high']:.3f}) | {f['unanimous']:.3f} | folds {f['auc_folds_mean']:.3f} ± {f['auc_folds_sd']:.3f} | | |"
        )
    lines += ["", "| number | better | AUC (95 %) | unanimous |", "|---|---|---|---|"]
    for row in found["signals"][:10]:
        a = row["auc"]
        lines.append(f"| {row['name']} | {row['better']} | {a['auc']:.3f} ({a['low']:.3f}-{a['high']:.3f}) | {a['unanimous']:.3f} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=HERE.parents[1].parent / "shared" / "data" / "quality" / "dclm_human_quality.jsonl.gz")
    parser.add_argument("--save", action="store_true")
    given = parser.parse_args()
    with gzip.open(given.data, "rt", encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    texts = pa.array([r["text"] for r in rows], pa.large_string())
    n = len(rows)
    table = pa.table({"id": [str(i) for i in range(n)], "text": texts, "source": ["human"] * n, "meta": ["{}"] * n})
    truth, sure = np.array([bool(r["label"]) for r in rows]), np.array([bool(r["unanimous"]) for r in rows])
    found: dict[str, Any] = {"documents": n, "good": int(truth.sum()), "unanimous": int(sure.sum())}
    found["filters"] = score_table(table, truth, sure)
    found["signals"] = signal_table(table, truth, sure)
    found["classifiers"] = {name: cross_validated(texts, truth, sure, settings) for name, settings in CLASSIFIERS.items()}
    print(f"{n} documents, {found['good']} good, {found['unanimous']} unanimous\n\n{show(found)}")
    if given.save:
        (HERE / "results" / "quality_auc.json").write_text(json.dumps(found | {"machine": machine()}, indent=1) + "\n")


if __name__ == "__main__":
    main()
