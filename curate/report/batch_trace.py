"""What a training step was fed: the documents behind its windows, with text, origin and every verdict of the curation.

Answered from the mix (an order that is a function of its file), the token shards and the published datasets; nothing is run again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from curate.errors import RecipeError
from curate.loader import Mix, Piece
from curate.registry import nearest
from curate.report.documents import find, rows_at
from curate.report.run_folder import RunFolder
from curate.report.token_places import batches_of
from curate.report.words import limits

OWN = ("id", "text", "source", "meta", "tokens")


@dataclass
class Passage:
    """A part of a document in a window."""

    window: int
    start: int  # in the window
    stop: int
    first: int  # token of the document that stands at `start`


@dataclass
class Traced:
    """A document of the batch."""

    id: str
    dataset: str
    source: str
    file: str  # token shard, inside the run
    row: int
    passages: list[Passage] = field(default_factory=list)
    text: str | None = None  # None: the run keeps neither the text nor the tokenizer
    text_from: str = ""  # the dataset that has it, or "tokens"
    columns: dict[str, Any] = field(default_factory=dict)  # that steps added
    meta: str | None = None
    verdicts: list[dict[str, str]] = field(default_factory=list)  # {"dataset", "step", "fate", "note"}


@dataclass
class BatchTrace:
    """The windows of a step, or of a rank's part of it."""

    mix: str
    step: int | None
    batch_windows: int | None
    rank: int | None
    world_size: int
    windows: list[dict[str, Any]]  # {"window", "stage", "source", "epoch", "of_source", "tokens", "padding"}
    documents: list[Traced]

    def record(self) -> dict[str, Any]:
        """As plain data."""
        return asdict(self)


def mix_of(run: RunFolder, name: str | None) -> str:
    """The run's mix of that name, or its only one."""
    mixes = [n for n, entry in run.mixes.items() if entry["kind"] == "mix"]
    if name is None and len(mixes) == 1:
        return mixes[0]
    if not mixes:
        raise RecipeError(f"{run.root} has no mix, so there is no training order to trace.")
    if name is None:
        raise RecipeError(f"{run.root} has {len(mixes)} mixes: {', '.join(mixes)}. Say which: --mix {mixes[0]}.")
    if name not in mixes:
        raise RecipeError(f"{run.root} has no mix {name!r}, only {', '.join(mixes)}.{nearest(name, mixes)}")
    return name


def batch_size(run: RunFolder, name: str, mix: Mix, given: int | None) -> int:
    """Windows of a step: as given, as the mix says, or as the models that are trained on it do."""
    if given is None:
        given = mix.description["batch_windows"]
    sizes = {size for _, size in batches_of(run, name, mix.seq_len, None)} if given is None else {given}
    if len(sizes) != 1:
        told = (
            f"models of the run have {', '.join(map(str, sorted(sizes)))}" if sizes else "neither the mix (batch_windows) nor a model says"
        )
        raise RecipeError(f"How many windows has a step of {name}? {told}. Give --batch.")
    return sizes.pop()


def windows_of(mix: Mix, step: int, size: int, rank: int | None, world_size: int) -> range:
    """The windows of a step, or of a rank's part, as `curate.batches.Batches` shares them out."""
    if (step + 1) * size > len(mix):
        raise RecipeError(f"The mix has {len(mix):,} windows, {len(mix) // size:,} steps of {size}; step {step} is behind its end.")
    first = step * size
    if rank is None:
        return range(first, first + size)
    if size % world_size or not 0 <= rank < world_size:
        raise RecipeError(
            f"--rank must be in 0..{world_size - 1} of --world-size {world_size}, which must divide the {size} windows of a step; got {rank}."
        )
    share = size // world_size
    return range(first + rank * share, first + (rank + 1) * share)


def trace(run: RunFolder, mix: Mix, windows: Sequence[int]) -> tuple[list[dict[str, Any]], list[Traced]]:
    """(windows, documents) in order of their first appearance."""
    found: dict[tuple[str, str, int], Traced] = {}
    shown = []
    for k in windows:
        place, tokens = mix.place(k), int(mix.sizes([k])[0])
        shown.append({"window": k, "stage": place.stage, "source": place.source, "epoch": place.epoch, "of_source": place.window,
                      "tokens": tokens, "padding": mix.seq_len - tokens})  # fmt: skip
        for piece in mix.trace(k):
            key = (piece.dataset, piece.file, piece.row)
            document = found.setdefault(key, _document(piece))
            document.passages.append(Passage(k, piece.start, piece.stop, piece.first))
    documents = list(found.values())
    for dataset in dict.fromkeys(d.dataset for d in documents):
        _tell(run, mix, dataset, [d for d in documents if d.dataset == dataset])
    return shown, documents


def _document(piece: Piece) -> Traced:
    return Traced(piece.id, piece.dataset, piece.source, f"{piece.dataset}/{piece.file}", piece.row)


def _tell(run: RunFolder, mix: Mix, dataset: str, documents: list[Traced]) -> None:
    """Fill in texts, columns and verdicts, from the dataset itself back to the one that was read."""
    chain = [dataset]
    while (upstream := run.settings(chain[-1]).get("from")) in run.datasets:
        chain.append(str(upstream))
    passed = [verdict for name in reversed(chain) for verdict in passed_steps(run, name)]
    for document in documents:
        document.verdicts = passed
    for name in chain:
        files = {str(p.relative_to(run.root)): p for p in run.parts(name)}
        if name == dataset:
            wanted = {files[d.file]: [x.row for x in documents if x.file == d.file] for d in documents}
            places = [p for p in find(wanted, {d.id for d in documents}) if p.row in wanted[p.file]]
        else:
            places = find(files.values(), {d.id for d in documents})
        rows: dict[str, Mapping[str, Any]] = {}
        for place, found in rows_at(places).items():
            rows.setdefault(place.id if name != dataset else f"{place.file.name}\0{place.row}", found)
        for document in documents:
            row = rows.get(document.id if name != dataset else f"{Path(document.file).name}\0{document.row}", {})
            document.columns |= {k: v for k, v in row.items() if k not in OWN and k not in document.columns and v is not None}
            document.meta = document.meta or row.get("meta")
            if document.text is None and row.get("text") is not None:
                document.text, document.text_from = row["text"], name
    _decode(run, mix, [d for d in documents if d.text is None])


def passed_steps(run: RunFolder, dataset: str) -> list[dict[str, str]]:
    """Every step of a dataset, which a document that is still there has passed, with the bounds it lay within."""
    bounds: dict[int, list[str]] = {}
    for bound in run.distributions(dataset).get("bounds", ()):
        bounds.setdefault(bound["line"], []).append(f"{bound['reason'].partition('.')[2]} {limits(bound['at_least'], bound['at_most'])}")
    funnel = run.datasets[dataset]["funnel"]
    return [
        {"dataset": dataset, "step": entry["step"], "fate": "passed", "note": ", ".join(bounds.get(line, ()))}
        for line, entry in enumerate(funnel)
        if line
    ]


def _decode(run: RunFolder, mix: Mix, documents: Sequence[Traced]) -> None:
    """Texts out of tokens, with the run's tokenizer of the mix's digest, where it has one."""
    file = _tokenizer(run, mix.tokenizer.get("curate.tokenizer_sha256", "")) if documents else None
    if file is None:
        return
    from tokenizers import Tokenizer

    from curate.tokens.mapped import open_shard

    tokenizer = Tokenizer.from_file(str(file))
    for document in documents:
        shard = open_shard(run.root / document.file)
        number = next(n for n in range(shard.batches) if shard.rows_before(n + 1) > document.row)
        ids = shard.stream(number).batch.column("tokens")[document.row - shard.rows_before(number)].as_py()
        document.text, document.text_from = tokenizer.decode(ids), "tokens"


def _tokenizer(run: RunFolder, sha256: str) -> Path | None:
    for name in run.manifest["models"]:
        file: Path = run.root / name / "tokenizer.json"
        if file.is_file() and hashlib.sha256(file.read_bytes()).hexdigest() == sha256:
            return file
    return None
