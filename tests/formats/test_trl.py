"""trl's trainers take our exports as they are, keep every row, and train on the tokens that our mask says."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from formats.convert import convert
from formats.records import Message, Record
from formats.rendered import Rows, table
from formats.templates.rendering import Refused, Renderer, Row, Settings
from formats.templates.tokenizer import from_transformers
from tests.formats.templates.pairs import IM, byte_bpe

os.environ.setdefault("HF_HUB_OFFLINE", "1")
trl = pytest.importorskip("trl")
torch = pytest.importorskip("torch")
datasets = pytest.importorskip("datasets")
transformers = pytest.importorskip("transformers")

pytestmark = pytest.mark.filterwarnings("ignore")  # torch, transformers and trl warn about each other
LONG = "word " * 30


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    from formats.templates.named import named

    made = transformers.PreTrainedTokenizerFast(tokenizer_object=byte_bpe(IM), eos_token="<|im_end|>", pad_token="<|endoftext|>")
    made.chat_template = named("qwen").source
    return made


@pytest.fixture(scope="module")
def model() -> Any:
    torch.manual_seed(0)
    return transformers.LlamaForCausalLM(_config())


def _config() -> Any:
    return transformers.LlamaConfig(
        vocab_size=400, hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2, num_key_value_heads=2,
        max_position_embeddings=4096, pad_token_id=0, bos_token_id=None, eos_token_id=2,
    )  # fmt: skip


def settings(folder: Path, cls: Any, **more: Any) -> Any:
    return cls(
        output_dir=str(folder), per_device_train_batch_size=2, max_steps=1, report_to="none", use_cpu=True, bf16=False,
        gradient_checkpointing=False, save_strategy="no", disable_tqdm=True, **more,
    )  # fmt: skip


def conversations() -> list[Record]:
    turns = [
        Message("user", "How are you?"),
        Message("assistant", "Well \u00e9\U0001f600."),
        Message("user", "And now?"),
        Message("assistant", LONG.strip()),
    ]
    tools = '[{"type":"function","function":{"name":"add","parameters":{"type":"object","properties":{"a":{"type":"integer"}}}}}]'
    return [
        Record(turns[:2], id="a"),
        Record([Message("system", "Be brief."), *turns], id="b"),
        Record([turns[0], msg_off(turns[1]), *turns[2:]], id="c"),
        Record([*turns[:3], Message("assistant", "Yes.", reasoning="I think so.")], tools=tools, id="d"),
    ]


def msg_off(m: Message) -> Message:
    return Message(m.role, m.content, loss=0.0)


def test_sft_trains_the_tokens_of_our_mask(tokenizer: Any, model: Any, tmp_path: Path) -> None:
    rows = Rows(Renderer(from_transformers(tokenizer)))
    made = rows.of(conversations() * 3)
    set_ = datasets.Dataset(table(made).to_pylist() and _arrow(table(made)))
    trainer = trl.SFTTrainer(
        model=model, args=settings(tmp_path, trl.SFTConfig, max_length=None), train_dataset=set_, processing_class=tokenizer
    )
    assert len(trainer.train_dataset) == len(made) == 12
    for (_, ours), theirs in zip(made, trainer.train_dataset, strict=True):
        assert theirs["input_ids"] == ours.ids
        assert theirs["labels"] == ours.labels().tolist()
    batch = trainer.data_collator([trainer.train_dataset[n] for n in range(4)])
    for n in range(4):
        kept = batch["labels"][n][batch["labels"][n] != -100].tolist()
        assert kept == [i for i, t in zip(made[n][1].ids, made[n][1].trained, strict=True) if t]
    trainer.train()


def _arrow(batch: Any) -> Any:
    import pyarrow as pa
    from datasets.table import InMemoryTable

    return InMemoryTable(pa.Table.from_batches([batch]))


def test_sft_on_messages_finds_the_same_mask_by_itself(tokenizer: Any, model: Any, tmp_path: Path) -> None:
    records = [r for r in conversations() if r.id != "c"]  # trl knows no weights of turns
    rows = [{"messages": [_turn(m) for m in r.messages], "tools": r.tools or "[]"} for r in records]
    args = settings(tmp_path, trl.SFTConfig, max_length=None, assistant_only_loss=True)
    found = trl.SFTTrainer(model=model, args=args, train_dataset=datasets.Dataset.from_list(rows), processing_class=tokenizer).train_dataset
    ours = Renderer(from_transformers(tokenizer)).rows(records)
    assert [row["labels"] for row in found] == [row.labels().tolist() for row in ours if isinstance(row, Row)]


def _turn(m: Message) -> dict[str, Any]:
    return {"role": m.role, "content": m.content, "reasoning_content": m.reasoning}


def test_packed_rows_keep_their_documents(tokenizer: Any, model: Any, tmp_path: Path) -> None:
    from formats.rendered import packed_table

    made = Rows(Renderer(from_transformers(tokenizer))).of(conversations() * 3)
    packed, fill = packed_table([(np.array(r.ids), r.labels()) for _, r in made], 640)
    assert fill > 0.7
    set_ = datasets.Dataset(_arrow(packed.select(["input_ids", "labels", "seq_lengths"])))
    args = settings(tmp_path, trl.SFTConfig, max_length=None, padding_free=True, dataset_kwargs={"skip_prepare_dataset": True})
    trainer = trl.SFTTrainer(model=model, args=args, train_dataset=set_, processing_class=tokenizer)
    assert len(trainer.train_dataset) == len(packed)
    batch = trainer.data_collator([trainer.train_dataset[n] for n in range(len(packed))])
    ours = packed.to_pylist()
    assert batch["position_ids"].flatten().tolist() == [p for row in ours for p in row["position_ids"]]
    assert batch["labels"].flatten().tolist() == [label for row in ours for label in row["labels"]]


PAIRS = [
    {"prompt": [{"role": "user", "content": f"Question {n}?"}], "chosen": [{"role": "assistant", "content": f"Good {n}. {LONG * (n % 2)}"}],
     "rejected": [{"role": "assistant", "content": f"Bad {n}."}]}
    for n in range(4)
]  # fmt: skip


def export(rows: list[dict[str, Any]], to: str, folder: Path, **kwargs: Any) -> list[dict[str, Any]]:
    """Rows through files, as `curate convert` does."""
    (folder / "in.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    out = folder / "out.jsonl"
    report, _ = convert(str(folder / "in.jsonl"), to, out, **kwargs)
    assert not report.dropped and not report.unreadable
    return [json.loads(line) for line in out.read_text().splitlines()]


def sides(tokenizer: Any, rows: list[dict[str, Any]], key: str) -> list[tuple[list[int], list[int]]]:
    """(ids of the prompt, ids of the answer that is trained) as our mask has them."""
    renderer = Renderer(from_transformers(tokenizer), Settings("completion"))
    made = renderer.rows([Record([Message(t["role"], t["content"]) for t in [*r["prompt"], *r[key]]]) for r in rows])
    assert not any(isinstance(m, Refused) for m in made)
    return [
        ([i for i, t in zip(m.ids, m.trained, strict=True) if not t], [i for i, t in zip(m.ids, m.trained, strict=True) if t])
        for m in made
        if isinstance(m, Row)
    ]


def test_dpo(tokenizer: Any, model: Any, tmp_path: Path) -> None:
    rows = export(PAIRS, "preference", tmp_path)
    trainer = trl.DPOTrainer(model=model, ref_model=transformers.LlamaForCausalLM(_config()), args=settings(tmp_path, trl.DPOConfig, max_length=None),
                             train_dataset=datasets.Dataset.from_list(rows), processing_class=tokenizer)  # fmt: skip
    found = list(trainer.train_dataset)
    assert len(found) == len(PAIRS)
    assert [(r["prompt_ids"], r["chosen_ids"]) for r in found] == sides(tokenizer, PAIRS, "chosen")
    assert [(r["prompt_ids"], r["rejected_ids"]) for r in found] == sides(tokenizer, PAIRS, "rejected")
    trainer.train()


def test_kto(tokenizer: Any, model: Any, tmp_path: Path) -> None:
    rows = export(PAIRS, "kto", tmp_path)
    trainer = trl.KTOTrainer(model=model, ref_model=transformers.LlamaForCausalLM(_config()), args=settings(tmp_path, trl.KTOConfig, max_length=None),
                             train_dataset=datasets.Dataset.from_list(rows), processing_class=tokenizer)  # fmt: skip
    found = list(trainer.train_dataset)
    assert len(found) == len(rows) == 2 * len(PAIRS)
    assert [(r["prompt_ids"], r["completion_ids"]) for r in found] == sides(tokenizer, rows, "completion")
    trainer.train()


def test_reward(tokenizer: Any, tmp_path: Path) -> None:
    rows = export(PAIRS, "preference", tmp_path)
    judge = transformers.LlamaForSequenceClassification(transformers.LlamaConfig(**{**_config().to_dict(), "num_labels": 1}))
    trainer = trl.RewardTrainer(model=judge, args=settings(tmp_path, trl.RewardConfig, max_length=None), train_dataset=datasets.Dataset.from_list(rows),
                                processing_class=tokenizer)  # fmt: skip
    found = list(trainer.train_dataset)
    assert len(found) == len(PAIRS)
    for key in ("chosen", "rejected"):
        assert [r[f"{key}_ids"] for r in found] == [prompt + answer for prompt, answer in sides(tokenizer, PAIRS, key)]
    trainer.train()
