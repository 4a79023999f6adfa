"""What every kind of post-training does around its trainer.

rows      the data doctor's pass, once, by rank 0 alone, before any process group exists (others wait for a file)
model     loaded from the node's start, its attention set
trainer   made by the kind (`kinds.py`) from the parts here
train     from the last checkpoint of the same settings and data, if there is one
write     a folder that AutoModelForCausalLM loads, training.json, metrics.jsonl, data_doctor.json
"""

from __future__ import annotations

import json
import os
import shutil
import time
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from curate.errors import DataError, RecipeError, RunError
from curate.node import NodeInput, Progress
from formats.convert import SUFFIXES
from train.node import TrainJob
from train.posttraining.doctor import Doctor, prepare
from train.posttraining.findings import Findings
from train.posttraining.order import batching
from train.posttraining.rendering import NO_TEMPLATE, RowMaker
from train.posttraining.settings import PostTraining

if TYPE_CHECKING:
    import datasets

ROWS, HELD_OUT, READY, DOCTOR, NOTES = "rows.arrow", "held_out.arrow", "rows.json", "data_doctor.json", "training.json"
_WAIT = 0.2


def run(node: PostTraining, job: TrainJob, progress: Progress) -> dict[str, Any]:
    """Train, and write the model below job.out. Returns figures for the manifest."""
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    setup = Setup(node, job, progress)
    setup.make_rows()
    from train.posttraining.training import train_and_write

    return train_and_write(setup)


@dataclass(frozen=True)
class Plan:
    """batch: places of a step over all processes; micro: at a time in a process; times: how many of those make a step."""

    batch: int
    micro: int
    times: int
    steps: int


@dataclass
class Setup:
    """One run: its node, its job, and what follows from them before anything heavy is loaded."""

    node: PostTraining
    job: TrainJob
    progress: Progress

    def __post_init__(self) -> None:
        self.rank, self.world = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
        self.work, self.out = Path(self.job.work), Path(self.job.out)
        self.start = self.job.initial.folder or self.job.initial.hub or ""
        self.findings: dict[str, Any] = {}

    @cached_property
    def config(self) -> Any:
        """The starting model's configuration."""
        from transformers import AutoConfig

        name, _, revision = self.start.partition("@") if self.job.initial.hub else (self.start, "", "")
        return AutoConfig.from_pretrained(name, revision=revision or None, trust_remote_code=False)

    @cached_property
    def tokenizer_folder(self) -> str:
        """Folder with tokenizer.json, new tokens and all. Rank 0 writes it before the others ask."""
        folder = self.job.tokenizer
        if folder is not None and not self.node.new_tokens:
            return folder
        made = self.work / "tokenizer"
        if not (made / "tokenizer.json").is_file():
            tokenizer = self._load_tokenizer(folder)
            tokenizer.add_special_tokens({"additional_special_tokens": list(self.node.new_tokens)}, replace_extra_special_tokens=False)
            tokenizer.save_pretrained(str(made))
        return str(made)

    def _load_tokenizer(self, folder: str | None) -> Any:
        from transformers import AutoTokenizer

        try:
            return AutoTokenizer.from_pretrained(folder or self.start.partition("@")[0], trust_remote_code=False)
        except (OSError, ValueError) as error:
            raise DataError(f"the tokenizer of {folder or self.start} can't be loaded: {error}") from error

    @cached_property
    def maker(self) -> RowMaker:
        """Makes the rows; also knows the template and its stop token."""
        longest = getattr(self.config.get_text_config(), "max_position_embeddings", None)
        return RowMaker(self.node.rows, self.tokenizer_folder, self.node.rendering(longest))

    @cached_property
    def tokenizer(self) -> Any:
        """transformers' tokenizer with the template that was trained, and a pad token."""
        tokenizer = self._load_tokenizer(self.tokenizer_folder)
        if self.node.template != NO_TEMPLATE:
            tokenizer.chat_template = self.maker.chat.template.source
        if tokenizer.pad_token is None:
            tokenizer.pad_token = tokenizer.eos_token or next(iter(self.maker.chat.added), None)
        if tokenizer.pad_token is None:
            raise RecipeError("the tokenizer has no special token that could fill up batches. Add one: new_tokens: ['<|pad|>'].")
        return tokenizer

    def make_rows(self) -> None:
        """Look at the data and write its rows, once; refuse them where they are no good."""
        ready = self.work / READY
        identity = self.job.identity()
        if self.rank == 0:
            if not _made(ready, identity):
                ready.unlink(missing_ok=True)
                self._forget()
                self._examine(identity)
        else:
            while not _made(ready, identity):
                time.sleep(_WAIT)
        self.findings = json.loads(ready.read_bytes())["findings"]

    def _forget(self) -> None:
        """Remove what a run of other settings or data has left in the work folder."""
        for old in [*self.work.glob("checkpoint-*"), self.work / "tokenizer"]:
            shutil.rmtree(old, ignore_errors=True)
        for file in [*self.work.glob("*.arrow"), *self.work.glob("*.jsonl")]:
            file.unlink()

    def _examine(self, identity: str) -> None:
        settings = self.node.doctor
        about: dict[str, Any] = {}
        for name, target in self._sets():
            doctor = Doctor(self.node.rows, self.maker, settings.against)
            prepare(doctor, data_files(self.job.inputs[name]), self.work / target, self.progress)
            about[target.partition(".")[0]] = doctor.findings.as_json()
            self._judge(doctor.findings, name)
        (self.out / DOCTOR).write_text(json.dumps(about, indent=1, ensure_ascii=False) + "\n", "utf-8")
        _write(self.work / READY, {"identity": identity, "findings": about})

    def _sets(self) -> list[tuple[str, str]]:
        held_out = self.node.evaluation
        return [(self.node.data, ROWS), *([(held_out.data, HELD_OUT)] if held_out is not None else [])]

    def _judge(self, findings: Findings, name: str) -> None:
        if self.node.doctor.refuse:
            findings.check(self.node.doctor.allow, name)
        if not findings.trained:
            raise DataError("\n".join([f"{name}: no row is left to train on.", *findings.lines(self.node.doctor.allow)]))

    def dataset(self, held_out: bool = False) -> datasets.Dataset:
        """Rows that the doctor let pass, mapped into memory."""
        import datasets

        datasets.disable_progress_bars()
        return datasets.Dataset.from_file(str(self.work / (HELD_OUT if held_out else ROWS)))

    def plan(self, rows: int) -> Plan:
        """Sizes of batches and number of steps. Raises RecipeError where the numbers don't divide."""
        node, places = self.node, self.node.places(rows)
        try:
            batch, micro, times = batching(node.batch_size, node.micro_batch_size, places, self.data_processes, node.largest_micro)
        except ValueError as error:
            raise RecipeError(f"{node.kind.partition(':')[2]}: {error}.") from error
        return Plan(batch, micro, times, node.steps or max(1, -(-round(node.epochs * places) // batch)))

    @property
    def data_processes(self) -> int:
        """Processes that read rows of their own: those that share matrices read the same ones."""
        return self.world // self.node.parallel.tensor

    def wait_for(self, path: Path) -> None:
        """Wait until rank 0 has written a file."""
        while not path.is_file():
            time.sleep(_WAIT)

    def last_checkpoint(self) -> str | None:
        """Folder of the newest whole checkpoint of this run."""
        from transformers.trainer_utils import get_last_checkpoint

        for folder in self.work.glob("checkpoint-*"):
            if not (folder / "trainer_state.json").is_file():  # written last: a kill left half of it
                shutil.rmtree(folder, ignore_errors=True) if self.rank == 0 else None
        return get_last_checkpoint(str(self.work)) if any(self.work.glob("checkpoint-*")) else None


def data_files(data: NodeInput) -> list[str]:
    """Files of rows among the parts of an input."""
    found = [part for part in data.parts if part.endswith(SUFFIXES)]
    if not found:
        raise DataError(f"{data.name}: no file of rows in {data.folder}; expected files that end in {' '.join(SUFFIXES)}.")
    return found


def _made(ready: Path, identity: str) -> bool:
    try:
        return bool(json.loads(ready.read_bytes())["identity"] == identity)
    except (OSError, ValueError):
        return False


def _write(path: Path, content: dict[str, Any]) -> None:
    scratch = path.with_name(f".{path.name}.tmp")
    scratch.write_text(json.dumps(content, ensure_ascii=False), "utf-8")
    scratch.replace(path)


def out_of_memory(error: BaseException) -> RunError:
    """What to do when the device's memory is full."""
    return RunError(
        f"the device ran out of memory: {error}. Lower micro_batch_size (the batch stays as it is), shorten max_length, or set "
        "activation_checkpointing: true, weights: bf16, an adapter, or parallel: {mode: fsdp2} on several GPUs. The same command goes on from the last checkpoint."
    )
