"""Verifiers as rewards of online training: `reward(prompts, completions, rows, **settings) -> list[float | None]`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache, partial
from typing import Any

from formats.json_text import dumps, loads
from formats.scoring.verifier import Verifier, table, verifier

Reward = Callable[..., list[float | None]]


def reward(
    name: str, prompts: Sequence[str], completions: Sequence[str], rows: Sequence[Mapping[str, Any]], **settings: Any
) -> list[float | None]:
    """Scores of completions by the verifier of that name. rows: the data's other fields. None: it has no opinion."""
    found = _prepared(name, dumps(settings))
    return [found.check(p, c, r) for p, c, r in zip(prompts, completions, rows, strict=True)]


@lru_cache(maxsize=64)
def _prepared(name: str, settings: str) -> Verifier:
    made = verifier(name, loads(settings))
    made.prepare()
    return made


class _Rewards(Mapping[str, Reward]):
    """Every verifier by name, as a reward."""

    def __getitem__(self, name: str) -> Reward:
        if name not in table():
            raise KeyError(name)
        return partial(reward, name)

    def __iter__(self) -> Any:
        return iter(table())

    def __len__(self) -> int:
        return len(table())


REWARDS: Mapping[str, Reward] = _Rewards()
