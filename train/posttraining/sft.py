"""`train: sft`: supervised fine-tuning on conversations, prompts with completions, or plain text."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field, model_validator

from formats.templates.rendering import Train
from train.posttraining.rendering import Kind, Rendering
from train.posttraining.settings import PostTraining, SoftPrompt

if TYPE_CHECKING:
    from train.posttraining.runner import Setup
    from train.posttraining.training import Parts


class Sft(PostTraining):
    """A model that answers: cross-entropy on the answers of conversations, masks proved row by row."""

    kind: ClassVar[str] = "train:sft"
    summary: ClassVar[str] = "supervised fine-tuning on conversations"
    rows: ClassVar[Kind] = "sft"

    train_on: Train = Field(default="assistant", description="what has a loss: assistant (every answer), last, completion, all")
    train_reasoning: bool = Field(default=True, description="false: reasoning stands in the row, but has no loss")
    per_answer: bool = Field(default=False, description="one row per answer, earlier answers as history")
    packing: int | None = Field(
        default=None, ge=2, le=1 << 22, description="tokens of a sequence that several rows share, kept apart; null: a row each"
    )
    loss: Literal["nll", "dft"] = Field(default="nll", description="dft: each token's loss times its probability (Wu et al. 2025)")
    noise: float | None = Field(default=None, gt=0, le=1000, description="NEFTune's noise on embeddings (Jain et al. 2023); 5 is usual")

    @model_validator(mode="after")
    def _packs(self) -> Sft:
        if self.packing is not None and (self.padding or isinstance(self.adapter, SoftPrompt)):
            raise ValueError("packing puts rows one after the other, which padding and soft prompts don't")
        return self

    def rendering(self, max_length: int | None) -> Rendering:
        """See PostTraining. A row must fit into a packed sequence."""
        limits = [n for n in (max_length, self.packing) if n is not None]
        base = super().rendering(min(limits, default=None))
        return Rendering(**{**vars(base), "train_on": self.train_on, "reasoning": self.train_reasoning, "per_answer": self.per_answer})

    def dataset(self, setup: Setup, held_out: bool = False) -> Any:
        """Rows, or sequences of several."""
        if self.packing is None:
            return setup.dataset(held_out)
        import datasets

        target = setup.work / ("held_out_packed.arrow" if held_out else "packed.arrow")
        if setup.rank == 0 and not target.is_file():
            pack_rows(setup.dataset(held_out), self.packing, target)
        setup.wait_for(target)
        return datasets.Dataset.from_file(str(target))

    def trainer(self, parts: Parts) -> Any:
        """trl's SFTTrainer on rows that are done."""
        import trl

        from train.attention import PACKED
        from train.posttraining.flat import FlatCollator
        from train.posttraining.trainers import Sft as Trainer

        args = trl.SFTConfig(
            **parts.common,
            max_length=None,
            packing=False,
            padding_free=not parts.padding,
            loss_type=self.loss,
            neftune_noise_alpha=self.noise,
        )
        made = Trainer(args=args, **parts.given)
        if not parts.padding and parts.attention in PACKED:
            made.data_collator = FlatCollator(parts.attention)
        return made


def pack_rows(rows: Any, capacity: int, target: Path) -> None:
    """Write sequences of several rows: input_ids, labels, seq_lengths, and the ids of their rows. Best-fit decreasing over the whole set."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    from formats.packing import joined, pack
    from formats.rendered import int_lists

    table = rows.data.table
    ids, labels = table.column("input_ids"), table.column("labels")
    names = table.column("id").to_pylist()
    bins = pack(pc.list_value_length(ids).to_pylist(), capacity).bins
    schema = pa.schema([("id", pa.string()), *((name, pa.list_(pa.int32())) for name in ("input_ids", "labels", "seq_lengths"))])
    scratch = target.with_name(f".{target.name}.tmp")
    with pa.OSFile(str(scratch), "wb") as sink, pa.ipc.new_stream(sink, schema) as out:
        for start in range(0, len(bins), 256):
            some = bins[start : start + 256]
            made = [joined([(np.asarray(ids[n].values), np.array(labels[n].values)) for n in one]) for one in some]
            columns = [pa.array([", ".join(names[n] or f"row {n}" for n in one) for one in some], pa.string())]
            columns += [int_lists([m[name] for m in made]) for name in ("input_ids", "labels", "seq_lengths")]
            out.write_batch(pa.RecordBatch.from_arrays(columns, schema=schema))
    scratch.replace(target)
