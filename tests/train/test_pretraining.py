"""The pretraining loop: exact where it says so, isolated, told apart by source, and what it writes can be loaded."""

from __future__ import annotations

import json
import math
import os
import random
import shutil
import signal
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from safetensors.torch import load_file, save_file  # noqa: E402
from tokenizers import Tokenizer  # noqa: E402
from tokenizers.models import WordLevel  # noqa: E402
from tokenizers.pre_tokenizers import WhitespaceSplit  # noqa: E402
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast  # noqa: E402

from curate.errors import DataError, RecipeError  # noqa: E402
from curate.mixing import MixNode  # noqa: E402
from curate.node import NodeInput  # noqa: E402
from tests.train.synthetic import small_run  # noqa: E402
from train import loop, loss, optimizers, spikes  # noqa: E402
from train.attention import guard_packed, packed_inputs, use_attention  # noqa: E402
from train.evaluation.asking import Asking, ask  # noqa: E402
from train.evaluation.during import as_metrics  # noqa: E402
from train.evaluation.tasks import load_tasks  # noqa: E402
from train.isolation import leakage, prove  # noqa: E402
from train.launch import free_port  # noqa: E402
from train.models import init_model, load_model, save_model  # noqa: E402
from train.pretrain import Pretrain, Schedule  # noqa: E402
from train.spec import Initial, ModelSpec  # noqa: E402

SEQ_LEN = 32
torch.set_num_threads(1)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, NodeInput]:
    folder = tmp_path_factory.mktemp("run")
    return folder, small_run(folder, seq_len=SEQ_LEN, tokens=60 * 256, vocabulary=120, mean=16.0)


def quiet(share: float, what: str) -> None:
    pass


def settings(**changed: Any) -> dict[str, Any]:
    shape = {"preset": "llama-tiny", "width": 32, "ffn": 64, "heads": 2, "kv_heads": 1}
    return {"model": shape, "data": "mix", "batch_tokens": 256, "micro_batch_tokens": 128, "optimizer": {"lr": 3e-3}, **changed}


def train(run: tuple[Path, NodeInput], out: Path, **changed: Any) -> dict[str, Any]:
    node = Pretrain(**settings(**changed))
    out.mkdir(exist_ok=True)
    return node.train(node.job({"mix": run[1], **dict.fromkeys(node.more_inputs(), run[1])}, out, out / "work", 3, "test"), quiet)


def lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def forked(what: Callable[[], Any]) -> int:
    """Another process that has imported everything. Returns its number."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # from Python 3.12 on: forked while pytest has threads
        number = os.fork()
    if number == 0:
        status = 1
        try:
            what()
            status = 0
        except BaseException as error:
            print(type(error).__name__, error, flush=True)
        finally:
            os._exit(status)
    return number


def ended(number: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(number, 0)[1])


# Loss


@pytest.mark.parametrize("z", [0.0, 1e-2])
def test_chunked_loss_is_cross_entropy(monkeypatch: pytest.MonkeyPatch, z: float) -> None:
    monkeypatch.setattr(loss, "chunk_tokens", lambda vocabulary, device: 7)
    torch.manual_seed(0)
    hidden, weight = torch.randn(40, 16, requires_grad=True), torch.randn(50, 16, requires_grad=True)
    labels = torch.randint(0, 50, (40,))
    labels[::5] = loss.IGNORED
    scale = torch.tensor(1 / 32)
    made, each = loss.next_token_loss(hidden, weight, labels, scale, z)
    made.backward()
    got = hidden.grad.clone(), weight.grad.clone()
    hidden.grad = weight.grad = None
    logits = hidden @ weight.T
    plain = torch.nn.functional.cross_entropy(logits, labels, reduction="none")
    whole = ((plain + z * logits.logsumexp(1).square() * (labels >= 0)).sum()) / 32
    whole.backward()
    torch.testing.assert_close(made, whole)
    torch.testing.assert_close(each, plain)
    torch.testing.assert_close(got, (hidden.grad, weight.grad))
    with torch.no_grad():
        torch.testing.assert_close(loss.next_token_loss(hidden, weight, labels, scale)[1], plain)


# Isolation


def packed(kind: str) -> tuple[Any, list[torch.Tensor], torch.Tensor, torch.Tensor]:
    """(model, documents, positions [2, 48], ends): two rows of documents, with large weights so that attention matters."""
    torch.manual_seed(1)
    config = LlamaConfig(vocab_size=64, hidden_size=32, intermediate_size=64, num_hidden_layers=3, num_attention_heads=4, num_key_value_heads=2,
                         max_position_embeddings=64, use_cache=False, attn_implementation="eager")  # fmt: skip
    model = LlamaForCausalLM(config).eval()
    with torch.no_grad():
        for p in model.parameters():
            if p.ndim > 1:
                p.mul_(6.0)
    lengths = [20, 17, 11, 30, 1, 17]
    documents = [torch.randint(0, 64, (1, n)) for n in lengths]
    positions = torch.cat([torch.arange(n) for n in lengths]).view(2, 48)
    ends = torch.tensor([0, *torch.tensor(lengths).cumsum(0).tolist(), 96, 96], dtype=torch.int32)
    if kind in ("varlen", "sdpa", "flex"):
        use_attention(model, kind)
    else:
        model.set_attn_implementation(kind.removeprefix("hf-"))
    return model, documents, positions, ends


def inputs_of(kind: str, tokens: torch.Tensor, positions: torch.Tensor, ends: torch.Tensor) -> dict[str, Any]:
    if kind.startswith("hf-"):
        return {"input_ids": tokens, "position_ids": positions, "use_cache": False}
    return packed_inputs(kind, tokens, positions, ends, 48)


@pytest.mark.filterwarnings("ignore")  # flex says that it is slow without compilation
@pytest.mark.parametrize("kind", ["varlen", "sdpa", "flex", "hf-eager", "hf-sdpa"])
@torch.no_grad()
def test_packed_documents_are_as_alone(kind: str) -> None:
    model, documents, positions, ends = packed(kind)
    tokens = torch.cat(documents, 1).view(2, 48)
    together = model(**inputs_of(kind, tokens, positions, ends)).logits.reshape(96, -1)
    at = 0
    for document in documents:
        n = document.shape[1]
        alone = model(input_ids=document, use_cache=False).logits[0]
        for start, stop in ((at, at + n - 1),) if n > 1 else ():
            targets = document[0, 1:]
            of = [torch.nn.functional.cross_entropy(logits, targets) for logits in (together[start:stop], alone[:-1])]
            assert abs(of[0] - of[1]) < 1e-5
        at += n
    assert leakage(model, inputs_of(kind, tokens, positions, ends), ends)[0] == 0.0
    assert prove(model, inputs_of(kind, tokens, positions, ends), ends)["moved"] > 0.1


@torch.no_grad()
def test_naive_packing_is_seen() -> None:
    model, documents, _, ends = packed("sdpa")
    naive = {"input_ids": torch.cat(documents, 1).view(2, 48), "use_cache": False}
    assert leakage(model, naive, ends)[0] > 0.1
    with pytest.raises(DataError, match="not kept apart"):
        prove(model, naive, ends)


def test_what_switches_isolation_off_is_refused() -> None:
    model, documents, positions, ends = packed("hf-sdpa")
    guard_packed(model.base_model)
    tokens = torch.cat(documents, 1).view(2, 48)
    good = {"input_ids": tokens, "position_ids": positions, "use_cache": False}
    model(**good)
    with pytest.raises(DataError, match="all-ones padding mask"):
        model(**good, attention_mask=torch.ones(2, 48, dtype=torch.long))
    with pytest.raises(DataError, match="use_cache=False"):
        model(**{**good, "use_cache": True})
    with pytest.raises(DataError, match="padding mask"):
        model.base_model(**packed_inputs("sdpa", tokens, positions, ends, 48), attention_mask=torch.ones(2, 48))
    plain = {"input_ids": tokens, "position_ids": torch.arange(48)[None]}
    model(**plain, attention_mask=torch.ones(2, 48, dtype=torch.long), use_cache=True)  # not packed


# Runs


def test_a_run_and_what_it_writes(run: tuple[Path, NodeInput], tmp_path: Path) -> None:
    info = train(run, tmp_path / "out", loss_by=["dataset", "lang_code"], schedule={"name": "cosine"}, activation_checkpointing=True)
    made = lines(tmp_path / "out")
    assert info["steps"] == len(made) == 60 and made[-1]["loss"] < made[0]["loss"] - 0.5
    assert info["isolation"]["leak"] == 0.0 and info["tokens"] == sum(line["tokens"] for line in made) == made[-1]["seen"]
    for line in made:
        for column in line["by"].values():
            assert sum(n for _, n in column.values()) == line["tokens"]
            assert sum(mean * n for mean, n in column.values()) / line["tokens"] == pytest.approx(line["loss"], rel=1e-9)
    notes = json.loads((tmp_path / "out" / "training.json").read_bytes())
    assert notes["lineage"]["data"]["digest"] == "digest of mix" and notes["info"] == info
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    assert model.config.use_cache and model.generation_config.eos_token_id == 0 and not list((tmp_path / "out").glob("*.bin"))
    tokens = torch.arange(20)[None]
    torch.testing.assert_close(load_model(tmp_path / "out")(input_ids=tokens).logits, model(input_ids=tokens).logits)


def test_killed_at_five_steps_it_goes_on_with_the_same_bits(run: tuple[Path, NodeInput], tmp_path: Path) -> None:
    changed = {
        "checkpoints": {"every_steps": 3, "keep": 1},
        "tokens": 24 * 256,
        "batch_ramp": {"start": 128, "until": 0.2},
        "prove_isolation": False,
    }
    assert ended(forked(lambda: train(run, tmp_path / "whole", **changed))) == 0
    draw = random.Random(2)
    killed = tmp_path / "killed" / "work" / "metrics.jsonl"
    for stop in sorted(draw.sample(range(2, 24), 5)):
        child = forked(lambda: train(run, tmp_path / "killed", **changed))
        until = time.monotonic() + 60
        while not (killed.exists() and len(killed.read_text().splitlines()) >= stop) and time.monotonic() < until:
            time.sleep(0.002)
        os.kill(child, signal.SIGKILL)
        assert ended(child) in (-signal.SIGKILL, 0)
    assert ended(forked(lambda: train(run, tmp_path / "killed", **changed))) == 0
    assert lines(tmp_path / "killed") == lines(tmp_path / "whole")
    for name in ("model.safetensors", "training.json"):
        assert (tmp_path / "killed" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    child = forked(lambda: train(run, tmp_path / "asked", **{**changed, "checkpoints": {"keep": 1}}))
    asked = tmp_path / "asked" / "work"
    while not ((asked / "metrics.jsonl").exists() and len((asked / "metrics.jsonl").read_text().splitlines()) >= 4):
        time.sleep(0.002)
    os.kill(child, signal.SIGTERM)
    if ended(child) == 1:  # it saved the step and raised Interrupted
        assert list(asked.glob("step-*")) and not (tmp_path / "asked" / "training.json").exists()
        assert ended(forked(lambda: train(run, tmp_path / "asked", **{**changed, "checkpoints": {"keep": 1}}))) == 0
    assert lines(tmp_path / "asked") == lines(tmp_path / "whole")
    with pytest.raises(DataError, match="checkpoint of other settings"):
        train(run, tmp_path / "killed", **{**changed, "clip": 0.5})


def several(run: tuple[Path, NodeInput], out: Path, ranks: int = 2, **changed: Any) -> None:
    """Some processes, as torchrun starts them."""
    port = str(free_port())

    def rank(number: int) -> None:
        os.environ.update(RANK=str(number), LOCAL_RANK=str(number), WORLD_SIZE=str(ranks), MASTER_ADDR="127.0.0.1", MASTER_PORT=port)
        train(run, out, **changed)

    assert [ended(child) for child in [forked(lambda n=n: rank(n)) for n in range(ranks)]] == [0] * ranks


def test_two_processes_learn_what_one_learns(run: tuple[Path, NodeInput], tmp_path: Path) -> None:
    changed = {"tokens": 50 * 256, "checkpoints": {"every_steps": 25, "keep": 9}, "loss_by": ["dataset", "source"]}
    assert ended(forked(lambda: train(run, tmp_path / "one", **changed))) == 0
    several(run, tmp_path / "two", **changed)
    one, two = lines(tmp_path / "one"), lines(tmp_path / "two")
    assert [line["seen"] for line in one] == [line["seen"] for line in two] and len(one) == 50
    apart = [abs(a["loss"] - b["loss"]) for a, b in zip(one, two, strict=True)]
    assert apart[0] <= 2e-6 and max(apart) <= 2e-5
    for a, b in zip(one, two, strict=True):
        assert {k: {n: v[1] for n, v in c.items()} for k, c in a["by"].items()} == {
            k: {n: v[1] for n, v in c.items()} for k, c in b["by"].items()
        }
    # From step 25 of one process, two go on.
    work = tmp_path / "on" / "work"
    work.mkdir(parents=True)
    (tmp_path / "one" / "work" / "step-00000025").rename(work / "step-00000025")
    (work / "metrics.jsonl").write_text((tmp_path / "one" / "metrics.jsonl").read_text())
    several(run, tmp_path / "on", **changed)
    on = lines(tmp_path / "on")
    assert on[:25] == one[:25] and max(abs(a["loss"] - b["loss"]) for a, b in zip(one, on, strict=True)) <= 2e-5


def test_cut_weights_learn_the_same_and_go_on_with_other_ranks(run: tuple[Path, NodeInput], tmp_path: Path) -> None:
    """FSDP2 over two processes, then from its checkpoint over four."""
    changed = {"tokens": 8 * 256, "checkpoints": {"every_steps": 4, "keep": 9}, "prove_isolation": False}
    assert ended(forked(lambda: train(run, tmp_path / "one", **changed))) == 0
    several(run, tmp_path / "two", parallel="fsdp2", **changed)
    work = tmp_path / "four" / "work"
    work.mkdir(parents=True)
    (tmp_path / "two" / "work" / "step-00000004").rename(work / "step-00000004")
    (work / "metrics.jsonl").write_text((tmp_path / "two" / "metrics.jsonl").read_text())
    several(run, tmp_path / "four", ranks=4, parallel="fsdp2", **changed)
    one, two, four = (lines(tmp_path / name) for name in ("one", "two", "four"))
    assert four[:4] == two[:4] and len(one) == len(two) == len(four) == 8
    for other in (two, four):
        assert max(abs(a["loss"] - b["loss"]) + abs(a["norm"] - b["norm"]) for a, b in zip(one, other, strict=True)) <= 2e-6


def test_a_loss_that_is_no_number_names_documents_and_stops(
    run: tuple[Path, NodeInput], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = loop.Loop._norm
    calls: list[float] = []

    def broken(self: loop.Loop) -> float:
        calls.append(whole(self))
        return calls[-1] if len(calls) < 12 else math.nan

    monkeypatch.setattr(loop.Loop, "_norm", broken)
    with pytest.raises(DataError, match=r"no number in 3 steps in a row, up to step 13\. Documents"):
        train(run, tmp_path / "out", spikes={"max_bad": 2, "documents": 4}, prove_isolation=False)
    found = [json.loads(line) for line in (tmp_path / "out" / "work" / spikes.REPORT).read_text().splitlines()]
    assert [f["step"] for f in found] == [11, 12, 13] and all(f["skipped"] and f["kind"] == "nan" for f in found)
    losses = [d["loss"] for d in found[0]["documents"]]
    assert losses == sorted(losses, reverse=True) and len(losses) == 4 and found[0]["documents"][0]["file"].endswith(".arrow")
    ids = spikes.read_excluded(str(tmp_path / "out" / "work" / spikes.EXCLUDE))
    assert ids == {d["id"] for f in found for d in f["documents"]}
    assert [line.get("skipped") for line in lines(tmp_path / "out" / "work")][9:] == [None, None, "nan", "nan"]


def test_what_is_a_spike() -> None:
    watch = spikes.Watch(above=6.0, window=16)
    assert [watch.judge(3.0 + 0.01 * (i % 3), 1.0) for i in range(16)] == [None] * 16
    assert watch.bound() == pytest.approx(3.01 + 6 * spikes.SMALLEST)
    assert watch.judge(watch.bound(), 1.0) is None and watch.judge(watch.bound() + 1e-3, 1.0) == "spike"
    assert watch.judge(3.0, math.inf) == "nan" and watch.bad == 1 and watch.judge(3.0, 1.0) is None and watch.bad == 0


def test_validation_reads_what_a_mix_holds_out(tmp_path: Path) -> None:
    small_run(tmp_path, seq_len=SEQ_LEN, tokens=20 * 256, vocabulary=120, mean=16.0)
    inputs = {n: NodeInput(n, str(tmp_path / n), tuple(map(str, (tmp_path / n).glob("*.arrow"))), n) for n in ("web", "books")}
    (tmp_path / "held").mkdir()
    stages = [{"tokens": 10 * 256, "weights": {"web": 1.0, "books": 1.0}}]
    MixNode(seq_len=SEQ_LEN, stages=stages, held_out={"share": 0.1}).run(inputs, tmp_path / "held", _Seed(), quiet)
    data = NodeInput("mix", str(tmp_path / "held"), (), "d")
    train((tmp_path, data), tmp_path / "out", validation={"data": ["mix"], "every_steps": 4, "windows": 12}, micro_batch_tokens=64)
    found = [line for line in lines(tmp_path / "out") if "validation" in line]
    assert [line["step"] for line in found] == [3, 7, 9]
    assert all(set(line["validation"]["mix"]["by"]["dataset"]) == {"web", "books"} for line in found)
    plain = NodeInput("mix", str(tmp_path / "mix"), (), "d")
    with pytest.raises(DataError, match="holds nothing out"):
        train((tmp_path, plain), tmp_path / "other", tokens=256, validation={"data": ["mix"]})


class _Seed:
    seed = 1


# Parts


def test_learning_rates() -> None:
    def rates(**changed: Any) -> list[float]:
        return [round(optimizers.rate(Schedule(**changed), step, 10), 4) for step in range(10)]

    assert rates(name="wsd", warmup=0.2, decay=0.3) == [0.5, 1, 1, 1, 1, 1, 1, 0.6667, 0.3333, 0.1667]
    assert rates(name="linear", warmup=0, final=0.1)[-1] == 0.1 and rates(name="constant", warmup=0.1) == [1.0] * 10
    cosine = rates(name="cosine", warmup=0.1)
    assert cosine[0] == 1.0 and cosine == sorted(cosine, reverse=True) and optimizers.default_lr(2048) == pytest.approx(3.9e-4, rel=0.01)


def test_groups_of_optimizers() -> None:
    model = init_model(Initial(spec=ModelSpec(preset="llama-tiny", tied=False)), vocab_size=100, context=16, seed=0)
    adamw = Pretrain(**settings()).optimizer
    (made,) = optimizers.make_optimizers(model, adamw, 64, False)
    kinds = [({p.ndim for p in g["params"]}, g["weight_decay"]) for g in made.param_groups]
    assert kinds == [({2}, 0.1), ({1, 2}, 0.0)] and sum(len(g["params"]) for g in made.param_groups) == len(list(model.parameters()))
    muon = Pretrain(**settings(optimizer={"name": "muon"})).optimizer
    rest, inner = optimizers.make_optimizers(model, muon, 64, False)
    assert len(inner.param_groups[0]["params"]) == 7 * 2 and optimizers.set_rate([rest, inner], 0.5) == 0.5 * 3e-3
    assert inner.param_groups[0]["lr"] == 0.01
    with pytest.raises(RecipeError, match="whole matrices"):
        optimizers.make_optimizers(model, muon, 64, True)


def test_other_fields_of_the_configuration() -> None:
    made = Pretrain(model={"preset": "llama-tiny", "rope_theta": 5e5, "config": {"rms_norm_eps": 1e-6, "attention_bias": True}}, data="m")
    assert made.model is not None
    model = init_model(Initial(spec=made.model), vocab_size=100, context=16, seed=0)
    assert (model.config.rms_norm_eps, model.config.attention_bias, model.config.rope_parameters["rope_theta"]) == (1e-6, True, 5e5)
    with pytest.raises(ValueError, match=r"config\.hidden_size is `width`"):
        Pretrain(model={"preset": "llama-tiny", "config": {"hidden_size": 8}}, data="m")
    wrong = Pretrain(model={"preset": "llama-tiny", "config": {"rms_norm_epsilon": 1e-6}}, data="m").model
    with pytest.raises(RecipeError, match=r"no field 'rms_norm_epsilon'.*rms_norm_eps"):
        init_model(Initial(spec=wrong), vocab_size=100, context=16, seed=0)


def test_models_that_do_not_fit(run: tuple[Path, NodeInput], tmp_path: Path) -> None:
    save_model(init_model(Initial(spec=ModelSpec(preset="llama-tiny")), vocab_size=50, context=16, seed=0), tmp_path / "small")
    with pytest.raises(DataError, match="reads at most 16 tokens"):
        train(run, tmp_path / "out", model=None, init=str(tmp_path / "small"))
    with pytest.raises(DataError, match="is no model"):
        load_model(tmp_path)
    with pytest.raises(RecipeError, match="Make a longer mix"):
        train(run, tmp_path / "out", tokens=10**9)
    with pytest.raises(RecipeError, match="no backward pass on a CPU"):
        train(run, tmp_path / "out", attention="flex")


# Tasks while training


@pytest.fixture(scope="module")
def asking(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A tokenizer that fits the made-up documents, and tasks of both kinds."""
    folder = tmp_path_factory.mktemp("asking")
    words = Tokenizer(WordLevel({"<end>": 0, **{f"w{n}": n for n in range(1, 119)}, "?": 119}, "?"))
    words.pre_tokenizer = WhitespaceSplit()
    PreTrainedTokenizerFast(tokenizer_object=words, eos_token="<end>").save_pretrained(folder / "tokenizer")
    choices = [{"query": f"w{n} w{n + 1}", "choices": [f"w{n + 2}", f"w{n + 50}", f"w{n + 70} w3"], "gold": n % 3} for n in range(1, 30)]
    texts = [{"text": " ".join(f"w{(7 * n + i) % 118 + 1}" for i in range(60)), "source": f"s{n % 2}"} for n in range(6)]
    for name, rows in {"choices": choices, "texts": texts}.items():
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return {"tokenizer": str(folder / "tokenizer"), "tasks": [str(folder / f"{name}.jsonl") for name in ("choices", "texts")]}


def figures(model: Path, tasks: list[str]) -> dict[str, Any]:
    """What `curate eval` says."""
    return as_metrics(ask(str(model), load_tasks(tasks), Asking(), Quiet()))


class Quiet:
    def __call__(self, task: str, done: int, total: int) -> None: ...

    def tick(self) -> None: ...


def test_tasks_asked_while_training_change_nothing(run: tuple[Path, NodeInput], tmp_path: Path, asking: dict[str, Any]) -> None:
    changed = {"tokens": 10 * 256, "checkpoints": {"every_steps": 4, "keep": 9}, "prove_isolation": False, "tokenizer": asking["tokenizer"]}
    settings = {**changed, "evaluate": {"every": 4, "tasks": asking["tasks"]}}
    torch.manual_seed(8)
    train(run, tmp_path / "without", **changed)
    drawn = torch.rand(3)
    torch.manual_seed(8)
    info = train(run, tmp_path / "with", **settings)
    assert torch.equal(torch.rand(3), drawn)
    found = lines(tmp_path / "with")
    asked = {line["step"] + 1: line["evaluation"] for line in found if "evaluation" in line}
    assert [line for line in found if "evaluation" not in line] == lines(tmp_path / "without") and list(asked) == [4, 8, 10]
    assert (tmp_path / "with" / "model.safetensors").read_bytes() == (tmp_path / "without" / "model.safetensors").read_bytes()
    assert info["evaluation"] == {"steps": 10, "tasks": asked[10]} and asked[4] != asked[10]
    assert asked[10]["choices"]["main"] == "acc" and set(asked[10]["texts"]["domains"]) == {"s0", "s1"}
    # The figures are those of the folder, and of a checkpoint of the step.
    assert figures(tmp_path / "with", asking["tasks"]) == asked[10]
    of_step = shutil.copytree(tmp_path / "with", tmp_path / "step", ignore=shutil.ignore_patterns("work"))
    weights = load_file(tmp_path / "with" / "work" / "step-00000004" / "model.safetensors")
    save_file(weights, of_step / "model.safetensors", metadata={"format": "pt"})
    assert figures(of_step, asking["tasks"]) == asked[4]
    # Killed behind step 9, it goes on from step 8: what was asked there stays, what comes is asked once.
    work = tmp_path / "on" / "work"
    work.mkdir(parents=True)
    shutil.copytree(tmp_path / "with" / "work" / "step-00000008", work / "step-00000008")
    (work / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in found if line["step"] < 9))
    assert train(run, tmp_path / "on", **settings) == info and lines(tmp_path / "on") == found
    with pytest.raises(RecipeError, match="no tokenizer is known"):
        train(run, tmp_path / "none", **{**settings, "tokenizer": None})


def test_two_processes_share_the_tasks(run: tuple[Path, NodeInput], tmp_path: Path, asking: dict[str, Any]) -> None:
    evaluate = {"tasks": asking["tasks"]}
    changed = {"tokens": 4 * 256, "prove_isolation": False, "tokenizer": asking["tokenizer"], "parallel": "fsdp2", "evaluate": evaluate}
    several(run, tmp_path / "two", **changed)
    assert lines(tmp_path / "two")[-1]["evaluation"] == figures(tmp_path / "two", asking["tasks"])
