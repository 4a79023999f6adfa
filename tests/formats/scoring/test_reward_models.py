"""A reward model made here: trained on planted good and bad answers, it separates others of their kind, through the step `score`."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

import torch
from transformers import LlamaConfig, LlamaForSequenceClassification, PreTrainedTokenizerFast

from curate.apply import run_step
from formats.batches import from_batch, to_batch
from formats.records import Candidate, Message, Record
from formats.scoring.step import Score
from formats.selection.pairs import SelectPairs
from tests.contracts.test_every_step import save_tokenizer

POLITE, RUDE = ("please", "thanks", "glad to help", "of course"), ("go away", "whatever", "no idea", "leave me")


def answer(make: random.Random, good: bool) -> str:
    """Words of no meaning around one that decides; both kinds are equally long."""
    words = [make.choice(("red", "blue", "stone", "river", "seven", "cloud")) for _ in range(4)]
    words.insert(make.randrange(5), make.choice(POLITE if good else RUDE))
    return " ".join(words)


@pytest.fixture(scope="module")
def reward_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("rm")
    save_tokenizer(folder / "tokenizer.json")
    tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(folder / "tokenizer.json"), eos_token="<|endoftext|>", pad_token="<|endoftext|>")
    torch.manual_seed(0)
    torch.set_num_threads(1)
    size = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2, "num_key_value_heads": 2}
    config = LlamaConfig(vocab_size=400, num_labels=1, pad_token_id=tokenizer.pad_token_id, **size)
    model = LlamaForSequenceClassification(config)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    make = random.Random(1)
    for _ in range(60):
        texts = ["Help me." + answer(make, good) + "<|endoftext|>" for good in (True, False) for _ in range(16)]
        rows = tokenizer(texts, padding=True, return_tensors="pt")
        rows["attention_mask"] = (
            torch.arange(rows["input_ids"].shape[1]) < torch.tensor([[len(tokenizer(t)["input_ids"])] for t in texts])
        ).long()
        good, bad = model(input_ids=rows["input_ids"], attention_mask=rows["attention_mask"]).logits[:, 0].split(16)
        loss = -torch.nn.functional.logsigmoid(good - bad).mean()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def test_it_separates_planted_answers(reward_model: Path) -> None:
    make = random.Random(2)
    records = []
    for n in range(40):
        candidates = [
            Candidate([Message("assistant", answer(make, good))], label=good, sample=k) for k, good in enumerate((True, False, True, False))
        ]
        records.append(Record([Message("user", "Help me.")], candidates, id=f"r{n}"))
    records[0].candidates[0].messages[0].content = "river " * 500  # longer than the bound
    table = pa.Table.from_batches([to_batch(records)])
    step = Score(reward_model=str(reward_model), score_name="rm", max_length=64)  # type: ignore[call-arg]
    scored = run_step(step, table)
    found = [c for r in from_batch(scored.to_batches()[0]) for c in r.candidates]
    assert (found[0].scores or {})["rm"] is None and all((c.scores or {})["rm"] is not None for c in found[1:])
    good, bad = (np.array([(c.scores or {})["rm"] for c in found[1:] if c.label is label], float) for label in (True, False))
    assert (good[:, None] > bad[None, :]).mean() > 0.95
    pairs = from_batch(run_step(SelectPairs(by="rm"), scored).to_batches()[0])  # type: ignore[call-arg]
    assert len(pairs) == 40 and sum(bool(p.candidates[0].label) and not p.candidates[1].label for p in pairs) >= 38
    alone = run_step(step, table.slice(7, 1))  # batching changes no score beyond rounding
    one = [(c.scores or {})["rm"] for c in from_batch(alone.to_batches()[0])[0].candidates]
    assert one == pytest.approx([(c.scores or {})["rm"] for c in found[28:32]], abs=1e-5)
