"""One suite over every registered step: what the engine relies on. A new step earns it by being listed.

Checked: settings survive JSON, unknown settings are refused by name, no row is lost, verdicts fit, only declared columns
change, and the result does not depend on how the documents are cut into batches, on slices, or on read-only buffers.
"""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pydantic
import pytest

from curate import registry
from curate.apply import outcomes, run_step
from curate.context import WorkContext
from curate.schema import DOCUMENT, ROW, with_columns
from curate.step import CorpusStep, Outcome, Step
from tests.curate.steps.small_models import save_arpa, save_classifier, save_transformer

ODD_TEXTS = [
    "",
    " ",
    "\n\n\n",
    "plain words in a row, and then some more of them to make a sentence.",
    "plain words in a row, and then some more of them to make a sentence.",
    "NUL \x00 inside",
    "zero\u200bwidth\ufeff and \u2060 joiners \u200d\u200c",
    "line\u2028separator\u2029and\x85next\x1cfile",
    "mixed 中文字符 and かな 한국어 עברית العربية हिन्दी ไทย",
    "emoji 👩‍👩‍👧‍👦 flags 🇩🇪 and combining e\u0301 a\u030a",
    "math 𝔘𝔫𝔦𝔠𝔬𝔡𝔢 and private \ue000 and last \U0010ffff",
    "İstanbul ǅ ﬁ ß K Å ſ",
    "CRLF lines\r\nand old\rMac\r\n",
    "a" * 5000,
    "word " * 2000,
    "line\n" * 2000,
    "{}[]<>&amp;&#x41;<p>html</p> javascript lorem ipsum",
    "mail someone@example.org or call +1 212-555-0187, card 4111 1111 1111 1111, host 8.8.8.8 and fe80::1",
    "the be to of and that have with " * 30,
    "- bullet one\n- bullet two\n• three...\n… four…",
    "Ã©tÃ© mojibake â€œquotesâ€\x9d",
]


@pytest.fixture(scope="session")
def settings(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """Settings for the steps that need some."""
    folder = tmp_path_factory.mktemp("assets")
    items = folder / "items.jsonl"
    words = "plain words in a row, and then some more of them to make a sentence."
    items.write_text(json.dumps({"question": words, "instruction": words}) + "\n")
    tokenizer = folder / "tokenizer.json"
    save_tokenizer(tokenizer)
    return {
        "decontaminate": {"against": [str(items)]},
        "filter": {"where": "text != '' and length(text) > 3"},
        "sample": {"fraction": 0.5},
        "url": {
            "domains": ["example.org"],
            "words": ["casino"],
            "soft_words": ["free", "live"],
            "substrings": ["poker"],
            "keep_missing": False,
        },
        "extract": {"engine": "resiliparse"},
        "bad_words": {"words": ["plain", "in a row", "straße", "中文"], "keep_fraction": 0.5},
        "datatrove": {"filter": "GopherQualityFilter", "settings": {"min_doc_words": 5, "min_avg_word_length": 2}},
        "tokenize": {"tokenizer": str(tokenizer)},
        "render": {"tokenizer": str(tokenizer), "template": "alpaca", "max_length": 3000},
        "fit_candidates": {
            "tokenizer": str(tokenizer),
            "template": "alpaca",
            "max_tokens": 3000,
            "long_prompt": "keep_end",
            "long_answer": "cut",
        },
        "diverse": {"budget": 7},
        "ifd": {"model": str(language_model(folder / "lm", tokenizer)), "template": "alpaca", "max_length": 400},
        "classifier": {"model": str(save_classifier(folder / "quality.bin", word_ngrams=2)), "min_score": 0.5},
        "perplexity": {"model": str(save_arpa(folder / "model.arpa")), "max_perplexity": 9, "head": 5, "tail": 8},
        "toxicity": {
            "words": ["in a row", "中文"],
            "classifier": str(folder / "quality.bin"),
            "label": "lq",
            "max_count": 0,
            "max_score": 0.9,
        },
        "score": {"verifier": {"length": {"min": 3}}},
        "select_best": {"require": {"s": 1}, "top": None},
        "select_pairs": {"by": "s"},
        "pass_rate": {"by": "s"},
        "nsfw": {"words": ["plain", "in a row"], "max_share": 0.05},
        "generate": {"model": echo(), "samples": 2},
        "self_instruct": {"model": echo(), "seeds": str(items), "seed_shots": 1},
        **{name: {"model": echo()} for name in ("evol_instruct", "evol_gain", "magpie", "seeded_prompts", "backtranslate")},
        "hf_classifier": {"model": str(hub_model(folder / "hf")), "label": "hq", "min_score": 0.5, "max_tokens": 32},
    }


def echo() -> dict[str, str]:
    """A model that says something of its own for every seed."""
    from formats.generation.plugin import answers

    answers("echo")(lambda messages, seed, **sampling: f"1. Tell number {seed} of {seed % 977} about {seed % 97}\n2. Ask it")
    return {"plugin": "echo"}


def hub_model(folder: Path) -> Path:
    """A Hugging Face classifier where it can be made."""
    return save_transformer(folder) if "hf_classifier" in NAMES else folder


def language_model(folder: Path, tokenizer: Path) -> Path:
    """A tiny causal language model with that tokenizer, where it can be made."""
    if "ifd" not in NAMES:
        return folder
    import shutil

    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    size = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "num_key_value_heads": 1}
    LlamaForCausalLM(LlamaConfig(vocab_size=400, **size)).save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(tokenizer.with_name(name), folder / name)
    return folder


def save_tokenizer(path: Path) -> None:
    """A small byte-level BPE tokenizer."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=400, special_tokens=["<|endoftext|>"], initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(ODD_TEXTS, trainer)
    tokenizer.save(str(path))
    path.with_name("tokenizer_config.json").write_text(json.dumps({"eos_token": "<|endoftext|>"}))


def documents(texts: list[str | None]) -> pa.RecordBatch:
    n = len(texts)
    columns = [
        pa.array([f"d{i}" for i in range(n)], pa.string()),
        pa.array(texts, pa.large_string()),
        pa.array(["test"] * n, pa.string()),
        pa.array(["{}"] * n, pa.large_string()),
    ]
    return pa.RecordBatch.from_arrays(columns, schema=DOCUMENT)


def lent(step: Step, batch: pa.RecordBatch) -> pa.RecordBatch:
    """The batch with the columns of other steps that this one reads; they depend on the text alone."""
    sizes = [len(text or "") for text in batch.column("text").to_pylist()]
    columns = {
        "lang_code": pa.array([("en", "de", "zz")[n % 3] for n in sizes], pa.string()),
        "dup_size": pa.array([n % 7 + 1 for n in sizes], pa.int64()),
        "dup_of": pa.array([None if n % 2 else "d0" for n in sizes], pa.string()),
    }
    for name in columns.keys() & step.reads():
        batch = batch.append_column(name, columns[name])
    if {"messages", "candidates"} <= step.reads():
        batch = with_columns(batch, conversations(batch))
    return batch


def conversations(batch: pa.RecordBatch) -> dict[str, pa.Array]:
    """The columns of records, for steps of `formats`: each text as a question, and as its answer; an empty one has neither."""
    from formats.batches import to_batch
    from formats.records import RECORD_COLUMNS, Message, Record

    texts = [text or "" for text in batch.column("text").to_pylist()]
    made = to_batch([Record([Message("user", t), Message("assistant", t)] if t else []) for t in texts])
    return {name: made.column(name) for name in RECORD_COLUMNS}


def variants(name: str, settings: dict[str, dict[str, Any]]) -> list[Step]:
    """The step as it comes, and in annotate mode where it has one."""
    kind = registry.load("steps", name)
    plain = kind(**settings.get(name, {}))
    made: list[Step] = [plain]
    if "mode" in kind.model_fields:
        made.append(kind(**{**settings.get(name, {}), "mode": "annotate"}))
    return made


def result(step: Step, batches: list[pa.RecordBatch]) -> pa.Table:
    """What the step makes of the corpus: every row with its verdict, so that nothing hides in a filter."""
    rows = []
    for outcome in outcomes(step, [lent(step, batch) for batch in batches], WorkContext(seed=3)):
        table = pa.Table.from_batches([outcome.batch])
        if outcome.verdict is not None:
            v = outcome.verdict
            table = table.append_column("keep", v.keep).append_column("reason", v.reason.cast(pa.string()))
            table = table.append_column("value", (v.value if v.value is not None else pa.nulls(len(table))).cast(pa.float64()))
            table = table.append_column("partner", (v.partner if v.partner is not None else pa.nulls(len(table))).cast(pa.string()))
        rows.append(table.drop_columns([c for c in (ROW,) if c in table.column_names]))
    return pa.concat_tables(rows).combine_chunks().replace_schema_metadata(None)


EXTRAS = {"extract": "resiliparse", "hf_classifier": "torch", "ifd": "torch", "perplexity": "kenlm"}  # steps that a base install can't bind
NAMES = [name for name in registry.names("steps") if importlib.util.find_spec(EXTRAS.get(name, "curate"))]


@pytest.mark.parametrize("name", NAMES)
def test_declares_itself(name: str, settings: dict[str, dict[str, Any]]) -> None:
    kind = registry.load("steps", name)
    assert kind.name == name and kind.summary and kind.__doc__
    for field, about in kind.model_fields.items():
        assert about.description, f"{name}.{field} has no description"
    for step in variants(name, settings):
        again = kind(**json.loads(json.dumps(step.model_dump(mode="json"))))
        assert again == step
        with pytest.raises(pydantic.ValidationError):
            step.checkpoint = True
    with pytest.raises(pydantic.ValidationError, match="no_such_setting"):
        kind(**settings.get(name, {}), no_such_setting=1)


@pytest.mark.parametrize("name", NAMES)
def test_keeps_rows_and_touches_only_what_it_declares(name: str, settings: dict[str, dict[str, Any]]) -> None:
    plain = documents([*ODD_TEXTS, None])
    for step in variants(name, settings):
        batch = lent(step, plain)
        (outcome,) = outcomes(step, [batch])
        assert isinstance(outcome, Outcome) and len(outcome.batch) == len(batch)
        before = {n for n in batch.schema.names if n not in step.removes()}
        made = outcome.batch if outcome.expanded is None else outcome.expanded.batch
        after = set(made.schema.names) - {ROW}
        assert after == before | set(step.adds()), f"{name}: columns are {sorted(after)}"
        for added, kind in step.adds().items():
            if added not in ("tokens",):
                assert made.schema.field(added).type == kind, added
        for column in ("id", "source"):
            assert outcome.batch.column(column).equals(batch.column(column))
        if getattr(step, "mode", "drop") == "annotate":
            assert outcome.verdict is None
            assert outcome.batch.column("text").equals(batch.column("text"))
        check_verdict(step, outcome, len(batch))


def check_verdict(step: Step, outcome: Outcome, rows: int) -> None:
    verdict = outcome.verdict
    if verdict is None:
        return
    assert len(verdict.keep) == len(verdict.reason) == rows and verdict.keep.null_count == 0
    for keep, reason in zip(verdict.keep.to_pylist(), verdict.reason.to_pylist(), strict=True):
        assert (reason is None) == keep
        assert keep or reason in step.drops(), f"{reason} is not among {step.drops()}"


@pytest.mark.parametrize("name", NAMES)
def test_same_result_for_any_batches(name: str, settings: dict[str, dict[str, Any]]) -> None:
    texts: list[str | None] = [*ODD_TEXTS, None, *ODD_TEXTS[::-1]]
    whole = documents(texts)
    padded = documents(["before", *texts, "after"])
    sliced = padded.slice(1, len(texts)).set_column(0, "id", whole.column("id"))
    for step in variants(name, settings):
        expected = result(step, [whole])
        assert result(step, [whole.slice(i, 1) for i in range(len(whole))]).equals(expected), "one row at a time"
        assert result(step, [whole.slice(0, 7), whole.slice(7, 0), whole.slice(7, 20), whole.slice(27)]).equals(expected), "uneven batches"
        assert result(step, [sliced]).equals(expected), "a slice with an offset"
        assert result(step, [read_only(whole)]).equals(expected), "memory-mapped buffers"


def read_only(batch: pa.RecordBatch) -> pa.RecordBatch:
    """The batch on top of immutable bytes, as from a memory map."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, batch.schema) as file:
        file.write_batch(batch)
    return pa.ipc.open_file(pa.py_buffer(sink.getvalue().to_pybytes())).get_batch(0)


@pytest.mark.parametrize("name", NAMES)
def test_empty_batch_and_long_line(name: str, settings: dict[str, dict[str, Any]]) -> None:
    for step in variants(name, settings):
        (outcome,) = outcomes(step, [lent(step, documents([]))])
        assert len(outcome.batch) == 0
        long = "a long line of words without an end " * 30_000
        (outcome,) = outcomes(step, [lent(step, documents([long, "x" * (1 << 20), "short"]))])
        assert len(outcome.batch) == 3


@pytest.mark.parametrize("name", NAMES)
def test_is_a_function_on_a_table(name: str, settings: dict[str, dict[str, Any]]) -> None:
    import curate.steps

    table = pa.table({"text": ["one", "two", "two"], "id": ["a", "b", "c"], "source": ["s"] * 3, "meta": ["{}"] * 3})
    function = getattr(curate.steps, name)
    step = registry.load("steps", name)(**settings.get(name, {}))
    if name in ("by_language", "weight_by_cluster") or "messages" in step.reads():
        table = pa.Table.from_batches([lent(step, table.to_batches()[0])])
    made = function(table, **settings.get(name, {}))
    kind = registry.load("steps", name)
    expected = run_step(kind(**settings.get(name, {})), table)
    assert made.to_pydict() == expected.to_pydict()
    assert isinstance(made, pa.Table)


def test_no_module_hides_a_step() -> None:
    modules = {p.stem for p in (Path(registry.__file__).parent / "steps").glob("*.py")}
    assert not modules & set(NAMES)


def test_corpus_steps_are_the_dedups_and_the_classifiers() -> None:
    expected = {"dedup_exact", "dedup_lines", "dedup_minhash", "dedup_substrings", "classifier", "hf_classifier"}
    assert {n for n in registry.STEPS if issubclass(registry.load("steps", n), CorpusStep)} == expected
