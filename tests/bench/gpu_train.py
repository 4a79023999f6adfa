"""Speed of the pretraining loop on one GPU, in figures that can be compared: tokens/s, MFU, share of the loader, cost of isolation.

    python tests/bench/gpu_train.py --save            # all sections, about 8 minutes on an H200
    python tests/bench/gpu_train.py --tiny            # the same code on a CPU, for a look whether it runs
    python tests/bench/gpu_train.py --only matmul small

Every section prints one JSON line and stands for itself: what fails is reported, and the next one runs. Data are made-up documents in
real token shards (lengths gamma-distributed, mean 900 tokens), read by the real loader. Formulas:

    MFU      (6 * matmul parameters + 12 * layers * heads * head_dim * mean squared document length / mean length) * tokens/s / 989e12
    causal   the same with half of the attention term, over the rate of an 8192^3 bf16 product on random data measured in this run
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))
STARTED = time.monotonic()
PEAK = 989e12
RESULTS: dict[str, Any] = {}


def out_folder() -> Path:
    return Path(os.environ.get("OUT", tempfile.gettempdir()))


def say(name: str, value: Any) -> None:
    RESULTS[name] = value
    line = json.dumps({name: value, "at": round(time.monotonic() - STARTED, 1)})
    print(line, flush=True)
    with open(out_folder() / "gpu_train.jsonl", "a", encoding="utf-8") as file:
        file.write(line + "\n")


def versions(args: argparse.Namespace) -> dict[str, Any]:
    import importlib.metadata as metadata
    import inspect

    import torch

    found: dict[str, Any] = {n: metadata.version(n) for n in ("torch", "transformers", "numpy", "numba", "pyarrow", "pydantic")}
    found["python"] = platform.python_version()
    found["device"] = torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"
    try:
        from torch.nn.attention.varlen import varlen_attn

        found["varlen_attn"] = list(inspect.signature(varlen_attn).parameters)
    except ImportError as error:
        found["varlen_attn"] = str(error)
    return found


def matmul(args: argparse.Namespace) -> dict[str, Any]:
    import torch

    n = 256 if args.tiny else 8192
    a, b = (torch.randn(n, n, device=args.device, dtype=torch.bfloat16) for _ in range(2))
    for _ in range(3):
        a @ b
    rates = []
    for _ in range(10):
        sync()
        began = time.perf_counter()
        for _ in range(1 if args.tiny else 10):
            a @ b
        sync()
        rates.append(2 * n**3 * (1 if args.tiny else 10) / (time.perf_counter() - began))
    return {"n": n, "tflops": statistics.median(rates) / 1e12, "best": max(rates) / 1e12}


def sync() -> None:
    import torch

    if torch.cuda.is_available():
        torch.cuda.synchronize()


def exact(args: argparse.Namespace) -> dict[str, Any]:
    """Chunked loss against plain float32; packed against alone and leakage on this device's attention."""
    import torch
    from torch.nn.functional import cross_entropy

    from train.attention import packed_inputs, use_attention
    from train.isolation import leakage
    from train.loss import next_token_loss
    from train.models import init_model
    from train.spec import Initial, ModelSpec

    torch.manual_seed(0)
    dtype = torch.float32 if args.tiny else torch.bfloat16
    hidden = torch.randn(3000, 256, device=args.device, dtype=dtype, requires_grad=True)
    weight = (torch.randn(5120, 256, device=args.device) / 16).requires_grad_()
    labels = torch.randint(0, 5000, (3000,), device=args.device)
    labels[::7] = -100
    scale = torch.tensor(1 / (labels >= 0).sum().item(), device=args.device)
    loss, _ = next_token_loss(hidden, weight, labels, scale, compiled=not args.tiny)
    loss.backward()
    plain_h, plain_w = hidden.detach().double().requires_grad_(), weight.detach().to(dtype).double().requires_grad_()
    reference = cross_entropy(plain_h @ plain_w.T, labels)
    reference.backward()
    far = [float((a.grad.double() - b.grad).norm() / b.grad.norm()) for a, b in ((hidden, plain_h), (weight, plain_w))]
    model = (
        init_model(Initial(spec=ModelSpec(preset="llama-10m", kv_heads=1)), vocab_size=4096, context=512, seed=1).to(args.device).to(dtype)
    )
    lengths = [100, 37, 219, 1, 155]
    ends = torch.tensor([0, *torch.tensor(lengths).cumsum(0).tolist(), 512, 512], dtype=torch.int32, device=args.device)
    positions = torch.cat([torch.arange(n) for n in lengths])[None].to(args.device)
    tokens = torch.randint(0, 4096, (1, 512), device=args.device)
    found = {"loss": abs(loss.item() / reference.item() - 1), "gradient_of_hidden": far[0], "gradient_of_head": far[1]}
    for name in ("sdpa",) if args.tiny else ("varlen", "sdpa", "flex"):
        use_attention(model, name)
        inputs = packed_inputs(name, tokens, positions, ends, 512)
        with torch.no_grad():
            packed = model.base_model(**inputs).last_hidden_state.flatten(0, 1)
            alone = torch.cat([model.base_model(input_ids=t, use_cache=False).last_hidden_state[0] for t in tokens.split(lengths, 1)])
        leak, moved = leakage(model, inputs, ends)
        found[name] = {"leak": leak, "moved": moved, "packed_against_alone": float((packed - alone).abs().max() / alone.abs().max())}
    return found


class Bench:
    """A model, its optimizer and loader, made by the code that trains."""

    def __init__(self, args: argparse.Namespace, run: Path, data: Any, preset: str, batch: int, micro: int, **settings: Any) -> None:
        import torch

        from train.loop import Loop, Run
        from train.optimizers import make_optimizers
        from train.parallel import World
        from train.pretrain import Pretrain

        changed = {"preset": preset, "context": 2048} if not args.tiny else {"preset": "llama-tiny"}
        node = Pretrain(model=changed, data="mix", batch_tokens=batch, micro_batch_tokens=micro, prove_isolation=False, **settings)
        work = Path(tempfile.mkdtemp(dir=run))
        job = node.job({"mix": data}, work, work, 1, "bench")
        self.run = Run(node, job, World(0, 1, torch.device(args.device)), lambda share, what: None)
        self.model = self.run._model()
        module = self.run._module(self.model)
        self.loop = Loop(self.run, self.model, module, make_optimizers(module, node.optimizer, self.model.config.hidden_size, False), None)
        self.args = args

    def measure(self, steps: int, in_memory: bool, warm: int = 2) -> dict[str, Any]:
        """Median time of a step. in_memory: the same steps, made before the clock starts, so that the difference is the loader's."""
        import torch

        from train.batches import Steps

        reader = Steps(self.run.source, self.run.choices.plan, rank=0, world=1, micro=self.run.choices.micro)
        given = iter([reader.read(number) for number in range(warm + steps)]) if in_memory else iter(reader)
        times, waits, flops, last = [], [], 0.0, {}
        sync()
        for number in range(warm + steps):
            began = time.perf_counter()
            step = next(given)
            ready = time.perf_counter()
            last = self.loop._step(step, (lambda: None) if in_memory else reader.read_on)
            sync()
            if number >= warm:
                times.append(time.perf_counter() - began)
                waits.append(ready - began)
                flops = self.loop._flops(step)
        if not in_memory:
            given.close()
        tokens = sum(rows.tokens.size for rows in step.parts)
        seconds = statistics.median(times)
        attention = flops - 6.0 * self.loop.matmul * tokens
        causal = (flops - attention / 2) / seconds
        ceiling = RESULTS.get("matmul", {}).get("tflops", 0) * 1e12 if isinstance(RESULTS.get("matmul"), dict) else 0
        return {
            "tokens_per_second": tokens / seconds,
            "mfu": flops / seconds / PEAK,
            "of_measured_matmul_causal": causal / ceiling if ceiling else None,
            "seconds": seconds,
            "spread": (min(times), max(times)),
            "waited_for_loader": sum(waits) / sum(times),
            "tokens": tokens,
            "micro": self.run.choices.micro,
            "parameters": self.loop.parameters,
            "gflop_per_token": flops / tokens / 1e9,
            "loss": last["loss"],
            "memory_gb": torch.cuda.max_memory_allocated() / 1e9 if torch.cuda.is_available() else None,
        }

    def profile(self, rows: int = 28) -> list[list[Any]]:
        """[kernel, ms, calls] of one step."""
        from torch.profiler import ProfilerActivity, profile

        from train.batches import Steps

        step = Steps(self.run.source, self.run.choices.plan, rank=0, world=1, micro=self.run.choices.micro).read(0)
        step.parts = step.parts[:2]
        with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as seen:
            self.loop._step(step, lambda: None)
            sync()
        events = sorted(seen.key_averages(), key=lambda e: -getattr(e, "self_device_time_total", 0))
        return [[e.key[:90], round(e.self_device_time_total / 1e3, 3), e.count] for e in events[:rows] if e.self_device_time_total > 0]


def fresh() -> None:
    """Forget compiled graphs and memory of the last model."""
    import gc

    import torch

    gc.collect()
    torch._dynamo.reset()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def data(args: argparse.Namespace, name: str, vocabulary: int, tokens: int) -> tuple[Path, Any]:
    """Shards and a mix over them."""
    from tests.train.synthetic import documents, mix, token_dataset

    run = Path(tempfile.mkdtemp(prefix=name))
    seq_len = 128 if args.tiny else 2048
    mean = 40.0 if args.tiny else 900.0
    inputs = {n: token_dataset(run, n, documents(int(1.1 * tokens * share / mean) + 50, vocabulary, mean, s), vocabulary)
              for s, (n, share) in enumerate({"web": 0.7, "code": 0.3}.items())}  # fmt: skip
    return run, mix(run, inputs, seq_len, tokens // seq_len * seq_len, {"web": 0.7, "code": 0.3})


def speeds(args: argparse.Namespace, name: str, preset: str, vocabulary: int, batch: int, micro: int, steps: int) -> dict[str, Any]:
    """Real and synthetic data, with isolation and without."""
    run, mixed = data(args, name, vocabulary, batch * (steps + 6))
    found: dict[str, Any] = {}

    def one(key: str, in_memory: bool, count: int, warm: int, bench: Bench) -> None:
        found[key] = guarded(lambda: bench.measure(count, in_memory, warm))
        say(f"{name}.{key}", found[key])

    bench = Bench(args, run, mixed, preset, batch, micro)
    for key, in_memory, warm in (("memory", True, 2), ("loader", False, 1), ("memory_again", True, 1), ("loader_again", False, 1)):
        one(f"isolated_{key}", in_memory, steps, warm, bench)
    if args.profile:
        say(f"{name}.profile", guarded(bench.profile))
    del bench
    for key, settings in {"unmasked_varlen": {"isolate": False}, "unmasked_sdpa": {"isolate": False, "attention": "sdpa"}}.items():
        fresh()
        if not (args.no_unmasked or ("varlen" in key and (args.tiny or preset == "llama-1b"))):
            one(key, True, max(3, steps // 2), 2, Bench(args, run, mixed, preset, batch, micro, **settings))
    fresh()
    memory, loader = ([found[f"isolated_{k}{n}"] for n in ("", "_again")] for k in ("memory", "loader"))
    unmasked = [v["tokens_per_second"] for k, v in found.items() if k.startswith("unmasked") and "tokens_per_second" in v]
    speed = statistics.mean(v["tokens_per_second"] for v in loader)
    return {
        "tokens_per_second": speed,
        "mfu": statistics.mean(v["mfu"] for v in loader),
        "loader_share": statistics.mean(v["seconds"] for v in loader) / statistics.mean(v["seconds"] for v in memory) - 1,
        "isolated_over_unmasked": speed / max(unmasked) if unmasked else None,
    }


def small(args: argparse.Namespace) -> dict[str, Any]:
    batch = 1024 if args.tiny else 524_288
    return speeds(
        args, "160m", "llama-160m", 300 if args.tiny else 50_304, batch, 512 if args.tiny else args.micro_small, 3 if args.tiny else 8
    )


def large(args: argparse.Namespace) -> dict[str, Any]:
    batch = 1024 if args.tiny else 262_144
    return speeds(
        args, "1b", "llama-1b", 300 if args.tiny else 128_256, batch, 512 if args.tiny else args.micro_large, 3 if args.tiny else 5
    )


def resume(args: argparse.Namespace) -> dict[str, Any]:
    """Killed by signal 9 and gone on with, against uninterrupted: every step's loss and gradient norm."""
    run, _ = data(args, "resume", 300 if args.tiny else 32_000, 60 * (1024 if args.tiny else 65_536))
    settings = {
        "data": "mix",
        "model": {"preset": "llama-tiny" if args.tiny else "llama-60m", "layers": 2 if args.tiny else 4},
        "batch_tokens": 1024 if args.tiny else 65_536,
        "tokens": 16 * (1024 if args.tiny else 65_536),
        "deterministic": True,
        "checkpoints": {"every_steps": 4, "keep": 1},
    }
    names = {"whole": None, "killed": 6}
    lines: dict[str, list[dict[str, Any]]] = {}
    for name, kill in names.items():
        job = {"settings": settings, "run": str(run), "out": str(run / name)}
        command = [sys.executable, __file__, "--child", json.dumps(job)]
        environment = {**os.environ, "CUBLAS_WORKSPACE_CONFIG": ":4096:8"}
        if kill:
            process = subprocess.Popen(command, env=environment)
            path = run / name / "work" / "metrics.jsonl"
            while process.poll() is None and (not path.exists() or len(path.read_text().splitlines()) < kill):
                time.sleep(0.01)
            process.kill()
            process.wait()
        subprocess.run(command, env=environment, check=True)
        lines[name] = [json.loads(line) for line in (run / name / "metrics.jsonl").read_text().splitlines()]
    a, b = ([(x["loss"], x["norm"]) for x in lines[n]] for n in ("whole", "killed"))
    return {
        "steps": len(a),
        "killed_after": names["killed"],
        "equal": a == b,
        "largest_difference": max(abs(x[0] - y[0]) for x, y in zip(a, b, strict=True)),
    }


def child(text: str) -> None:
    from tests.train.synthetic import as_input
    from train.pretrain import Pretrain

    job = json.loads(text)
    node, out = Pretrain(**job["settings"]), Path(job["out"])
    made = node.job({"mix": as_input(Path(job["run"]) / "mix")}, out, out / "work", 1, "resume")
    out.mkdir(exist_ok=True)
    node.train(made, lambda share, what: None)


def guarded(what: Callable[[], Any]) -> Any:
    try:
        return what()
    except Exception as error:
        traceback.print_exc()
        return {"failed": f"{type(error).__name__}: {error}"[:600]}


SECTIONS = {"versions": versions, "matmul": matmul, "exact": exact, "small": small, "large": large, "resume": resume}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--only", nargs="*", choices=list(SECTIONS))
    parser.add_argument("--profile", action="store_true")
    parser.add_argument("--no-unmasked", action="store_true", help="leave the runs without isolation out")
    parser.add_argument("--micro-small", type=int, default=65_536)
    parser.add_argument("--micro-large", type=int, default=65_536)
    parser.add_argument("--save", action="store_true", help="write tests/bench/results/gpu_train.json")
    parser.add_argument("--child")
    args = parser.parse_args()
    if args.child:
        child(args.child)
        return
    args.device = "cpu" if args.tiny else "cuda"
    for name in args.only or list(SECTIONS):
        say(name, guarded(lambda s=SECTIONS[name]: s(args)))
    if args.save:
        path = ROOT / "tests/bench/results/gpu_train.json"
        path.write_text(
            json.dumps({"command": " ".join(sys.argv), "formulas": __doc__.partition("Formulas:")[2].strip(), **RESULTS}, indent=1) + "\n"
        )


if __name__ == "__main__":
    main()
