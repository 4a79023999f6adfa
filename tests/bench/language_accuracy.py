"""Accuracy of `language` by language and length, beside fastText, lingua and CLD2.

    python tests/bench/language_accuracy.py DATA --peer-python PYTHON [--each 200] [--save]

DATA has langid/. lingua and CLD2 run in an environment of their own (PYTHON: lingua-language-detector, pycld2). Judged are
languages that all of them know, on up to `--each` texts of each kind, spread over the file: documents (UDHR), sentences, word pairs, single
words (the test sets of lingua, which lingua was not trained on, and of ELD). Every detector names one language of all that it knows; Norwegian is one language.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections import defaultdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import fasttext
import pyarrow as pa

from curate.context import WorkContext
from curate.steps.languages import Language, lid_176_path
from tests.conftest import read_rows

KINDS = {"documents": "udhr", "sentences": "lingua_sentences", "word pairs": "lingua_word_pairs", "words": "lingua_single_words"}
SAME = {"nb": "no", "nn": "no", "iw": "he", "zh-Hant": "zh", "jw": "jv", "mo": "ro"}
MORE = ("lingua", "cld2")

PEERS = """
import json, sys
import pycld2
from importlib.metadata import version
from lingua import LanguageDetectorBuilder, Language
texts = json.load(sys.stdin)
builder = LanguageDetectorBuilder.from_all_languages()
detector = builder.build()
def lingua(text):
    found = detector.detect_language_of(text)
    return found.iso_code_639_1.name.lower() if found else "und"
def cld2(text):
    try:
        return pycld2.detect(text)[2][0][1]
    except pycld2.error:
        return "und"
json.dump({"lingua": [lingua(t) for t in texts], "cld2": [cld2(t) for t in texts],
    "known": {"lingua": [l.iso_code_639_1.name.lower() for l in Language.all()], "cld2": [code for _, code in pycld2.LANGUAGES]},
    "versions": {n: version(n) for n in ("lingua-language-detector", "pycld2")}}, sys.stdout)
"""


def samples(data: Path, each: int) -> dict[str, list[tuple[str, str]]]:
    """(language, text) of every kind, at most `each` of a language, spread over the file."""
    found: dict[str, list[tuple[str, str]]] = {}
    for kind, name in KINDS.items():
        by_language: dict[str, list[str]] = defaultdict(list)
        for row in read_rows(data / "langid" / f"{name}.jsonl.gz"):
            code = str(row["lang"]).split("-")[0]
            by_language[SAME.get(code, code)].append(" ".join(row["text"].split()))
        found[kind] = [(code, text) for code, texts in sorted(by_language.items()) for text in texts[:: max(1, len(texts) // each)][:each]]
    return found


def ours(texts: list[str]) -> list[str]:
    (batch,) = pa.table({"text": pa.array(texts, pa.large_string())}).combine_chunks().to_batches()
    codes: list[str] = Language().bind(WorkContext())(batch).batch.column("lang_code").to_pylist()
    return codes


def public(texts: list[str]) -> list[str]:
    model = fasttext.load_model(str(lid_176_path()))
    return [model.f.predict(text + "\n", 1, 0.0, "strict")[0][1].removeprefix("__label__") for text in texts]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--peer-python", required=True)
    parser.add_argument("--each", type=int, default=200)
    parser.add_argument("--save", action="store_true")
    given = parser.parse_args()
    chosen = samples(given.data, given.each)
    texts = [text for rows in chosen.values() for _, text in rows]
    done = subprocess.run([given.peer_python, "-c", PEERS], input=json.dumps(texts), capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stderr[-2000:])
    peers = json.loads(done.stdout)
    answers = {"curate": ours(texts), "fastText": public(texts), **{name: peers[name] for name in MORE}}
    known = [{SAME.get(code, code) for code in peers["known"][name]} for name in MORE]
    judged = {code for code in known[0] & known[1] if code in {*own_codes()}}
    table: dict[str, dict[str, dict[str, list[int]]]] = {}
    at = 0
    for kind, rows in chosen.items():
        for i, (code, _) in enumerate(rows, at):
            for name, found in answers.items():
                if code in judged:
                    right = table.setdefault(kind, {}).setdefault(name, {}).setdefault(code, [0, 0])
                    right[0] += SAME.get(found[i], found[i]) == code
                    right[1] += 1
        at += len(rows)
    result: dict[str, Any] = {"languages": len(judged), "mean_accuracy": {}, "by_language": {}}
    for kind, by_name in table.items():
        shares = {name: {code: right / n for code, (right, n) in codes.items()} for name, codes in by_name.items()}
        result["mean_accuracy"][kind] = {name: round(100 * sum(s.values()) / len(s), 2) for name, s in shares.items()}
        result["mean_accuracy"][kind] |= {"languages": len(shares["curate"]), "texts": sum(n for _, n in by_name["curate"].values())}
        for name, codes in shares.items():
            for code, share in codes.items():
                result["by_language"].setdefault(code, {}).setdefault(kind, {})[name] = round(100 * share, 1)
    result["versions"] = peers["versions"] | {name: version(name) for name in ("curate", "fasttext-predict")}
    print(json.dumps(result if given.save else result["mean_accuracy"], indent=1))
    if given.save:
        text = json.dumps(result, sort_keys=True)
        (Path(__file__).parent / "results" / "language_accuracy.json").write_text(text + "\n")


def own_codes() -> list[str]:
    """Codes of lid.176, Norwegian as one."""
    from curate.steps.languages import LID_176

    return [SAME.get(code, code) for code in LID_176.split()]


if __name__ == "__main__":
    main()
