"""A process that asks is killed twice: every answer is there once, and no more was asked for again than was in flight."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

from formats.generation.asking import ask
from formats.generation.backend import Sampling
from formats.generation.models import ServerModel
from formats.generation.prompts import digest, seed_of, user_prompt
from formats.generation.server import ServerBackend
from formats.json_text import loads
from tests.formats.generation.stub_server import words

ROOT = Path(__file__).resolve().parents[3]
PROMPTS, SAMPLES, CONCURRENCY = 150, 4, 16
ASK = """
import sys
from tests.formats.generation.test_killed import asked
asked(sys.argv[1], sys.argv[2])
"""


def asked(url: str, kept: str) -> list[list[str | None]]:
    prompts = [user_prompt(f"prompt {n}") for n in range(PROMPTS)]
    model = ServerModel(server=url, name="stub", concurrency=CONCURRENCY, timeout_s=30, first_wait_s=0.01)
    return ask(prompts, ServerBackend(model), Sampling(temperature=1.0), Path(kept), base="5", samples=SAMPLES)


def stats(url: str) -> dict[str, int]:
    with urllib.request.urlopen(url + "/stats") as answer:
        return dict(loads(answer.read()))


def test_kill_and_resume(tmp_path: Path) -> None:
    port = tmp_path / "port"
    kinds = "latency=0.02 failing=0.1 hang=0.3".split()  # noqa: SIM905
    server = subprocess.Popen([sys.executable, "-m", "tests.formats.generation.stub_server", str(port), *kinds], cwd=ROOT)
    try:
        while not port.exists():
            time.sleep(0.02)
        url = f"http://127.0.0.1:{port.read_text()}/v1"
        flying = 0
        for enough in (100, 300):
            process = subprocess.Popen([sys.executable, "-c", ASK, url, str(tmp_path / "kept")], cwd=ROOT)
            while (seen := stats(url))["requests"] < enough:
                assert process.poll() is None
                time.sleep(0.01)
            os.kill(process.pid, signal.SIGSTOP)  # so that it is known what was in flight
            flying += CONCURRENCY
            process.kill()
            process.wait()
            assert seen["requests"] < PROMPTS * SAMPLES
        found = asked(url, str(tmp_path / "kept"))
        seen = stats(url)
    finally:
        server.kill()
        server.wait()
    for number, answers in enumerate(found):
        prompt = user_prompt(f"prompt {number}")
        assert answers == [words(f"prompt {number}", seed_of("5", digest(prompt.encoded()), s)) for s in range(SAMPLES)]
    caused = sum(seen.get(f"chosen_{kind}", 0) for kind in ("429", "500", "timeout", "truncated", "malformed"))
    assert seen["requests"] - caused - PROMPTS * SAMPLES <= flying
