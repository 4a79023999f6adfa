"""`train: average`: the mean of several models' weights (model soups, Wortsman et al. 2022; Llama 3, 2024, section 4.1.5, at each of its stages)."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import Field, field_validator, model_validator

from curate.errors import DataError, RecipeError
from curate.node import Node, NodeInput, NodeResult, Progress
from curate.step import Asset, Context
from train.node import folder_digest, model_files
from train.spec import kind_of_init

Name = Annotated[str, Field(min_length=1)]
NOTES = "training.json"
_NOT_OF_A_MODEL = (NOTES, "data_doctor.json", "_dataset.json", "model.safetensors.index.json")


class Average(Node):
    """A model whose weights are the (weighted) mean of others' of one architecture. The first one lends configuration and tokenizer.

    Sums are in float64, so the order of models does not matter to the last bit of what is written; weights are read tensor by
    tensor, so memory holds one tensor of each model, and the result.
    """

    kind: ClassVar[str] = "train:average"
    packages: ClassVar[tuple[str, ...]] = ("torch", "transformers")
    extra: ClassVar[str] = "train"
    summary: ClassVar[str] = "the mean of the weights of several models"
    is_model: ClassVar[bool] = True

    models: list[Name] = Field(
        min_length=2, max_length=1000, description="models of the recipe, or folders", json_schema_extra={"path": "optional"}
    )
    weights: list[float] | None = Field(default=None, description="share of each; they are divided by their sum. null: all the same")

    @field_validator("models", mode="after")
    @classmethod
    def _known(cls, models: list[str]) -> list[str]:
        hub = [m for m in models if kind_of_init(m) == "hub"]
        if hub:
            raise ValueError(f"takes models of the recipe and folders; {hub[0]!r} is a name on the hub: download it first")
        return models

    @model_validator(mode="after")
    def _as_many(self) -> Average:
        if self.weights is not None and (len(self.weights) != len(self.models) or min(self.weights) < 0 or not sum(self.weights)):
            raise ValueError(f"weights must be {len(self.models)} numbers from 0 on, not all of them 0")
        return self

    def inputs(self) -> tuple[str, ...]:
        """The models that are nodes."""
        return tuple(dict.fromkeys(m for m in self.models if kind_of_init(m) == "node"))

    def assets(self) -> tuple[Asset, ...]:
        """Files of models in folders."""
        return tuple(Asset(str(f), "model") for m in self.models if kind_of_init(m) == "folder" for f in model_files(Path(m)))

    def job(self, *_: Any) -> None:
        """Say that `curate train` has nothing to do here."""
        raise RecipeError("train: average makes no training run; put it into the models of a recipe and use `curate run`.")

    def run(self, inputs: Mapping[str, NodeInput], out: Path, ctx: Context, progress: Progress) -> NodeResult:
        """Write the mean. Raises DataError where two models differ in more than the values of their weights."""
        folders = [Path(inputs[m].folder if m in inputs else m) for m in self.models]
        given = self.weights or [1.0] * len(folders)
        shares = [w / sum(given) for w in given]
        tensors = average(folders, shares, out, progress)
        lineage = [{"model": f.name, "share": s, "digest": folder_digest(f)} for f, s in zip(folders, shares, strict=True)]
        info = {"models": len(folders), "tensors": tensors}
        notes = {"kind": self.kind, "identity": "", "lineage": {"init": lineage}, "info": info}
        (out / NOTES).write_text(json.dumps(notes, sort_keys=True, indent=1) + "\n", "utf-8")
        return NodeResult(info=info)


def average(folders: list[Path], shares: list[float], out: Path, progress: Progress) -> int:
    """Write the weighted mean of the weights in `folders` to `out`. Returns the number of tensors."""
    from safetensors import safe_open
    from safetensors.torch import save_file

    places = [_places(folder) for folder in folders]
    for folder, found in zip(folders[1:], places[1:], strict=True):
        if found.keys() != places[0].keys():
            one = sorted(found.keys() ^ places[0].keys())[0]
            raise DataError(f"average: {folder} and {folders[0]} are not of one architecture: only one of them has the weight {one!r}.")
    files: dict[Path, Any] = {}

    def tensor(at: int, name: str) -> Any:
        file = places[at][name]
        if file not in files:
            files[file] = safe_open(str(file), framework="pt")
        return files[file].get_tensor(name)

    by_file: dict[str, dict[str, Any]] = {}
    for number, (name, file) in enumerate(sorted(places[0].items())):
        first = tensor(0, name)
        total = first.double() * shares[0]
        for at in range(1, len(folders)):
            other = tensor(at, name)
            if other.shape != first.shape:
                raise DataError(
                    f"average: {name} has the shape {tuple(other.shape)} in {folders[at]}, {tuple(first.shape)} in {folders[0]}."
                )
            total += other.double() * shares[at]
        by_file.setdefault(file.name, {})[name] = total.to(first.dtype) if first.is_floating_point() else first
        progress(number / len(places[0]), f"averaging {name}")
    for file_name, content in by_file.items():
        save_file(content, out / file_name, {"format": "pt"})
    index = folders[0] / "model.safetensors.index.json"  # of several files, which have the same names here
    if index.is_file():
        shutil.copyfile(index, out / index.name)
    for file in folders[0].iterdir():
        if file.is_file() and file.suffix in (".json", ".jinja") and file.name not in _NOT_OF_A_MODEL:
            shutil.copyfile(file, out / file.name)
    return len(places[0])


def _places(folder: Path) -> dict[str, Path]:
    """{weight: its file} of a model's folder."""
    from safetensors import safe_open

    files = sorted(folder.glob("*.safetensors"))
    if not files or not (folder / "config.json").is_file():
        raise DataError(f"average: {folder} is no model: it has no config.json with safetensors beside it.")
    found: dict[str, Path] = {}
    for file in files:
        with safe_open(str(file), framework="pt") as opened:
            found |= dict.fromkeys(opened.keys(), file)
    return found
