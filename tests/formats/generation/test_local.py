"""A model in this process: a tiny one made here, against `model.generate` and against itself in other batches."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from curate.context import WorkContext  # noqa: E402
from curate.errors import DataError, RecipeError  # noqa: E402
from formats.generation.asking import Limits, ask, folder_of, open_journal  # noqa: E402
from formats.generation.backend import Sampling  # noqa: E402
from formats.generation.decoding import uniforms  # noqa: E402
from formats.generation.generate import Generate  # noqa: E402
from formats.generation.local import TransformersBackend  # noqa: E402
from formats.generation.models import LocalModel, make_backend  # noqa: E402
from formats.generation.prompts import Prompt, user_prompt  # noqa: E402
from formats.records import text_of  # noqa: E402
from tests.formats.generation.asked import run, user  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
LETTERS = "0123456789+-=,;? abcdefghijklmnopqrstuvwxyz"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    torch.set_num_threads(1)
    where = tmp_path_factory.mktemp("tiny")
    vocabulary = {"<pad>": 0, "<eos>": 1, **{c: n + 2 for n, c in enumerate(LETTERS)}}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<pad>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    tokenizer.decoder = decoders.Fuse()
    fast = transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<eos>", pad_token="<pad>")
    fast.chat_template = "{% for m in messages %}{{ m['content'] }}{% endfor %}="
    fast.save_pretrained(where)
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=len(vocabulary), hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=2,
        max_position_embeddings=48, eos_token_id=1, bos_token_id=None, pad_token_id=0, initializer_range=0.3,
    )  # fmt: skip
    transformers.LlamaForCausalLM(config).save_pretrained(where)
    return where


def backend(folder: Path, **settings: Any) -> TransformersBackend:
    made = make_backend(LocalModel(folder=str(folder), engine="transformers", device="cpu", **settings), WorkContext())
    assert isinstance(made, TransformersBackend)
    return made


def prompts(count: int) -> list[Prompt]:
    dice = random.Random(1)
    return [Prompt(text=f"{dice.randint(0, 99_999)}+{dice.randint(0, 9)}=") for _ in range(count)]


def test_greedy_is_generate(folder: Path, tmp_path: Path) -> None:
    model = transformers.LlamaForCausalLM.from_pretrained(folder)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    asked = prompts(12)
    found = ask(asked, backend(folder), Sampling(temperature=0, max_tokens=12, repetition_penalty=1.3), tmp_path)
    for prompt, (text,) in zip(asked, found, strict=True):
        ids = tokenizer(prompt.text, return_tensors="pt").input_ids
        said = model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=12, do_sample=False, repetition_penalty=1.3)
        assert tokenizer.decode(said[0][ids.shape[1] :], skip_special_tokens=True) == text


def test_answers_depend_on_seeds_alone(folder: Path, tmp_path: Path) -> None:
    asked, sampling = prompts(25), Sampling(temperature=1.0, max_tokens=10, top_p=0.9)
    whole = ask(asked, backend(folder), sampling, tmp_path / "a", base="1", samples=4)
    turned = ask(asked[::-1], backend(folder), sampling, tmp_path / "b", base="1", samples=4)
    small = ask(asked, backend(folder, batch_rows=3), sampling, tmp_path / "c", base="1", samples=4)
    assert turned[::-1] == whole and small == whole
    assert ask(asked, backend(folder), sampling, tmp_path / "d", base="2", samples=4) != whole
    assert len({text for texts in whole for text in texts}) > 50


def test_draws_follow_the_distribution(folder: Path, tmp_path: Path) -> None:
    model = transformers.LlamaForCausalLM.from_pretrained(folder)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    ids = tokenizer("12+3=", return_tensors="pt").input_ids
    with torch.inference_mode():
        logits = model(ids).logits[0, -1] / 1.5
    for settings, kept in (({}, None), ({"top_k": 3}, 3)):
        found = ask([Prompt(text="12+3=")], backend(folder), Sampling(temperature=1.5, max_tokens=1, **settings), tmp_path, samples=3000)[0]
        counts = Counter(found)
        if kept:
            assert len(counts) == kept
            logits = logits.masked_fill(logits < logits.topk(kept).values[-1], float("-inf"))
        for token, share in enumerate(logits.softmax(-1).tolist()):
            text = tokenizer.decode([token], skip_special_tokens=True)
            if share > 0.02 and text:
                assert abs(counts[text] / 3000 - share) < 5 * (share * (1 - share) / 3000) ** 0.5


def test_stops_lengths_and_context(folder: Path, tmp_path: Path) -> None:
    asked = prompts(20)
    bodies = [p.encoded() for p in asked]
    model, sampling = backend(folder), Sampling(temperature=1.0, max_tokens=8, stop=("e", "7"))
    from formats.generation.asking import ask_missing

    with open_journal(folder_of(tmp_path, model, sampling, ""), bodies, 2) as journal:
        ask_missing(journal, bodies.__getitem__, model, sampling, "", Limits(), lambda share, text: None)
        answers = [journal.get(q) for q in range(40)]
    for answer in answers:
        assert answer is not None and answer.text is not None
        assert "e" not in answer.text and "7" not in answer.text
        assert answer.tokens_out == 8 if answer.finish == "length" else 1 <= answer.tokens_out <= 8
    assert {a.finish for a in answers if a} == {"length", "stop"}
    with pytest.raises(DataError, match="1 too_long"):
        ask([Prompt(text="1" * 48)], model, sampling, tmp_path)


def test_a_batch_is_journaled_whole(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from formats.generation.decoding import Decoder

    asked, sampling = prompts(12), Sampling(temperature=1.0, max_tokens=6)
    whole = ask(asked, backend(folder, batch_rows=4), sampling, tmp_path / "a", samples=2)
    decode, calls = Decoder.answers, [0]

    def dies(self: Any, *given: Any) -> Any:
        calls[0] += 1
        if calls[0] == 3:
            raise KeyboardInterrupt
        return decode(self, *given)

    with monkeypatch.context() as patch:
        patch.setattr(Decoder, "answers", dies)
        with pytest.raises(KeyboardInterrupt):
            ask(asked, backend(folder, batch_rows=4), sampling, tmp_path / "b", samples=2)
    lines = [line for f in (tmp_path / "b").glob("*/answers-*") for line in f.read_text().splitlines()]
    assert len(lines) == 8
    assert ask(asked, backend(folder, batch_rows=4), sampling, tmp_path / "b", samples=2) == whole


def test_the_step_and_what_is_missing(folder: Path, tmp_path: Path) -> None:
    (made,), reasons, _ = run(Generate(model=str(folder), samples=2, max_tokens=4), [user("1+2")], tmp_path)
    assert reasons == [None] and len(made.candidates) == 2
    assert made.candidates[0].model == folder.name and made.candidates[0].tokens and text_of(made.candidates[0].messages[0]) is not None
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    tokenizer.chat_template = None
    bare = tmp_path / "bare"
    tokenizer.save_pretrained(bare)
    with pytest.raises(RecipeError, match=r"has no chat template.*plain_prompts: text"):
        ask([user_prompt("q")], backend(folder).__class__(LocalModel(folder=str(bare)), str(bare), []), Sampling(), tmp_path / "x")


def test_uniforms() -> None:
    drawn = uniforms(np.arange(20_000), 3)
    assert ((drawn >= 0) & (drawn < 1)).all()
    counts = np.histogram(drawn, 20, (0, 1))[0]
    assert np.abs(counts - 1000).max() < 150
    assert len(np.unique(np.concatenate([uniforms(np.arange(1000), t) for t in range(20)]))) == 20_000
