"""How several processes share the work: settings, and the configurations of accelerate, FSDP2 and DeepSpeed made of them.

One source of truth: `Parallel`. Runs started by `curate train` or `curate run` hand it to transformers' arguments
(`arguments`); `write_configs` writes the same as files for those who start ranks with `accelerate launch`.

Keys: transformers 5.23 (training_args.py, _process_fsdp_args), accelerate 1.15 (commands/config, parallelism_config.py),
DeepSpeed's config-json page. Numbers that transformers knows better ("auto") are left to it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

ZERO_STAGE = {"zero2": 2, "zero3": 3}


class Parallel(BaseModel):
    """What is split over processes."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)

    mode: Literal["ddp", "fsdp2", "zero2", "zero3"] = Field(
        default="ddp", description="ddp: the data; fsdp2, zero3: weights, gradients and states too; zero2: gradients and states (DeepSpeed)"
    )
    tensor: int = Field(default=1, ge=1, le=64, description="processes that share every matrix (tensor parallel, with fsdp2)")
    replicate: int = Field(default=1, ge=1, le=4096, description="groups that hold whole copies of the sharded model (HSDP, with fsdp2)")
    offload: bool = Field(default=False, description="keep what is sharded in the memory of the host")

    @model_validator(mode="after")
    def _check(self) -> Parallel:
        if self.mode != "fsdp2" and (self.tensor > 1 or self.replicate > 1):
            raise ValueError(f"tensor and replicate go with mode: fsdp2, not with {self.mode}")
        if self.mode == "ddp" and self.offload:
            raise ValueError("offload goes with fsdp2, zero2 and zero3: ddp shards nothing")
        return self

    def shards(self, processes: int) -> int:
        """Processes that share one copy of the weights. Raises ValueError where the numbers don't fit."""
        if processes % (self.tensor * self.replicate):
            raise ValueError(f"{processes} processes are no multiple of tensor ({self.tensor}) times replicate ({self.replicate})")
        return processes // (self.tensor * self.replicate)


def mesh(parallel: Parallel, processes: int) -> dict[str, int]:
    """Sizes of accelerate's ParallelismConfig; {} where the default mesh will do."""
    if parallel.mode != "fsdp2" or (parallel.tensor == 1 and parallel.replicate == 1):
        return {}
    sizes = {"dp_replicate_size": parallel.replicate, "dp_shard_size": parallel.shards(processes), "tp_size": parallel.tensor}
    return {name: size for name, size in sizes.items() if size > 1}


def cut_at_load(parallel: Parallel, processes: int) -> dict[str, Any] | None:
    """Sizes of transformers' DistributedConfig, with which a model is loaded in parts; None where it is loaded whole.

    accelerate cuts no matrix itself: a model that comes whole stays whole on every process, with a warning.
    """
    if parallel.tensor == 1 or processes == 1:
        return None
    sizes = {"tp_size": parallel.tensor, "fsdp_size": parallel.shards(processes), "dp_replicate_size": parallel.replicate}
    return {**sizes, "fsdp_cpu_offload": True} if parallel.offload else sizes


def fsdp_config(parallel: Parallel, checkpointing: bool) -> dict[str, Any]:
    """TrainingArguments.fsdp_config for FSDP2: each decoder layer is a unit, gathered for its forward and backward pass."""
    return {
        "version": 2,
        "auto_wrap_policy": "TRANSFORMER_BASED_WRAP",
        "reshard_after_forward": True,
        "cpu_offload": parallel.offload,
        "state_dict_type": "FULL_STATE_DICT",
        "activation_checkpointing": checkpointing,
    }


def deepspeed_config(parallel: Parallel) -> dict[str, Any]:
    """A DeepSpeed configuration; sizes of batches, learning rate and precision are filled in by transformers."""
    stage = ZERO_STAGE[parallel.mode]
    host = {"device": "cpu", "pin_memory": True}
    zero: dict[str, Any] = {"stage": stage, "overlap_comm": True, "contiguous_gradients": True}
    if stage == 3:
        zero |= {"stage3_gather_16bit_weights_on_model_save": True, "reduce_bucket_size": "auto", "stage3_prefetch_bucket_size": "auto"}
        zero["stage3_param_persistence_threshold"] = "auto"
    if parallel.offload:
        zero |= {"offload_optimizer": host, **({"offload_param": host} if stage == 3 else {})}
    return {
        "bf16": {"enabled": "auto"},
        "zero_optimization": zero,
        "gradient_accumulation_steps": "auto",
        "gradient_clipping": "auto",
        "train_micro_batch_size_per_gpu": "auto",
        "train_batch_size": "auto",
    }


def arguments(parallel: Parallel, processes: int, checkpointing: bool) -> dict[str, Any]:
    """Keyword arguments for transformers' TrainingArguments. One process shards nothing."""
    if processes == 1 or parallel.mode == "ddp":
        return {"gradient_checkpointing": checkpointing}
    if cut_at_load(parallel, processes) is not None:
        from accelerate import ParallelismConfig

        # transformers 5.23 writes no optimizer's state for models that were loaded in parts.
        return {
            "parallelism_config": ParallelismConfig(**mesh(parallel, processes)),
            "gradient_checkpointing": checkpointing,
            "save_strategy": "no",
        }
    if parallel.mode == "fsdp2":
        found: dict[str, Any] = {"fsdp": True, "fsdp_config": fsdp_config(parallel, checkpointing), "gradient_checkpointing": False}
        if sizes := mesh(parallel, processes):
            from accelerate import ParallelismConfig

            found["parallelism_config"] = ParallelismConfig(**sizes)
        return found
    return {"deepspeed": deepspeed_config(parallel), "gradient_checkpointing": checkpointing}


def accelerate_config(parallel: Parallel, processes: int, machines: int = 1) -> dict[str, Any]:
    """What `accelerate launch --config_file` reads."""
    found: dict[str, Any] = {
        "compute_environment": "LOCAL_MACHINE",
        "debug": False,
        "main_training_function": "main",
        "machine_rank": 0,
        "num_machines": machines,
        "num_processes": processes,
        "rdzv_backend": "static",
        "same_network": True,
        "use_cpu": False,
        "mixed_precision": "bf16",
    }
    if parallel.mode == "ddp":
        return {**found, "distributed_type": "MULTI_GPU"}
    if parallel.mode in ZERO_STAGE:
        return {**found, "distributed_type": "DEEPSPEED", "deepspeed_config": _plugin(parallel)}
    if cut_at_load(parallel, processes) is not None:
        return {**found, "distributed_type": "MULTI_GPU", "parallelism_config": _prefixed(mesh(parallel, processes))}
    given = fsdp_config(parallel, False)
    fsdp = {f"fsdp_{k}": v for k, v in given.items() if k not in ("cpu_offload", "version")}
    found |= {"distributed_type": "FSDP", "fsdp_config": {**fsdp, "fsdp_version": 2, "fsdp_offload_params": parallel.offload}}
    if sizes := mesh(parallel, processes):
        found["parallelism_config"] = _prefixed(sizes)
    return found


def _prefixed(sizes: Mapping[str, int]) -> dict[str, int]:
    return {f"parallelism_config_{name}": size for name, size in sizes.items()}


def _plugin(parallel: Parallel) -> dict[str, Any]:
    host = "cpu" if parallel.offload else "none"
    stage = ZERO_STAGE[parallel.mode]
    return {
        "zero_stage": stage,
        "offload_optimizer_device": host,
        "offload_param_device": host if stage == 3 else "none",
        "zero3_init_flag": stage == 3,
        "zero3_save_16bit_model": stage == 3,
    }


def write_configs(parallel: Parallel, processes: int, folder: Path) -> list[Path]:
    """Write accelerate.yaml, and deepspeed.json where it applies, for ranks that are started by hand:

    accelerate launch --config_file accelerate.yaml -m train.launch job.json
    """
    import yaml

    files = {"accelerate.yaml": yaml.safe_dump(accelerate_config(parallel, processes), sort_keys=True)}
    if parallel.mode in ZERO_STAGE:
        files["deepspeed.json"] = json.dumps(deepspeed_config(parallel), indent=1, sort_keys=True) + "\n"
    for name, content in files.items():
        (folder / name).write_text(content, "utf-8")
    return [folder / name for name in files]
