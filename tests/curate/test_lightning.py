"""The mix in Lightning's Trainer: the rows of a run, and of one that goes on, in the order of the mix."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is an extra")
lightning = pytest.importorskip("lightning", reason="lightning is a tool of others")

from curate.batches import Batches  # noqa: E402
from curate.context import WorkContext  # noqa: E402
from curate.loader import open_mix  # noqa: E402
from curate.mixing import MixNode  # noqa: E402
from tests.curate.test_mix_choice import SEQ_LEN, dataset  # noqa: E402
from tests.curate.tokens.small import TEXTS, byte_bpe  # noqa: E402

ROWS = 4


@pytest.mark.filterwarnings("ignore")  # Lightning's advice
def test_trainer_reads_in_order_and_goes_on(tmp_path: Path) -> None:
    byte_bpe(tmp_path / "tokenizer.json")
    (tmp_path / "mix").mkdir()
    node = MixNode(seq_len=SEQ_LEN, stages=[{"tokens": 60 * SEQ_LEN, "weights": ["web"]}])
    node.run({"web": dataset(tmp_path, "web", TEXTS * 2)}, tmp_path / "mix", WorkContext(seed=2), lambda share, what: None)
    seen: list[np.ndarray] = []

    class Data(lightning.LightningDataModule):  # type: ignore[misc, name-defined]
        def train_dataloader(self) -> Any:
            mix, done = open_mix(tmp_path / "mix"), self.trainer.global_step * ROWS
            batches = Batches(mix, ROWS, rank=self.trainer.global_rank, world_size=self.trainer.world_size, start=done)
            return torch.utils.data.DataLoader(mix, batch_sampler=batches.parts)

    class Model(lightning.LightningModule):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.layer = torch.nn.Embedding(512, 1)

        def training_step(self, batch: dict[str, Any], index: int) -> Any:
            seen.append(batch["input_ids"].numpy().copy())
            return self.layer(batch["input_ids"]).mean()

        def configure_optimizers(self) -> Any:
            return torch.optim.SGD(self.parameters(), lr=0.1)

    def trainer(steps: int) -> Any:
        return lightning.Trainer(
            accelerator="cpu", devices=1, max_steps=steps, default_root_dir=tmp_path, logger=False, enable_checkpointing=False,
            enable_progress_bar=False, enable_model_summary=False, use_distributed_sampler=False,
        )  # fmt: skip

    first = trainer(3)
    first.fit(Model(), datamodule=Data())
    first.save_checkpoint(tmp_path / "three.ckpt")
    trainer(6).fit(Model(), datamodule=Data(), ckpt_path=tmp_path / "three.ckpt", weights_only=True)
    assert np.array_equal(np.concatenate(seen), open_mix(tmp_path / "mix").windows(range(6 * ROWS)))
