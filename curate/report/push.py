"""Push a run's datasets to the Hugging Face hub in the layout that `datasets.load_dataset(REPO, NAME)` reads.

    README.md            card.md
    <dataset>/part-*     data files; every dataset is a config of its own
    manifest.json, recipe.lock.yaml

Never pushed: dropped and quarantined rows and the ledger. They hold what the recipe removed, personal data among it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from curate.errors import DataError, MissingDependency, RecipeError
from curate.report.card import NAME as CARD
from curate.report.card import check
from curate.report.run_folder import LOCK, open_run

FILES_A_COMMIT = 100  # the hub asks for commits of at most a few hundred files


@dataclass(frozen=True)
class Upload:
    """What goes where."""

    repository: str
    files: tuple[tuple[str, Path], ...]  # path in the repository, file; the card last: a repository with one is whole

    @property
    def bytes(self) -> int:
        return sum(path.stat().st_size for _, path in self.files)


def prepare(root: Path, repository: str, datasets: Sequence[str], about: Path | None = None) -> Upload:
    """Everything that would be pushed. RecipeError for unknown datasets, DataError where the card is not the run's."""
    run = open_run(root)
    unknown = [name for name in datasets if name not in run.datasets]
    if unknown:
        raise RecipeError(f"{root} has no dataset {unknown[0]!r}. It has: {', '.join(run.datasets)}.")
    wrong = check(root, about)
    if wrong:
        raise DataError(f"{root / CARD} is not what the run says, {wrong[0]}. Run `curate card {root}`, then push again.")
    data = [(f"{name}/{path.name}", path.resolve()) for name in datasets or run.datasets for path in run.parts(name)]
    notes = [(name, root / name) for name in ("manifest.json", LOCK) if (root / name).exists()]
    return Upload(repository, (*data, *notes, ("README.md", root / CARD)))


def push(
    upload: Upload, private: bool, token: str | None = None, endpoint: str | None = None, said: Callable[[str], None] = lambda _: None
) -> str:
    """Create the repository where there is none, upload in commits of some files, return its address."""
    try:
        from huggingface_hub import CommitOperationAdd, HfApi
        from huggingface_hub.errors import HfHubHTTPError, LocalTokenNotFoundError
    except ImportError as error:
        raise MissingDependency.extra("huggingface_hub", "hub", "curate push") from error
    api: Any = HfApi(endpoint=endpoint, token=token)
    try:
        api.create_repo(upload.repository, repo_type="dataset", private=private, exist_ok=True)
        for start in range(0, len(upload.files), FILES_A_COMMIT):
            some = upload.files[start : start + FILES_A_COMMIT]
            said(f"files {start + 1} to {start + len(some)} of {len(upload.files)}")
            operations = [CommitOperationAdd(path_in_repo=inside, path_or_fileobj=str(path)) for inside, path in some]
            api.create_commit(upload.repository, operations, commit_message="Push with curate", repo_type="dataset")
    except LocalTokenNotFoundError as error:
        raise RecipeError("curate push needs a token of the hub. Run `hf auth login`, or set HF_TOKEN.") from error
    except HfHubHTTPError as error:
        raise DataError(
            f"The hub refused the push to {upload.repository}: {error}. What was uploaded stays; push again to go on."
        ) from error
    except connection_errors() as error:
        raise DataError(
            f"The hub can't be reached: {type(error).__name__}: {error}. What was uploaded stays; push again to go on."
        ) from error
    return f"{api.endpoint}/datasets/{upload.repository}"


def connection_errors() -> tuple[type[Exception], ...]:
    """What the hub's client raises without a connection: it has used several libraries for HTTP, with errors of their own."""
    import sys

    found = (getattr(sys.modules.get(name), "TransportError", OSError) for name in ("httpx", "httpx2"))
    return (OSError, *found)
