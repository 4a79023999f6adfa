"""The stream of tokens is a function of the mix: the same for any world, prefetch, interruption, and none is lost."""

from __future__ import annotations

import hashlib
import random
import threading
from pathlib import Path

import numpy as np
import pytest

from curate.batches import Batches
from curate.context import WorkContext
from curate.errors import CurateError
from curate.loader import Mix, open_mix
from curate.mixing import MixNode
from tests.curate.test_mixing import SEQ_LEN, dataset
from tests.curate.tokens.small import TEXTS, byte_bpe

SIZE = 24  # a multiple of every world size below


@pytest.fixture(scope="module")
def mix(tmp_path_factory: pytest.TempPathFactory) -> Mix:
    folder = tmp_path_factory.mktemp("batches")
    tokenizer = byte_bpe(folder / "tokenizer.json")
    inputs = {name: dataset(folder, name, tokenizer, texts, files=5) for name, texts in {"web": TEXTS * 4, "books": TEXTS[:70]}.items()}
    node = MixNode(
        seq_len=SEQ_LEN,
        stages=[
            {"tokens": 200 * SEQ_LEN, "weights": {"web": 0.8, "books": 0.2}},
            {"tokens": 110 * SEQ_LEN, "weights": {"web": 0.3, "books": 0.7}, "anneal": "cosine"},
        ],
        max_epochs={"books": 9},
    )
    (folder / "mix").mkdir()
    node.run(inputs, folder / "mix", WorkContext(seed=3), lambda share, what: None)
    return open_mix(folder / "mix")


def digest(mix: Mix, world: int, prefetch: int, start: int = 0, stop: int | None = None) -> str:
    """Of the tokens of all batches, the ranks' parts put together again."""
    ranks = [iter(Batches(mix, SIZE, rank=r, world_size=world, start=start, stop=stop, prefetch=prefetch)) for r in range(world)]
    content = hashlib.sha256()
    for parts in zip(*ranks, strict=True):
        for part in parts:
            content.update(part.tokens.tobytes())
    return content.hexdigest()


def readers() -> list[threading.Thread]:
    """Threads that read ahead; other tests of this process may have left threads of other kinds."""
    return [thread for thread in threading.enumerate() if thread.name == "curate-batches"]


def test_same_stream_for_every_world_and_prefetch(mix: Mix) -> None:
    whole = len(mix) // SIZE * SIZE
    expected = hashlib.sha256(b"".join(mix.window(k).tobytes() for k in range(whole))).hexdigest()
    assert {digest(mix, world, prefetch) for world in (1, 2, 3, 4, 8) for prefetch in (0, 1, 4)} == {expected}
    assert not readers()


def test_resume_at_any_step_on_another_world(mix: Mix) -> None:
    choose = random.Random(1)
    steps = len(mix) // SIZE
    for _ in range(50):
        step, world = choose.randrange(steps + 1), choose.choice([1, 2, 3, 4, 8])
        before = [b.tokens for b in Batches(mix, SIZE, stop=step * SIZE, prefetch=0)]
        after = Batches(mix, SIZE, rank=world - 1, world_size=world, start=step * SIZE, prefetch=choose.choice([0, 1]))
        assert len(before) == step and len(after) == steps - step
        for batch in after:
            assert batch.tokens.tolist() == [mix.window(k).tolist() for k in batch.windows]
            assert batch.end - batch.start == SIZE and batch.windows.stop == batch.end


def test_another_batch_size_goes_on_where_the_first_stopped(mix: Mix) -> None:
    first = list(Batches(mix, 10, stop=100))
    second = list(Batches(mix, 7, start=first[-1].end))
    seen = [k for batch in [*first, *second] for k in batch.windows]
    rest = Batches(mix, 7, start=100).left_over
    assert seen == list(range(len(mix) - rest)) and rest == (len(mix) - 100) % 7


def test_no_token_is_lost(mix: Mix) -> None:
    """Tokens given out, in the last window's tails, and not used by the plan add up to those of the sources, epochs counted."""
    stored = {source["name"]: source for source in mix.sources}
    given = dict.fromkeys(stored, 0)
    batches = Batches(mix, SIZE)
    for batch in batches:
        for k in batch.windows:
            given[mix.place(k).source] += SEQ_LEN
    left = [mix.place(k).source for k in range(len(mix) - batches.left_over, len(mix))]
    for name, source in stored.items():
        assert given[name] + SEQ_LEN * left.count(name) == source["used"] * SEQ_LEN
        assert source["windows"] * SEQ_LEN + source["tail_tokens"] == source["tokens"]


def test_types(mix: Mix) -> None:
    batch = next(iter(Batches(mix, 4, dtype=np.int64)))
    assert batch.tokens.dtype == np.int64 and batch.tokens.shape == (4, SEQ_LEN)
    assert next(iter(Batches(mix, 4))).tokens.dtype == np.uint16
    row = mix[5]
    assert row["input_ids"].tolist() == row["labels"].tolist() == mix.window(5).tolist()
    assert row["input_ids"].dtype == np.int64
    torch = pytest.importorskip("torch", reason="torch is an extra")
    tensor = next(iter(Batches(mix, 4, torch=True))).tokens
    assert tensor.dtype == torch.int64 and tensor.tolist() == mix.windows(range(4)).tolist()
    rows = next(iter(torch.utils.data.DataLoader(mix, batch_size=3)))
    assert rows["input_ids"].tolist() == mix.windows(range(3)).tolist()


def test_documents_of_a_window(mix: Mix) -> None:
    for k in range(0, len(mix), 7):
        pieces = mix.trace(k)
        assert mix.document_starts(k).tolist() == [*(p.start for p in pieces), SEQ_LEN]


def test_windows_into_a_given_array(mix: Mix) -> None:
    ks = [300, 2, 2, 57, *range(100, 140)]
    out = np.zeros((len(ks), SEQ_LEN), np.uint16)
    assert mix.windows(ks, out) is out
    assert out.tolist() == [mix.window(k).tolist() for k in ks]
    assert mix.windows([]).shape == (0, SEQ_LEN)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"size": 10, "world_size": 4}, r"10 windows can't be shared out evenly to 4 ranks. Take 8,"),
        ({"size": 4, "world_size": 4, "rank": 4}, r"rank must be in 0..3 of a world of 4, got 4"),
        ({"size": 4, "start": 400}, r"0 <= start <= stop <= 310, got 400 and 310"),
        ({"size": 4, "prefetch": -1}, r"prefetch must be 0 or more"),
    ],
)
def test_wrong_settings(mix: Mix, settings: dict[str, int], message: str) -> None:
    with pytest.raises(CurateError, match=message):
        Batches(mix, **settings)


def test_an_error_in_the_background_is_raised(mix: Mix, tmp_path: Path) -> None:
    broken = Mix(mix.folder, mix.description, tmp_path)
    with pytest.raises(CurateError, match="can't be opened"):
        next(iter(Batches(broken, 4, prefetch=2)))


def test_a_reader_that_is_left_early_ends(mix: Mix) -> None:
    iterator = iter(Batches(mix, 2, prefetch=1))
    next(iterator)
    iterator.close()  # type: ignore[attr-defined]
    assert not readers()
