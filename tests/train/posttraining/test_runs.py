"""Whole runs on a model made here: losses equal to plain trl's, rows without padding, resume, adapters, and the folder that is written."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

os.environ.setdefault("HF_HUB_OFFLINE", "1")
torch = pytest.importorskip("torch")
trl = pytest.importorskip("trl")
datasets = pytest.importorskip("datasets")
transformers = pytest.importorskip("transformers")

from curate.errors import DataError, RecipeError, RunError  # noqa: E402
from tests.formats.templates.pairs import IM, byte_bpe  # noqa: E402
from tests.train.posttraining.test_doctor import chat, pair, words, write  # noqa: E402
from train.command import as_input  # noqa: E402
from train.node import ModelNode, TrainJob  # noqa: E402
from train.posttraining.dpo import Dpo  # noqa: E402
from train.posttraining.group import Grpo, Rloo  # noqa: E402
from train.posttraining.kto import Kto  # noqa: E402
from train.posttraining.reward import Reward  # noqa: E402
from train.posttraining.sft import Sft  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore")  # torch, transformers and trl warn about each other
torch.set_num_threads(1)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of 26,000 weights with its tokenizer, whose template is ours."""
    from formats.templates.named import named

    folder = tmp_path_factory.mktemp("base")
    config = transformers.LlamaConfig(
        vocab_size=400, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
        max_position_embeddings=1024, pad_token_id=0, bos_token_id=None, eos_token_id=2, tie_word_embeddings=True,
    )  # fmt: skip
    torch.manual_seed(0)
    model = transformers.LlamaForCausalLM(config)
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(4)  # logits that are far from even, so that losses differ
    model.save_pretrained(folder)
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=byte_bpe(IM), eos_token="<|im_end|>", pad_token="<|endoftext|>")
    tokenizer.chat_template = named("chatml").source
    tokenizer.save_pretrained(folder)
    return folder


def job_of(node: ModelNode, folder: Path, name: str) -> TrainJob:
    """What `curate train` would hand over."""
    out, work = folder / name, folder / name / "checkpoints"
    work.mkdir(parents=True)
    given = {wanted: as_input(wanted, Path(wanted)) for wanted in node.inputs()}
    return node.job(given, out, work, 3, name)


def train(node: ModelNode, folder: Path, name: str = "model") -> tuple[Path, dict[str, Any]]:
    job = job_of(node, folder, name)
    return Path(job.out), node.train(job, lambda share, what: None)


def lines(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "metrics.jsonl").read_text("utf-8").splitlines()]


def losses(out: Path) -> list[float]:
    return [line["loss"] for line in lines(out) if "loss" in line]


def plain_args(folder: Path, cls: Any, **more: Any) -> Any:
    """trl's own defaults but for the size of the run."""
    return cls(
        output_dir=str(folder), per_device_train_batch_size=4, max_steps=4, learning_rate=1e-2, lr_scheduler_type="constant", logging_steps=1,
        report_to="none", use_cpu=True, bf16=False, gradient_checkpointing=False, save_strategy="no", disable_tqdm=True,
        train_sampling_strategy="sequential", max_length=1024, **more,
    )  # fmt: skip


def in_our_order(rows: list[dict[str, Any]], steps: int, batch: int) -> list[dict[str, Any]]:
    from train.posttraining.order import Order

    return [rows[n] for n in Order(len(rows), steps * batch, 3)]


COMMON: dict[str, Any] = {"lr": 1e-2, "schedule": "constant", "warmup": 0.0, "batch_size": 4, "steps": 4}


def test_sft_losses_are_those_of_plain_trl(base: Path, tmp_path: Path) -> None:
    rows = [chat(n) for n in range(16)]
    for n, row in enumerate(rows):
        row["messages"][1]["content"] = words(n, 3 + 5 * (n % 4))
    node = Sft(init=str(base), data=write(tmp_path / "chat.jsonl", rows), **COMMON)
    ours, info = train(node, tmp_path)
    given = datasets.Dataset.from_list([{"messages": row["messages"]} for row in in_our_order(rows, 4, 4)])
    theirs = trl.SFTTrainer(
        model=str(base), args=plain_args(tmp_path / "trl", trl.SFTConfig, assistant_only_loss=True), train_dataset=given
    )
    theirs.train()
    expected = [line["loss"] for line in theirs.state.log_history if "loss" in line]
    assert losses(ours) == pytest.approx(expected, abs=2e-5)
    assert expected[0] - expected[-1] > 0.1 and info["rows"] == 16


@pytest.mark.parametrize(
    ("settings", "theirs"),
    [
        ({"rpo_alpha": 0.2}, {"loss_type": ["sigmoid", "sft"], "loss_weights": [1.0, 0.2]}),
        ({"length_normalized": True, "beta": 5.0, "precompute_reference": True}, {"loss_type": ["sigmoid_norm"], "beta": 5.0}),
    ],
)
def test_dpo_losses_are_those_of_plain_trl(base: Path, tmp_path: Path, settings: dict[str, Any], theirs: dict[str, Any]) -> None:
    rows = [pair(n, rejected=[{"role": "assistant", "content": words(n + 700, 2 + 4 * (n % 5))}]) for n in range(16)]
    ours, _ = train(Dpo(init=str(base), data=write(tmp_path / "pairs.jsonl", rows), **COMMON, **settings), tmp_path)
    given = datasets.Dataset.from_list([{k: row[k] for k in ("prompt", "chosen", "rejected")} for row in in_our_order(rows, 4, 4)])
    trainer = trl.DPOTrainer(model=str(base), args=plain_args(tmp_path / "trl", trl.DPOConfig, **theirs), train_dataset=given)
    trainer.train()
    expected = [line["loss"] for line in trainer.state.log_history if "loss" in line]
    assert losses(ours) == pytest.approx(expected, abs=2e-5)
    assert len(set(expected)) == 4


def test_what_trl_drops_or_cuts_is_counted(base: Path, tmp_path: Path) -> None:
    """Two rows are too long: trl cuts the answer of one (its stop token with it) and drops the other, without a word."""
    rows = [chat(n) for n in range(14)]
    rows.append(chat(14, messages=[{"role": "user", "content": "word " * 120}, {"role": "assistant", "content": "yes"}]))
    rows.append(chat(15, messages=[{"role": "user", "content": "one"}, {"role": "assistant", "content": "word " * 120}]))
    args = plain_args(tmp_path / "trl", trl.SFTConfig, assistant_only_loss=True)
    args.max_length = 128
    given = datasets.Dataset.from_list([{"messages": row["messages"]} for row in rows])
    theirs = trl.SFTTrainer(model=str(base), args=args, train_dataset=given).train_dataset
    assert len(theirs) == 15 and theirs[14]["labels"][-1] != 2  # 15 rows, one without its stop
    node = Sft(init=str(base), data=write(tmp_path / "chat.jsonl", rows), max_length=128, **{**COMMON, "steps": 1})
    with pytest.raises(DataError, match=r"too_long: 2 \(12.50%, 5.00% allowed; too many\)"):
        train(node, tmp_path, "refused")
    _, info = train(node.model_copy(update={"doctor": node.doctor.model_copy(update={"allow": {"too_long": 0.2}})}), tmp_path)
    assert info["rows"] == 14 and info["doctor"]["rows"]["defects"] == {"too_long": 2}


def test_padded_and_flat_are_the_same(base: Path, tmp_path: Path) -> None:
    pairs = write(
        tmp_path / "pairs.jsonl", [pair(n, rejected=[{"role": "assistant", "content": words(n, 1 + 6 * (n % 3))}]) for n in range(8)]
    )
    rows = [{"prompt": words(n, 4), "completion": words(n + 40, 2 + 5 * (n % 3)), "label": n % 3 == 0} for n in range(8)]
    labelled = write(tmp_path / "kto.jsonl", rows)
    for number, (cls, data, more) in enumerate(
        ((Reward, pairs, {}), (Kto, labelled, {}), (Dpo, pairs, {"mask_stop": True, "attention": "varlen"}))
    ):
        found = [
            losses(train(cls(init=str(base), data=data, padding=padding, **COMMON, **more), tmp_path, f"{number}-{padding}")[0])
            for padding in (True, False)
        ]
        assert found[0] == pytest.approx(found[1], abs=2e-5), cls
        assert len(set(found[0])) == 4


def test_packed_rows_give_the_loss_of_rows_apart(base: Path, tmp_path: Path) -> None:
    """One batch of all rows, packed or not: the same mean over the same tokens."""
    data = write(tmp_path / "chat.jsonl", [chat(n) for n in range(12)])
    one = {**COMMON, "batch_size": 12, "steps": 1}
    apart, _ = train(Sft(init=str(base), data=data, **one), tmp_path, "apart")
    packed, info = train(Sft(init=str(base), data=data, packing=200, **one), tmp_path, "packed")
    assert losses(packed) == pytest.approx(losses(apart), abs=1e-5)
    assert info["rows"] == info["batch"] < 12


def test_a_killed_run_goes_on_to_the_same_bits(base: Path, tmp_path: Path) -> None:
    data = write(tmp_path / "chat.jsonl", [chat(n) for n in range(10)])
    node = Sft(init=str(base), data=data, **{**COMMON, "steps": 7}, checkpoints={"every_steps": 2}, adapter={"rank": 2, "dropout": 0.1})
    whole, _ = train(node, tmp_path, "whole")
    job = job_of(node, tmp_path, "killed")

    def kill(share: float, what: str) -> None:
        if what.startswith("step") and share > 0.6:
            raise KeyboardInterrupt

    from train.posttraining import training

    before = training.Metrics.speed
    training.Metrics.speed = lambda self, step, *a: kill((step + 1) / 7, f"step {step}")  # type: ignore[method-assign,assignment]
    try:
        with pytest.raises(KeyboardInterrupt):
            node.train(job, kill)
    finally:
        training.Metrics.speed = before  # type: ignore[method-assign]
    assert not (Path(job.out) / "model.safetensors").exists()
    node.train(job, lambda share, what: None)
    assert lines(Path(job.out)) == lines(whole) and len(lines(whole)) == 7
    assert (Path(job.out) / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()


def test_checkpoints_by_the_clock(base: Path, tmp_path: Path) -> None:
    data = write(tmp_path / "chat.jsonl", [chat(n) for n in range(6)])
    node = Sft(init=str(base), data=data, **{**COMMON, "steps": 3}, checkpoints={"every_minutes": 1e-9, "keep": 10})
    out, _ = train(node, tmp_path)
    found = sorted(f.name for f in (out / "checkpoints").glob("checkpoint-*"))
    assert found == ["checkpoint-1", "checkpoint-2", "checkpoint-3"]  # transformers saves the last step itself


def test_what_is_written_loads_and_answers(base: Path, tmp_path: Path) -> None:
    """Trained on one answer until it is known: the folder alone repeats it and stops, with the trained template."""
    rows = [chat(n, messages=[{"role": "user", "content": f"Say {n}."}, {"role": "assistant", "content": "red cat"}]) for n in range(16)]
    node = Sft(init=str(base), data=write(tmp_path / "chat.jsonl", rows), template="qwen", **{**COMMON, "steps": 40})
    out, info = train(node, tmp_path)
    tokenizer = transformers.AutoTokenizer.from_pretrained(out)
    model = transformers.AutoModelForCausalLM.from_pretrained(out)
    asked = tokenizer.apply_chat_template(
        [{"role": "user", "content": "Say 3."}], add_generation_prompt=True, return_tensors="pt", return_dict=True
    )
    said = model.generate(**asked, max_new_tokens=30, do_sample=False)[0, asked["input_ids"].shape[1] :]
    assert tokenizer.decode(said) == "red cat<|im_end|>"
    notes = json.loads((out / "training.json").read_bytes())
    assert notes["info"] == json.loads(json.dumps(info)) and notes["lineage"]["data"]["name"].endswith("chat.jsonl")
    assert sorted(f.suffix for f in out.iterdir() if f.is_file() and f.suffix not in (".json", ".jsonl", ".jinja")) == [".safetensors"]


def test_lora_is_merged_and_stands_beside(base: Path, tmp_path: Path) -> None:
    from peft import PeftModel

    data = write(tmp_path / "chat.jsonl", [chat(n) for n in range(8)])
    out, _ = train(Sft(init=str(base), data=data, adapter={"rank": 4}, **COMMON), tmp_path)
    merged = transformers.AutoModelForCausalLM.from_pretrained(out)
    beside = PeftModel.from_pretrained(transformers.AutoModelForCausalLM.from_pretrained(base), out / "adapter")
    start = transformers.AutoModelForCausalLM.from_pretrained(base)
    ids = torch.arange(3, 40)[None]
    with torch.no_grad():
        assert torch.allclose(merged(ids).logits, beside(ids).logits, atol=1e-4)
        assert not torch.allclose(merged(ids).logits, start(ids).logits, atol=1e-2)


@pytest.mark.parametrize("bits", ["4bit", "8bit"])
def test_lora_on_quantized_weights_is_merged_into_whole_ones(
    base: Path, tmp_path: Path, bits: str, caplog: pytest.LogCaptureFixture
) -> None:
    pytest.importorskip("bitsandbytes")
    caplog.set_level("ERROR")  # 8-bit layers say at every call that they compute in float16
    data = write(tmp_path / "chat.jsonl", [chat(n) for n in range(8)])
    out, _ = train(Sft(init=str(base), data=data, adapter={"rank": 4, "quantize": bits}, **COMMON), tmp_path)
    whole, _ = train(Sft(init=str(base), data=data, adapter={"rank": 4}, **COMMON), tmp_path, "whole")
    assert losses(out)[-1] < losses(out)[0] - 0.1 and 0 < abs(losses(out)[0] - losses(whole)[0]) < 0.5
    merged, start = (transformers.AutoModelForCausalLM.from_pretrained(f).state_dict() for f in (out, base))
    assert {w.dtype for w in merged.values()} == {torch.float32}
    changed = {name.rsplit(".", 2)[1] for name, weight in merged.items() if not torch.equal(weight, start[name])}
    assert changed == {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}


def test_what_quantized_weights_need(monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib.metadata

    from curate.errors import MissingDependency
    from train.posttraining.adapters import quantization
    from train.posttraining.settings import Lora

    def none(name: str) -> str:
        raise importlib.metadata.PackageNotFoundError(name)

    assert quantization(None) is None and quantization(Lora(rank=2)) is None
    monkeypatch.setattr(importlib.metadata, "version", none)
    with pytest.raises(MissingDependency, match=r"pip install 'curate\[qlora\]'"):
        quantization(Lora(rank=2, quantize="4bit"))
    if not torch.cuda.is_available():
        monkeypatch.setattr(importlib.metadata, "version", lambda name: "0.45.5")
        with pytest.raises(MissingDependency, match=r"needs bitsandbytes 0\.50 or newer, 0\.45\.5 is installed"):
            quantization(Lora(rank=2, quantize="8bit"))


def test_a_soft_prompt_becomes_tokens_that_any_loader_reads(base: Path, tmp_path: Path) -> None:
    from peft import PeftModel

    data = write(tmp_path / "chat.jsonl", [chat(n) for n in range(8)])
    out, info = train(Sft(init=str(base), data=data, adapter={"tokens": 3}, **{**COMMON, "lr": 0.1}), tmp_path)
    tokenizer = transformers.AutoTokenizer.from_pretrained(out)
    written = transformers.AutoModelForCausalLM.from_pretrained(out)
    beside = PeftModel.from_pretrained(transformers.AutoModelForCausalLM.from_pretrained(base), out / "adapter")
    asked = [{"role": "user", "content": "red one"}]
    old = transformers.AutoTokenizer.from_pretrained(base)
    plain = old.apply_chat_template(asked, add_generation_prompt=True, return_tensors="pt", return_dict=True)["input_ids"]
    soft = tokenizer.apply_chat_template(asked, add_generation_prompt=True, return_tensors="pt", return_dict=True)["input_ids"]
    assert soft[0, 3:].tolist() == plain[0].tolist() and tokenizer.convert_ids_to_tokens(soft[0, :3]) == [
        "<|soft_0|>",
        "<|soft_1|>",
        "<|soft_2|>",
    ]
    with torch.no_grad():
        expected = beside(input_ids=plain).logits[:, 3:]
        assert torch.allclose(written(soft).logits[:, 3:, : expected.shape[-1]], expected, atol=1e-4)
    assert written.generation_config.suppress_tokens == soft[0, :3].tolist()
    assert info["padding"] is True


def test_answers_are_drawn_and_scored(base: Path, tmp_path: Path) -> None:
    """GRPO with a verifier that counts what it was given, RLOO with a reward model made here."""
    rows = [{"prompt": [{"role": "user", "content": words(n, 3)}], "answer": "red"} for n in range(6)]
    data = write(tmp_path / "prompts.jsonl", rows)
    model, _ = train(
        Reward(init=str(base), data=write(tmp_path / "pairs.jsonl", [pair(n) for n in range(8)]), **COMMON), tmp_path, "rewards"
    )
    group: dict[str, Any] = {"init": str(base), "data": data, "answers": 2, "batch_size": 4, "steps": 2, "max_answer": 6, "lr": 1e-3}
    rewards = [{"verifier": "f1"}, {"verifier": "regex", "settings": {"pattern": "[a-m]"}, "weight": 0.5}]
    out, _ = train(Grpo(rewards=rewards, **group), tmp_path, "grpo")
    assert {"rewards/f1/mean", "rewards/regex/mean"} <= lines(out)[0].keys() and len(lines(out)) == 2
    again, _ = train(Grpo(rewards=rewards, **group), tmp_path, "grpo-again")
    assert lines(again) == lines(out)
    scored, _ = train(Rloo(rewards=[{"model": str(model)}], **group), tmp_path, "rloo")
    assert lines(scored)[0]["rewards/rewards/mean"] != 0


def test_a_loss_that_is_no_number_names_its_rows(base: Path, tmp_path: Path) -> None:
    data = write(tmp_path / "chat.jsonl", [chat(n) for n in range(8)])
    node = Sft(init=str(base), data=data, **{**COMMON, "lr": 10.0, "clip": None, "steps": 8}, weight_decay=10.0, beta2=0.0)
    with pytest.raises(RunError, match=r"loss of step \d is no number. Its rows: row-\d"):
        from train.posttraining import training

        original = training.math.isfinite
        training.math.isfinite = lambda x: False  # type: ignore[assignment]
        try:
            train(node, tmp_path)
        finally:
            training.math.isfinite = original


def test_unknown_rewards_are_named() -> None:
    from train.posttraining.rewards import RewardSpec, check

    with pytest.raises(RecipeError, match=r"unknown verifier 'exat'\. Did you mean 'exact'"):
        check(RewardSpec(verifier="exat"))
    with pytest.raises(RecipeError, match=r"rewards: regex\.patern: "):
        check(RewardSpec(verifier="regex", settings={"patern": "x"}))


def test_the_mean_of_two_models(base: Path, tmp_path: Path) -> None:
    from curate.context import WorkContext
    from train.posttraining.average import Average

    data = write(tmp_path / "chat.jsonl", [chat(n) for n in range(8)])
    trained, _ = train(Sft(init=str(base), data=data, **{**COMMON, "steps": 1}), tmp_path)
    out = tmp_path / "mean"
    out.mkdir()
    Average(models=[str(base), str(trained)], weights=[3, 1]).run({}, out, WorkContext(), lambda share, what: None)
    a, b, mean = (transformers.AutoModelForCausalLM.from_pretrained(f).state_dict() for f in (base, trained, out))
    assert all(torch.allclose(mean[k], 0.75 * a[k] + 0.25 * b[k], atol=1e-6) for k in mean)
    (out / "model.safetensors").unlink()
    with pytest.raises(DataError, match="is no model"):
        Average(models=[str(base), str(out)]).run({}, tmp_path / "none", WorkContext(), lambda share, what: None)


def test_matrices_shared_by_two_processes(base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tensor parallel over gloo: the losses of one process, and a whole model in the end."""
    parallelism = pytest.importorskip("accelerate.parallelism_config")
    pytest.importorskip("transformers.distributed")
    from tests.train.test_pretraining import ended, forked
    from train.launch import free_port

    # accelerate 1.15 takes no mesh on a CPU: "ParallelismConfig is only compatible DistributedType.FSDP ... got DistributedType.MULTI_CPU".
    monkeypatch.setattr(parallelism.ParallelismConfig, "_validate_accelerator", lambda self, accelerator: None)
    data = write(tmp_path / "chat.jsonl", [chat(n) for n in range(8)])
    short = {**COMMON, "steps": 2}
    assert ended(forked(lambda: train(Sft(init=str(base), data=data, **short), tmp_path, "one"))) == 0
    node = Sft(init=str(base), data=data, parallel={"mode": "fsdp2", "tensor": 2}, **short)
    job, port = job_of(node, tmp_path, "two"), str(free_port())

    def rank(number: int) -> None:
        os.environ.update(RANK=str(number), LOCAL_RANK=str(number), WORLD_SIZE="2", MASTER_ADDR="127.0.0.1", MASTER_PORT=port)
        node.train(job, lambda share, what: None)

    assert [ended(child) for child in [forked(lambda n=n: rank(n)) for n in range(2)]] == [0, 0]
    assert losses(tmp_path / "two") == pytest.approx(losses(tmp_path / "one"), abs=2e-5) and len(losses(tmp_path / "two")) == 2
    one, two = (transformers.AutoModelForCausalLM.from_pretrained(tmp_path / n).state_dict() for n in ("one", "two"))
    assert all(torch.allclose(one[k], two[k], atol=2e-3) for k in one)  # steps of 1e-2: Adam's first ones have the size of the rate
    assert not json.loads((tmp_path / "two" / "config.json").read_bytes()).get("distributed_config")


def test_held_out_rows_are_examined_and_scored(base: Path, tmp_path: Path) -> None:
    held_out = write(tmp_path / "held_out.jsonl", [chat(n + 100) for n in range(4)])
    node = Sft(
        init=str(base),
        data=write(tmp_path / "chat.jsonl", [chat(n) for n in range(8)]),
        evaluation={"data": held_out, "every_steps": 2},
        **COMMON,
    )
    out, info = train(node, tmp_path)
    assert [line["step"] for line in lines(out) if "eval_loss" in line] == [1, 3, 3]
    assert info["eval_loss"] == lines(out)[-1]["eval_loss"] and info["doctor"]["held_out"]["trained"] == 4


def test_tasks_asked_while_training_change_nothing(base: Path, tmp_path: Path) -> None:
    from train.evaluation.asking import Asking, ask
    from train.evaluation.during import as_metrics
    from train.evaluation.tasks import load_tasks

    class Quiet:
        def __call__(self, task: str, done: int, total: int) -> None: ...

        def tick(self) -> None: ...

    tasks = [write(tmp_path / "t.jsonl", [{"query": words(n, 4), "choices": [words(n + 3, 2), words(n, 3)], "gold": 0} for n in range(8)])]
    given = {"init": str(base), "data": write(tmp_path / "chat.jsonl", [chat(n) for n in range(8)]), **COMMON}
    without, _ = train(Sft(**given), tmp_path, "without")
    out, info = train(Sft(**given, evaluate={"every": 3, "tasks": tasks}), tmp_path, "with")
    asked = {line["step"] + 1: line["evaluation"] for line in lines(out) if "evaluation" in line}
    assert list(asked) == [3, 4] and losses(out) == losses(without) and info["evaluation"] == {"steps": 4, "tasks": asked[4]}
    assert (out / "model.safetensors").read_bytes() == (without / "model.safetensors").read_bytes()
    assert as_metrics(ask(str(out), load_tasks(tasks), Asking(), Quiet())) == asked[4]
    with pytest.raises(ValueError, match="whole language models"):
        Sft(**given, adapter={"rank": 2}, evaluate={"tasks": tasks})
