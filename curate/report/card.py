"""card.md: a Hugging Face dataset card of a run, and one for each of its models. Every number is the manifest's.

A card is made again from the run at any time and comes out the same, so `check` finds a number that was edited by hand.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from pathlib import Path
from typing import Any

from curate.report.about import NAME as ABOUT
from curate.report.about import About, load_about
from curate.report.run_folder import RunFolder, open_run
from curate.report.templates import environment
from curate.report.words import percent, size, visible
from curate.store import write_atomic

NAME, MODELS = "card.md", "cards"
SIZES = ((1e3, "n<1K"), (1e4, "1K<n<10K"), (1e5, "10K<n<100K"), (1e6, "100K<n<1M"), (1e7, "1M<n<10M"), (1e8, "10M<n<100M"), (1e9, "100M<n<1B"),
         (1e10, "1B<n<10B"), (1e11, "10B<n<100B"), (1e12, "100B<n<1T"))  # fmt: skip
FORMATS = {".parquet": "parquet", ".jsonl": "json"}
SETTING_CHARS = 600
LANGUAGES_NAMED = 100


@dataclass(frozen=True)
class Difference:
    """A line of a card that is not what the run says."""

    line: int
    found: str
    expected: str

    def __str__(self) -> str:
        return f"line {self.line}: {self.found!r}, the run says {self.expected!r}"


def write_card(root: Path, about: Path | None = None, path: Path | None = None) -> list[Path]:
    """Write card.md and the cards of models; return their paths. about: default about.yaml in the run folder."""
    run = open_run(root)
    known = load_about(about or root / ABOUT)
    written = [path or root / NAME]
    write_atomic(written[0], dataset_card(run, known).encode("utf-8", "backslashreplace"))
    for name in run.manifest["models"] if path is None else ():
        target = root / MODELS / f"{name}.md"
        target.parent.mkdir(exist_ok=True)
        write_atomic(target, model_card(run, name, known).encode("utf-8", "backslashreplace"))
        written.append(target)
    return written


def check(root: Path, about: Path | None = None, path: Path | None = None) -> list[Difference]:
    """Lines that a card has lost or changed. Lines that somebody added are no mistake."""
    run = open_run(root)
    wanted = dataset_card(run, load_about(about or root / ABOUT)).splitlines()
    found = (path or root / NAME).read_text(encoding="utf-8").splitlines()
    wrong = []
    for kind, a, a_end, b, b_end in SequenceMatcher(None, wanted, found, autojunk=False).get_opcodes():
        if kind in ("replace", "delete"):
            for at, line in enumerate(wanted[a:a_end]):
                there = found[b + at] if b + at < b_end else ""
                wrong.append(Difference(min(b + at, len(found)) + 1, there, line))
    return wrong


def dataset_card(run: RunFolder, about: About) -> str:
    """The card as text: YAML front matter, then Markdown."""
    return _front(_dataset_front(run, about)) + _body("card.md.jinja", run, about, {"steps": _steps, "removed": _removed})


def model_card(run: RunFolder, name: str, about: About) -> str:
    """The card of one model or tokenizer."""
    entry = run.manifest["models"][name]
    library = "tokenizers" if entry["kind"] == "train:tokenizer" else "transformers"
    front: dict[str, Any] = {"license": about.licence} if about.licence else {}
    front |= {"library_name": library, "tags": ["curate"]}
    if library == "transformers":
        front["pipeline_tag"] = "text-classification" if entry["kind"] == "train:reward" else "text-generation"
    figures = {k: v for k, v in entry["info"].items() if isinstance(v, int | float | str) and not isinstance(v, bool)}
    settings = (run.lock.get("models") or {}).get(name, {})
    return _front(front) + _body(
        "model.md.jinja", run, about, {}, name=name, entry=entry, figures=figures, settings=settings, results=list(_results(run, name))
    )


def _results(run: RunFolder, model: str) -> Iterator[tuple[str, str, str, Any]]:
    """(evaluating node, task, what is counted, value) of every task that this model was asked in the run."""
    for node, entry in run.manifest["datasets"].items():
        info = entry.get("info") or {}
        if entry.get("kind") == "evaluate":
            for task, value in info.get("figures", {}).get(model, {}).items():
                yield node, task, info.get("measures", {}).get(task, ""), value


def _front(values: Mapping[str, Any]) -> str:
    import yaml

    return f"---\n{yaml.safe_dump(dict(values), sort_keys=False, allow_unicode=True, width=120)}---\n\n"


def _dataset_front(run: RunFolder, about: About) -> dict[str, Any]:
    """Metadata that the hub reads. Languages only where a step told them; sizes of what a user would load."""
    codes: Counter[str] = Counter()
    for name in run.datasets:
        codes.update(run.distributions(name).get("languages", {}).get("kept", {}))
    codes.pop("und", None)
    published = {name: config for name in run.datasets if (config := _config(run, name))}
    rows = max((run.datasets[name]["rows_out"] for name in published), default=0)
    front: dict[str, Any] = {"license": about.licence} if about.licence else {}
    if codes:
        front["language"] = sorted(code for code, _ in codes.most_common(LANGUAGES_NAMED) if re.fullmatch(r"[a-z]{2,3}", code))
    front |= {
        "pretty_name": about.pretty_name or run.manifest["recipe"],
        "size_categories": [next((name for bound, name in SIZES if rows < bound), "n>1T")],
        "task_categories": ["text-generation"],
        "tags": ["curate"],
    }
    if published:
        front["configs"] = [{"config_name": name, "data_files": files} for name, files in published.items()]
    return front


def _config(run: RunFolder, name: str) -> str | None:
    """The files of a dataset as `datasets.load_dataset` takes them; None where it is no text."""
    suffixes = {re.sub(r"^part-[0-9]+", "", Path(f["name"]).name) for f in run.datasets[name]["files"] if f["name"].startswith("part-")}
    if len(suffixes) == 1 and Path("x" + (only := suffixes.pop())).suffixes[0] in FORMATS:
        return f"{name}/part-*{only}"
    return None


def _steps(run: RunFolder, name: str) -> list[tuple[str, str, str]]:
    """(step, version, settings) of a dataset; versions only where this curate is the one that ran."""
    from curate import __version__, registry

    same = run.manifest["curate"] == __version__
    made = []
    for step, settings in run.steps(name):
        known = same and step in registry.names("steps")
        version = str(registry.load("steps", step).version) if known else ""
        said = json.dumps({k: v for k, v in settings.items() if v is not None}, ensure_ascii=False)
        made.append((step, version, said if len(said) <= SETTING_CHARS else said[:SETTING_CHARS] + " ..."))
    return made


def _removed(entry: Mapping[str, Any]) -> list[tuple[str, str, int]]:
    return [(line["step"], reason, count) for line in entry["funnel"] for reason, count in line["dropped"].items()]


def _gaps(run: RunFolder) -> list[str]:
    """What the run itself shows to be missing."""
    found = []
    for name, entry in run.datasets.items():
        if entry.get("from"):
            continue
        steps = {step for step, _ in run.steps(name)}
        lacks = {"decontaminate": "was not checked for benchmarks", "pii": "was not searched for personal data",
                 "language": "has no language told by a step", "toxicity": "was not searched for toxic text"}  # fmt: skip
        found += [f"`{name}` {text} (no step `{step}`)." for step, text in lacks.items() if step not in steps]
        if entry["quarantined"]:
            found.append(f"{entry['quarantined']:,} rows of `{name}` could not be read.")
        if not steps & {"dedup_exact", "dedup_minhash"}:
            found.append(f"`{name}` was not deduplicated.")
    return found


def _audits(run: RunFolder) -> dict[str, Any]:
    """Measured recall, where `curate audit` left it in the run, of datasets as they are now."""
    folder = run.root / "audits"
    found = {path.stem: json.loads(path.read_bytes()) for path in sorted(folder.glob("*.json"))} if folder.is_dir() else {}
    now = {(name, entry["key"]) for name, entry in run.datasets.items()}
    fresh = {audit: [one for one in measured if (one["dataset"], one.get("key")) in now] for audit, measured in found.items()}
    return {audit: measured for audit, measured in fresh.items() if measured}


def _missing(about: About, run: RunFolder) -> list[str]:
    asked = [key for key in ("licence", "purpose", "consent", "contact") if getattr(about, key) is None]
    read = [name for name, entry in run.datasets.items() if not entry.get("from")]
    return asked + [f"sources.{name}.licence" for name in read if name not in about.sources or about.sources[name].licence is None]


def _body(template: str, run: RunFolder, about: About, more: Mapping[str, Any], **values: Any) -> str:
    templates = environment(keep_trailing_newline=True)
    templates.filters.update(
        {
            "size": size,
            "percent": percent,
            "text": plain,
            "code": code,
            "dumped": lambda v: json.dumps(v, ensure_ascii=False),
            "whole": lambda n: f"{n:,}",
        }
    )
    functions = {
        "gaps": _gaps(run),
        "audits": _audits(run),
        "missing": _missing(about, run),
        "command": command(run),
        "lineage": lineage(run),
        **more,
    }
    return templates.get_template(template).render(run=run, manifest=run.manifest, about=about, **functions, **values)


def plain(text: object) -> str:
    """Text from data or settings as Markdown that shows it and does nothing: one line, no HTML, no table borders."""
    line = " ".join(visible(str(text), 5000).split())
    return re.sub(r"([\\`*\[\]<>|#])", r"\\\1", line).replace("\\<", "&lt;").replace("\\>", "&gt;")


def code(text: object) -> str:
    """The same as a code span."""
    return "`" + " ".join(visible(str(text), 5000).split()).replace("`", "'") + "`"


def command(run: RunFolder) -> str:
    """What builds the run again, `--set` and all, as its lock says."""
    found = re.search(r"^# Command: (.+)$", run.lock_text, re.MULTILINE)
    return visible(found[1] if found else f"curate run {run.manifest['recipe']}.yaml", 5000)


def lineage(run: RunFolder) -> Sequence[tuple[str, str, str, str]]:
    """(node, made from, key, digest) of everything in the run."""
    return [
        (name, ", ".join(entry.get("made_from", ())), entry["key"][:12], entry["digest"][:12])
        for kind in ("datasets", "models")
        for name, entry in run.manifest[kind].items()
    ]
