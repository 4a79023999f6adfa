"""Speed of SFT and DPO beside plain trl's, on the same rows, model, micro-batches and arithmetic in one run on one GPU.

    python tests/bench/gpu_posttrain.py --save        # about 4 minutes on an H200
    python tests/bench/gpu_posttrain.py --tiny        # the same code on a CPU, for a look whether it runs

Rows are random ids with lengths like those of chat sets (log-normal, median 350 tokens, at most 2,048); both sides get the ids, so nothing
is tokenized in the timed part. Weights in float32, bf16 autocast, no activation checkpointing, fused AdamW, two loader processes. Tokens
are real ones: padding counts for nobody. A figure is the mean over the steps after the first three, with the device synchronised at every step.
Each section prints one JSON line and stands for itself.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import sys
import tempfile
import time
import traceback
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))
os.environ.setdefault("HF_HUB_OFFLINE", "1")
STARTED = time.monotonic()
RESULTS: dict[str, Any] = {}
WARM_UP = 3


def say(name: str, value: Any) -> None:
    RESULTS[name] = value
    line = json.dumps({name: value, "at": round(time.monotonic() - STARTED, 1)})
    print(line, flush=True)
    with open(Path(os.environ.get("OUT", tempfile.gettempdir())) / "gpu_posttrain.jsonl", "a", encoding="utf-8") as file:
        file.write(line + "\n")


def lengths(random: np.random.Generator, count: int, tiny: bool) -> np.ndarray:
    """i64[count], at least 16 tokens."""
    found = np.exp(random.normal(np.log(350), 0.8, count)).astype(int)
    return np.clip(found // 16 if tiny else found, 16, 128 if tiny else 2048)


def make_data(folder: Path, vocabulary: int, count: int, tiny: bool) -> None:
    """chat.parquet (input_ids, labels) and pairs.parquet (prompt_ids, chosen_ids, rejected_ids), a tokenizer of numbers as words."""
    import pyarrow as pa
    import pyarrow.parquet as pq
    from tokenizers import Tokenizer, models, pre_tokenizers

    random = np.random.default_rng(0)
    made = Tokenizer(models.WordLevel({"<eos>": 0, "<pad>": 1, **{f"w{n}": n for n in range(2, vocabulary)}}, unk_token="<eos>"))
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    made.add_special_tokens(["<eos>", "<pad>"])
    made.save(str(folder / "tokenizer.json"))
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "<eos>", "pad_token": "<pad>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(config), "utf-8")

    def ids(n: int) -> list[int]:
        return [*random.integers(2, vocabulary, n - 1).tolist(), 0]

    chats = []
    for n in lengths(random, count, tiny).tolist():
        row = ids(n)
        chats.append({"input_ids": row, "labels": [-100] * (n // 3) + row[n // 3 :]})
    pairs = []
    for n in lengths(random, count // 2, tiny).tolist():
        sides = [max(4, int(n * share)) for share in random.uniform(0.2, 1.2, 2)]
        pairs.append({"prompt_ids": ids(max(8, n // 2)), "chosen_ids": ids(sides[0]), "rejected_ids": ids(sides[1])})
    pq.write_table(pa.Table.from_pylist(chats), folder / "chat.parquet")
    pq.write_table(pa.Table.from_pylist(pairs), folder / "pairs.parquet")


def make_model(folder: Path, preset: str, vocabulary: int) -> int:
    from train.models import init_model, save_model
    from train.spec import Initial, ModelSpec

    model = init_model(Initial(spec=ModelSpec(preset=preset)), vocab_size=vocabulary, context=2048, seed=0, eos=0)
    save_model(model, folder)
    return sum(p.numel() for p in model.parameters())


def clock() -> Any:
    """A callback that notes the time at the end of every step."""
    import torch
    from transformers import TrainerCallback

    class Clock(TrainerCallback):  # type: ignore[misc]
        def __init__(self) -> None:
            self.at: list[float] = []

        def on_step_end(self, *_: Any, **__: Any) -> None:
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            self.at.append(time.perf_counter())

    return Clock()


def figures(at: list[float], tokens: list[int]) -> dict[str, Any]:
    import torch

    seconds = np.diff(at)[WARM_UP - 1 :]
    used = sum(tokens[WARM_UP:])
    found = {
        "tokens_per_second": round(used / float(seconds.sum()), 1),
        "step_s": round(float(np.median(seconds)), 4),
        "steps": len(seconds),
    }
    if torch.cuda.is_available():
        found["peak_gb"] = round(torch.cuda.max_memory_allocated() / 1e9, 1)
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    return found


def step_tokens(folder: Path, kind: str, batch: int, steps: int) -> tuple[list[int], list[int]]:
    """(real tokens of every step, row numbers in our order)."""
    import pyarrow.parquet as pq

    from train.posttraining.order import Order

    rows = pq.read_table(folder / ("chat.parquet" if kind == "sft" else "pairs.parquet")).to_pylist()
    sizes = [
        len(r["input_ids"]) if kind == "sft" else 2 * len(r["prompt_ids"]) + len(r["chosen_ids"]) + len(r["rejected_ids"]) for r in rows
    ]
    order = list(Order(len(rows), steps * batch, 0))
    return [sum(sizes[n] for n in order[k * batch : (k + 1) * batch]) for k in range(steps)], order


def ours(folder: Path, kind: str, batch: int, micro: int, steps: int, **more: Any) -> dict[str, Any]:
    from train.command import as_input
    from train.posttraining.dpo import Dpo
    from train.posttraining.sft import Sft

    ticks = clock()
    base: Any = Sft if kind == "sft" else Dpo

    class Timed(base):  # type: ignore[misc]
        def trainer(self, parts: Any) -> Any:
            made = super().trainer(parts)
            made.add_callback(ticks)
            return made

        def dataset(self, setup: Any, held_out: bool = False) -> Any:
            self.__dict__["rows_given"] = super().dataset(setup, held_out)
            return self.__dict__["rows_given"]

    data = str(folder / ("chat.parquet" if kind == "sft" else "pairs.parquet"))
    node = Timed(init=str(folder), data=data, template="none", batch_size=batch, micro_batch_size=micro, steps=steps, lr=1e-6, **more)
    work = Path(tempfile.mkdtemp(dir=folder))
    (work / "checkpoints").mkdir()
    job = node.job({data: as_input(data, Path(data))}, work, work / "checkpoints", 0, kind)
    node.train(job, lambda share, what: None)
    rows = node.__dict__["rows_given"]
    if "packing" in more:
        from train.posttraining.order import Order

        sizes = [sum(n) for n in rows["seq_lengths"]]
        order = list(Order(len(sizes), steps * batch, 0))
        tokens = [sum(sizes[n] for n in order[k * batch : (k + 1) * batch]) for k in range(steps)]
    else:
        tokens = step_tokens(folder, kind, batch, steps)[0]
    shutil.rmtree(work)
    return figures(ticks.at, tokens)


def theirs(folder: Path, kind: str, batch: int, micro: int, steps: int, **more: Any) -> dict[str, Any]:
    """Plain trl, with its own collator and forward; only rows come as ids, in the order that ours has."""
    import pyarrow.parquet as pq
    import torch
    import trl
    from datasets import Dataset
    from transformers import AutoModelForCausalLM, AutoTokenizer

    gpu = torch.cuda.is_available()
    tokens, order = step_tokens(folder, kind, batch, steps)
    given = pq.read_table(folder / ("chat.parquet" if kind == "sft" else "pairs.parquet")).to_pylist()
    rows = Dataset.from_list([given[n] for n in order])
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="sdpa")
    common = {
        "output_dir": tempfile.mkdtemp(dir=folder), "per_device_train_batch_size": micro, "gradient_accumulation_steps": batch // micro, "max_steps": steps,
        "learning_rate": 1e-6, "logging_steps": 1, "report_to": "none", "disable_tqdm": True, "save_strategy": "no", "use_cpu": not gpu, "bf16": gpu, "max_length": None,
        "optim": "adamw_torch_fused", "dataloader_num_workers": 2 if gpu else 0, "train_sampling_strategy": "sequential",
        "gradient_checkpointing": more.pop("gradient_checkpointing", False),
    }  # fmt: skip
    ticks = clock()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    if kind == "sft":
        trainer = trl.SFTTrainer(
            model=model, args=trl.SFTConfig(**common, **more), train_dataset=rows, processing_class=tokenizer, callbacks=[ticks]
        )
    else:

        class Given(trl.DPOTrainer):  # type: ignore[misc]
            def _prepare_dataset(self, dataset: Any, *_: Any, **__: Any) -> Any:
                return dataset

        trainer = Given(
            model=model, args=trl.DPOConfig(**common, **more), train_dataset=rows, processing_class=tokenizer, callbacks=[ticks]
        )
    trainer.train()
    return figures(ticks.at, tokens)


def versions() -> dict[str, Any]:
    import importlib.metadata as metadata

    import torch

    found: dict[str, Any] = {n: metadata.version(n) for n in ("torch", "transformers", "trl", "datasets", "accelerate")}
    found["python"] = platform.python_version()
    found["device"] = torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tiny", action="store_true", help="a tiny model and few steps")
    parser.add_argument("--save", action="store_true", help="write tests/bench/results/gpu_posttrain.json")
    parser.add_argument("--preset", default="llama-400m")
    parser.add_argument("--seconds", type=float, default=1e9, help="begin no section after this time")
    args = parser.parse_args()
    preset, vocabulary = ("llama-tiny", 256) if args.tiny else (args.preset, 32_000)
    steps, batch, micro = (5, 4, 2) if args.tiny else (12, 64, 16)
    folder = Path(tempfile.mkdtemp())
    say("versions", versions())
    make_data(folder, vocabulary, 64 if args.tiny else 640, args.tiny)
    say("model", {"preset": preset, "parameters": make_model(folder, preset, vocabulary), "batch": batch, "micro": micro})
    pack = 128 if args.tiny else 4096
    packed = {"batch": 4 if args.tiny else 8, "micro": 2, "steps": steps}
    sections: list[tuple[str, Any]] = [
        ("sft_ours", lambda: ours(folder, "sft", batch, micro, steps)),
        ("sft_trl", lambda: theirs(folder, "sft", batch, micro, steps)),
        ("dpo_ours", lambda: ours(folder, "dpo", batch // 2, micro // 2, steps)),
        ("dpo_trl", lambda: theirs(folder, "dpo", batch // 2, micro // 2, steps)),
        ("sft_ours_packed", lambda: ours(folder, "sft", **packed, packing=pack)),
        ("sft_ours_again", lambda: ours(folder, "sft", batch, micro, steps)),
        ("sft_trl_again", lambda: theirs(folder, "sft", batch, micro, steps)),
        ("sft_trl_padding_free", lambda: theirs(folder, "sft", batch, micro, steps, padding_free=True)),
    ]
    for name, section in sections:
        if time.monotonic() - STARTED > args.seconds:
            say(name, {"skipped": "no time left"})
            continue
        try:
            say(name, section())
        except Exception:
            say(name, {"error": traceback.format_exc()[-1500:]})
    speed = {n: v.get("tokens_per_second") for n, v in RESULTS.items() if isinstance(v, dict)}
    for kind in ("sft", "dpo"):
        if speed.get(f"{kind}_ours") and speed.get(f"{kind}_trl"):
            say(f"{kind}_ratio", round(speed[f"{kind}_ours"] / speed[f"{kind}_trl"], 3))
    shutil.rmtree(folder, ignore_errors=True)
    content = json.dumps(RESULTS, indent=1) + "\n"
    (Path(os.environ.get("OUT", tempfile.gettempdir())) / "gpu_posttrain.json").write_text(content, "utf-8")
    if args.save:
        (ROOT / "tests/bench/results/gpu_posttrain.json").write_text(content, "utf-8")


if __name__ == "__main__":
    main()
