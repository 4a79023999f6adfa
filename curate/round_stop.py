"""Rounds that end early: a ledger said stop, so the recipe is what it would be with fewer rounds.

Nodes of the rounds before have the same keys in both, so nothing is made again; a later run of the same command comes to the same ledger and ends at
the same round.
"""

from __future__ import annotations

from dataclasses import dataclass

from curate.done import Done
from curate.pinning import pinned
from curate.plan import Plan, make_plan
from curate.recipe_nodes import Recipe


@dataclass(frozen=True)
class Stop:
    """Why the rounds ended."""

    after: int  # the last round
    asked: int  # rounds that the recipe has
    node: str  # who said so
    reasons: tuple[str, ...]

    def text(self) -> str:
        """One line for people."""
        return f"rounds end after {self.after} of {self.asked}, as {self.node} says: {'; '.join(self.reasons)}"

    def record(self) -> dict[str, object]:
        """For the manifest."""
        return {"asked": self.asked, "made": self.after, "ended_by": self.node, "reasons": list(self.reasons)}


def stop_of(recipe: Recipe, node: str, done: Done) -> Stop | None:
    """Whether the rounds end with this finished node."""
    after = recipe.rounds.ends(node) if recipe.rounds is not None else None
    if recipe.rounds is None or after is None:
        return None
    said = done.receipts[0].get("result", {}).get("info", {}).get("stop")
    return Stop(after, recipe.rounds.n, node, tuple(map(str, said))) if said else None


def shortened(plan: Plan, stop: Stop, only: tuple[str, ...]) -> Plan:
    """The plan of the same recipe with so many rounds. only: names that were asked for; those of later rounds are left out."""
    from curate.recipe import load_recipe

    given = plan.recipe
    recipe = pinned(load_recipe(given.path, (*given.overrides, f"rounds.n={stop.after}"), given.plugins))
    left = tuple(name for name in only if name in recipe.nodes)
    return make_plan(recipe, left or ((stop.node,) if only else ()))
