"""The `mix` node: how much of which tokens, in which order.

It writes `mix.json`, no list of tokens; and where documents are packed, chosen or repeated, an index of windows for each source.
The order is computed from it (`curate.loader`, `curate.mix_order`).

    window k -> block and place -> source and its how-manieth window u -> epoch u // W, position u % W
             -> window of the source: a permutation of 0..W-1 keyed by (seed, source, epoch)

`concat`: the stream of a source is its documents in shard order, back to back; its window w is tokens w * seq_len up to
(w + 1) * seq_len. Windows don't overlap, as in Hugging Face training (labels are the window itself, shifted by one, so a
window has seq_len - 1 targets); Megatron and nanoGPT read one token more. The last, shorter window of a stream is left out
and counted as `tail_tokens`. `best_fit`: documents stay whole, windows are padded. Every window of a source is used once
before any is used again.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, model_validator

from curate.errors import DataError, RecipeError
from curate.fingerprint import canonical
from curate.mix_order import FILE, FORMAT
from curate.mix_schedule import (
    Segment,
    Supply,
    TokenCount,
    feasibility,
    normalised,
    planned_counts,
    powered,
    refuse_short,
    stage_segments,
)
from curate.mix_sources import Choice, HeldOut, Repeat, Settings, Split, survey
from curate.node import Node, NodeInput, NodeResult, Progress
from curate.step import Asset, Context
from curate.tokens.mapped import TokenShard, open_shard

Weight = Annotated[float, Field(gt=0, le=1e9)]
Name = Annotated[str, Field(min_length=1)]


def _short(key: str, forms: Any) -> BeforeValidator:
    """A bare value is the setting `key`. forms: both, for editors."""

    def longer(value: Any) -> Any:
        return {key: value} if isinstance(value, str | int | float) and not isinstance(value, bool) else value

    return BeforeValidator(longer, json_schema_input_type=forms)


class MixStage(Settings):
    """A stretch of training with its own shares."""

    tokens: TokenCount = Field(ge=1, le=10**15, description="length, such as 900M; rounded down to whole windows")
    weights: dict[str, Weight] | list[Name] = Field(
        min_length=1,
        max_length=4096,
        description="share of the tokens per dataset, or datasets of equal weight; they need not add up to one",
    )
    by: Literal["tokens", "documents"] = Field(
        default="tokens", description="what the weights are shares of; documents: a dataset of longer ones gets more tokens"
    )
    temperature: float | None = Field(
        default=None,
        ge=1,
        le=1e6,
        description="multiply each weight by the dataset's tokens ** (1 / temperature); 1: in proportion to size",
    )
    anneal: Literal["linear", "cosine"] | None = Field(
        default=None, description="shares go from those of the stage before to these over the length of this stage"
    )

    def weight(self, name: str) -> Fraction:
        """The weight of a dataset; 0 where the stage does not name it."""
        if isinstance(self.weights, dict):
            return Fraction(str(self.weights.get(name, 0)))
        return Fraction(name in self.weights)


class MixNode(Node):
    """Tokens of several datasets in one training order, with planned shares at every point."""

    kind: ClassVar[str] = "mix"
    version: ClassVar[int] = 3
    summary: ClassVar[str] = "an order over the windows of token datasets, by shares and stages"

    seq_len: int = Field(ge=2, le=1 << 22, description="tokens in a window")
    stages: list[MixStage] = Field(min_length=1, max_length=1000, description="one after the other")
    max_epochs: dict[str, Annotated[float, Field(gt=0, le=1000)]] = Field(
        default_factory=dict, description="how often a dataset may be read; 1 where it is not named"
    )
    packing: Literal["concat", "best_fit"] = Field(
        default="concat", description="concat: documents back to back, cut into windows; best_fit: packed whole, windows padded"
    )
    over_long: Literal["split", "crop", "drop"] = Field(
        default="split", description="best_fit: documents of more than seq_len tokens are cut into pieces, lose their end, or are left out"
    )
    pad_id: int | None = Field(default=None, ge=0, le=2**32 - 1, description="token that fills windows up; EOS where it is not set")
    held_out: Annotated[HeldOut, _short("share", HeldOut | float)] | None = Field(
        default=None, description="validation data, never trained on: a share, or {share, by, key}"
    )
    repeat: dict[str, Annotated[Repeat, _short("column", Repeat | str)]] = Field(
        default_factory=dict, description="dataset -> column that says how often a document is seen in an epoch, such as dup_weight"
    )
    split: dict[str, Split] = Field(
        default_factory=dict, description="dataset -> {column, temperature or weights}: its values, such as languages, become sources"
    )
    continues: str | None = Field(
        default=None, min_length=1, json_schema_extra={"path": "optional"},
        description="a mix that was trained on before: a node of the recipe, or its folder; what it used is not used again before its time",
    )  # fmt: skip
    continues_at: int | None = Field(default=None, ge=0, le=1 << 48, description="windows of that mix that were trained on")
    fit: bool = Field(
        default=False, description="where a dataset is too small, shorten all stages alike until it is enough, as a run with --sample does"
    )
    seed: int | None = Field(default=None, ge=0, lt=1 << 63, description="of the order; the recipe's where it is not set")
    batch_windows: int | None = Field(default=None, ge=1, le=1 << 24, description="windows in a training step, for `curate trace --step`")

    @model_validator(mode="after")
    def _check(self) -> MixNode:
        if self.stages[0].anneal is not None:
            raise ValueError("stages[0].anneal: the first stage has no shares to come from; remove it")
        for setting in ("max_epochs", "repeat", "split"):
            unknown = sorted(n for n in getattr(self, setting) if n not in self.documents() and n.partition("/")[0] not in self.split)
            if unknown:
                raise ValueError(f"{setting} names {', '.join(unknown)}, which no stage has a weight for")
        for number, stage in enumerate(self.stages):
            if stage.tokens < self.seq_len:
                raise ValueError(f"stages[{number}].tokens must be at least seq_len ({self.seq_len}), got {stage.tokens}")
        if (self.continues is None) != (self.continues_at is None):
            raise ValueError("continues and continues_at belong together: the mix, and how many of its windows were trained on")
        return self

    def documents(self) -> tuple[str, ...]:
        """Token datasets of all stages."""
        return tuple(dict.fromkeys(name for stage in self.stages for name in stage.weights))

    def for_sample(self) -> MixNode:
        return self.model_copy(update={"fit": True})

    def inputs(self) -> tuple[str, ...]:
        before = (self.continues,) if self.continues is not None and not os.path.isabs(self.continues) else ()
        return (*self.documents(), *before)

    def assets(self) -> tuple[Asset, ...]:
        """The mix that this one continues, where it is given as a path."""
        path = self.continues
        return (Asset(str(_mix_file(path)), "mix to continue"),) if path is not None and os.path.isabs(path) else ()

    def schedule(self, sources: Sequence[Mapping[str, Any]]) -> list[list[Segment]]:
        """Segments of every stage; shares in the order of `sources` (as mix.json has them)."""
        density = [Fraction(s["ledger"]["in_windows"], s["windows"]) if s["windows"] else Fraction(self.seq_len) for s in sources]
        made, before = [], None
        for stage in self.stages:
            shares = self.shares(stage, sources)
            made.append(stage_segments(stage.tokens, before, shares, density, stage.anneal))
            before = shares
        return made

    def shares(self, stage: MixStage, sources: Sequence[Mapping[str, Any]]) -> list[Fraction]:
        """Of the trained tokens of a stage, per source: those of its dataset, shared out to its parts."""
        weights: dict[str, Fraction] = {}
        parts: dict[str, list[Fraction]] = {}
        for name in stage.weights:
            mine = [s for s in sources if s["dataset"] == name]
            documents, tokens = sum(s["documents"] for s in mine), sum(s["ledger"]["in_windows"] for s in mine)
            weights[name] = stage.weight(name)
            if stage.by == "documents":
                weights[name] *= Fraction(sum(s["tokens"] for s in mine), max(1, documents))
            if stage.temperature is not None:
                weights[name] *= powered(tokens, stage.temperature)
            inner = [self._part(s) if s["windows"] or len(mine) == 1 else Fraction(0) for s in mine]
            if not any(inner):
                raise DataError(f"mix: no part of {name} fills a window of {self.seq_len} tokens. Give it more documents, or take it out.")
            parts[name] = [part / sum(inner) for part in inner]
        if not any(weights.values()):
            raise DataError(f"mix: {', '.join(weights)} have no tokens to share out.")
        whole = dict(zip(weights, normalised(weights, list(weights)), strict=True))
        rest = {name: iter(inner) for name, inner in parts.items()}
        return [whole[s["dataset"]] * next(rest[s["dataset"]]) if s["dataset"] in whole else Fraction(0) for s in sources]

    def _part(self, source: Mapping[str, Any]) -> Fraction:
        split = self.split.get(source["dataset"])
        if split is None:
            return Fraction(1)
        if source["ledger"]["in_windows"] < split.min_tokens and not self.fit:
            return Fraction(0)
        if split.weights is not None:
            return Fraction(str(split.weights[source["name"].partition("/")[2]]))
        return powered(source["ledger"]["in_windows"], split.temperature or 1.0)

    def supplies(self, sources: Sequence[Mapping[str, Any]], needed: Sequence[int]) -> list[Supply]:
        """What each source has and is asked for; parts of a split that are never used are left out."""
        found = []
        for source, windows in zip(sources, needed, strict=True):
            cap = self.max_epochs.get(source["name"], self.max_epochs.get(source["dataset"], 1.0))
            if windows or source["name"] == source["dataset"]:
                found.append(Supply(source["name"], source["tokens"], source["windows"], windows + source.get("used_before", 0), cap))
        return found

    def forecast(self, inputs: Mapping[str, NodeInput], exact: bool) -> list[str]:
        missing = [name for name in self.inputs() if name not in inputs]
        if missing:
            return [f"no figures yet for {', '.join(missing)}"]
        sources = [self._guess(inputs[name]) for name in self.documents()]
        known = exact and all(self._choice(name, 0).plain and self.held_out is None for name in self.documents()) and self.continues is None
        segments = [s for stage in self.schedule(sources) for s in stage]
        if not segments:
            return ["no figures yet: the datasets are empty"]
        supplies = self.supplies(sources, planned_counts(segments))
        if known and not self.fit:
            refuse_short(supplies, self.seq_len)
        windows = sum(s.windows for s in segments)
        return [*feasibility(supplies, self.seq_len, known), f"{windows:,} windows of {self.seq_len} tokens in {len(self.stages)} stages"]

    def _guess(self, given: NodeInput) -> dict[str, Any]:
        """A source as far as the size of its dataset tells."""
        tokens = int(given.tokens * (1 - (self.held_out.share if self.held_out else 0)))
        windows = tokens // self.seq_len
        ledger = {"in_windows": windows * self.seq_len}
        return {"name": given.name, "dataset": given.name, "documents": given.rows, "tokens": tokens, "windows": windows, "ledger": ledger}

    def _choice(self, dataset: str, seed: int) -> Choice:
        return Choice(
            seq_len=self.seq_len, packing=self.packing, over_long=self.over_long, held_out=self.held_out, repeat=self.repeat.get(dataset),
            split=self.split.get(dataset), seed=seed,
        )  # fmt: skip

    def run(self, inputs: Mapping[str, NodeInput], out: Path, ctx: Context, progress: Progress) -> NodeResult:
        from curate.mix_artefact import finish

        earlier = self._earlier(inputs)
        seed = earlier["seed"] if earlier else ctx.seed if self.seed is None else self.seed
        datasets: list[dict[str, Any]] = []
        sources: list[dict[str, Any]] = []
        unused: dict[str, int] = {}  # tokens of values that a split does not name
        tokenizer: dict[str, str] = {}
        for number, name in enumerate(self.documents()):
            shards = [open_shard(part) for part in sorted(inputs[name].parts)]
            tokenizer = _same_tokenizer(name, self.documents()[0], shards, tokenizer)
            datasets.append(_dataset(inputs[name], shards))

            def report(share: float, number: int = number, name: str = name) -> None:
                progress(0.8 * (number + share) / len(self.documents()), f"windows of {name}")

            report(0.0)
            sources += survey(name, shards, self._choice(name, seed), out, len(sources), report)
            unused[name] = datasets[-1]["tokens"] - sum(s["tokens"] for s in sources if s["dataset"] == name)
        pad = self.pad_id if self.pad_id is not None else int(tokenizer.get("curate.eos_id") or 0)
        mix: dict[str, Any] = {
            "format": FORMAT, "seq_len": self.seq_len, "packing": self.packing, "pad_id": pad, "seed": seed, "batch_windows": self.batch_windows,
            "tokenizer": tokenizer, "datasets": datasets, "sources": sources, "unused": {name: count for name, count in unused.items() if count},
        }  # fmt: skip
        finish(mix, self, earlier, out, progress)
        (out / FILE).write_bytes(canonical(mix) + b"\n")
        windows = sum(source["used"] for source in sources)
        return NodeResult(
            rows_out=windows,
            tokens=sum(stage["tokens"] for stage in mix["stages"]),
            info=_info(mix, self.supplies(sources, [s["used"] for s in sources])),
        )

    def _earlier(self, inputs: Mapping[str, NodeInput]) -> dict[str, Any] | None:
        """The mix that this one continues."""
        if self.continues is None:
            return None
        given = inputs.get(self.continues)
        file = _mix_file(given.folder if given is not None else self.continues)
        try:
            mix: dict[str, Any] = json.loads(file.read_bytes())
        except (OSError, ValueError) as error:
            raise DataError(f"mix.continues: {file} can't be read as a mix: {error}") from error
        if mix.get("format") != FORMAT:
            raise DataError(f"mix.continues: {file} has format {mix.get('format')!r}, this version of curate reads {FORMAT}.")
        return mix


def _mix_file(path: str) -> Path:
    return Path(path) if path.endswith(".json") else Path(path) / FILE


def _same_tokenizer(name: str, first: str, shards: Sequence[TokenShard], tokenizer: dict[str, str]) -> dict[str, str]:
    for shard in shards:
        about = {k: shard.metadata[k] for k in sorted(shard.metadata) if k in _TOKENIZER_KEYS}
        tokenizer = tokenizer or about
        if about != tokenizer:
            raise DataError(f"mix: {name} and {first} were tokenized differently ({_difference(about, tokenizer)}). Tokenize both alike.")
    return tokenizer


def _dataset(given: NodeInput, shards: Sequence[TokenShard]) -> dict[str, Any]:
    """A dataset as mix.json names it: enough to see at opening that it is another one."""
    about = [
        {
            "file": os.path.relpath(s.path, given.folder) if given.folder else s.path.name,
            "tokens": s.tokens,
            "bytes": os.path.getsize(s.path),
        }
        for s in shards
    ]
    return {"name": given.name, "digest": given.digest, "tokens": sum(s.tokens for s in shards), "shards": about}


def _info(mix: Mapping[str, Any], supplies: Sequence[Supply]) -> dict[str, Any]:
    """What the manifest says of a mix."""
    epochs = {s.name: round(s.epochs, 4) for s in supplies if s.available}
    names = ("name", "dataset", "documents", "tokens", "windows", "used", "used_before", "tail_tokens", "held_out", "ledger")
    return {
        "seq_len": mix["seq_len"],
        "packing": mix["packing"],
        "windows": sum(stage["windows"] for stage in mix["stages"]),
        "sources": [{**{n: s[n] for n in names}, "epochs": epochs.get(s["name"], 0.0)} for s in mix["sources"]],
        "stages": [{k: v for k, v in stage.items() if k != "segments"} for stage in mix["stages"]],
        "certificate": mix["certificate"],
        "feasibility": feasibility(supplies, mix["seq_len"], True),
    }


_TOKENIZER_KEYS = frozenset({"curate.tokenizer_sha256", "curate.vocab_size", "curate.bos_id", "curate.eos_id", "curate.document"})


def _difference(a: dict[str, str], b: dict[str, str]) -> str:
    return ", ".join(f"{k}: {a.get(k)} and {b.get(k)}" for k in sorted(a.keys() | b.keys()) if a.get(k) != b.get(k))


__all__ = ["MixNode", "MixStage", "RecipeError"]
