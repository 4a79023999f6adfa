"""Small data for the pages of docs/: a page names what it needs in a comment, `<!-- data: old_dumps -->`."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path

from tests.test_pipelines import CHINESE, ENGLISH, variety

BENCHMARK = "A farmer sells 14 baskets of plums for 3 coins each and buys 5 spades for 4 coins each; how many coins are left to him?"


def texts(folder: Path) -> None:
    """Sixty text files, some of them copies, lists and notes of a line."""
    (folder / "texts").mkdir()
    made = variety(ENGLISH, 60, 1)
    made[7] += "\n\nThe engineers said that the stones of the old bridge could be saved with some care."
    made += [made[3], made[4] + " So they did."] + ["Call back on Monday."] * 3 + ["- milk\n- bread\n- nails\n" * 12]
    for number, text in enumerate(made):
        (folder / "texts" / f"note-{number:02}.txt").write_text(text, encoding="utf-8")


def old_dumps(folder: Path) -> None:
    """Three dumps: the later ones hold edited copies of documents of the earlier ones."""
    make, texts = random.Random(5), variety(ENGLISH, 90, 2)
    for number, month in enumerate(("2026-01", "2026-02", "2026-03")):
        rows = texts[30 * number : 30 * number + 30] + [
            t + " It was read again." for t in make.sample(texts[: 30 * number], 8 * (number > 0))
        ]
        _jsonl(folder / "dumps" / month / "part.jsonl", [{"id": f"{month}-{n}", "text": text} for n, text in enumerate(rows)])


def chinese(folder: Path) -> None:
    """Chinese pages with a copy, an English one and a short one."""
    pages = variety(CHINESE, 40, 3)
    pages += [pages[0] + "大家都同意。", *variety(ENGLISH, 2, 4), "今天天气很好。"]
    _jsonl(folder / "zh" / "pages.jsonl", [{"url": f"https://example.com/{n}", "text": text} for n, text in enumerate(pages)])


def contaminated(folder: Path) -> None:
    """Pages, three of which hold a question of a benchmark: whole, in other case and marks, and edited in a word."""
    pages = variety(ENGLISH, 30, 6)
    for number, form in enumerate((BENCHMARK, BENCHMARK.upper().replace(";", " -"), BENCHMARK.replace("plums", "pears"))):
        pages[number] += f"\n\n{form}\n\n{pages[number + 10]}"
    _jsonl(folder / "crawl" / "pages.jsonl", [{"id": f"page-{n}", "text": text} for n, text in enumerate(pages)])
    _jsonl(folder / "benchmarks" / "sums.jsonl", [{"question": BENCHMARK, "answer": "22"}])
    _jsonl(folder / "chat.jsonl", [{"prompt": f"What follows {n}?", "completion": f"After {n} comes {n + 1}."} for n in range(20)])


def crawl(folder: Path) -> None:
    """Pages with addresses of people."""
    pages = variety(ENGLISH, 40, 7)
    pages[1] += " Write to jane.doe@firma-weber.de about it."
    pages += [pages[0], "Too short."]
    _jsonl(folder / "data" / "pages.jsonl", [{"id": f"p{n}", "text": text} for n, text in enumerate(pages)])


def alpaca(folder: Path) -> None:
    """A set in Alpaca's form, as LLaMA-Factory lists it."""
    rows = [{"instruction": f"How many legs have {n} spiders?", "input": "", "output": f"They have {8 * n} legs."} for n in range(2, 40)]
    (folder / "data").mkdir(exist_ok=True)
    (folder / "data" / "legs.json").write_text(json.dumps(rows), encoding="utf-8")
    (folder / "data" / "dataset_info.json").write_text(json.dumps({"legs": {"file_name": "legs.json"}}), encoding="utf-8")


FIXTURES: dict[str, Callable[[Path], None]] = {f.__name__: f for f in (texts, old_dumps, chinese, contaminated, crawl, alpaca)}


def _jsonl(path: Path, rows: list[dict[str, str]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
