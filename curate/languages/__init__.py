"""Settings per language: files that say, for each language, what the settings of steps are.

    summary, source, licence    what it is and where it comes from (optional)
    extends                     another such file, whose languages it adds to or changes (optional)
    common                      settings for every language below: name of a step -> its settings (optional)
    languages                   code -> name of a step -> its settings; `also`: other codes of the same language

A language's own settings win over `common`, and both over those of the file that it extends.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from curate.errors import RecipeError
from curate.recipe_yaml import Problems, parse
from curate.registry import nearest

Settings = dict[str, dict[str, Any]]  # name of a step -> its settings
_KEYS = ("summary", "source", "licence", "extends", "common", "languages")
_DEEPEST = 8  # files that extend each other


@dataclass(frozen=True)
class LanguageSettings:
    """What one file says, with the files that it extends."""

    paths: tuple[str, ...]  # of all files that it is made of
    by_code: Mapping[str, Settings]
    names: Mapping[str, str]  # every code, those under `also` too -> its key in by_code

    def of(self, code: str | None) -> Settings | None:
        """Settings of a language by any of its codes; None where the file doesn't name it."""
        name = self.names.get(code or "")
        return None if name is None else self.by_code[name]

    def numbers(self, step: str, setting: str) -> dict[str, float]:
        """One number of one step: every code -> its value, where there is one."""
        found = {code: self.by_code[name].get(step, {}).get(setting) for code, name in self.names.items()}
        return {code: value for code, value in found.items() if isinstance(value, (int, float)) and not isinstance(value, bool)}


def shipped() -> list[str]:
    """Names of the files that come with curate."""
    return sorted(path.stem for path in Path(__file__).parent.glob("*.yaml"))


def load(name: str) -> LanguageSettings:
    """Read a shipped file by name, or a file by path. Raises RecipeError with everything that is wrong with it."""
    path = _path(name)
    try:
        return _read(path, os.stat(path).st_mtime_ns, 0)
    except OSError as error:
        raise RecipeError(
            f"there is no file {name!r} of settings per language, and none of that name comes with curate.{nearest(name, shipped())}"
        ) from error


def _path(name: str, folder: str = "") -> str:
    if name in shipped():
        return str(Path(__file__).with_name(f"{name}.yaml"))
    return os.path.normpath(os.path.join(folder, os.path.expanduser(name)))


@lru_cache(maxsize=32)
def _read(path: str, changed: int, depth: int) -> LanguageSettings:
    """changed: time stamp, so that an edited file is read again."""
    problems = Problems(path)
    tree = parse(Path(path).read_text(encoding="utf-8"), problems)
    problems.raise_all()
    content = tree.plain()
    wrong = _complaint(content)
    if wrong:
        raise RecipeError(f"{path}: {wrong}")
    paths: tuple[str, ...] = (path,)
    by_code: dict[str, Settings] = {}
    names: dict[str, str] = {}
    if content.get("extends"):
        if depth == _DEEPEST:
            raise RecipeError(f"{path}: more than {_DEEPEST} files extend each other")
        base_path = _path(str(content["extends"]), os.path.dirname(path))
        if not os.path.isfile(base_path):
            raise RecipeError(f"{path}: extends {content['extends']!r}, which is no file and does not come with curate")
        base = _read(base_path, os.stat(base_path).st_mtime_ns, depth + 1)
        paths, by_code, names = paths + base.paths, dict(base.by_code), dict(base.names)
    common = content.get("common") or {}
    for code, given in (content.get("languages") or {}).items():
        own = {step: settings for step, settings in (given or {}).items() if step != "also"}
        key = names.get(code, code)
        layers = (by_code.get(key, {}), common, own)
        by_code[key] = {step: {k: v for layer in layers for k, v in (layer.get(step) or {}).items()} for layer in layers for step in layer}
        names |= dict.fromkeys((code, *(given or {}).get("also", ())), key)
    return LanguageSettings(paths, by_code, names)


def _complaint(content: Any) -> str:
    """A sentence about the first thing that is wrong with the form of a file, or ''."""
    if not isinstance(content, dict):
        return "expected a mapping with the key languages"
    unknown = next((key for key in content if key not in _KEYS), None)
    if unknown is not None:
        return f"unknown key {unknown!r}, expected {', '.join(_KEYS)}.{nearest(str(unknown), list(_KEYS))}"
    languages = content.get("languages") or {}
    sections = [("common", content.get("common") or {}), ("languages", languages)]
    sections += [(f"languages.{code}", given or {}) for code, given in (languages.items() if isinstance(languages, dict) else ())]
    for where, section in sections:
        if not isinstance(section, dict) or not all(isinstance(key, str) for key in section):
            return f"{where}: expected a mapping with names as keys"
        if where == "languages":
            continue
        for step, settings in section.items():
            if step == "also" and where != "common":
                if not isinstance(settings, list) or not all(isinstance(code, str) for code in settings):
                    return f"{where}.also: expected a list of codes"
            elif not isinstance(settings, dict):
                return f"{where}.{step}: expected the settings of that step, got {settings!r}"
    return ""
