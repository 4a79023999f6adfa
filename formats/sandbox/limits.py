"""What a program in the sandbox may use, and how a run ended."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Status = Literal["ok", "failed", "killed", "cpu", "timeout", "output"]


class Limits(BaseModel):
    """Bounds of one run."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    cpu_s: int = Field(default=5, ge=1, le=3600, description="CPU seconds of each process")
    wall_s: float = Field(default=10.0, gt=0, le=7200, description="seconds of the whole run, start of the interpreter included")
    memory_bytes: int = Field(default=512 << 20, ge=32 << 20, le=1 << 40, description="address space of each process")
    disk_bytes: int = Field(
        default=32 << 20, ge=4096, le=1 << 40, description="files that it writes, all together; each one at level limits"
    )
    files: int = Field(default=1000, ge=16, le=10**6, description="files and folders that it makes")
    open_files: int = Field(default=64, ge=16, le=65_536, description="open files of each process")
    processes: int = Field(default=16, ge=1, le=4096, description="processes and threads at one time")
    output_bytes: int = Field(default=1 << 20, ge=0, le=1 << 30, description="standard output and error, each; the run is ended above")


@dataclass(frozen=True)
class Result:
    """How a run ended.

    status: ok (exit code 0), failed (another one), killed (by a signal: out of its limits, or its own doing), cpu (out of
    CPU time), timeout (wall time), output (too much of it).
    """

    status: Status
    exit_code: int | None
    signal: int | None
    stdout: bytes
    stderr: bytes
    cpu_s: float
    wall_s: float
    peak_bytes: int  # resident, of the largest process
    level: str
