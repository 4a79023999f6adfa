"""Generation against a server that fails on purpose: nothing lost, nothing asked twice; and what asking costs.

    python tests/bench/generation.py [--save] [--prompts 2000] [--samples 8] [--kills 5]

1. `curate run` with 2,000 prompts x 8 samples on a server that answers one request in eight wrongly (429, 500, timeout, truncated, malformed, slow).
   The whole process group is killed (SIGKILL) five times at random. Checked: every (prompt, sample) has its answer once; the pool equals that of a
   run with the prompts in another order; requests sent again (beyond the failures that the server caused) <= requests in flight at the kills.
2. Requests a second and CPU of the client with 64 at a time, against the server's own maximum: what 64 bare sockets get that send the same bytes and
   look at nothing, in the same run, with their CPU.
3. With torch: answers a second of the decoding loop in this process against `model.generate`, a tiny model, one thread, CPU time, alternating.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import importlib.util
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl

ROOT = Path(__file__).resolve().parents[2]
RESULT = ROOT / "tests" / "bench" / "results" / "generation.json"


@contextlib.contextmanager
def server(folder: Path, **settings: float) -> Iterator[str]:
    """A stub server in a process of its own; gives its base URL."""
    port_file = folder / f"port-{time.time_ns()}"
    command = [sys.executable, "-m", "tests.formats.generation.stub_server", str(port_file), *(f"{k}={v}" for k, v in settings.items())]
    process = subprocess.Popen(command, cwd=ROOT)
    try:
        while not port_file.exists():
            time.sleep(0.02)
        yield f"http://127.0.0.1:{port_file.read_text()}/v1"
    finally:
        process.kill()
        process.wait()


def stats(url: str) -> dict[str, int]:
    with urllib.request.urlopen(url + "/stats") as answer:
        return dict(json.loads(answer.read()))


def write_case(folder: Path, url: str, prompts: list[str], samples: int) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "prompts.jsonl").write_text("".join(json.dumps({"prompt": p}) + "\n" for p in prompts))
    recipe = folder / "recipe.yaml"
    model = f"{{server: '{url}', name: stub, timeout_s: 2, first_wait_s: 0.02, identity: stub}}"
    recipe.write_text(
        "name: case\ndatasets:\n  prompts: {read: {jsonl: prompts.jsonl, format: prompt}}\n  pool:\n    from: prompts\n    steps:\n"
        f"      - generate: {{model: {model}, samples: {samples}, max_tokens: 64}}\n"
    )
    return recipe


def run(recipe: Path, kill_after: float | None = None, asked: str = "") -> tuple[bool, int]:
    """Run the recipe in a process group of its own; (ended by itself, requests in flight when it was killed)."""
    command = [sys.executable, "-m", "curate", "run", recipe.name, "--quiet", "--workers", "1"]
    process = subprocess.Popen(command, cwd=recipe.parent, start_new_session=True)
    if kill_after is None:
        return process.wait() == 0, 0
    before = stats(asked)["requests"]
    while process.poll() is None and stats(asked)["requests"] == before:
        time.sleep(0.05)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(kill_after)
        return process.returncode == 0, 0
    flying = stats(asked)["flying"]
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    time.sleep(0.3)
    return False, flying


def pool(recipe: Path) -> dict[tuple[str, int], str]:
    """Answer of every (prompt, sample); fails where one is there twice."""
    rows = pl.read_parquet(recipe.parent / "runs" / "case" / "pool" / "*.parquet")
    found: dict[tuple[str, int], str] = {}
    for messages, candidates in zip(rows["messages"].to_list(), rows["candidates"].to_list(), strict=True):
        for candidate in candidates:
            key = (messages[-1]["content"], candidate["sample"])
            assert key not in found, key
            found[key] = candidate["messages"][0]["content"]
    return found


def killed(folder: Path, prompts: int, samples: int, kills: int) -> dict[str, Any]:
    texts = [f"What is {i} plus {i * i % 97}?" for i in range(prompts)]
    dice = random.Random(5)
    with server(folder, latency=0.1, failing=0.125, hang=3) as url:
        recipe = write_case(folder / "killed", url, texts, samples)
        flying = 0
        expected_s = prompts * samples / 400
        for number in range(kills):
            ended, at_kill = run(recipe, dice.uniform(0.3, 0.9) * expected_s / (kills + 1), url)
            assert not ended, "it ended before it could be killed: give it more prompts"
            flying += at_kill
            print(f"kill {number + 1}: {at_kill} in flight, {stats(url)['requests']:,} requests so far", flush=True)
        started = time.perf_counter()
        assert run(recipe)[0]
        seen = stats(url)
        found = pool(recipe)
    total = prompts * samples
    caused = sum(seen.get(f"chosen_{k}", 0) for k in ("429", "500", "timeout", "truncated", "malformed"))
    again = seen["requests"] - caused - total
    assert len(found) == total, (len(found), total)
    with server(folder, latency=0.01) as url:
        other = write_case(folder / "whole", url, random.Random(1).sample(texts, len(texts)), samples)
        assert run(other)[0]
        assert pool(other) == found, "the pool depends on order or on kills"
    assert again <= flying, (again, flying)
    return {"answers": len(found), "kills": kills, "in_flight_at_kills": flying, "sent_again": again, "failures_by_server": caused,
            "requests": seen["requests"], "last_run_s": round(time.perf_counter() - started, 1)}  # fmt: skip


def cost(folder: Path, latency: float, seconds: float = 12.0) -> dict[str, float]:
    """Rate and CPU of asking alone, in this process; journal included."""
    from formats.generation.asking import Limits, ask_missing, folder_of, open_journal
    from formats.generation.backend import Sampling
    from formats.generation.models import ServerModel
    from formats.generation.prompts import user_prompt
    from formats.generation.server import ServerBackend

    samples = 8
    count = int(seconds * 64 / latency / samples)
    bodies = [user_prompt(f"Question {i}: " + "why is the sky blue? " * 40).encoded() for i in range(count)]
    sampling = Sampling(temperature=1.0, max_tokens=512)
    with server(folder, latency=latency) as url:
        backend = ServerBackend(ServerModel(server=url, name="stub"))
        with open_journal(folder_of(folder / f"kept-{latency}", backend, sampling, "0"), bodies, samples) as journal:
            cpu, wall = time.process_time(), time.perf_counter()
            ask_missing(journal, bodies.__getitem__, backend, sampling, "0", Limits(), lambda share, text: None)
            cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
        most, bare = baseline(url, latency)
    done = count * samples
    return {"latency_s": latency, "answers": done, "rate": round(done / wall, 1), "server_maximum": round(most, 1), "busy": round(done / wall / most, 4),
            "of_64_over_latency": round(done / wall * latency / 64, 4), "core": round(cpu / wall, 4), "core_of_bare_sockets": round(bare, 4), "us_per_answer": round(cpu / done * 1e6, 1)}  # fmt: skip


def baseline(url: str, latency: float) -> tuple[float, float]:
    """(the server's own maximum, cores it takes): 64 bare connections that send the same bytes again and again and look at nothing."""
    body = json.dumps({"model": "stub", "messages": [{"role": "user", "content": "why is the sky blue? " * 40}], "seed": 1}).encode()
    request = b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body) + body
    host, port = url.split("/")[2].split(":")
    done = 0

    async def one(until: float) -> None:
        nonlocal done
        reader, writer = await asyncio.open_connection(host, int(port))
        while time.perf_counter() < until:
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            await reader.readexactly(int(head.split(b"Content-Length: ")[1].split(b"\r\n")[0]))
            done += 1
        writer.close()

    async def main() -> tuple[float, float]:
        started, cpu = time.perf_counter(), time.process_time()
        await asyncio.gather(*(one(started + 6) for _ in range(64)))
        wall = time.perf_counter() - started
        return done / wall, (time.process_time() - cpu) / wall

    return asyncio.run(main())


def local(folder: Path, count: int = 400, samples: int = 8, tokens: int = 16) -> dict[str, Any]:
    """Answers a CPU second of our loop and of `generate` in batches of 512; the model has random weights and never ends by itself."""
    os.environ["OMP_NUM_THREADS"] = "1"
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    from formats.generation.asking import ask
    from formats.generation.backend import Sampling
    from formats.generation.local import TransformersBackend
    from formats.generation.models import LocalModel
    from formats.generation.prompts import Prompt

    torch.set_num_threads(1)
    torch.manual_seed(0)
    vocabulary = {"<pad>": 0, "<eos>": 1, **{c: n + 2 for n, c in enumerate("0123456789+-=,;")}}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<pad>"))
    tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.Split("", "isolated"), decoders.Fuse()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<eos>", pad_token="<pad>").save_pretrained(folder / "tiny")
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=17, hidden_size=96, intermediate_size=192, num_hidden_layers=2, num_attention_heads=4, max_position_embeddings=64,
            eos_token_id=None, bos_token_id=None, pad_token_id=0,
        )
    )  # fmt: skip
    model.save_pretrained(folder / "tiny")
    dice = random.Random(1)
    prompts = [Prompt(text=f"{dice.randint(10, 999)}+{dice.randint(10, 999)}=") for _ in range(count)]
    backend = TransformersBackend(LocalModel(folder=str(folder / "tiny"), device="cpu"), str(folder / "tiny"), [])
    ours: list[float] = []
    theirs: list[float] = []
    for turn in range(3):
        cpu = time.process_time()
        found = ask(prompts, backend, Sampling(temperature=1.0, max_tokens=tokens), folder / f"local-{turn}", samples=samples)
        ours.append(time.process_time() - cpu)
        assert all(len(answers) == samples for answers in found)
        cpu = time.process_time()
        ids = [[vocabulary[c] for c in p.text or ""] for p in prompts for _ in range(samples)]
        for start in range(0, len(ids), 512):
            some = ids[start : start + 512]
            width = max(map(len, some))
            batch = torch.tensor([[0] * (width - len(row)) + row for row in some])
            made = model.generate(batch, attention_mask=(batch != 0).long(), max_new_tokens=tokens, do_sample=True, top_k=0)
            [tokenizer.decode(row[width:].tolist()) for row in made]
        theirs.append(time.process_time() - cpu)
    rate = count * samples / min(ours)
    return {"answers": count * samples, "tokens": tokens, "per_cpu_second": round(rate), "generate": round(count * samples / min(theirs)),
            "ratio": round(min(theirs) / min(ours), 2), "torch": torch.__version__}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--save", action="store_true")
    parser.add_argument("--prompts", type=int, default=2000)
    parser.add_argument("--samples", type=int, default=8)
    parser.add_argument("--kills", type=int, default=5)
    parser.add_argument("--only", choices=["kill", "cost", "local"])
    given = parser.parse_args()
    result: dict[str, Any] = {"python": sys.version.split()[0]}
    with tempfile.TemporaryDirectory() as scratch:
        if given.only in (None, "kill"):
            result["killed"] = killed(Path(scratch), given.prompts, given.samples, given.kills)
            print(json.dumps(result["killed"]))
        if given.only in (None, "cost"):
            result["cost"] = [cost(Path(scratch), latency) for latency in (0.1, 0.2, 0.5)]
            for entry in result["cost"]:
                print(json.dumps(entry))
        if given.only == "local" or (given.only is None and importlib.util.find_spec("torch") is not None):
            result["local"] = local(Path(scratch))
            print(json.dumps(result["local"]))
    if given.save:
        earlier = json.loads(RESULT.read_text()) if RESULT.exists() else {}
        RESULT.write_text(json.dumps({**earlier, **result}, indent=1) + "\n")


if __name__ == "__main__":
    main()
