"""Rewards for answers that a model draws while it trains.

A reward is a function `reward(prompts, completions, rows) -> list[float | None]`: rendered prompts, what the model wrote, and the
rows of the data with all their other fields (`answer`, `tests`, ...; `messages`: the turns of the prompt). None: it has
no opinion. Names are looked up when a run starts, in this order:

    curate.rewards        entry points of installed packages: functions of this form
    formats.scoring       the verifiers of the step `score` (maths, choices, code in a sandbox, ...)
    the table below       small ones that need nothing

A reward model is `model: NAME`: a model of the recipe (`train: reward`) or a folder.
"""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

from curate.errors import RecipeError
from curate.registry import nearest
from formats.answers import final_answer, normalised

Rewards = Callable[[Sequence[str], Sequence[str], Sequence[Mapping[str, Any]]], list[float | None]]
Name = Annotated[str, Field(min_length=1)]


class RewardSpec(BaseModel):
    """One source of rewards."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)

    verifier: Name | None = Field(
        default=None, description="name of a function: exact, contains, a verifier of the step score, an installed one"
    )
    model: Name | None = Field(
        default=None, description="reward model: a model of the recipe, or a folder", json_schema_extra={"path": "optional"}
    )
    weight: float = Field(default=1.0, ge=-1e6, le=1e6, description="of this source in the sum")
    settings: dict[str, Any] = Field(default_factory=dict, description="what the function takes beside prompts, completions and rows")

    @model_validator(mode="after")
    def _one(self) -> RewardSpec:
        if (self.verifier is None) == (self.model is None):
            raise ValueError("a reward is either a 'verifier' or a 'model'")
        return self


def exact(
    prompts: Sequence[str], completions: Sequence[str], rows: Sequence[Mapping[str, Any]], field: str = "answer"
) -> list[float | None]:
    """1 where the final answer (boxed, after ####, ...; else the whole text) is spelt as the row's, 0 where not, None without one."""
    found: list[float | None] = []
    for said, row in zip(completions, rows, strict=True):
        wanted = row.get(field)
        marked = final_answer(said)
        given = marked[0] if marked is not None else said
        found.append(None if wanted is None else float(normalised(given) == normalised(str(wanted))))
    return found


def contains(
    prompts: Sequence[str], completions: Sequence[str], rows: Sequence[Mapping[str, Any]], field: str = "answer"
) -> list[float | None]:
    """1 where the row's answer stands in the completion, between word borders."""
    found: list[float | None] = []
    for said, row in zip(completions, rows, strict=True):
        wanted = row.get(field)
        found.append(None if wanted is None else float(re.search(rf"(?<!\w){re.escape(str(wanted))}(?!\w)", said) is not None))
    return found


def length(
    prompts: Sequence[str], completions: Sequence[str], rows: Sequence[Mapping[str, Any]], characters: int = 1000
) -> list[float | None]:
    """Minus the share by which a completion is longer than `characters`; 0 for shorter ones."""
    return [min(0.0, 1 - len(said) / characters) for said in completions]


BUILT_IN: dict[str, Callable[..., list[float | None]]] = {"exact": exact, "contains": contains, "length": length}


def find(name: str) -> Callable[..., list[float | None]]:
    """The function of that name. Raises RecipeError with the nearest one."""
    from importlib.metadata import entry_points

    points = {point.name: point for point in entry_points(group="curate.rewards")}
    if name in points:
        found: Callable[..., list[float | None]] = points[name].load()
        return found
    verifiers = _verifiers()
    if name in verifiers:
        return verifiers[name]
    if name not in BUILT_IN:
        known = sorted({*points, *verifiers, *BUILT_IN})
        raise RecipeError(f"there is no reward {name!r}.{nearest(name, known)} Known: {', '.join(known)}.")
    return BUILT_IN[name]


def _verifiers() -> Mapping[str, Callable[..., list[float | None]]]:
    """Functions of the step `score`."""
    try:
        from formats.scoring import rewards
    except ImportError:
        return {}
    found: Mapping[str, Callable[..., list[float | None]]] = rewards.REWARDS
    return found


def check_settings(spec: RewardSpec) -> None:
    """Raise RecipeError where a verifier does not exist or does not take the settings."""
    if spec.verifier is None:
        return
    known = list(inspect.signature(find(spec.verifier)).parameters.values())
    if any(p.kind is p.VAR_KEYWORD for p in known):
        return
    names = [p.name for p in known[3:]]
    for name in spec.settings:
        if name not in names:
            raise RecipeError(f"the reward {spec.verifier!r} has no setting {name!r}. It has: {', '.join(names) or 'none'}.")


def for_trl(spec: RewardSpec) -> Callable[..., list[float | None]]:
    """A verifier as trl calls it: prompts, completions, and the data's columns, of which `row` holds the row as JSON."""
    assert spec.verifier is not None
    function, settings = find(spec.verifier), dict(spec.settings)

    def reward(prompts: Sequence[str], completions: Sequence[str], row: Sequence[str], **_: Any) -> list[float | None]:
        found = list(function(prompts, completions, [json.loads(text) for text in row], **settings))
        if len(found) != len(completions):
            raise RecipeError(f"the reward {spec.verifier!r} gave {len(found)} numbers for {len(completions)} answers.")
        return found

    reward.__name__ = spec.verifier
    return reward
