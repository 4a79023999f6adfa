"""What `by_language` keeps of real text in seven languages, with FineWeb-2's settings and with the English defaults.

    python tests/bench/language_settings.py DATA [--save]

DATA has langid/ and text/. Prose: the sentences of lingua's test set, 20 to a document in four paragraphs. Other text: documents of
text/ above 300 characters that `language` gives the language at 0.65 or more. One line each: kept of documents, and the commonest reasons.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter, defaultdict
from pathlib import Path

import pyarrow as pa

from curate.apply import outcomes
from curate.context import WorkContext
from curate.steps.language_filters import ByLanguage
from curate.steps.languages import Language
from tests.conftest import read_rows

LANGUAGES = ("zh", "ja", "ko", "ar", "ru", "hi", "th")
FEWEST = 10
SHOWN = 2
PARTS, SENTENCES = 4, 5


def prose(data: Path) -> dict[tuple[str, str], list[str]]:
    """(language, name of the set) -> documents."""
    found: dict[tuple[str, str], list[str]] = defaultdict(list)
    sentences: dict[str, list[str]] = defaultdict(list)
    for row in read_rows(data / "langid" / "lingua_sentences.jsonl.gz"):
        sentences[row["lang"]].append(row["text"])
    size = PARTS * SENTENCES
    for code in LANGUAGES:
        for at in range(0, len(sentences[code]) - size + 1, size):
            parts = [" ".join(sentences[code][at + i * SENTENCES : at + (i + 1) * SENTENCES]) for i in range(PARTS)]
            found[code, "sentences joined"].append("\n\n".join(parts))
    return found


def others(data: Path) -> dict[tuple[str, str], list[str]]:
    found: dict[tuple[str, str], list[str]] = defaultdict(list)
    run = Language().bind(WorkContext())
    for path in sorted((data / "text").glob("*.jsonl*")):
        texts = [row.get("text") for row in read_rows(path)]
        texts = [text for text in texts if isinstance(text, str) and len(text) > 300]
        texts = texts[:: max(1, len(texts) // 3000)]
        if texts:
            batch = run(pa.record_batch({"text": pa.array(texts, pa.large_string())})).batch
            for text, code, score in zip(texts, batch["lang_code"].to_pylist(), batch["lang_score"].to_pylist(), strict=True):
                if code in LANGUAGES and score >= 0.65:
                    found[code, path.name.split(".")[0]].append(text)
    return {key: texts for key, texts in found.items() if len(texts) >= FEWEST}


def kept(step: ByLanguage, code: str, texts: list[str]) -> tuple[float, list[tuple[str, int]]]:
    batch = pa.record_batch({"text": pa.array(texts, pa.large_string()), "lang_code": pa.array([code] * len(texts))})
    (outcome,) = outcomes(step, [batch])
    assert outcome.verdict is not None
    reasons = Counter(outcome.verdict.reason.drop_null().to_pylist())
    return round(100 * (1 - sum(reasons.values()) / len(texts)), 1), reasons.most_common(SHOWN)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--save", action="store_true")
    given = parser.parse_args()
    rows = []
    for (code, name), texts in sorted({**prose(given.data), **others(given.data)}.items(), key=lambda item: LANGUAGES.index(item[0][0])):
        own, reasons = kept(ByLanguage(), code, texts)
        english, _ = kept(ByLanguage(), "en", texts)
        shown = ", ".join(f"{reason} {count}" for reason, count in reasons)
        rows.append({"language": code, "text": name, "documents": len(texts), "kept": own, "kept_as_english": english, "reasons": shown})
        print(" | ".join(str(value) for value in rows[-1].values()), flush=True)
    if given.save:
        (Path(__file__).parent / "results" / "language_settings.json").write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
