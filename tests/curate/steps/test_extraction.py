"""Main text of pages: both engines through the guarded process; limits, crashes, metadata, Markdown."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pytest

pytest.importorskip("trafilatura")
pytest.importorskip("resiliparse")

from curate.apply import outcomes, run_step
from curate.schema import DOCUMENT
from curate.step import Outcome
from curate.steps.extraction import Extract
from curate.steps.guarded_calls import KEPT_BYTES, Failure, GuardedCalls

SENTENCE = "The quick brown fox jumps over the lazy dog, and then it rests for a long while in the shade of an old tree."
PAGE = f"""<html lang="en-GB"><head><title>Of foxes | Site</title><meta name="author" content="A. Writer">
<meta property="article:published_time" content="2024-05-06T10:00:00Z"><meta property="og:site_name" content="The Site"></head>
<body><nav><a href="/">Home</a> <a href="/about">About us</a></nav>
<article><h1>Of foxes</h1><p>{SENTENCE}</p><p>{SENTENCE.replace("fox", "wolf")}</p>
<ul><li>first item of the list</li><li>second item of the list</li></ul>
<pre><code>def fox():
    return 1</code></pre>
<table><tr><th>animal</th><th>legs</th></tr><tr><td>fox</td><td>four</td></tr></table>
<p>{SENTENCE.replace("dog", "cat")}</p></article>
<footer>Copyright, all rights reserved, imprint, privacy</footer></body></html>"""


def batch(*texts: str | None) -> pa.RecordBatch:
    n = len(texts)
    columns = [[str(i) for i in range(n)], list(texts), ["s"] * n, ["{}"] * n]
    return pa.RecordBatch.from_arrays([pa.array(c, f.type) for c, f in zip(columns, DOCUMENT, strict=True)], schema=DOCUMENT)


def extracted(*texts: str | None, **settings: Any) -> Outcome:
    (outcome,) = outcomes(Extract(**settings), [batch(*texts)])
    return outcome


@pytest.mark.parametrize("engine", ["trafilatura", "resiliparse"])
def test_main_text_and_what_the_page_says_of_itself(engine: Any) -> None:
    outcome = extracted(PAGE, "", None, "<html></html>", engine=engine)
    row = outcome.batch.to_pylist()[0]
    for part in (SENTENCE, SENTENCE.replace("fox", "wolf"), "return 1"):
        assert part in row["text"]
    assert ("first item of the list" in row["text"]) == (engine == "trafilatura")  # resiliparse 2 takes it for navigation
    for part in ("About us", "Copyright"):
        assert part not in row["text"]
    assert row["extract_author"] == "A. Writer" and row["extract_date"] == "2024-05-06" and row["extract_site"] == "The Site"
    assert row["extract_title"] == "Of foxes | Site" and row["extract_language"] == "en-GB"
    verdict = outcome.verdict
    assert verdict is not None and not outcome.unreadable
    assert verdict.reason.to_pylist() == [None, "extract.no_text", "extract.no_text", "extract.no_text"]
    assert extracted("", engine=engine, empty="keep").verdict is None


def test_markdown_keeps_structure() -> None:
    text = extracted(PAGE, format="markdown", metadata="none").batch.column("text")[0].as_py()
    for part in ("# Of foxes", "- first item of the list", "def fox():\n    return 1", "| fox | four |", "```"):
        assert part in text
    assert "fox | four" not in extracted(PAGE, tables=False, format="markdown", metadata="none").batch.column("text")[0].as_py()


def test_full_metadata_is_no_part_of_the_text() -> None:
    full, plain = (extracted(PAGE, metadata=m).batch.to_pylist()[0] for m in ("full", "none"))
    assert full["text"] == plain["text"] and not full["text"].startswith("---")
    assert full["extract_title"] == "Of foxes" and full["extract_author"] == "A Writer"
    assert not [name for name in plain if name.startswith("extract_")]


def test_settings_that_do_not_fit() -> None:
    for settings in ({"format": "markdown"}, {"fast": True}, {"metadata": "full"}):
        with pytest.raises(ValueError, match="needs engine: trafilatura"):
            Extract(engine="resiliparse", **settings)


def test_a_page_over_its_memory_is_told_and_the_others_live() -> None:
    large = "<p>words in a row</p>" * 4_000_000
    outcome = extracted(PAGE, large, PAGE, engine="resiliparse", max_memory_mb=64, metadata="none")
    assert dict(outcome.unreadable) == {1: "extract memory: more than 64 MiB"}
    texts = outcome.batch.column("text").to_pylist()
    assert texts[0] == texts[2] and SENTENCE in texts[0]
    with pytest.warns(UserWarning, match="could not process 1 documents, the first one is row 0: extract memory"):
        assert len(run_step(Extract(engine="resiliparse", max_memory_mb=64), pa.table(batch(large)))) == 0


# What the guarded process does for any function: here one that does what its document says.


def echo(suffix: str) -> Callable[[memoryview], bytes]:
    def call(view: memoryview) -> bytes:
        document = bytes(view)
        word, _, rest = document.partition(b" ")
        if word == b"spin":
            while True:
                pass
        if word == b"die":
            os.kill(os.getpid(), signal.SIGSEGV)
        if word == b"exit":
            os._exit(3)
        if word == b"raise":
            raise ValueError("no good")
        if word == b"eat":
            return b"x" * (1 << 40)
        if word == b"pid":
            return str(os.getpid()).encode()
        if word == b"wait":
            time.sleep(float(rest))
        return document + suffix.encode()

    return call


@pytest.fixture
def our_modules(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """The guarded process imports installed packages alone, so it has to be told where this module is."""
    monkeypatch.setenv("PYTHONPATH", str(request.config.rootpath))


@pytest.fixture
def calls(our_modules: None) -> GuardedCalls:
    return GuardedCalls(f"{__name__}:echo", {"suffix": "!"}, cpu_s=0.3, memory_bytes=256 << 20)


def test_each_document_gets_its_answer(calls: GuardedCalls) -> None:
    documents = [b"a", b"spin", b"", b"die", b"die", b"b" * 3_000_000, b"raise", b"eat", b"exit", b"wait 0.6", b"z"]
    answers = calls(documents)
    assert [a for a in answers if not isinstance(a, Failure)] == [b"a!", b"!", b"b" * 3_000_000 + b"!", b"wait 0.6!", b"z!"]
    assert [a.error for a in answers if isinstance(a, Failure)] == [
        "timeout: more than 0.3 s of CPU time",
        "crash: the engine ended its process (SIGSEGV)",
        "crash: the engine ended its process (SIGSEGV)",
        "failed: ValueError: no good",
        "memory: more than 256 MiB",
        "crash: the engine ended its process (exit status 3)",
    ]
    assert calls([]) == [] and calls([b"again"]) == [b"again!"]


def test_one_process_serves_many_and_ends_with_its_owner(our_modules: None) -> None:
    calls = GuardedCalls(f"{__name__}:echo", {"suffix": ""}, cpu_s=5, memory_bytes=256 << 20)
    pids = {int(p) for p in calls([b"pid"] * 200) if not isinstance(p, Failure)}
    assert len(pids) == 1
    before, large, after = calls([b"pid", b"x" * KEPT_BYTES, b"pid"])  # the memory shared for a large document goes with the process
    assert large == b"x" * KEPT_BYTES and {before} == {str(pid).encode() for pid in pids} != {after} and not isinstance(after, Failure)
    pid = int(after)
    del calls
    for _ in range(100):
        if not os.path.exists(f"/proc/{pid}"):
            break
        time.sleep(0.05)
    assert not os.path.exists(f"/proc/{pid}")
