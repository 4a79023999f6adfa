"""Compare the four quality filters and the word split with datatrove exactly as it is installed, on English documents.

    python -m tests.parity.quality_as_shipped [--every N] [--only PART] [--save]

Nothing of datatrove is replaced but by a memo of its own word split, so that three filters share one. Compared per
document: the words, and for each of four filters the decision, the reason and (c4) the text that is left. English is what
curate's language step says; HTML goes through trafilatura first. Every difference is printed. --every takes each N-th row
of a file, --only files whose name holds PART. All of it takes a quarter of an hour to an hour, nearly all in datatrove.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pyarrow as pa

from curate.apply import outcomes
from curate.kernels.strings import views
from curate.kernels.words import split_words
from curate.step import Step
from curate.steps.c4_rules import C4
from curate.steps.fineweb_rules import FineWeb
from curate.steps.languages import Language
from curate.steps.quality import GopherQuality
from curate.steps.repetition import _SHARES, GopherRepetition
from tests.conftest import read_rows

RESULTS = Path(__file__).resolve().parents[1] / "bench" / "results" / "quality_as_shipped.json"
BATCH_CHARACTERS = 2_000_000
GOPHER = {
    "gopher_short_doc": "too_short", "gopher_long_doc": "too_long", "gopher_below_avg_threshold": "short_words",
    "gopher_above_avg_threshold": "long_words", "gopher_too_many_hashes": "hashes", "gopher_too_many_ellipsis": "ellipses",
    "gopher_too_many_bullets": "bullets", "gopher_too_many_end_ellipsis": "ellipsis_lines",
    "gopher_below_alpha_threshold": "few_letters", "gopher_enough_stop_words": "few_stop_words",
}  # fmt: skip
FINEWEB = {
    "empty": "empty", "line_punct_ratio": "few_terminal_punctuation", "short_line_ratio": "short_lines",
    "char_dup_ratio": "duplicate_lines", "list_ratio": "newlines",
}  # fmt: skip
REPETITION = dict(
    zip(
        ["dup_para_frac", "dup_para_char_frac", "dup_line_frac", "dup_line_char_frac"]
        + [f"top_{n}_gram" for n in (2, 3, 4)]
        + [f"duplicated_{n}_n_grams" for n in range(5, 11)],
        [reason for reason, _, _ in _SHARES],
        strict=True,
    ),
    empty="empty",
)
C4_REASONS = {name: name for name in ("lorem_ipsum", "curly_bracket", "too_few_sentences")}


@dataclass
class Found:
    """What a comparison saw."""

    documents: int = 0
    characters: int = 0
    text_bytes: int = 0
    words: int = 0
    differences: list[str] = field(default_factory=list)
    reasons: Counter[str] = field(default_factory=Counter)


class Peer:
    """datatrove's four filters with its own defaults."""

    def __init__(self) -> None:
        import datatrove.pipeline.filters.fineweb_quality_filter as fineweb
        import datatrove.pipeline.filters.gopher_quality_filter as gopher
        import datatrove.pipeline.filters.gopher_repetition_filter as repetition
        from datatrove.pipeline.filters.c4_filters import C4QualityFilter
        from datatrove.utils.text import split_into_words

        self.memo: tuple[str, list[str]] = ("", [])

        def words(text: str, language: str = "eng") -> list[str]:
            if self.memo[0] != text:
                self.memo = (text, split_into_words(text, language))
            return self.memo[1]

        for module in (gopher, repetition, fineweb):
            module.split_into_words = words
        self.words = words
        self.filters = {
            "gopher_quality": (gopher.GopherQualityFilter(), GOPHER, "gopher"),
            "gopher_repetition": (repetition.GopherRepetitionFilter(), REPETITION, "gopher_repetition"),
            "fineweb": (fineweb.FineWebQualityFilter(), FINEWEB, "fineweb"),
            "c4": (C4QualityFilter(), C4_REASONS, "c4"),
        }

    def judge(self, name: str, text: str) -> tuple[str | None, str]:
        """(our name of its reason, or None where it keeps the document; the text afterwards)."""
        from datatrove.data import Document

        filter_, reasons, namespace = self.filters[name]
        document = Document(text=text, id="")
        answer = filter_.filter(document)
        return (None if answer is True else f"{namespace}.{reasons[answer[1]]}"), document.text


OURS: dict[str, Step] = {
    "gopher_quality": GopherQuality(words="spacy_en"),
    "gopher_repetition": GopherRepetition(words="spacy_en"),
    "fineweb": FineWeb(words="spacy_en"),
    "c4": C4(words="spacy_en"),
}


def compare(texts: list[str], peer: Peer, found: Found) -> None:
    """Add one batch of documents."""
    column = pa.array(texts, pa.large_string())
    batch = pa.record_batch({"text": column})
    verdicts = {name: outcomes(step, [batch])[0] for name, step in OURS.items()}
    reasons = {name: outcome.verdict.reason.to_pylist() for name, outcome in verdicts.items() if outcome.verdict is not None}
    rewritten = verdicts["c4"].batch.column("text").to_pylist()
    split, (data, _) = split_words(column, "spacy_en"), views(column)
    spelled = [bytes(data[s : s + n]).decode() for s, n in zip(split.start.tolist(), split.size.tolist(), strict=True)]
    for d, text in enumerate(texts):
        mine, theirs = spelled[split.doc[d] : split.doc[d + 1]], peer.words(text)
        if mine != theirs:
            at = next((i for i, (a, b) in enumerate(zip(mine, theirs, strict=False)) if a != b), min(len(mine), len(theirs)))
            found.differences.append(f"words: {mine[at - 2 : at + 3]} here, {theirs[at - 2 : at + 3]} in datatrove, {text[:60]!r}")
        for name in OURS:
            reason, left = peer.judge(name, text)
            found.reasons[f"{name}: {reason}"] += 1
            if reasons[name][d] != reason:
                found.differences.append(f"{name}: {reasons[name][d]} here, {reason} in datatrove, {text[:60]!r}")
            elif name == "c4" and rewritten[d] != left:
                found.differences.append(f"c4: another text, {text[:60]!r}")
        found.words += len(theirs)
    found.documents += len(texts)
    found.characters += sum(map(len, texts))
    found.text_bytes += sum(len(text.encode()) for text in texts)


def english(texts: list[str]) -> list[str]:
    """Those that the language step takes for English."""
    batch = pa.record_batch({"text": pa.array(texts, pa.large_string())})
    codes = outcomes(Language(mode="annotate"), [batch])[0].batch.column("lang_code").to_pylist()
    return [text for text, code in zip(texts, codes, strict=True) if code == "en"]


def documents(path: Path, every: int) -> Iterator[str]:
    """Texts of a file; of HTML what trafilatura extracts."""
    for row in list(read_rows(path))[::every]:
        if isinstance(html := row.get("html"), str):
            from trafilatura import extract

            yield extract(html) or ""
        else:
            yield str(row.get("text") or row.get("content") or "")


def batches(texts: Iterator[str]) -> Iterator[list[str]]:
    """Some megabytes at a time."""
    held: list[str] = []
    for text in texts:
        held.append(text)
        if sum(map(len, held)) > BATCH_CHARACTERS or len(held) >= 500:
            yield held
            held = []
    yield held


def main() -> None:
    """Compare and print; exit 1 where something differs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--only", default="")
    parser.add_argument("--save", action="store_true", help=f"write {RESULTS.name}")
    arguments = parser.parse_args()
    folder = Path(os.environ.get("CURATE_TEST_DATA") or Path(__file__).resolve().parents[2].parent / "shared" / "data")
    peer, total, files = Peer(), Found(), {}
    for path in sorted(p for part in ("quality", "html", "text") for p in (folder / part).iterdir()):
        if arguments.only not in path.name:
            continue
        before, started = (total.documents, total.text_bytes), time.monotonic()
        for batch in batches(documents(path, arguments.every)):
            compare(english(batch), peer, total)
        files[path.name] = {"documents": total.documents - before[0], "mb": round((total.text_bytes - before[1]) / 1e6, 2)}
        print(f"{path.name:44} {files[path.name]} {time.monotonic() - started:.0f} s, {len(total.differences)} differences", flush=True)
    for difference in total.differences:
        print(difference)
    print(
        f"{total.documents} English documents, {total.text_bytes / 1e6:.1f} MB, {total.words} words: {len(total.differences)} differences"
    )
    for reason, count in sorted(total.reasons.items()):
        print(f"  {reason:45} {count}")
    if arguments.save:
        versions = {name: version(name) for name in ("curate", "datatrove", "spacy", "trafilatura")}
        figures: dict[str, Any] = {"documents": total.documents, "mb": round(total.text_bytes / 1e6, 2), "words": total.words}
        figures |= {"differences": total.differences, "every": arguments.every, "files": files, "reasons": dict(total.reasons)}
        RESULTS.write_text(json.dumps({"versions": versions, **figures}, indent=1) + "\n")
    raise SystemExit(1 if total.differences else 0)


if __name__ == "__main__":
    main()
