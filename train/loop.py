"""The pretraining loop: windows of a mix in, a folder that AutoModelForCausalLM loads out.

    1. A step's windows are a function of the settings (`StepPlan`); rank r of w takes the r-th part of them.
    2. Every micro-batch gives the sum of losses over 1 / (real tokens of the whole step, over all ranks), so that neither
       micro-batches nor ranks nor documents of other lengths change what a token weighs.
    3. The norm of the gradient is looked at before the update: a step that is no number is left out and its documents are named.
    4. Loss by source, bucket and language comes from sums over documents, which the device makes in one pass.

Arithmetic in bf16 is autocast over float32 weights, with the residual stream in bf16; float32 elsewhere. On a CPU the loop is exact:
killed and gone on with, it gives the same bits.
"""

from __future__ import annotations

import math
import os
import shutil
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from curate import __version__
from curate.errors import DataError, Interrupted
from curate.node import Progress
from train import spikes
from train.attention import guard_packed, packed_inputs, use_attention
from train.attribution import Tagger, add_sums, as_means, sums_by_label
from train.batches import Rows, Source, Step, Steps, micro_batches
from train.checkpoint import Checkpoints
from train.choices import choose
from train.cost import attention_flops
from train.evaluation.during import During, as_metrics, last_figures
from train.isolation import prove
from train.launch import stop_requests
from train.loss import PackedLoss, document_sums
from train.metrics import METRICS, Metrics, peak_flops
from train.models import init_model, save_model
from train.node import TrainJob
from train.optimizers import make_optimizers, rate, set_rate
from train.parallel import World, accumulating, spread, whole, world
from train.pretrain import Pretrain
from train.validation import open_data, validate


def pretrain(node: Pretrain, job: TrainJob, progress: Progress) -> dict[str, Any]:
    """Train, and write the model to job.out. Returns figures for the manifest, on every rank."""
    if node.deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True)
    with world() as where:
        return Run(node, job, where, progress).all()


class Run:
    """One run of one rank."""

    def __init__(self, node: Pretrain, job: TrainJob, where: World, progress: Progress) -> None:
        self.node, self.job, self.where, self.progress = node, job, where, progress
        self.work, self.out = Path(job.work), Path(job.out)
        self.mix = open_data(job.data)
        self.choices = choose(node, self.mix, where.device.type)
        self.source = Source(
            self.mix.again(),
            Tagger(self.mix.again(), node.loss_by, node.buckets),
            isolate=node.isolate,
            excluded=spikes.read_excluded(node.exclude),
        )
        plan = self.choices.plan
        for step in {0, plan.steps // 2, plan.steps - 1}:
            self.source.reserve(micro_batches(*plan.place(step), where.rank, where.size, self.choices.micro)[:4])
        self.notes: dict[str, Any] = {}
        self.during: During | None = None
        if node.evaluate is not None:
            known = job.tokenizer or job.initial.folder or job.initial.hub
            self.during = During(node.evaluate, known, self.written)

    def all(self) -> dict[str, Any]:
        """Everything from the first weight to the last file."""
        model = self._model()
        if self.node.isolate and self.node.prove_isolation:
            self.notes["isolation"] = self._prove(model)
        module = self._module(model)
        sharded = self.node.parallel == "fsdp2" and self.where.size > 1
        optimizers = make_optimizers(module, self.node.optimizer, model.config.hidden_size, sharded)
        checkpoints = Checkpoints(self.work, self.job.identity(), self.node.checkpoints.keep, self.where)
        state = checkpoints.load(model, optimizers)
        loop = Loop(self, model, module, optimizers, checkpoints)
        info = loop.train(state)
        checkpoints.wait()
        self._save(model, info)
        self.where.wait()
        return info

    @property
    def written(self) -> torch.dtype:
        """Type of the numbers of the model's folder."""
        return torch.bfloat16 if self.choices.bf16 else torch.float32

    def autocast(self) -> AbstractContextManager[None]:
        """Around forward passes."""
        found: AbstractContextManager[None] = torch.autocast(self.where.device.type, torch.bfloat16) if self.choices.bf16 else nullcontext()
        return found

    def _model(self) -> PreTrainedModel:
        about = self.mix.tokenizer
        ids = {name: int(about[f"curate.{name}_id"]) if about.get(f"curate.{name}_id") else None for name in ("bos", "eos")}
        vocabulary = int(about["curate.vocab_size"])
        model = init_model(self.job.initial, vocab_size=vocabulary, context=self.mix.seq_len, seed=self.job.seed, **ids)
        use_attention(model, self.choices.attention)
        if self.node.activation_checkpointing:
            enable = getattr(model, "activation_checkpointing_enable", None) or model.gradient_checkpointing_enable  # its name before 5.20
            enable({"use_reentrant": False})
        guard_packed(model.base_model)
        if self.choices.bf16:
            model.get_input_embeddings().register_forward_hook(_residual_in_bf16)
        return model.to(self.where.device).train()

    def _module(self, model: PreTrainedModel) -> nn.Module:
        layers = list(model.base_model.layers)
        if self.choices.compiled:
            for layer in layers:  # not the whole model: its masks and caches make for graphs that compile anew
                layer.compile(dynamic=False)
            model.base_model.norm.compile(dynamic=False)
        module = PackedLoss(model, self.node.z_loss, self.choices.compiled)
        return spread(module, self.where, self.node.parallel, self.choices.bf16, layers)

    def _prove(self, model: PreTrainedModel) -> dict[str, float]:
        first = micro_batches(*self.choices.plan.place(0), self.where.rank, self.where.size, self.choices.micro)[0]
        rows = self.source.rows(range(first.start, min(first.stop, first.start + 4)))
        inputs, _, _ = self.to_device(rows)
        with self.autocast():
            found = prove(model, inputs, torch.from_numpy(rows.ends).to(self.where.device))
        return {name: float(f"{value:.3g}") for name, value in found.items()}

    def to_device(self, rows: Rows) -> tuple[dict[str, Any], Tensor, Tensor]:
        """(forward's keyword arguments, labels i64[N], borders of documents i64[p + 1])"""
        tokens, positions, labels, ends, pieces = (
            _sent(a, self.where.device) for a in (rows.tokens, rows.positions, rows.labels, rows.ends, rows.pieces)
        )
        if self.node.isolate or self.choices.attention == "varlen":
            inputs = packed_inputs(self.choices.attention, tokens.long(), positions.long(), ends, self.mix.seq_len)
        else:
            inputs = {"input_ids": tokens.long(), "position_ids": positions.long(), "use_cache": False}
        return inputs, labels.reshape(-1).long(), pieces.long()

    def _save(self, model: PreTrainedModel, info: dict[str, Any]) -> None:
        state = {name: whole(p.detach()).to("cpu") if self.where.first else whole(p.detach()) for name, p in model.named_parameters()}
        if not self.where.first:
            return
        notes = {
            "kind": self.job.kind,
            "identity": self.job.identity(),
            "lineage": self.job.lineage(),
            "settings": dict(self.job.settings),
            "info": info,
            "versions": {"curate": __version__, "torch": torch.__version__.partition("+")[0]},
        }
        save_model(model, self.out, tokenizer=self.job.tokenizer, notes=notes, state=state, dtype=self.written)
        for name in (METRICS, spikes.REPORT, spikes.EXCLUDE):
            if (self.work / name).exists():
                shutil.copyfile(self.work / name, self.out / name)


class Loop:
    """Steps, from where a checkpoint stands to the end."""

    def __init__(
        self, run: Run, model: PreTrainedModel, module: nn.Module, optimizers: list[torch.optim.Optimizer], checkpoints: Checkpoints
    ) -> None:
        self.run, self.model, self.module, self.optimizers, self.checkpoints = run, model, module, optimizers, checkpoints
        self.node, self.where, self.plan = run.node, run.where, run.choices.plan
        self.labels: list[str] = []  # the same on all ranks, in the same order
        self.tokens = 0
        self.watch = spikes.Watch(self.node.spikes.above, self.node.spikes.window)
        self.trace = run.mix.again()
        config = model.config
        rows = model.get_input_embeddings().weight.numel()
        self.parameters = sum(p.numel() for p in model.parameters())
        self.matmul: int = self.parameters - (0 if config.tie_word_embeddings else rows)
        self.heads = (
            config.num_hidden_layers,
            config.num_attention_heads,
            getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads,
        )

    def train(self, state: dict[str, Any] | None) -> dict[str, Any]:
        """Do all steps that are left. Returns figures for the manifest. Ctrl-C and SIGTERM end it behind a saved step."""
        with stop_requests() as self.asked_to_stop:
            return self._train(state)

    def _train(self, state: dict[str, Any] | None) -> dict[str, Any]:
        start = 0
        last: dict[str, Any] = {"loss": math.nan}
        if state is not None:
            start, self.tokens, last = state["step"], state["tokens"], state["last"]
            self.watch = spikes.Watch(self.node.spikes.above, self.node.spikes.window, state["history"], state["bad"])
        metrics = self._metrics(start)
        peak = peak_flops(torch.cuda.get_device_name()) if self.where.device.type == "cuda" else None
        saved = time.monotonic()
        steps = Steps(self.run.source, self.plan, rank=self.where.rank, world=self.where.size, micro=self.run.choices.micro, start=start)
        try:
            for step in steps:
                began = time.monotonic()
                last = self._step(step, steps.read_on)
                now = time.monotonic()
                if metrics is not None:
                    metrics.step(step.number, last)
                    metrics.speed(step.number, last["tokens"], now - began, self._flops(step), peak, last["loss"])
                self._validate(step.number, metrics)
                self._evaluate(step.number, metrics)
                done = step.number + 1
                due, stopped = self._time_to_save(done, now - saved)
                if done < self.plan.steps and due:
                    self._save(done, last)
                    saved = time.monotonic()
                if done < self.plan.steps and stopped:
                    self.checkpoints.wait()
                    raise Interrupted(f"interrupted after step {done:,}, which is saved; run the same command to go on")
        finally:
            if metrics is not None:
                metrics.close()
        self.where.wait()
        return self._info(last)

    def _metrics(self, start: int) -> Metrics | None:
        if not self.where.first:
            return None
        Metrics.cut(self.run.work, start)
        job = self.run.job
        return Metrics(self.run.work, list(self.node.track), job.name, job.settings, self.plan.steps, self.run.progress, start)

    def _step(self, step: Step, waiting: Callable[[], None]) -> dict[str, Any]:
        """Forward, backward, update. Returns what metrics.jsonl holds. waiting: called before the host waits for the GPU."""
        self._agree_on_labels()
        real = int(self.where.sums([sum(rows.real for rows in step.parts)])[0])
        scale = torch.tensor(self.where.size / max(1, real), device=self.where.device)
        held = []
        for number, rows in enumerate(step.parts):
            last = number + 1 == len(step.parts)
            inputs, labels, pieces = self.run.to_device(rows)
            with accumulating(self.module, last):
                with self.run.autocast():
                    loss, losses = self.module(inputs, labels, scale)
                loss.backward()
            held.append((rows, document_sums(losses, pieces)))
        waiting()
        norm = self._norm()
        sums = [(rows, found.cpu().numpy()) for rows, found in held]
        by = self._by_label(sums)
        total = by.pop("", [0.0, 0.0])
        loss_value = total[0] / max(1.0, total[1]) if real else 0.0
        lr = set_rate(self.optimizers, rate(self.node.schedule, step.number, self.plan.steps))
        verdict = self.watch.judge(loss_value, norm)
        skip = verdict == "nan" or (verdict == "spike" and self.node.spikes.action == "skip") or not real
        if not skip:
            for optimizer in self.optimizers:
                optimizer.step()
        for optimizer in self.optimizers:
            optimizer.zero_grad(set_to_none=True)
        self.tokens += real
        if verdict is not None:
            self._report(verdict, step, loss_value, sums, skip)
        return {
            "loss": loss_value,
            "norm": norm,
            "lr": lr,
            "tokens": real,
            "seen": self.tokens,
            "by": as_means(by),
            **({"skipped": verdict} if skip else {}),
        }

    def _norm(self) -> float:
        """Clip the gradient; its norm over all parameters and ranks."""
        largest = self.node.clip if self.node.clip is not None else math.inf
        found = torch.nn.utils.clip_grad_norm_(self.model.parameters(), largest)
        return float(whole(found))

    def _agree_on_labels(self) -> None:
        """Bring all ranks to one list of labels, when any has met a new one."""
        known = set(self.labels)
        fresh = [label for label in list(self.run.source.tagger.labels) if label not in known]
        if self.where.sums([len(fresh)])[0]:
            found = {label for labels in self.where.gather(fresh) for label in labels}
            self.labels += sorted(found - known)

    def _by_label(self, sums: list[tuple[Rows, np.ndarray]]) -> dict[str, list[float]]:
        """{label: [loss, tokens]} over all ranks; the whole step under ''."""
        found: dict[str, list[float]] = {"": [0.0, 0.0]}
        names = self.run.source.tagger.labels
        for rows, losses in sums:
            add_sums(found, {**sums_by_label(rows.tags, losses, rows.learnt, names), "": [float(losses.sum()), float(rows.real)]})
        order = ["", *self.labels]
        flat = self.where.sums([x for label in order for x in found.get(label, (0.0, 0.0))])
        return {label: flat[2 * i : 2 * i + 2] for i, label in enumerate(order) if flat[2 * i + 1]}

    def _report(self, verdict: str, step: Step, loss: float, sums: list[tuple[Rows, np.ndarray]], skipped: bool) -> None:
        """Name the documents of a bad step; stop where there were too many in a row."""
        most = self.node.spikes.documents
        mine = [d for rows, losses in sums for d in spikes.worst_documents(self.trace, rows, losses, most)]
        documents = spikes.ranked([d for found in self.where.gather(mine) for d in found], most)
        if self.where.first:
            bound = self.watch.bound() if self.watch.history else None
            spikes.report(self.run.work, verdict, step.number, loss, bound, documents, skipped)
        if self.watch.bad > self.node.spikes.max_bad:
            names = ", ".join(f"{d['id']} ({d['dataset']})" for d in documents[:3])
            raise DataError(
                f"The loss or its gradient was no number in {self.watch.bad} steps in a row, up to step {step.number}. Documents with the "
                f"highest loss: {names}. All of them: {self.run.work / spikes.REPORT}; give {spikes.EXCLUDE} as `exclude`, or lower optimizer.lr."
            )

    def _validate(self, step: int, metrics: Metrics | None) -> None:
        settings = self.node.validation
        if settings is None or not (step + 1 == self.plan.steps or (settings.every_steps and (step + 1) % settings.every_steps == 0)):
            return
        found = {name: validate(self.run, self.module, name, settings.windows) for name in settings.data}
        if metrics is not None:
            metrics.step(step, {"validation": found})

    def _evaluate(self, step: int, metrics: Metrics | None) -> None:
        """Ask the tasks where it is time. The ranks share them out; each gathers all weights, since parts of them may lie anywhere."""
        settings, during = self.node.evaluate, self.run.during
        if settings is None or during is None or not settings.due(step + 1, self.plan.steps):
            return
        weights = {name: whole(p.detach()) for name, p in self.model.named_parameters()}
        share = (step + 1) / self.plan.steps
        say = (lambda what: self.run.progress(share, what)) if self.where.first else (lambda what: None)
        mine = as_metrics(during.ask(self.model.config, weights, say, self.where.rank, self.where.size))
        found = {task: figures for of_rank in self.where.gather(mine) for task, figures in of_rank.items()}
        if metrics is not None:
            metrics.step(step, {"evaluation": {task: found[task] for task in sorted(found)}})

    def _flops(self, step: Step) -> float:
        """Of this rank in a step: 6 * matmul parameters a token, and attention over the documents' real lengths."""
        tokens = sum(rows.tokens.size for rows in step.parts)
        total: float = 6.0 * self.matmul * tokens + attention_flops(*self.heads, sum(rows.squares() for rows in step.parts))
        return total

    def _time_to_save(self, done: int, seconds: float) -> tuple[bool, bool]:
        """(save now, and stop then), the same on all ranks."""
        when = self.node.checkpoints
        late = when.every_minutes is not None and seconds > 60 * when.every_minutes
        due = when.every_steps is not None and done % when.every_steps == 0
        stop = self.asked_to_stop.is_set()
        if self.where.size > 1:
            late, stop = (bool(n) for n in self.where.sums([float(late and self.where.first), float(stop)]))
        return due or late or stop, stop

    def _save(self, done: int, last: dict[str, Any]) -> None:
        state = {
            "tokens": self.tokens,
            "window": self.plan.place(done)[0],
            "history": list(self.watch.history),
            "bad": self.watch.bad,
            "last": last,
        }
        self.checkpoints.save(done, self.model, self.optimizers, state)

    def _info(self, last: dict[str, Any]) -> dict[str, Any]:
        choices = self.run.choices
        return {
            "steps": self.plan.steps,
            "tokens": self.tokens,
            "windows": self.plan.used,
            "windows_left": len(self.run.mix) - self.plan.used,
            "batch_windows": self.plan.batch,
            "parameters": self.parameters,
            "loss": last["loss"],
            "by": last.get("by", {}),
            "precision": "bf16" if choices.bf16 else "fp32",
            "attention": choices.attention,
            **(last_figures(self.run.work / METRICS) if self.where.first else {}),
            **self.run.notes,
        }


def _sent(array: np.ndarray, device: torch.device) -> Tensor:
    """An array on the device; on a GPU from pinned memory, so that the host does not wait."""
    tensor = torch.from_numpy(array)
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor


def _residual_in_bf16(module: nn.Module, args: tuple[Any, ...], out: Tensor) -> Tensor:
    """Autocast leaves the embedding in float32, and with it the whole residual stream."""
    return out.to(torch.get_autocast_dtype(out.device.type)) if torch.is_autocast_enabled(out.device.type) else out
