"""The mix as a data set of torch and Hugging Face Trainer: the same rows in the same order, with workers, and after a restart."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is an extra")

from curate.batches import Batches  # noqa: E402
from curate.context import WorkContext  # noqa: E402
from curate.loader import IGNORED, Mix, open_mix  # noqa: E402
from curate.mixing import MixNode  # noqa: E402
from tests.curate.test_mix_choice import SEQ_LEN, dataset  # noqa: E402
from tests.curate.tokens.small import TEXTS, byte_bpe  # noqa: E402


@pytest.fixture(scope="module")
def mix(tmp_path_factory: pytest.TempPathFactory) -> Mix:
    folder = tmp_path_factory.mktemp("torch")
    byte_bpe(folder / "tokenizer.json")
    given = dataset(folder, "web", TEXTS * 2)
    (folder / "mix").mkdir()
    node = MixNode(seq_len=SEQ_LEN, packing="best_fit", stages=[{"tokens": 60 * SEQ_LEN, "weights": ["web"]}])
    node.run({"web": given}, folder / "mix", WorkContext(seed=2), lambda share, what: None)
    return open_mix(folder / "mix")


def test_data_loader_with_workers(mix: Mix) -> None:
    batches = Batches(mix, 12, rank=1, world_size=3, start=6)
    loader = torch.utils.data.DataLoader(pickle.loads(pickle.dumps(mix)), batch_sampler=batches.parts, num_workers=2)
    rows = list(loader)
    assert len(rows) == len(batches) == len(batches.parts)
    for row, batch in zip(rows, batches, strict=True):
        assert row["input_ids"].tolist() == batch.tokens.tolist()
        assert set(row) == {"input_ids", "labels", "position_ids"}


def test_tensors_with_borders(mix: Mix) -> None:
    batch = next(iter(Batches(mix, 6, torch=True, documents=True, prefetch=0)))
    assert batch.tokens.dtype == torch.int64 and batch.cu_seqlens.dtype == torch.int32
    expected = [i * SEQ_LEN + s for i in range(6) for s in mix.document_starts(i)[:-1].tolist()]
    assert batch.cu_seqlens.tolist() == [*expected, 6 * SEQ_LEN]
    assert batch.sizes.tolist() == mix.sizes(range(6)).tolist()


def test_trainer_reads_in_order_and_goes_on(mix: Mix, tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers", reason="transformers is an extra")
    seen: list[list[list[int]]] = []

    class Watched(transformers.LlamaForCausalLM):  # type: ignore[misc, name-defined]
        def forward(self, input_ids: Any = None, position_ids: Any = None, labels: Any = None, **more: Any) -> Any:
            seen.append(input_ids.tolist())
            assert position_ids.shape == input_ids.shape and (labels == IGNORED).any()
            return super().forward(input_ids=input_ids, position_ids=position_ids, labels=labels, **more)

    config = transformers.LlamaConfig(
        vocab_size=512, hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2, num_key_value_heads=2
    )

    def train(steps: int, again: bool) -> None:
        settings = transformers.TrainingArguments(
            output_dir=str(tmp_path), per_device_train_batch_size=2, gradient_accumulation_steps=2, max_steps=steps, save_steps=3, logging_steps=100,
            train_sampling_strategy="sequential", dataloader_drop_last=True, report_to=[], use_cpu=True, disable_tqdm=True,
        )  # fmt: skip
        torch.manual_seed(0)
        transformers.Trainer(model=Watched(config), args=settings, train_dataset=mix).train(resume_from_checkpoint=again or None)

    train(3, False)
    train(6, True)
    assert np.array_equal(np.concatenate(seen), mix.windows(range(24)))
