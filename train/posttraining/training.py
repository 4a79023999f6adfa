"""The part of a run that needs torch: arguments, callbacks, training from the last checkpoint, and the folder that is written."""

from __future__ import annotations

import json
import math
import shutil
import time
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version as installed
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoModelForSequenceClassification, PrinterCallback, TrainerCallback, set_seed

from curate import __version__
from curate.errors import DataError, RunError
from train.evaluation.during import During, as_metrics, last_figures
from train.isolation import prove
from train.metrics import METRICS, Metrics, peak_flops
from train.models import load_model, save_model
from train.parallel import whole
from train.posttraining import adapters
from train.posttraining.flat import choose_attention, flat_inputs
from train.posttraining.launching import arguments, cut_at_load, write_configs
from train.posttraining.order import Order, places_to_rows
from train.posttraining.runner import NOTES, Plan, Setup, out_of_memory
from train.posttraining.settings import SoftPrompt
from train.spec import HUB

_SCHEDULES = {"cosine": "cosine", "linear": "linear", "constant": "constant_with_warmup", "wsd": "warmup_stable_decay"}
_DECAY = 0.2  # share of the steps in which wsd comes down
_PROOF_TOKENS = 128  # of a row in the proof of isolation
_TIMES = ("_runtime", "_per_second", "step_time")  # never the same twice


@dataclass
class Parts:
    """What a kind makes its trainer of."""

    setup: Setup
    common: dict[str, Any]  # arguments of every trl config
    given: dict[str, Any]  # arguments of every trl trainer
    plan: Plan
    attention: str

    def reference(self, where: str | None = None) -> Any:
        """The model to compare with, frozen: the starting one once more, or another. None with an adapter, which can be switched off."""
        node, job = self.setup.node, self.setup.job
        if node.adapter is not None:
            return None
        model = load(self.setup) if where is None else load_model(job.inputs[where].folder if where in job.inputs else where)
        choose_attention(model, node.attention, self.padding)
        return model.requires_grad_(False).eval()

    @staticmethod
    def bare(model: Any) -> Any:
        """The transformers model below an adapter."""
        from accelerate.utils import is_peft_model

        return model.get_base_model() if is_peft_model(model) else model

    @property
    def padding(self) -> bool:
        """Whether batches are padded: a soft prompt stands before every row, so rows can't lie one after the other."""
        return self.setup.node.padding or isinstance(self.setup.node.adapter, SoftPrompt)


def load(setup: Setup, quantized: Any = None, parts: bool = False) -> Any:
    """The starting model on the CPU, with room for new tokens and, for reward models, a head of one number.

    parts: this process's part of it, where matrices are shared (`parallel.tensor`); on its device
    """
    node, initial = setup.node, setup.job.initial
    where = initial.folder or f"{HUB}{initial.hub}"
    dtype = torch.bfloat16 if node.weights == "bf16" or quantized is not None else torch.float32
    if node.head == "reward":
        torch.manual_seed(setup.job.seed % (1 << 32))  # of the new head
        name, _, revision = setup.start.partition("@") if initial.hub else (setup.start, "", "")
        model = AutoModelForSequenceClassification.from_pretrained(
            name,
            revision=revision or None,
            num_labels=1,
            dtype=dtype,
            use_safetensors=True,
            trust_remote_code=False,
            quantization_config=quantized,
        )
        model.config.use_cache = False
    elif quantized is not None:
        from transformers import AutoModelForCausalLM

        model = AutoModelForCausalLM.from_pretrained(
            setup.start, dtype=dtype, use_safetensors=True, trust_remote_code=False, quantization_config=quantized
        )
    elif (sizes := cut_at_load(node.parallel, setup.world)) is not None and parts:
        model = load_model(where, dtype, sizes)
    else:
        model = load_model(where, dtype)
    _fit_vocabulary(model, setup)
    if node.head == "language":
        _end_at_stop(model, setup)  # before trainers that draw answers ask for it
    return model


def _fit_vocabulary(model: Any, setup: Setup) -> None:
    rows, wanted = model.get_input_embeddings().weight.shape[0], setup.maker.chat.tokenizer.get_vocab_size()
    if rows >= wanted:
        return
    if not setup.node.new_tokens:
        raise DataError(
            f"the model has {rows:,} embeddings, the tokenizer {wanted:,} ids. Give the tokenizer that the model was trained with."
        )
    torch.manual_seed(setup.job.seed % (1 << 32))
    model.resize_token_embeddings(wanted, pad_to_multiple_of=128)


def train_and_write(setup: Setup) -> dict[str, Any]:
    """Train from the last checkpoint, if there is one, and write the model. Returns figures for the manifest."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # what trl and transformers will rename: nothing that a user could do
        return _train(setup)


def _train(setup: Setup) -> dict[str, Any]:
    node = setup.node
    set_seed(setup.job.seed % (1 << 32))  # of an adapter's first weights: trl adds it before its trainer has set one
    rows = node.dataset(setup)
    plan = setup.plan(len(rows))
    order = node.order(setup, len(rows), plan)
    quantized = adapters.quantization(node.adapter)
    model = load(setup, quantized, parts=True)
    padding = node.padding or isinstance(node.adapter, SoftPrompt)
    attention = choose_attention(model, node.attention, padding or node.generates)
    new_ids = setup.tokenizer.convert_tokens_to_ids(list(node.new_tokens)) if node.new_tokens else []
    config = adapters.peft_config(node.adapter, "SEQ_CLS" if node.head == "reward" else "CAUSAL_LM", setup.tokenizer_folder, new_ids)
    record = Recorder(setup, plan, order, rows, node.flops_per_token(model))
    given = {"model": model, "train_dataset": rows, "processing_class": setup.tokenizer, "peft_config": config, "callbacks": [record]}
    if node.evaluation is not None:
        given["eval_dataset"] = node.dataset(setup, held_out=True)
    parts = Parts(setup, common_arguments(setup, plan), given, plan, attention)
    trainer = node.trainer(parts)
    trainer.curate_order = order
    record.trainer = trainer
    trainer.remove_callback(PrinterCallback)
    if not padding and not node.generates and not _rounds_together(node) and (setup.world == 1 or node.parallel.mode == "ddp"):
        _prove_isolation(parts, trainer)
    if setup.rank == 0 and setup.world > 1:
        write_configs(node.parallel, setup.world, setup.work)
    try:
        trainer.train(resume_from_checkpoint=setup.last_checkpoint())
        held_out = trainer.evaluate() if node.evaluation is not None else {}
    except torch.OutOfMemoryError as error:
        raise out_of_memory(error) from error
    finally:
        record.close()
    return _write(setup, trainer, config, record, held_out, {"rows": len(rows), "batch": plan.batch, "steps": plan.steps})


def _rounds_together(node: Any) -> bool:
    """Whether rows of a batch change each other's rounding, padded or not: 8-bit weights find columns of large values over the whole batch."""
    return getattr(node.adapter, "quantize", None) == "8bit"


def _prove_isolation(parts: Parts, trainer: Any) -> None:
    """Change one of the first rows and look that no other moves, before anything is trained."""
    rows = parts.given["train_dataset"]
    names = (
        ("input_ids",)
        if "input_ids" in rows.column_names
        else ("prompt_ids", "chosen_ids" if "chosen_ids" in rows.column_names else "completion_ids")
    )
    some = [[i for name in names for i in rows[n][name]][:_PROOF_TOKENS] for n in range(min(4, len(rows)))]
    device = trainer.accelerator.device
    lengths = torch.tensor([len(ids) for ids in some], device=device)
    inputs = flat_inputs(parts.attention, torch.tensor([i for ids in some for i in ids], device=device), lengths)
    with torch.autocast(device.type, torch.bfloat16, enabled=bool(parts.common["bf16"])):
        prove(parts.bare(trainer.model), inputs, torch.cat([lengths.new_zeros(1), lengths.cumsum(0)]).int())


def common_arguments(setup: Setup, plan: Plan) -> dict[str, Any]:
    """Arguments that all of trl's configurations share."""
    node, gpu = setup.node, torch.cuda.is_available()
    bf16 = node.precision == "bf16" or (node.precision == "auto" and gpu)
    steps = plan.steps
    seed = setup.job.seed % (1 << 32)
    return {
        "output_dir": str(setup.work),
        "per_device_train_batch_size": plan.micro,
        "per_device_eval_batch_size": plan.micro,
        "gradient_accumulation_steps": plan.times,
        "max_steps": steps,
        "learning_rate": node.peak_lr(),
        "lr_scheduler_type": _SCHEDULES[node.schedule],
        "lr_scheduler_kwargs": {"num_decay_steps": max(1, round(_DECAY * steps)), "decay_type": "linear"}
        if node.schedule == "wsd"
        else None,
        "warmup_steps": round(node.warmup * steps),
        "weight_decay": node.weight_decay,
        "adam_beta2": node.beta2,
        "optim": "adamw_torch_fused" if gpu else "adamw_torch",
        "max_grad_norm": node.clip or 0.0,
        "bf16": bf16,
        "use_cpu": not gpu,
        "seed": seed,
        "data_seed": seed,
        "logging_steps": 1,
        "logging_nan_inf_filter": False,
        "ddp_find_unused_parameters": False,
        "report_to": "none",
        "disable_tqdm": True,
        "log_level": "error",
        "save_strategy": "steps",
        "save_steps": node.checkpoints.every_steps or steps + 1,
        "save_total_limit": node.checkpoints.keep,
        "eval_strategy": "steps" if node.evaluation is not None and node.evaluation.every_steps else "no",
        "eval_steps": node.evaluation.every_steps if node.evaluation is not None else None,
        "dataloader_num_workers": 2 if gpu else 0,
        "dataloader_pin_memory": gpu,
        **arguments(node.parallel, setup.world, node.activation_checkpointing),
    }


class Recorder(TrainerCallback):  # type: ignore[misc]
    """Metrics, progress, checkpoints by the clock, and the rows behind a loss that is no number."""

    def __init__(self, setup: Setup, plan: Plan, order: Any, rows: Any, flops: float) -> None:
        """flops: of a token, forward, backward and reference; 0 where it is not known"""
        self.setup, self.plan, self.order, self.rows, self.flops = setup, plan, order, rows, flops
        self.saved = self.before = time.monotonic()
        self.tokens = self.resumed = 0
        self.last: dict[str, float] = {}
        self.metrics: Metrics | None = None
        self.trainer: Any = None  # it is made with this callback
        mine = setup.node.evaluate if setup.rank == 0 else None
        self.during = None if mine is None else During(mine, setup.tokenizer, _written_dtype(setup))

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Forget steps that come after the checkpoint."""
        self.saved = self.before = time.monotonic()
        if self.setup.rank == 0:
            Metrics.cut(self.setup.work, state.global_step)
            self.tokens = self.resumed = 0 if self.setup.node.generates else _tokens_so_far(self.setup.work / METRICS)
            job, node = self.setup.job, self.setup.node
            steps, start = self.plan.steps, state.global_step
            self.metrics = Metrics(self.setup.work, list(node.track), job.name, job.settings, steps, self.setup.progress, start)

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **_: Any) -> None:
        """Write a line."""
        found = {k: v for k, v in (logs or {}).items() if isinstance(v, (int, float)) and not k.endswith(_TIMES)}
        if "loss" in found and not math.isfinite(found["loss"]):
            self._no_number(state.global_step)
        if not found or "train_loss" in found:  # the summary at the end
            return
        if "num_tokens" in found:
            found["num_tokens"] = int(found["num_tokens"]) + self.resumed  # trl begins at 0 again after a resume
        self.last |= found
        if self.metrics is None:
            return
        self.metrics.step(state.global_step - 1, found)
        if "loss" in found:
            now, total = time.monotonic(), int(found.get("num_tokens", 0))
            tokens, seconds = max(total - self.tokens, 0), now - self.before
            flops = self.flops * tokens / self.setup.world
            self.metrics.speed(state.global_step - 1, tokens, seconds, flops, self._peak() if flops else None, found["loss"])
            self.tokens, self.before = total, now

    @staticmethod
    def _peak() -> float | None:
        return peak_flops(torch.cuda.get_device_name()) if torch.cuda.is_available() else None

    def close(self) -> None:
        """End the files."""
        if self.metrics is not None:
            self.metrics.close()
            self.metrics = None

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> Any:
        """Ask the tasks, and for a checkpoint, when it is time. Every rank must ask at the same step, so rank 0's clock decides."""
        self._evaluate(state.global_step)
        minutes = self.setup.node.checkpoints.every_minutes
        due = minutes is not None and time.monotonic() - self.saved > 60 * minutes and state.global_step < self.plan.steps
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            box = [due]
            torch.distributed.broadcast_object_list(box, src=0)
            due = box[0]
        if due:
            self.saved = time.monotonic()
            control.should_save = True
        return control

    def _evaluate(self, done: int) -> None:
        """Ask the tasks where it is time. Every rank takes part in gathering weights; rank 0 asks, and the next step waits for it."""
        settings = self.setup.node.evaluate
        if settings is None or not settings.due(done, self.plan.steps):
            return
        weights = {k: whole(v) for k, v in self.trainer.accelerator.get_state_dict(self.trainer.model_wrapped).items()}
        if self.during is None or self.metrics is None:
            return
        model = self.trainer.accelerator.unwrap_model(self.trainer.model)
        found = as_metrics(self.during.ask(model.config, weights, lambda what: self.setup.progress(done / self.plan.steps, what)))
        self.metrics.step(done - 1, {"evaluation": found})

    def _no_number(self, step: int) -> None:
        names = ""
        if isinstance(self.order, Order) and "id" in self.rows.column_names:
            places = np.arange((step - 1) * self.plan.batch, step * self.plan.batch)
            numbers = places_to_rows(places, len(self.rows), self.order.seed).tolist()
            names = ", ".join(self.rows[n]["id"] or f"row {n}" for n in numbers[:20])
        raise RunError(
            f"the loss of step {step} is no number. Its rows: {names or 'unknown'}. Look at them, lower lr, or set clip; "
            "the same command goes on from the last checkpoint."
        )


def _tokens_so_far(metrics: Path) -> int:
    """Tokens up to the last line; 0 where there is none."""
    rows = [json.loads(line) for line in metrics.read_text("utf-8").splitlines()] if metrics.is_file() else []
    return max((int(row.get("num_tokens", 0)) for row in rows), default=0)


def _write(
    setup: Setup, trainer: Any, config: Any, record: Recorder, held_out: Mapping[str, float], plan: dict[str, int]
) -> dict[str, Any]:
    """The model's folder. Every rank takes part in gathering weights; rank 0 writes."""
    state: dict[str, Any] | None = {k: whole(v) for k, v in trainer.accelerator.get_state_dict(trainer.model_wrapped).items()}
    info: dict[str, Any] = {
        **plan,
        "tokens": int(record.last.get("num_tokens", 0)),
        "loss": record.last.get("loss"),
        **{k: v for k, v in held_out.items() if k.startswith("eval_") and "runtime" not in k and "per_second" not in k},
        **(last_figures(setup.work / METRICS) if setup.rank == 0 else {}),
        "doctor": setup.findings,
        "padding": bool(setup.node.padding or isinstance(setup.node.adapter, SoftPrompt)),
    }
    if setup.rank != 0:
        return info
    model, tokenizer = trainer.accelerator.unwrap_model(trainer.model), setup.tokenizer
    notes = {
        "kind": setup.job.kind,
        "identity": setup.job.identity(),
        "lineage": setup.job.lineage(),
        "settings": dict(setup.job.settings),
        "info": info,
        "versions": {"curate": __version__, **{name: installed(name).partition("+")[0] for name in ("torch", "transformers", "trl")}},
    }
    node = setup.node
    if node.adapter is not None:
        from peft import get_peft_model_state_dict

        state = {k: v.detach().cpu() for k, v in get_peft_model_state_dict(model, state_dict=state).items()}
        adapters.save_adapter(config, state, setup.out, setup.start)
        model = adapters.merged(load(setup), config, state, node.adapter) if node.adapter.merge else load(setup)
        if isinstance(node.adapter, SoftPrompt) and node.adapter.merge:
            adapters.tokenizer_with_soft_tokens(tokenizer, model.curate_soft_first, node.adapter.tokens)
        state = None
    dtype = _written_dtype(setup)
    if node.head == "reward":
        _save_classifier(model, setup.out, state, dtype)
    else:
        _end_at_stop(model, setup)
        save_model(model, setup.out, state=state, dtype=dtype)
    _save_tokenizer(setup, tokenizer)
    if (setup.work / METRICS).is_file():
        shutil.copyfile(setup.work / METRICS, setup.out / METRICS)
    (setup.out / NOTES).write_text(json.dumps(notes, sort_keys=True, indent=1, ensure_ascii=False) + "\n", "utf-8")
    return info


def _save_classifier(model: Any, out: Path, state: Mapping[str, torch.Tensor] | None, dtype: torch.dtype) -> None:
    """A reward model's folder: what save_model does, for a model that writes no text."""
    weights = {k: v.detach().to(dtype) for k, v in (state or model.state_dict()).items()}
    model.config.dtype = str(dtype).removeprefix("torch.")
    model.save_pretrained(str(out), state_dict=weights)


def _end_at_stop(model: Any, setup: Setup) -> None:
    """Let generation end at the token that ends an answer, which is not always the tokenizer's end of text."""
    given = model.generation_config.eos_token_id
    known = [] if given is None else [given] if isinstance(given, int) else list(given)
    model.generation_config.eos_token_id = [*known, *(i for i in sorted(setup.maker.stop_ids) if i not in known)]


def _written_dtype(setup: Setup) -> torch.dtype:
    """That of the starting model: a checkpoint in bf16 stays one, whatever the training computed in."""
    found = getattr(setup.config, "dtype", None)
    return found if isinstance(found, torch.dtype) else torch.float32


def _save_tokenizer(setup: Setup, tokenizer: Any) -> None:
    """Tokenizer files with the trained template. tokenizer.json stays the same bytes where no token was added: its sha256 names it."""
    tokenizer.save_pretrained(str(setup.out))
    given = Path(setup.tokenizer_folder) / "tokenizer.json"
    soft = isinstance(setup.node.adapter, SoftPrompt) and setup.node.adapter.merge
    if given.is_file() and not soft:
        shutil.copyfile(given, setup.out / "tokenizer.json")
