"""Open a fastText model by path or URL."""

from __future__ import annotations

import mmap
from typing import TYPE_CHECKING

from curate.errors import RecipeError

if TYPE_CHECKING:
    from curate.kernels.fasttext_model import FastTextModel


def load(uri: str) -> FastTextModel:
    """Return the model at `uri`: a local path, or any URL that fsspec opens.

    A local file is mapped, not read: the matrices of a large dense model (GlotLID: 1.7 GB) lie in memory once for all workers,
    and pages that no text needs are never read. It must not change while the run goes on. Raises RecipeError where there is no such file, BadModel, with the file's
    name, where it is damaged or not a supervised model.
    """
    from curate.kernels.fasttext_model import BadModel, parse

    try:
        return parse(_content(uri))
    except BadModel as error:
        raise BadModel(f"{uri}: {error}") from error
    except OSError as error:
        raise RecipeError(f"The model {uri} can't be opened: {error}") from error


def _content(uri: str) -> memoryview:
    if "://" in uri:
        import fsspec

        with fsspec.open(uri, "rb") as file:
            return memoryview(bytes(file.read()))
    with open(uri, "rb") as file:
        size = file.seek(0, 2)
        return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)) if size else memoryview(b"")
