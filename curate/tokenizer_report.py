"""Compare tokenizers on files outside a recipe: what `curate tokenizer report` does."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from curate.apply import outcomes
from curate.errors import RecipeError
from curate.steps.languages import Language
from curate.steps.sampling import draws
from curate.steps.tokenization import tokenizer_file
from curate.tokens.encoder import Encoder
from curate.tokens.fertility import Fertility, measure
from curate.tokens.from_files import GUESSED_RATIO, PACKED, batches_of, list_inputs
from curate.tokens.vocabulary import load_vocabulary


def report_on_files(
    inputs: Sequence[str], tokenizers: Sequence[tuple[str, str]], *, text: str, max_bytes: int, languages: bool
) -> Fertility:
    """Measure tokenizers on a sample of the files.

    tokenizers: (name, file, folder or hub name); languages: identify them with lid.176.ftz
    Raises RecipeError for a tokenizer that is none or a name given twice, DataError where nothing matches.
    """
    names = [name for name, _ in tokenizers]
    if len(set(names)) < len(names):
        raise RecipeError(f"Two tokenizers have one name ({', '.join(names)}). Give each its own: --tokenizer NAME=FILE.")
    vocabularies = {name: load_vocabulary(tokenizer_file(given)) for name, given in tokenizers}
    found = list_inputs(inputs, text)
    size = sum(i.split.size * (GUESSED_RATIO if i.split.uri.endswith(PACKED) else 1) for i in found)
    fraction = min(1.0, max_bytes / max(1, size))
    batches = (_annotated(batch, fraction, languages) for batch in batches_of(found))
    unknown = {name: v.ids.get(v.unknown) if v.unknown is not None else None for name, v in vocabularies.items()}
    return measure(batches, {name: Encoder(v) for name, v in vocabularies.items()}, unknown)


def _annotated(batch: pa.RecordBatch, fraction: float, languages: bool) -> pa.RecordBatch:
    """A sample of a batch, with its languages."""
    if fraction < 1.0:
        batch = batch.filter(pa.array(draws(batch.column("id"), 0) < fraction))
    return outcomes(Language.model_validate({}), [batch])[0].batch if languages and len(batch) else batch
