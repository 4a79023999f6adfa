"""Steps, one file per family; and every step as a function on a table: `curate.steps.gopher_quality(table)`.

No module here has the name of a step: a submodule would hide the function (a test keeps it so).
"""

from __future__ import annotations

from typing import Any


def __getattr__(name: str) -> Any:
    from curate import registry

    if name.startswith("_") or name not in registry.names("steps"):
        raise AttributeError(f"no step named {name!r}.{registry.nearest(name, registry.names('steps'))}")
    from curate.apply import step_function

    return step_function(registry.load("steps", name))


def __dir__() -> list[str]:
    from curate import registry

    return registry.names("steps")
