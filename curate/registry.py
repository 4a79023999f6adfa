"""Names of steps, readers, writers, node kinds and executors, and where their classes live.

One literal table per kind, so that nothing is imported before it is used, and the entry points of installed packages
(`curate.steps`, `curate.readers`, `curate.nodes`, `curate.writers`, `curate.executors`, `curate.commands`): the door that
`formats`, `train` and third parties share. A recipe can name only what stands here.
"""

from __future__ import annotations

import difflib
import importlib
from functools import cache
from typing import TYPE_CHECKING, Any

from curate.errors import MissingDependency

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

    from curate.step import Step

STEPS = {
    "clean": "curate.steps.cleaning:Clean",
    "language": "curate.steps.languages:Language",
    "by_language": "curate.steps.language_filters:ByLanguage",
    "gopher_quality": "curate.steps.quality:GopherQuality",
    "gopher_repetition": "curate.steps.repetition:GopherRepetition",
    "c4": "curate.steps.c4_rules:C4",
    "fineweb": "curate.steps.fineweb_rules:FineWeb",
    "url": "curate.steps.url_rules:Url",
    "line_rules": "curate.steps.line_fixes:LineRules",
    "bad_words": "curate.steps.word_lists:BadWords",
    "madlad": "curate.steps.madlad_rules:Madlad",
    "code": "curate.steps.code_rules:Code",
    "math": "curate.steps.math_rules:Math",
    "datatrove": "curate.steps.datatrove_adapter:Datatrove",
    "dedup_exact": "curate.steps.exact:DedupExact",
    "dedup_lines": "curate.steps.lines:DedupLines",
    "dedup_substrings": "curate.steps.substrings:DedupSubstrings",
    "dedup_minhash": "curate.steps.minhash:DedupMinhash",
    "weight_by_cluster": "curate.steps.cluster_weights:WeightByCluster",
    "decontaminate": "curate.steps.decontamination:Decontaminate",
    "pii": "curate.steps.personal_data:PersonalData",
    "classifier": "curate.steps.classification:Classifier",
    "hf_classifier": "curate.steps.transformer_scores:HfClassifier",
    "perplexity": "curate.steps.ngram_models:Perplexity",
    "toxicity": "curate.steps.safety:Toxicity",
    "nsfw": "curate.steps.safety:Nsfw",
    "filter": "curate.steps.expression:Filter",
    "sample": "curate.steps.sampling:Sample",
    "extract": "curate.steps.extraction:Extract",
    "tokenize": "curate.steps.tokenization:Tokenize",
}

READERS = {
    "jsonl": "curate.io.jsonl:JsonlReader",
    "parquet": "curate.io.columnar:ParquetReader",
    "arrow": "curate.io.columnar:ArrowReader",
    "csv": "curate.io.delimited:CsvReader",
    "text": "curate.io.text:TextReader",
    "warc": "curate.io.archives:WarcReader",
    "wet": "curate.io.archives:WetReader",
    "arc": "curate.io.archives:ArcReader",
    "hf": "curate.io.hub:HfReader",
    "code": "curate.io.source_trees:CodeReader",
    "markdown": "curate.io.markdown:MarkdownReader",
    "installed_docs": "curate.io.installed_docs:InstalledDocsReader",
}

NODES = {
    "mix": "curate.mixing:MixNode",
    "shuffle": "curate.tokens.shuffling:ShuffleNode",
    "train:tokenizer": "curate.tokens.node:TokenizerNode",
}

WRITERS = {
    "parquet": "curate.io.writers:ParquetWriter",
    "jsonl": "curate.io.writers:JsonlWriter",
}

EXECUTORS = {
    "local": "curate.executors.local:LocalExecutor",
    "ray": "curate.executors.ray:RayExecutor",
}

TABLES = {"steps": STEPS, "readers": READERS, "nodes": NODES, "writers": WRITERS, "executors": EXECUTORS}


@cache
def table(kind: str) -> dict[str, str]:
    """All names of one kind with where they live: ours, then those of installed packages."""
    found = dict(TABLES[kind])
    for point in installed(f"curate.{kind}"):
        found.setdefault(point.name, point.value)
    return found


@cache
def _all_installed() -> dict[str, list[EntryPoint]]:
    from importlib.metadata import distributions

    found: dict[str, dict[str, EntryPoint]] = {}
    for point in (point for package in distributions() for point in package.entry_points):
        found.setdefault(point.group, {}).setdefault(point.name, point)  # the first on the path, as for modules
    return {group: list(points.values()) for group, points in found.items()}


def installed(group: str) -> list[EntryPoint]:
    """Entry points of installed packages in a group. Their metadata are read once: 0.05 s where many packages are installed."""
    return _all_installed().get(group, [])


_plugins: dict[str, dict[str, Any]] = {}


def add_plugin_steps(steps: dict[str, type[Step]]) -> None:
    """Add the steps of a local file given with --plugin; they win over nothing that exists."""
    _plugins.setdefault("steps", {}).update(steps)


def forget_plugins() -> None:
    """Leave only what is installed: a recipe sees the plugins it was loaded with, and no others."""
    _plugins.clear()


def names(kind: str) -> list[str]:
    """Every known name of a kind, in table order."""
    return [*table(kind), *(n for n in _plugins.get(kind, {}) if n not in table(kind))]


def load(kind: str, name: str) -> Any:
    """Import and return the class registered under `name`. KeyError where there is none."""
    if name in _plugins.get(kind, {}):
        return _plugins[kind][name]
    where = table(kind)[name]
    module, _, attribute = where.partition(":")
    try:
        return getattr(importlib.import_module(module), attribute)
    except ModuleNotFoundError as error:
        if error.name and not error.name.startswith("curate"):
            raise MissingDependency(f"{kind[:-1]} {name!r} needs the package {error.name!r}, which is not installed.") from error
        raise


def nearest(name: str, known: list[str]) -> str:
    """A ' Did you mean ...?' for a misspelt name, or ''."""
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    return f" Did you mean {close[0]!r}?" if close else ""
