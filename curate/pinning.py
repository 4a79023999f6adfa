"""Fix what a recipe leaves open and the world may change: revisions of data sets that readers name."""

from __future__ import annotations

import copy
from dataclasses import replace

from curate.recipe_nodes import DatasetNode, Recipe


def pinned(recipe: Recipe) -> Recipe:
    """The recipe with every reader pinned, in its nodes and in what the lock file says. Asks the hub where a reader must."""
    nodes = dict(recipe.nodes)
    resolved = recipe.resolved
    for name, node in recipe.nodes.items():
        reader = node.reader if isinstance(node, DatasetNode) else None
        fixed = reader.pinned(recipe.folder) if reader is not None else None
        if reader is None or fixed is None or fixed == reader:
            continue
        assert isinstance(node, DatasetNode)
        nodes[name] = replace(node, reader=fixed)
        if resolved is recipe.resolved:
            resolved = copy.deepcopy(recipe.resolved)
        said = resolved["datasets"][name]["read"]
        given = said[reader.name] if isinstance(said.get(reader.name), dict) else said
        given |= {
            field: value for field, value in fixed.model_dump(mode="json").items() if value != getattr(reader, field) and field != "paths"
        }
    return recipe if resolved is recipe.resolved else replace(recipe, nodes=nodes, resolved=resolved)
