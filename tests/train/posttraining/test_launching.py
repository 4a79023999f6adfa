"""Configurations of FSDP2, DeepSpeed and tensor parallel are read by the libraries they are for."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from train.posttraining.launching import (
    Parallel,
    accelerate_config,
    arguments,
    cut_at_load,
    deepspeed_config,
    fsdp_config,
    mesh,
    write_configs,
)

MODES = [
    Parallel(),
    Parallel(mode="fsdp2"),
    Parallel(mode="fsdp2", tensor=2, replicate=2, offload=True),
    Parallel(mode="zero2", offload=True),
    Parallel(mode="zero3"),
]


def test_settings_that_do_not_fit() -> None:
    with pytest.raises(ValidationError, match="tensor and replicate go with mode: fsdp2"):
        Parallel(mode="zero3", tensor=2)
    with pytest.raises(ValidationError, match="ddp shards nothing"):
        Parallel(offload=True)
    with pytest.raises(ValueError, match="6 processes are no multiple of tensor"):
        Parallel(mode="fsdp2", tensor=4).shards(6)


def test_mesh() -> None:
    assert mesh(Parallel(mode="fsdp2"), 8) == {}
    assert mesh(Parallel(mode="fsdp2", tensor=2), 8) == {"dp_shard_size": 4, "tp_size": 2}
    assert mesh(Parallel(mode="fsdp2", tensor=2, replicate=2), 8) == {"dp_replicate_size": 2, "dp_shard_size": 2, "tp_size": 2}


def test_one_process_shards_nothing() -> None:
    assert arguments(Parallel(mode="fsdp2"), 1, True) == {"gradient_checkpointing": True}


@pytest.mark.parametrize("parallel", MODES, ids=lambda p: f"{p.mode}-{p.tensor}")
def test_accelerate_reads_the_file(parallel: Parallel, tmp_path: Path) -> None:
    pytest.importorskip("accelerate")
    from accelerate.commands.config.config_args import load_config_from_file

    files = write_configs(parallel, 8, tmp_path)
    read = load_config_from_file(str(tmp_path / "accelerate.yaml"))
    assert read.num_processes == 8 and read.mixed_precision == "bf16"
    whole = {"ddp": "MULTI_GPU", "fsdp2": "FSDP"}.get(parallel.mode, "DEEPSPEED")
    assert read.distributed_type.value == ("MULTI_GPU" if parallel.tensor > 1 else whole)
    assert [f.name for f in files] == ["accelerate.yaml", *(["deepspeed.json"] if "zero" in parallel.mode else [])]
    expected = {f"parallelism_config_{k}": v for k, v in mesh(parallel, 8).items()}
    assert (read.parallelism_config or {}) == expected


@pytest.mark.parametrize("parallel", MODES[3:], ids=lambda p: p.mode)
def test_deepspeed_settings_are_understood(parallel: Parallel) -> None:
    pytest.importorskip("accelerate")
    from accelerate.utils.deepspeed import HfDeepSpeedConfig

    read = HfDeepSpeedConfig(deepspeed_config(parallel))
    assert read.is_zero3() == (parallel.mode == "zero3")
    assert read.is_offload() == parallel.offload
    assert read.get_value("train_micro_batch_size_per_gpu") == "auto"


@pytest.mark.filterwarnings("ignore")
def test_transformers_reads_the_arguments(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    from accelerate import ParallelismConfig

    given = arguments(Parallel(mode="fsdp2", replicate=2, offload=True), 8, True)
    read = transformers.TrainingArguments(output_dir=str(tmp_path), use_cpu=True, **given)
    plugin = read.fsdp_plugin_args
    assert plugin["fsdp_version"] == 2 and plugin["cpu_offload"] and plugin["activation_checkpointing"] and plugin["reshard_after_forward"]
    assert isinstance(read.parallelism_config, ParallelismConfig)
    assert (read.parallelism_config.dp_replicate_size, read.parallelism_config.dp_shard_size) == (2, 4)
    given = arguments(Parallel(mode="fsdp2", tensor=2), 8, True)  # loaded in parts, so accelerate is told sizes and cuts nothing
    read = transformers.TrainingArguments(output_dir=str(tmp_path), use_cpu=True, **given)
    assert (
        (read.parallelism_config.tp_size, read.parallelism_config.dp_shard_size) == (2, 4) and read.save_strategy == "no" and not read.fsdp
    )
    assert cut_at_load(Parallel(mode="fsdp2", tensor=2, replicate=2), 8) == {"tp_size": 2, "fsdp_size": 2, "dp_replicate_size": 2}
    assert cut_at_load(Parallel(mode="fsdp2"), 8) is None and cut_at_load(Parallel(mode="fsdp2", tensor=2), 1) is None


def test_files_and_arguments_say_the_same() -> None:
    given = accelerate_config(Parallel(mode="fsdp2", offload=True), 4)["fsdp_config"]
    own = fsdp_config(Parallel(mode="fsdp2", offload=True), False)
    assert given["fsdp_offload_params"] == own["cpu_offload"] and given["fsdp_version"] == own["version"]
    assert {k.removeprefix("fsdp_") for k in given} - {"offload_params"} == own.keys() - {"cpu_offload"}
