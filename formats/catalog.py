"""Names of formats, and making the adapter of one."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Mapping
from typing import Any

from curate.errors import RecipeError
from curate.registry import nearest
from formats.adapters.adapter import Adapter

# In the order in which detection prefers them: the more a format asks of a row, the earlier it stands.
FORMATS = {
    "oasst": "trees:Oasst",
    "bfcl": "trees:Bfcl",
    "segments": "trees:Segments",
    "stepwise": "simple:Stepwise",
    "ultrafeedback": "ranked:UltraFeedback",
    "ranked": "ranked:Ranked",
    "helpsteer": "ranked:HelpSteer",
    "alpaca_farm": "ranked:AlpacaFarm",
    "self_instruct": "alpaca:SelfInstruct",
    "hh": "hh:Hh",
    "preference": "preference:Preference",
    "kto": "preference:Kto",
    "dolly": "alpaca:Dolly",
    "alpaca": "alpaca:Alpaca",
    "messages": "chat:Messages",
    "sharegpt": "chat:ShareGpt",
    "prompt_completion": "simple:PromptCompletion",
    "prompt": "simple:Prompt",
    "chatml": "chatml:ChatMl",
    "text": "simple:Text",
    "task": "trees:Task",
}


def adapter_class(name: str) -> type[Adapter]:
    """The class of a format. Raises RecipeError for an unknown name."""
    if name not in FORMATS:
        raise RecipeError(f"unknown format {name!r}.{nearest(name, list(FORMATS))} There are: {', '.join(sorted(FORMATS))}.")
    module, _, attribute = FORMATS[name].partition(":")
    found: type[Adapter] = getattr(importlib.import_module(f"formats.adapters.{module}"), attribute)
    return found


def adapter(name: str, columns: Mapping[str, str] | None = None, **settings: Any) -> Adapter:
    """The adapter of a format. columns: {name the format reads: name in the row}. Settings of None are left out.

    Raises RecipeError for an unknown format or a setting that it does not have.
    """
    if name.startswith("axolotl:"):
        name, known_columns = _axolotl(name.removeprefix("axolotl:"))
        columns = {**known_columns, **(columns or {})}
    cls = adapter_class(name)
    given = {key: value for key, value in settings.items() if value}
    known = [] if cls.__init__ is object.__init__ else list(inspect.signature(cls).parameters)
    for key in given:
        if key not in known and key != "roles":
            has = f"It has: {', '.join(known)}." if known else "It has none."
            raise RecipeError(f"the format {name!r} has no setting {key!r}. {has}")
    made = cls(**{k: v for k, v in given.items() if k in known})
    if columns:
        from formats.adapters.mapped import Mapped

        return Mapped(made, columns)
    return made


def _axolotl(kind: str) -> tuple[str, Mapping[str, str]]:
    """Our format and the names of its columns for one of axolotl's types."""
    from formats.adapters.mapped import AXOLOTL

    if kind not in AXOLOTL:
        raise RecipeError(f"unknown axolotl type {kind!r}.{nearest(kind, list(AXOLOTL))} There are: {', '.join(sorted(AXOLOTL))}.")
    return AXOLOTL[kind]
