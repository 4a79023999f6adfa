"""The file of an ablation.

name: does_dedup_pay
recipe: corpus.yaml          # run once for each variant, with its overrides
mix: order                   # the mix of the recipe that is learnt from
variants:
  raw: {set: ["datasets.web.steps=[]"]}
  filtered: {set: ["datasets.web.steps=[{preset: fineweb}]"]}
  deduplicated: {}           # the recipe as it is
  last_year: {data: runs/last_year/order}    # a finished mix
model: {preset: llama-10m}
tokens: 200M
seeds: 3
train: {batch_tokens: 65536, optimizer: {lr: 0.003}}     # settings of `train: pretrain`
evaluate: ["held_out/*.jsonl.gz"]                         # texts; domains by their field `source` or `domain`, or by file
same_unique_tokens: true     # larger variants are cut down at random to the tokens of the smallest: as many epochs for all
compare: [[deduplicated, filtered], [filtered, raw]]      # where it is not given: the last variant with each other one
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from curate.errors import RecipeError
from curate.mix_schedule import TokenCount
from curate.registry import nearest
from train.spec import ModelSpec

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]*$", max_length=80)]
DECIDED_BY_FILE = frozenset({"data", "init", "model", "tokens", "validation", "exclude", "tokenizer"})


class _Settings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)


class Variant(_Settings):
    """One arm: the recipe with overrides, or a finished mix."""

    set: tuple[str, ...] = Field(default=(), description="overrides of the recipe, as `curate run --set` takes them")
    data: str | None = Field(default=None, min_length=1, description="a finished mix in place of the recipe: a folder, or RUN/NAME")

    @model_validator(mode="after")
    def _one(self) -> Variant:
        if self.data is not None and self.set:
            raise ValueError("a variant has `set` (changes of the recipe) or `data` (a finished mix), not both")
        return self


class Ablation(_Settings):
    """All settings of an ablation."""

    name: Name | None = Field(default=None, description="of the results' folder; the file's name")
    recipe: str | None = Field(default=None, min_length=1, description="recipe that makes the variants' data")
    mix: Name | None = Field(default=None, description="the mix of the recipe that models learn from")
    variants: dict[Name, Variant] = Field(min_length=2, max_length=50, description="arms by name")
    model: ModelSpec = Field(description="shape of the models, such as {preset: llama-10m}")
    tokens: TokenCount = Field(ge=1, le=1 << 50, description="tokens that every model learns from")
    seeds: int | list[Annotated[int, Field(ge=0, lt=1 << 32)]] = Field(
        default=3, description="how many models of each variant, or their seeds; a seed decides first weights and order"
    )
    same_unique_tokens: bool = Field(
        default=False,
        description="leave random windows of larger variants out, until all have as many different tokens: then all repeat them equally often",
    )
    train: dict[str, Any] = Field(default_factory=dict, description="settings of `train: pretrain`, the same for all")
    evaluate: list[Annotated[str, Field(min_length=1)]] = Field(min_length=1, max_length=100, description="files of held-out texts")
    compare: list[tuple[Name, Name]] | None = Field(default=None, description="pairs [is this better, than this]")

    @model_validator(mode="after")
    def _check(self) -> Ablation:
        made = [name for name, v in self.variants.items() if v.data is None]
        if made and (self.recipe is None or self.mix is None):
            raise ValueError(f"`recipe` and `mix` are needed for {', '.join(made)}, which have no `data`")
        if self.same_unique_tokens and len(made) < len(self.variants):
            fixed = next(name for name, v in self.variants.items() if v.data is not None)
            raise ValueError(f"same_unique_tokens needs variants that the recipe makes; {fixed} is a finished mix, which can't be cut down")
        if len(self.seed_list()) < 3:
            raise ValueError("at least 3 seeds are needed: the spread between models of one variant can't be told from fewer")
        if len(set(self.seed_list())) < len(self.seed_list()):
            raise ValueError("seeds must differ")
        own = sorted(DECIDED_BY_FILE & set(self.train))
        if own:
            raise ValueError(f"train.{own[0]} is decided by the ablation itself; leave it out")
        for name in [n for pair in self.compare or () for n in pair]:
            if name not in self.variants:
                raise ValueError(f"compare names {name!r}, which is no variant.{nearest(name, list(self.variants))}")
        return self

    def seed_list(self) -> list[int]:
        """The seeds."""
        return list(range(1, self.seeds + 1)) if isinstance(self.seeds, int) else list(self.seeds)

    def pairs(self) -> list[tuple[str, str]]:
        """(better?, than) of every comparison."""
        if self.compare is not None:
            return [(a, b) for a, b in self.compare]
        *others, last = self.variants
        return [(last, other) for other in others]


def load(path: Path) -> Ablation:
    """Read the file. Raises RecipeError with every mistake."""
    try:
        content = yaml.safe_load(path.read_text("utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise RecipeError(f"{path}: not read: {error}") from error
    if not isinstance(content, dict):
        raise RecipeError(f"{path}: a mapping is expected, with variants, model, tokens and evaluate.")
    try:
        found = Ablation(**content)
    except (ValidationError, TypeError) as error:
        errors = error.errors() if isinstance(error, ValidationError) else []
        lines = [f"{path}: {'.'.join(map(str, e['loc'])) or 'the file'}: {e['msg'].removeprefix('Value error, ')}" for e in errors]
        raise RecipeError("\n".join(lines) or f"{path}: {error}") from error
    return found.model_copy(update={"name": found.name or path.stem})
