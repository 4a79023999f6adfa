"""Train the same classifiers with curate and with the stock fasttext package: ROC-AUC, seconds of one core, memory.

    python tests/bench/classifier_training.py --peer VENV/bin/python [--data FOLDER] [--runs 3] [--most 20000] [--save]

VENV holds the stock package (pip install fasttext-wheel 'numpy<2'), which can't share an environment with fasttext-predict. Both train on the
same bytes in the same order with the same settings and one thread, each from its file to a written model, in a process of its own, by
turns; both models are judged by fasttext's own predict on the same held-out fifth. The time of fasttext's import and of
compiled kernels' loading is inside.
"""

from __future__ import annotations

import argparse
import gzip
import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import zstandard

sys.path.insert(0, str(Path(__file__).parents[2]))

from curate.classifiers.evaluation import roc_auc
from curate.classifiers.training import shuffled
from tests.bench.measure import machine, measure

HERE = Path(__file__).parent
SEED = 0

# Name: (file, field or value that tells the positive class, settings)
TASKS: dict[str, dict[str, Any]] = {
    "encyclopedia or technical pages, words": {"settings": {}, "data": "wikipedia-mdn"},
    "encyclopedia or technical pages, word pairs": {"settings": {"word_ngrams": 2, "buckets": 500_000}, "data": "wikipedia-mdn"},
    "film reviews good or bad, word pairs": {"settings": {"word_ngrams": 2, "epochs": 10, "lr": 0.5, "buckets": 500_000}, "data": "movies"},
    "Korean reviews good or bad, characters": {"settings": {"min_chars": 1, "max_chars": 3, "buckets": 200_000}, "data": "korean"},
    "human keep or drop (DCLM), words": {"settings": {"epochs": 25, "lr": 0.5}, "data": "human"},
}

OURS = """
import json, sys
from pathlib import Path
import numpy as np
import pyarrow as pa
from curate.classifiers.binary import write_model
from curate.classifiers.training import Corpus, Settings, train_model
corpus = Corpus(("hq", "lq"))
with open(sys.argv[1], encoding="utf-8", newline="\\n") as file:
    while rows := [line.rstrip("\\n").split(" ", 1) for line in file.readlines(8 << 20)]:
        texts = pa.array([text for _, text in rows], pa.large_string())
        corpus.add(texts, np.array([name != "__label__hq" for name, _ in rows], np.int32))
import curate.classifiers.training as t
t.shuffled = lambda n, seed: np.arange(n)  # the file is in order already
write_model(train_model(corpus, Settings(**json.loads(sys.argv[3]))), Path(sys.argv[2]))
"""

THEIRS = """
import json, sys
import fasttext
s = json.loads(sys.argv[3])
model = fasttext.train_supervised(
    sys.argv[1], thread=1, verbose=0, seed=s.get("seed", 0), lr=s.get("lr", 0.1), epoch=s.get("epochs", 5), dim=s.get("dim", 100),
    minCount=s.get("min_count", 1), wordNgrams=s.get("word_ngrams", 1), minn=s.get("min_chars", 0), maxn=s.get("max_chars", 0),
    bucket=s.get("buckets", 2000000))
model.save_model(sys.argv[2])
"""

JUDGE = """
import json, sys
import fasttext
fasttext.FastText.eprint = lambda *a: None
made = []
for name in sys.argv[2:]:
    model = fasttext.load_model(name)
    scores = []
    for line in open(sys.argv[1], encoding="utf-8", newline="\\n"):
        found = dict((label, p) for p, label in model.f.predict(line.split(" ", 1)[1], 2, 0.0, "strict"))
        scores.append(found.get("__label__hq", 0.0))
    made.append(scores)
print(json.dumps(made))
"""


def rows(path: Path) -> list[dict[str, Any]]:
    opener = zstandard.open if path.suffix == ".zst" else gzip.open
    with opener(path, "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def documents(name: str, data: Path) -> list[tuple[str, str]]:
    """(label, text) of one data set."""
    if name == "wikipedia-mdn":
        parts = (("hq", "wikipedia_en_pages"), ("lq", "mdn_multi"))
        return [(label, r["text"]) for label, file in parts for r in rows(data / "text" / f"{file}.jsonl.zst")]
    if name == "movies":
        found = rows(data / "text" / "nltk_free_corpora.jsonl.zst")
        return [("hq" if r["label"] == "pos" else "lq", r["text"]) for r in found if r.get("label") in ("pos", "neg")]
    if name == "korean":
        found = rows(data / "text" / "ko_movie_reviews.jsonl.zst")
        return [("hq" if int(r["rating"]) >= 8 else "lq", r["text"]) for r in found if int(r["rating"]) >= 8 or int(r["rating"]) <= 4]
    return [("hq" if r["label"] else "lq", r["text"]) for r in rows(data / "quality" / "dclm_human_quality.jsonl.gz")]


def lines(pairs: list[tuple[str, str]]) -> str:
    """fastText's training format: one document a line, white space folded, nothing in it that fastText takes for a mark."""
    made = []
    for label, text in pairs:
        words = [w for w in re.split(r"[ \t\n\v\f\r\x00]+", text) if w and w != "</s>" and not w.startswith("__label__")]
        if words:
            made.append(f"__label__{label} {' '.join(words)}\n")
    return "".join(made)


def run(name: str, task: dict[str, Any], data: Path, peer: str, runs: int, most: int, folder: Path) -> dict[str, Any]:
    given = documents(task["data"], data)
    given = [given[i] for i in sorted(shuffled(len(given), SEED)[:most].tolist())]
    order = shuffled(len(given), SEED).tolist()
    cut = len(order) // 5
    train, test = folder / "train.txt", folder / "test.txt"
    test.write_text(lines([given[i] for i in order[:cut]]), encoding="utf-8", newline="\n")
    train.write_text(lines([given[i] for i in order[cut:]]), encoding="utf-8", newline="\n")
    settings = json.dumps(task["settings"])
    ours, theirs = [], []
    for _ in range(runs):
        theirs.append(measure([peer, "-c", THEIRS, str(train), str(folder / "theirs.bin"), settings], folder / "log"))
        ours.append(
            measure(
                [sys.executable, "-c", OURS, str(train), str(folder / "ours.bin"), settings],
                folder / "log",
                env={"PYTHONPATH": str(HERE.parents[1])},
            )
        )
    truth = np.array([line.startswith("__label__hq") for line in test.read_text(encoding="utf-8").split("\n") if line])
    judged = subprocess.run(
        [peer, "-W", "ignore", "-c", JUDGE, str(test), str(folder / "ours.bin"), str(folder / "theirs.bin")],
        capture_output=True,
        text=True,
        check=True,
    )
    scores = np.array(json.loads(judged.stdout))
    aucs = [roc_auc(s, truth) for s in scores]
    size = train.stat().st_size / 1e6
    ratios = sorted(t.cpu_s / o.cpu_s for o, t in zip(ours, theirs, strict=True))
    return {
        "task": name,
        "settings": task["settings"],
        "documents": len(given),
        "held_out": len(truth),
        "text_mb": round(size, 2),
        "auc": round(aucs[0], 5),
        "auc_fasttext": round(aucs[1], 5),
        "auc_difference": round(aucs[0] - aucs[1], 5),
        "largest_score_difference": round(float(np.abs(scores[0] - scores[1]).max()), 5),
        "correlation": round(float(np.corrcoef(scores[0], scores[1])[0, 1]), 6),
        "cpu_s": round(min(u.cpu_s for u in ours), 2),
        "cpu_s_fasttext": round(min(u.cpu_s for u in theirs), 2),
        "speed_ratio": round(median(ratios), 2),
        "speed_ratio_range": [round(ratios[0], 2), round(ratios[-1], 2)],
        "peak_mb": round(max(u.peak_mb() for u in ours), 0),
        "peak_mb_fasttext": round(max(u.peak_mb() for u in theirs), 0),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer", required=True, help="python of an environment with the stock fasttext package")
    parser.add_argument("--data", type=Path, default=HERE.parents[1].parent / "shared" / "data")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--most", type=int, default=20_000, help="documents of a data set at most")
    parser.add_argument("--save", action="store_true")
    given = parser.parse_args()
    found = []
    with tempfile.TemporaryDirectory() as folder:
        for name, task in TASKS.items():
            found.append(run(name, task, given.data, given.peer, given.runs, given.most, Path(folder)))
            f = found[-1]
            print(
                f"{name} ({f['text_mb']} MB): AUC {f['auc']:.4f}, fasttext {f['auc_fasttext']:.4f} (difference {f['auc_difference']:+.5f}); "
                f"scores differ by at most {f['largest_score_difference']}; CPU {f['cpu_s']} s, fasttext {f['cpu_s_fasttext']} s "
                f"(ratio {f['speed_ratio']}, {f['speed_ratio_range'][0]} to {f['speed_ratio_range'][1]}); peak {f['peak_mb']:.0f} MB, {f['peak_mb_fasttext']:.0f} MB",
                flush=True,
            )
    versions = "from importlib.metadata import version as v; print('fasttext-wheel', v('fasttext-wheel'))"
    peer = subprocess.run([given.peer, "-c", versions], capture_output=True, text=True, check=True).stdout.strip()
    print(peer)
    if given.save:
        result = {"machine": machine(), "peer": peer, "runs": given.runs, "tasks": found}
        (HERE / "results" / "classifier_training.json").write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
