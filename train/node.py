"""What every trained model is: a node of a recipe with a checkpoint folder, a receipt, and lineage to the exact data.

    models:
      base: {train: pretrain, model: {preset: llama-160m}, data: pretrain_mix}
      chat: {train: sft, init: base, data: chat_rows}

A kind is a subclass of ModelNode with `kind`, its settings, and `train(job, progress)`, which imports torch. The engine calls
`run`; `curate train FILE` calls it too, so both do the same.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import Field, model_validator

from curate.errors import DataError, RecipeError
from curate.node import Node, NodeInput, NodeResult, Progress
from curate.step import Asset, Context
from curate.tokens.vocabulary import FILE as TOKENIZER
from train.sinks import check_sinks
from train.spec import HUB, Initial, ModelSpec, kind_of_init

MIX = "mix.json"
Name = Annotated[str, Field(min_length=1)]


@dataclass(frozen=True)
class TrainJob:
    """All that a runner gets: settings, finished inputs, where to write. Plain JSON, so that it crosses process borders."""

    kind: str  # of the node: "train:pretrain"
    name: str  # for people
    seed: int
    settings: Mapping[str, Any]  # of the node, as JSON
    data: NodeInput
    inputs: Mapping[str, NodeInput]  # all of them, `data` too
    initial: Initial
    tokenizer: str | None  # folder with tokenizer.json
    out: str  # the model's files go here; only rank 0 writes
    work: str  # checkpoints: survives an interruption, gone when the node is done
    notes: Mapping[str, Any] = field(default_factory=dict)

    def lineage(self) -> dict[str, Any]:
        """What the model was made of: digests of its data, of the mix, of the model it started from."""
        start: dict[str, Any] = {"preset": self.initial.spec.model_dump(exclude_none=True)} if self.initial.spec else {}
        if self.initial.folder:
            start = {"folder": Path(self.initial.folder).name, "digest": folder_digest(Path(self.initial.folder))}
        elif self.initial.hub:
            start = {"hub": self.initial.hub}
        mix = Path(self.data.folder) / MIX
        return {
            "data": {"name": self.data.name, "digest": self.data.digest, "rows": self.data.rows, "tokens": self.data.tokens},
            **({"mix_sha256": sha256(mix.read_bytes()).hexdigest()} if mix.is_file() else {}),
            "init": start,
            "seed": self.seed,
        }

    def identity(self) -> str:
        """Digest of everything that decides the result: a checkpoint of another identity is not gone on with."""
        content = {"kind": self.kind, "settings": dict(self.settings), **self.lineage()}
        content["settings"] = {k: v for k, v in content["settings"].items() if k not in ("data", "init", "tokenizer")}
        return sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    def to_json(self) -> str:
        """The job as text."""
        spec = self.initial.spec.model_dump() if self.initial.spec else None
        return json.dumps({**asdict(self), "settings": dict(self.settings), "initial": {**asdict(self.initial), "spec": spec}})

    @classmethod
    def from_json(cls, text: str) -> TrainJob:
        """A job from its text."""
        got = json.loads(text)
        spec = got["initial"].pop("spec")
        initial = Initial(ModelSpec(**spec) if spec else None, **got.pop("initial"))
        inputs = {name: _input(entry) for name, entry in got.pop("inputs").items()}
        return cls(**{**got, "data": _input(got["data"]), "inputs": inputs, "initial": initial})


def _input(entry: dict[str, Any]) -> NodeInput:
    return NodeInput(**{**entry, "parts": tuple(entry["parts"])})


def folder_digest(folder: Path) -> str:
    """sha256 over names and content of a model's weights, configuration and tokenizer."""
    from curate.fingerprint import file_digest

    content = sha256()
    for file in model_files(folder):
        content.update(f"{file.name}\0{file_digest(str(file))}\n".encode())
    return content.hexdigest()


def model_files(folder: Path) -> list[Path]:
    """The files of a model folder that decide what it computes."""
    wanted = {"config.json", TOKENIZER, "tokenizer_config.json", "adapter_config.json", "chat_template.jinja"}
    return (
        sorted(f for f in folder.iterdir() if f.is_file() and (f.suffix == ".safetensors" or f.name in wanted)) if folder.is_dir() else []
    )


class ModelNode(Node):
    """Base of the kinds of training."""

    is_model: ClassVar[bool] = True
    packages: ClassVar[tuple[str, ...]] = ("torch", "transformers")
    extra: ClassVar[str] = "train"
    fresh: ClassVar[bool] = False  # may start from a preset

    model: ModelSpec | None = Field(default=None, description="shape of a new model, such as {preset: llama-160m}")
    init: str | None = Field(
        default=None,
        min_length=1,
        description="model to start from: a model of the recipe, a folder, or a name on the Hugging Face hub (org/name, hub:name)",
        json_schema_extra={"path": "optional"},
    )
    data: str = Field(min_length=1, description="what it learns from: a mix or a dataset of the recipe")
    tokenizer: str | None = Field(
        default=None,
        min_length=1,
        description="tokenizer of the recipe, or a folder with tokenizer.json; else the one that the data or `init` was made with",
        json_schema_extra={"path": "optional"},
    )

    @model_validator(mode="after")
    def _one_start(self) -> ModelNode:
        if self.fresh and (self.model is None) == (self.init is None):
            raise ValueError("a model starts from exactly one of 'model' (a new shape) and 'init' (a trained model)")
        if not self.fresh and (self.init is None or self.model is not None):
            raise ValueError("this kind of training needs 'init', a trained model, and no 'model'")
        return self

    def inputs(self) -> tuple[str, ...]:
        """The data, the model it starts from, and what a kind adds."""
        found = [self.data]
        found += [self.init] if self.init is not None and kind_of_init(self.init) == "node" else []
        found += [self.tokenizer] if self.tokenizer is not None and kind_of_init(self.tokenizer) == "node" else []
        return tuple(dict.fromkeys([*found, *self.more_inputs()]))

    def more_inputs(self) -> tuple[str, ...]:
        """Names of further nodes that a kind reads: validation sets, reward models."""
        return ()

    def assets(self) -> tuple[Asset, ...]:
        """Files of local folders that it starts from."""
        folders = [v for v in (self.init, self.tokenizer) if v is not None and kind_of_init(v) == "folder"]
        return tuple(Asset(str(file), "model") for folder in folders for file in model_files(Path(folder)))

    def check_packages(self, needed_by: str) -> None:
        """Those of the kind, and of the sinks that its metrics go to."""
        super().check_packages(needed_by)
        check_sinks(getattr(self, "track", []))

    def train(self, job: TrainJob, progress: Progress) -> dict[str, Any]:
        """Train, and write the model below job.out (rank 0). Returns figures for the manifest: JSON, the same for the same inputs."""
        raise NotImplementedError

    def run(self, inputs: Mapping[str, NodeInput], out: Path, ctx: Context, progress: Progress) -> NodeResult:
        """Train in as many processes as there are GPUs ($CURATE_TRAIN_PROCESSES says otherwise). See Node.run."""
        from train.launch import run_job

        work = out.parent / f"{out.name.partition('.')[0]}.work"
        job = self.job(inputs, out, work, ctx.seed, name=out.parent.parent.name.rpartition("-")[0] or self.kind)
        info = run_job(job, None, progress)
        return NodeResult(rows_out=0, tokens=int(info.get("tokens", 0)), info=info)

    def job(self, inputs: Mapping[str, NodeInput], out: Path, work: Path, seed: int, name: str) -> TrainJob:
        """What the runner gets. Raises DataError where an input is not what it should be."""
        initial = Initial(spec=self.model) if self.model is not None else self._initial(inputs)
        settings = self.model_dump(mode="json")
        tokenizer = self._tokenizer(inputs, initial)
        work.mkdir(parents=True, exist_ok=True)
        return TrainJob(self.kind, name, seed, settings, inputs[self.data], dict(inputs), initial, tokenizer, str(out), str(work))

    def _initial(self, inputs: Mapping[str, NodeInput]) -> Initial:
        assert self.init is not None
        kind = kind_of_init(self.init)
        if kind == "hub":
            return Initial(hub=self.init.removeprefix(HUB))
        folder = inputs[self.init].folder if kind == "node" else os.path.expanduser(self.init)
        if not (Path(folder) / "config.json").is_file():
            raise DataError(f"init {self.init!r} is no model: {folder} has no config.json.")
        return Initial(folder=folder)

    def _tokenizer(self, inputs: Mapping[str, NodeInput], initial: Initial) -> str | None:
        """Folder of the tokenizer: the one that is named, the starting model's, or the one of the run that the data was made with."""
        if self.tokenizer is not None:
            folder = inputs[self.tokenizer].folder if self.tokenizer in inputs else os.path.expanduser(self.tokenizer)
            folder = os.path.dirname(folder) if os.path.isfile(folder) else folder
            if not (Path(folder) / TOKENIZER).is_file():
                raise RecipeError(f"tokenizer {self.tokenizer!r}: {folder} has no {TOKENIZER}.")
            return folder
        if initial.folder and (Path(initial.folder) / TOKENIZER).is_file():
            return initial.folder
        return tokenizer_of(Path(inputs[self.data].folder))


def tokenizer_of(data: Path) -> str | None:
    """Folder of the tokenizer that a mix was tokenized with, where it lies in the same run: known by its sha256."""
    mix = data / MIX
    if not mix.is_file():
        return None
    wanted = json.loads(mix.read_bytes())["tokenizer"].get("curate.tokenizer_sha256")
    for above in (data.parent, data.parent.parent):
        for file in sorted(above.glob(f"*/{TOKENIZER}")):
            if sha256(file.read_bytes()).hexdigest() == wanted:
                return str(file.parent)
    return None
