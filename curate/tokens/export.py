"""Export the token shards of a dataset to the files of other tools: what `curate export` does."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from curate.errors import DataError, RecipeError
from curate.registry import nearest
from curate.tokens.export_forms import Datatrove, Form, Megatron, Parquet
from curate.tokens.mapped import TokenShard, open_shard
from curate.tokens.vocabulary import PREFIX

FORMS = ("megatron", "datatrove", "parquet")
NOTES = "export.json"
SAME = ("tokenizer_sha256", "vocab_size", "bos_id", "eos_id", "document")


@dataclass(frozen=True)
class Exported:
    """What was written; export.json holds the same."""

    form: str
    dataset: str
    documents: int
    tokens: int
    bytes_per_token: int
    files: list[dict[str, Any]]  # {name, bytes}
    tokenizer: dict[str, str]  # as the shards have it: digest, vocabulary, BOS and EOS, what a document is
    dataset_digest: str  # of the dataset in its run's manifest; "" outside a run


def export(source: str, form: str, out: Path, column: str = "tokens", force: bool = False,
           progress: Callable[[int, int], None] = lambda done, total: None) -> Exported:  # fmt: skip
    """Write the shards of a dataset's folder below `out`, which is made.

    source: folder of the dataset, as RUN/NAME; form: megatron, datatrove or parquet; column: of the token lists, for parquet
    progress: called with tokens done and in all
    Raises RecipeError for an unknown form or an output that exists, DataError where there are no shards, or they don't belong together.
    """
    if form not in FORMS:
        raise RecipeError(f"--to must be one of {', '.join(FORMS)}, got {form!r}.{nearest(form, list(FORMS))}")
    if out.exists() and not force and (not out.is_dir() or any(out.iterdir())):
        raise RecipeError(f"{out} exists. Choose another folder, or --force to replace it.")
    folder = Path(source)
    shards = [open_shard(path) for path in _parts(folder)]
    tokenizer = tokenizer_of(shards)
    name = folder.resolve().name.partition("@")[0] if folder.is_symlink() else folder.absolute().name
    width = shards[0].words.itemsize
    scratch = out.absolute().with_name(f".{out.name}.{os.getpid()}")
    scratch.mkdir(parents=True)
    try:
        documents = _write(shards, _open(form, scratch, name, width, column), progress)
        files = [{"name": f.name, "bytes": f.stat().st_size} for f in sorted(scratch.iterdir())]
        made = Exported(form, name, documents, sum(s.tokens for s in shards), width, files, tokenizer, _digest(folder, name))
        (scratch / NOTES).write_text(json.dumps(asdict(made), indent=1, sort_keys=True) + "\n", "utf-8")
        if out.exists():
            shutil.rmtree(out)
        scratch.rename(out)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return made


def _parts(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise DataError(f"{folder} is no folder. Give a dataset's folder, as RUN/NAME.")
    parts = sorted(folder.glob("part-*.arrow"))
    if not parts:
        raise DataError(f"{folder} holds no token shards (part-*.arrow). Add the step 'tokenize' to the dataset and run it again.")
    return parts


def tokenizer_of(shards: list[TokenShard]) -> dict[str, str]:
    """What all shards say of their tokenizer; DataError where they disagree."""
    said = [{key: shard.metadata.get(PREFIX + key, "") for key in SAME} for shard in shards]
    for shard, about in zip(shards, said, strict=True):
        differs = [key for key in SAME if about[key] != said[0][key]]
        if differs:
            raise DataError(
                f"{shard.path} and {shards[0].path} were tokenized differently ({differs[0]}: {about[differs[0]]!r} and "
                f"{said[0][differs[0]]!r}). Export datasets of one tokenizer."
            )
    return said[0]


def _open(form: str, folder: Path, name: str, width: int, column: str) -> Form:
    if form == "megatron":
        return Megatron(folder, name, width)
    return Datatrove(folder, name, width) if form == "datatrove" else Parquet(folder, name, width, column)


def _write(shards: list[TokenShard], form: Form, progress: Callable[[int, int], None]) -> int:
    total, done, documents = sum(shard.tokens for shard in shards), 0, 0
    with form.files:
        for shard in shards:
            form.begin(shard.path.name, shard.metadata)
            for number in range(shard.batches):
                stream = shard.stream(number)
                form.write(stream)
                documents += len(stream.offsets) - 1
                done += len(stream.tokens)
                progress(done, total)
        form.close()
    return documents


def _digest(folder: Path, name: str) -> str:
    """The dataset's digest in the manifest of the run that the folder lies in."""
    try:
        manifest = json.loads((folder.absolute().parent / "manifest.json").read_bytes())
        return str(manifest["datasets"][name]["digest"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""
