"""Settings, plans and costs of training; nothing here needs torch."""

from __future__ import annotations

import json
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from curate.cli.planning import for_gpu
from curate.errors import DataError, RecipeError, RunError
from curate.loader import open_mix
from curate.node import NodeInput
from curate.recipe import load_recipe
from tests.train.synthetic import small_run
from train import launch
from train.attribution import NONE, Tagger, as_means, sums_by_label
from train.batches import IGNORED, Source, StepPlan, Steps, micro_batches, plan_steps
from train.command import find_input, load, told_of_plan
from train.cost import TOKENS_PER_PARAMETER, attention_flops, duration, flops_per_token, forecast_lines, gpu_table, parameters, preset_table
from train.evaluation.settings import TaskEvaluation
from train.gpus import GPUS, gpu_of, known_gpu
from train.node import TrainJob
from train.pretrain import Pretrain
from train.shapes import PRESETS, padded_vocabulary, preset
from train.spec import Initial, ModelSpec, kind_of_init


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, NodeInput]:
    folder = tmp_path_factory.mktemp("run")
    return folder, small_run(folder, seq_len=32, tokens=6000)


# Llama 3.2 1B, Llama 3.2 3B and Llama 3 8B as published, with their vocabulary of 128,256.
@pytest.mark.parametrize(("name", "total"), [("llama-1b", 1_235_814_400), ("llama-3b", 3_212_749_824), ("llama-8b", 8_030_261_248)])
def test_shapes_have_the_published_numbers_of_parameters(name: str, total: int) -> None:
    assert parameters(preset(name), 128_256).total == total


# What the docstring of train.shapes says of names. 1B is Meta's name for 1.24B.
@pytest.mark.parametrize(
    ("name", "said", "vocabulary"),
    [("1m", 1e6, None), ("3m", 3e6, None), ("10m", 10e6, None), ("60m", 60e6, 32_000), ("160m", 160e6, 50_304), ("400m", 400e6, 50_304),
     ("1b", 1.2e9, 128_256), ("3b", 3e9, 128_256), ("8b", 8e9, 128_256)],
)  # fmt: skip
def test_names_of_presets_are_true(name: str, said: float, vocabulary: int | None) -> None:
    found = parameters(preset(f"llama-{name}"), vocabulary or 1)
    counted = found.total if vocabulary else found.inner
    assert counted == pytest.approx(said, rel=0.2 if name == "1m" else 0.08)


def test_flops_of_a_token() -> None:
    shape = preset("llama-160m")
    found = parameters(shape, 50_304)
    assert (found.total, found.inner, found.matmul) == (162_220_800, 84_953_856, 123_568_128)
    assert attention_flops(12, 6, 128, 2048) == 12 * 12 * 768 * 2048
    assert flops_per_token(shape, 50_304, 2048) == 6 * 123_568_128 + 12 * 12 * 768 * 2048
    assert [padded_vocabulary(n) for n in (1, 128, 129, 50_257)] == [128, 128, 256, 50_304]


def test_forecast_names_its_formulas() -> None:
    node = Pretrain(model={"preset": "llama-160m"}, data="mix")
    lines = "\n".join(forecast_lines(node, 1_000_000_000, False))
    assert "~1,000,000,000 tokens: 6ND" in lines and "H200 SXM" in lines and "$" in lines
    assert f"{TOKENS_PER_PARAMETER} tokens a parameter" in lines
    assert "goes on from base" in forecast_lines(Pretrain(init="base", data="mix"), 5, True)[0]
    assert [duration(s) for s in (38, 744, 26_280, 440_640)] == ["38 s", "12.4 min", "7.3 h", "5.1 days"]


def test_a_plan_for_one_gpu() -> None:
    shape, context = preset("llama-160m"), 2048
    node = Pretrain(model={"preset": "llama-160m"}, data="mix", batch_tokens=1 << 19, gpu="NVIDIA H100 NVL", price=2.0)
    [line] = [x for x in forecast_lines(node, 1 << 30, True) if x.startswith("H100 NVL")]
    updates = 2048 * 28 * parameters(shape, 32_000).total / 3.9e12
    seconds = flops_per_token(shape, 32_000, context) * (1 << 30) / (0.4 * 835e12) + updates
    assert (
        line.startswith(f"H100 NVL: {duration(seconds)}, ${seconds / 3600 * 2:.2f} at $2/h") and f"{duration(updates)} of updates" in line
    )
    assert "gpu" not in node.model_dump() and "price" not in node.model_dump()  # a plan changes no key
    large = Pretrain(model={"preset": "llama-8b"}, data="mix", gpu="a10")
    [line] = [x for x in forecast_lines(large, 1 << 30, True) if x.startswith("A10:")]
    assert "$" not in line and "does not fit" in line
    with pytest.raises(RecipeError, match=r"gpu 'h10' is not known\. Did you mean 'h100'\? There are: .*h200"):
        Pretrain(model={"preset": "llama-tiny"}, data="mix", gpu="h10")


def test_a_recipe_is_planned_for_a_gpu(tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").write_text('{"text": "a"}\n')
    (tmp_path / "r.yaml").write_text(
        "datasets:\n  web: {read: {jsonl: x.jsonl}, steps: [{tokenize: {tokenizer: tok}}]}\n  web0: {read: {jsonl: x.jsonl}}\n"
        "  pre: {mix: {seq_len: 2048, stages: [{tokens: 1M, weights: {web: 1}}]}}\n"
        "models:\n  tok: {train: tokenizer, data: web0, vocab_size: 300}\n"
        "  base: {train: pretrain, model: {preset: llama-tiny}, data: pre, price: 9}\n"
    )
    path = str(tmp_path / "r.yaml")
    told = for_gpu(load_recipe(path), "4090", 0.5)
    assert told == ['models.base.gpu="4090"', "models.base.price=0.5"]
    base = load_recipe(path, told).nodes["base"].node
    assert (base.gpu, base.price) == ("4090", 0.5)
    assert load(write(tmp_path, "train: pretrain\nmodel: {preset: llama-tiny}\ndata: d\n"), told_of_plan("h200", None))[2].gpu == "h200"
    with pytest.raises(RecipeError, match=r"base \(train pretrain\): gpu 'h20x' is not known\. Did you mean 'h200'"):
        load_recipe(path, for_gpu(load_recipe(path), "h20x", None))
    (tmp_path / "r.yaml").write_text("datasets:\n  web: {read: {jsonl: x.jsonl}}\n")
    with pytest.raises(RecipeError, match="no model whose time is planned"):
        for_gpu(load_recipe(path), "h100", None)


def test_gpus_by_the_names_that_cuda_gives() -> None:
    names = {
        "NVIDIA H100 80GB HBM3": "h100", "NVIDIA H100 PCIe": "h100-pcie", "NVIDIA H100 NVL": "h100-nvl", "NVIDIA H200": "h200",
        "NVIDIA A100-SXM4-80GB": "a100", "NVIDIA A100-SXM4-40GB": "a100-40gb", "NVIDIA A100-PCIE-40GB": "a100-40gb",
        "NVIDIA A100 80GB PCIe": "a100-pcie", "NVIDIA L40S": "l40s", "NVIDIA GeForce RTX 4090": "4090", "AMD Instinct MI300X": "mi300x",
    }  # fmt: skip
    assert {name: gpu_of(name) for name in names} == {name: GPUS[key] for name, key in names.items()}
    for name in ("NVIDIA A10G", "NVIDIA GeForce RTX 4090 Laptop GPU", "NVIDIA GeForce RTX 3090 Ti", "cpu", ""):
        assert gpu_of(name) is None
    assert all(known_gpu(key) == gpu for key, gpu in GPUS.items())
    assert [line[0] for line in gpu_table()[1:]] == list(GPUS) and [line[0] for line in preset_table()[1:]] == list(PRESETS)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"evaluate": {"tasks": []}}, "at least 1 item"),
        ({"evaluate": {"tasks": ["x"], "every": 0}}, "greater than or equal to 1"),
        ({"price": -1}, "greater than or equal to 0"),
        ({"model": {"preset": "llama-161m"}}, "Did you mean 'llama-160m'"),
        ({"model": {"preset": "llama-tiny", "width": 70}}, "even multiple of heads"),
        ({"model": {"preset": "llama-tiny", "heads": 4, "kv_heads": 3}}, "multiple of kv_heads"),
        ({"model": None}, "exactly one of"),
        ({"init": "base"}, "exactly one of"),
        ({"clip": 0}, "greater than 0"),
        ({"batch_tokens": 10, "batch_ramp": {"start": 11}}, "at most batch_tokens"),
        ({"buckets": {"score": [1]}}, "which loss_by does not have"),
        ({"optimizer": {"beta1": 1}}, "less than 1"),
        ({"schedule": {"warmup": 1.1}}, "less than or equal to 1"),
    ],
)
def test_settings_that_can_not_be(change: dict[str, Any], message: str) -> None:
    with pytest.raises((ValidationError, RecipeError), match=message):
        Pretrain(**{"model": {"preset": "llama-tiny"}, "data": "mix", **change})


def test_settings_at_their_bounds() -> None:
    shape = ModelSpec(preset="llama-tiny", heads=1, width=8, layers=1).shape()
    assert (shape.heads, shape.kv_heads, shape.head_dim) == (1, 1, 8)
    Pretrain(model={"preset": "llama-tiny"}, data="m", optimizer={"beta1": 0}, schedule={"warmup": 1, "decay": 0}, clip=None)
    assert len(PRESETS) == 10


def test_what_init_means(tmp_path: Path) -> None:
    assert [kind_of_init(v) for v in ("base", "org/name", "hub:gpt2", "/x/y", "./x", str(tmp_path))] == [
        "node", "hub", "hub", "folder", "folder", "folder",
    ]  # fmt: skip
    node = Pretrain(init="base", data="mix", tokenizer="tok", validation={"data": ["held", "mix"]})
    assert node.inputs() == ("mix", "base", "tok", "held")
    assert Pretrain(init="org/name", data="mix").inputs() == ("mix",)


def test_a_job_survives_its_text(run: tuple[Path, NodeInput], tmp_path: Path) -> None:
    node = Pretrain(model={"preset": "llama-tiny", "layers": 1}, data="mix")
    job = node.job({"mix": run[1]}, tmp_path, tmp_path / "work", 7, "n")
    assert TrainJob.from_json(job.to_json()) == job
    assert job.lineage()["init"] == {"preset": {"preset": "llama-tiny", "layers": 1}} and len(job.lineage()["mix_sha256"]) == 64
    other = Pretrain(model={"preset": "llama-tiny", "layers": 1}, data="mix", clip=2.0)
    assert other.job({"mix": run[1]}, tmp_path, tmp_path / "work", 7, "n").identity() != job.identity()
    with pytest.raises(DataError, match=r"has no config\.json"):
        Pretrain(init=str(tmp_path), data="mix").job({"mix": run[1]}, tmp_path, tmp_path / "work", 7, "n")
    assert job.initial == Initial(spec=node.model)


def test_steps_are_a_function_of_settings() -> None:
    plan = plan_steps(1000, 64, 8, 0.3)
    assert plan.ramp == ((8, 12), (16, 6), (32, 3)) and plan.place(12) == (96, 16) and plan.place(21) == (288, 64)
    places = [plan.place(step) for step in range(plan.steps)]
    assert [first for first, _ in places] == list(np.cumsum([0, *(n for _, n in places[:-1])]))
    assert plan.used == sum(n for _, n in places) <= 1000 < plan.used + 64
    assert plan_steps(10, 4, None, 0) == StepPlan(10, 4) and plan_steps(10, 4, None, 0).steps == 2
    with pytest.raises(RecipeError, match="Lower batch_tokens"):
        plan_steps(3, 4, None, 0)


@pytest.mark.parametrize("world", [1, 2, 3, 6])
def test_ranks_share_a_step(world: int) -> None:
    parts = [micro_batches(30, 12, rank, world, 5) for rank in range(world)]
    assert [k for part in parts for few in part for k in few] == list(range(30, 42))
    assert len({len(few) for part in parts for few in part}) == 1
    with pytest.raises(RecipeError, match="shared out evenly to 5"):
        micro_batches(0, 12, 0, 5, 4)


@pytest.mark.parametrize("isolate", [True, False])
def test_rows_of_a_micro_batch(run: tuple[Path, NodeInput], isolate: bool) -> None:
    mix = open_mix(run[1].folder)
    source = Source(mix, Tagger(mix.again(), ["dataset", "source"], {}), isolate=isolate)
    rows = source.rows(range(3, 9))
    size = mix.seq_len
    assert rows.tokens.tolist() == mix.windows(np.arange(3, 9)).tolist()
    at = 0
    for i, k in enumerate(range(3, 9)):
        starts = mix.document_starts(k).tolist() if isolate else [0, size]
        for start, stop in pairwise(starts):
            assert rows.positions[i, start:stop].tolist() == list(range(stop - start))
            assert rows.labels[i, start : stop - 1].tolist() == rows.tokens[i, start + 1 : stop].tolist()
            assert rows.labels[i, stop - 1] == IGNORED
        for piece in mix.trace(k):
            assert (rows.pieces[at], rows.pieces[at + 1]) == (i * size + piece.start, i * size + piece.stop)
            names = [source.tagger.labels[tag] for tag in rows.tags[:, at]]
            assert names == [f"dataset={piece.dataset}", f"source={piece.source}"]
            at += 1
    assert at == len(rows.pieces) - 1 and rows.real == (rows.labels != IGNORED).sum()
    ends = rows.ends[: np.flatnonzero(rows.ends == 6 * size)[0] + 1]
    assert rows.squares() == (np.diff(ends.astype(int)) ** 2).sum() and len(rows.ends) == source.capacity


def test_excluded_documents_are_read_and_not_learnt(run: tuple[Path, NodeInput]) -> None:
    mix = open_mix(run[1].folder)
    gone = mix.trace(4)[0].id
    plain, without = (
        Source(mix, Tagger(mix.again(), [], {}), isolate=True, excluded=e).rows(range(2, 6)) for e in (frozenset(), frozenset({gone}))
    )
    assert (plain.tokens == without.tokens).all() and without.real < plain.real
    for i, k in enumerate(range(2, 6)):
        for piece in mix.trace(k):
            part = slice(piece.start, piece.stop)
            assert (
                (without.labels[i, part] == IGNORED).all() if piece.id == gone else (without.labels[i, part] == plain.labels[i, part]).all()
            )


def test_steps_are_read_ahead_in_order(run: tuple[Path, NodeInput]) -> None:
    mix = open_mix(run[1].folder)
    plan = plan_steps(40, 4, None, 0)
    steps = Steps(Source(mix, Tagger(mix.again(), [], {}), isolate=True), plan, rank=1, world=2, micro=1, start=3)
    seen = []
    for step in steps:
        seen.append((step.number, [k for rows in step.parts for k in rows.windows]))
        steps.read_on()
    assert seen == [(n, [4 * n + 2, 4 * n + 3]) for n in range(3, 10)]
    broken = Steps(Source(mix, Tagger(mix.again(), ["no_such"], {}), isolate=True), plan, rank=0, world=1, micro=4)
    with pytest.raises(DataError, match="loss_by names 'no_such'"):
        next(iter(broken))


def test_losses_by_label(run: tuple[Path, NodeInput]) -> None:
    mix = open_mix(run[1].folder)
    tagger = Tagger(mix, ["lang_code", "quality_score"], {"quality_score": [0.3, 0.6]})
    rows = Source(mix.again(), tagger, isolate=True).rows(range(150))
    losses = np.arange(len(rows.learnt), dtype=float)
    by = as_means(sums_by_label(rows.tags, losses, rows.learnt, tagger.labels))
    assert set(by) == {"lang_code", "quality_score"} and set(by["lang_code"]) == {"en", "de"}
    assert set(by["quality_score"]) == {"[-inf, 0.3)", "[0.3, 0.6)", "[0.6, inf)", "none"}
    for column in by.values():
        assert sum(tokens for _, tokens in column.values()) == rows.real
        assert sum(mean * tokens for mean, tokens in column.values()) == pytest.approx(losses[rows.learnt > 0].sum())
    padding = np.array([[0, NONE]], np.int32)
    assert sums_by_label(padding, np.array([2.0, 9.0]), np.array([4, 0]), ["a=b"]) == {"a=b": [2.0, 4.0]}
    with pytest.raises(DataError, match="Give its borders"):
        Tagger(mix, ["quality_score"], {}).tags(range(1), *mix.layout([0]))


def test_when_tasks_are_asked(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"query": "x", "choices": ["y", "z"], "gold": 1}\n' * 3)
    asked = TaskEvaluation(every=4, tasks=[str(tmp_path / "a.jsonl")], limit=2)
    assert [done for done in range(1, 11) if asked.due(done, 10)] == [4, 8, 10]
    assert [done for done in range(1, 11) if TaskEvaluation(tasks=["a"]).due(done, 10)] == [10]
    node = Pretrain(model={"preset": "llama-tiny"}, data="mix", evaluate=asked)
    assert node.forecast({}, True)[-1] == "asks 2 items of a every 4 steps and at the end"
    assert [a.uri for a in node.assets()] == [str(tmp_path / "a.jsonl")]
    (tmp_path / "b.jsonl").write_text('{"question": "x", "answer": "y"}\n')
    with pytest.raises(RecipeError, match="in b the model must write answers"):
        TaskEvaluation(tasks=[str(tmp_path / "b.jsonl")]).load()


def write(folder: Path, text: str) -> Path:
    (folder / "model.yaml").write_text(text)
    return folder / "model.yaml"


def test_a_file_of_one_model(run: tuple[Path, NodeInput], tmp_path: Path) -> None:
    plain = write(tmp_path, "train: pretrain\nmodel: {preset: llama-tiny}\ndata: run/mix\nseed: 4\n")
    name, seed, node, folder = load(plain, ["optimizer.lr=0.01"])
    assert (name, seed, folder) == ("model", 4, str(tmp_path)) and isinstance(node, Pretrain) and node.optimizer.lr == 0.01
    (tmp_path / "run").symlink_to(run[0], target_is_directory=True)
    found = find_input("run/mix", folder)
    assert found.folder == str(tmp_path / "run" / "mix") and [Path(p).name for p in found.parts] == ["mix.json"] and found.digest
    assert load(write(tmp_path, "models:\n  base: {train: pretrain, init: org/name, data: d}\n"))[0] == "base"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("data: x\n", r"model\.yaml:1: must be a mapping with 'train'"),
        ("train: pretain\ndata: x\n", r"model\.yaml:1: unknown kind of training 'pretain'\. Did you mean 'train:pretrain'\?"),
        ("train: pretrain\nmodel: {preset: llama-tiny}\ndata: x\nclipp: 1\n", r"model\.yaml:4: .*has no setting 'clipp'.*'clip'"),
        ("models: {a: {train: pretrain}, b: {train: pretrain}}\n", "must have one entry"),
    ],
)
def test_a_file_that_is_wrong(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        load(write(tmp_path, text))
    with pytest.raises(RecipeError, match="neither a folder nor a dataset"):
        find_input("no/such", str(tmp_path))


def test_the_first_rank_that_fails_says_why(tmp_path: Path) -> None:
    ranks = [subprocess.Popen([sys.executable, "-S", "-c", text]) for text in ("import time; time.sleep(60)", "raise SystemExit(1)")]
    (tmp_path / "error-1.json").write_text(json.dumps({"type": "DataError", "message": "no mix"}))
    with pytest.raises(DataError, match="no mix"):
        launch._watch(ranks, tmp_path)
    for rank in ranks:
        rank.kill()
        rank.wait()
    error = launch._error(tmp_path / "empty", 3, 9)
    assert isinstance(error, RunError) and "Process 3" in str(error)
