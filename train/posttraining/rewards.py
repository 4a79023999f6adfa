"""Rewards for answers that a model draws while it trains.

A reward is a function `reward(prompts, completions, rows, **settings) -> list[float | None]`: the last user turn of every prompt,
what the model wrote, and the rows of the data with all their other fields (`answer`, `tests`, ...; `messages`: the turns of the
prompt). None: it has no opinion. By name there are the verifiers of the step `score` (maths, choices, code in a sandbox, ...)
and those that installed packages add (entry points `curate.verifiers`), looked up when a run starts.

A reward model is `model: NAME`: a model of the recipe (`train: reward`) or a folder.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from curate.errors import RecipeError

Name = Annotated[str, Field(min_length=1)]


class RewardSpec(BaseModel):
    """One source of rewards."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)

    verifier: Name | None = Field(default=None, description="name of a verifier of the step score: math, choice, exact, code, ...")
    model: Name | None = Field(
        default=None, description="reward model: a model of the recipe, or a folder", json_schema_extra={"path": "optional"}
    )
    weight: float = Field(default=1.0, ge=-1e6, le=1e6, description="of this source in the sum")
    settings: dict[str, Any] = Field(default_factory=dict, description="of the verifier: {field: solution}")

    @model_validator(mode="after")
    def _one(self) -> RewardSpec:
        if (self.verifier is None) == (self.model is None):
            raise ValueError("a reward is either a 'verifier' or a 'model'")
        if self.model is not None and self.settings:
            raise ValueError("settings go with a verifier; a reward model has none")
        return self


def check(spec: RewardSpec) -> None:
    """Raise RecipeError where a verifier does not exist or does not take the settings."""
    from formats.scoring.verifier import verifier

    if spec.verifier is None:
        return
    try:
        verifier(spec.verifier, spec.settings)
    except ValidationError as error:
        first = error.errors()[0]
        raise RecipeError(
            f"rewards: {spec.verifier}.{'.'.join(map(str, first['loc']))}: {first['msg']}, got {first['input']!r}."
        ) from error


def for_trl(spec: RewardSpec) -> Callable[..., list[float | None]]:
    """A verifier as trl calls it: prompts, completions, and the data's columns, of which `row` holds the row as JSON."""
    from formats.scoring.rewards import REWARDS

    check(spec)
    assert spec.verifier is not None
    function, settings = REWARDS[spec.verifier], dict(spec.settings)

    def reward(prompts: Sequence[str], completions: Sequence[str], row: Sequence[str], **_: Any) -> list[float | None]:
        rows = [json.loads(text) for text in row]
        asked = [
            next((m["content"] for m in reversed(r["messages"]) if m["role"] == "user"), p) for r, p in zip(rows, prompts, strict=True)
        ]
        return list(function(asked, completions, rows, **settings))

    reward.__name__ = spec.verifier
    return reward
