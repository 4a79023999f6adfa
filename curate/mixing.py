"""The `mix` node: how much of which tokens, in which order.

It writes one small file, `mix.json`, and no list of tokens or windows: the order is computed from it (`curate.loader`).

    window k -> (segment, place) -> source and its how-manieth window u -> epoch u // W, position u % W
             -> place in the source's stream: a permutation of 0..W-1 keyed by (seed, source, epoch)

The stream of a source is its documents in shard order, back to back; its window w is tokens w * seq_len up to
(w + 1) * seq_len. Windows don't overlap, as in Hugging Face training (labels are the window itself, shifted by one, so a
window has seq_len - 1 targets); Megatron and nanoGPT read one token more. The last, shorter window of a stream is left out
and counted as `tail_tokens`. Every window of a source is used once before any is used again.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from curate.errors import DataError
from curate.fingerprint import canonical
from curate.mix_schedule import Segment, Supply, feasibility, normalised, parse_tokens, refuse_short, stage_segments
from curate.node import Node, NodeInput, NodeResult, Progress
from curate.step import Context

FILE = "mix.json"
FORMAT = 1


class MixStage(BaseModel):
    """A stretch of training with its own shares."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)

    tokens: Annotated[int, BeforeValidator(parse_tokens)] = Field(
        ge=1, le=10**15, description="length, such as 900M; rounded down to whole windows"
    )
    weights: dict[str, Annotated[float, Field(gt=0, le=1e9)]] = Field(
        min_length=1, max_length=4096, description="share of the tokens per source; they need not add up to one"
    )
    anneal: Literal["linear", "cosine"] | None = Field(
        default=None, description="shares go from those of the stage before to `weights` over the length of this stage"
    )


class MixNode(Node):
    """Tokens of several datasets in one training order, with planned shares at every point."""

    kind: ClassVar[str] = "mix"
    summary: ClassVar[str] = "an order over the windows of token datasets, by shares and stages"

    seq_len: int = Field(ge=2, le=1 << 22, description="tokens in a window")
    stages: list[MixStage] = Field(min_length=1, max_length=1000, description="one after the other")
    max_epochs: dict[str, Annotated[float, Field(gt=0, le=1000)]] = Field(
        default_factory=dict, description="how often a source may be read; 1 where it is not named"
    )
    packing: Literal["concat"] = Field(default="concat", description="concat: documents back to back, cut into windows")

    @model_validator(mode="after")
    def _check(self) -> MixNode:
        if self.stages[0].anneal is not None:
            raise ValueError("stages[0].anneal: the first stage has no shares to come from; remove it")
        unknown = sorted(self.max_epochs.keys() - set(self.inputs()))
        if unknown:
            raise ValueError(f"max_epochs names {', '.join(unknown)}, which no stage has a weight for")
        for number, stage in enumerate(self.stages):
            if stage.tokens < self.seq_len:
                raise ValueError(f"stages[{number}].tokens must be at least seq_len ({self.seq_len}), got {stage.tokens}")
        return self

    def inputs(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(name for stage in self.stages for name in stage.weights))

    def schedule(self) -> list[list[Segment]]:
        """Segments of every stage; counts in the order of `inputs()`."""
        names, made = self.inputs(), []
        before: list[Fraction] | None = None
        for stage in self.stages:
            shares = normalised(stage.weights, names)
            made.append(stage_segments(stage.tokens // self.seq_len, before, shares, stage.anneal))
            before = shares
        return made

    def supplies(self, tokens: Mapping[str, int]) -> list[Supply]:
        """What each source has and is asked for."""
        names = self.inputs()
        needed = _sums([s.counts for stage in self.schedule() for s in stage])
        return [Supply(n, tokens[n], tokens[n] // self.seq_len, needed[i], self.max_epochs.get(n, 1.0)) for i, n in enumerate(names)]

    def forecast(self, inputs: Mapping[str, NodeInput], exact: bool) -> list[str]:
        missing = [name for name in self.inputs() if name not in inputs]
        if missing:
            return [f"no figures yet for {', '.join(missing)}"]
        supplies = self.supplies({name: inputs[name].tokens for name in self.inputs()})
        if exact:
            refuse_short(supplies, self.seq_len)
        windows = sum(stage.tokens // self.seq_len for stage in self.stages)
        return [*feasibility(supplies, self.seq_len, exact), f"{windows:,} windows of {self.seq_len} tokens in {len(self.stages)} stages"]

    def run(self, inputs: Mapping[str, NodeInput], out: Path, ctx: Context, progress: Progress) -> NodeResult:
        from curate.tokens.mapped import open_shard

        names = self.inputs()
        sources: list[dict[str, Any]] = []
        tokenizer: dict[str, str] = {}
        for number, name in enumerate(names):
            progress(number / len(names), f"counting {name}")
            given, shards = inputs[name], []
            for part in sorted(given.parts):
                shard = open_shard(part)
                about = {k: shard.metadata[k] for k in sorted(shard.metadata) if k.startswith("curate.") and k in _TOKENIZER_KEYS}
                tokenizer = tokenizer or about
                if about != tokenizer:
                    raise DataError(
                        f"mix: {name} and {names[0]} were tokenized differently ({_difference(about, tokenizer)}). Tokenize both alike."
                    )
                relative = os.path.relpath(part, given.folder) if given.folder else os.path.basename(part)
                shards.append({"file": relative, "tokens": shard.tokens, "bytes": os.path.getsize(part)})
            sources.append({"name": name, "digest": given.digest, "tokens": sum(s["tokens"] for s in shards), "shards": shards})
        supplies = self.supplies({s["name"]: s["tokens"] for s in sources})
        refuse_short(supplies, self.seq_len)
        mix = self._artefact(sources, supplies, tokenizer, ctx.seed)
        (out / FILE).write_bytes(canonical(mix) + b"\n")
        windows = sum(s.needed for s in supplies)
        info = {
            "seq_len": self.seq_len,
            "windows": windows,
            "sources": [
                {
                    "name": s.name,
                    "tokens": s.tokens,
                    "windows": s.available,
                    "used": s.needed,
                    "epochs": round(s.epochs, 4),
                    "tail_tokens": s.tokens % self.seq_len,
                }
                for s in supplies
            ],
            "stages": [{k: v for k, v in stage.items() if k != "segments"} for stage in mix["stages"]],
            "feasibility": feasibility(supplies, self.seq_len, True),
        }
        return NodeResult(rows_out=windows, tokens=windows * self.seq_len, info=info)

    def _artefact(self, sources: list[dict[str, Any]], supplies: list[Supply], tokenizer: dict[str, str], seed: int) -> dict[str, Any]:
        stages = []
        for stage, segments in zip(self.stages, self.schedule(), strict=True):
            counts = _sums([s.counts for s in segments])
            windows = sum(counts)
            stages.append(
                {
                    "tokens": windows * self.seq_len,
                    "windows": windows,
                    "anneal": stage.anneal,
                    "weights": dict(stage.weights),
                    "realised": {name: round(count / windows, 9) for name, count in zip(self.inputs(), counts, strict=True)},
                    "segments": [list(s.counts) for s in segments],
                }
            )
        for source, supply in zip(sources, supplies, strict=True):
            source |= {"windows": supply.available, "used": supply.needed, "tail_tokens": supply.tokens % self.seq_len}
        return {
            "format": FORMAT,
            "seq_len": self.seq_len,
            "packing": self.packing,
            "seed": seed,
            "tokenizer": tokenizer,
            "sources": sources,
            "stages": stages,
        }


_TOKENIZER_KEYS = frozenset({"curate.tokenizer_sha256", "curate.vocab_size", "curate.bos_id", "curate.eos_id", "curate.document"})


def _sums(rows: Sequence[Sequence[int]]) -> list[int]:
    return [sum(column) for column in zip(*rows, strict=True)]


def _difference(a: dict[str, str], b: dict[str, str]) -> str:
    return ", ".join(f"{k}: {a.get(k)} and {b.get(k)}" for k in sorted(a.keys() | b.keys()) if a.get(k) != b.get(k))
