"""GPUs by name: peak rates, memory and bandwidth as their makers' data sheets give them. Needs no torch.

Rates are dense bf16 matrix products with float32 sums: data sheets of NVIDIA give twice that for 2:4 sparse matrices from Ampere on,
and the halves stand here. Prices are usual ones on demand in 2025 and 2026, which differ by a factor of two between providers; where
none is set, say what you pay (`price`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from curate.errors import RecipeError
from curate.registry import nearest


@dataclass(frozen=True)
class Gpu:
    """A GPU as it is sold."""

    name: str
    bf16: float  # dense FLOP/s
    memory_gb: float
    bandwidth: float  # bytes/s of its memory
    dollars_per_hour: float | None
    source: str  # where the figures are printed


GPUS: dict[
    str, Gpu
] = {  # words of the key must all stand in the name that CUDA gives; the longest key that fits is meant, the first of several
    "a10": Gpu("A10", 125e12, 24, 600e9, None, "NVIDIA A10 data sheet"),
    "a40": Gpu("A40", 149.7e12, 48, 696e9, None, "NVIDIA A40 data sheet"),
    "a100": Gpu("A100 SXM 80 GB", 312e12, 80, 2039e9, 1.8, "NVIDIA A100 data sheet"),
    "a100-40gb": Gpu("A100 40 GB", 312e12, 40, 1555e9, None, "NVIDIA A100 data sheet"),
    "a100-pcie": Gpu("A100 PCIe 80 GB", 312e12, 80, 1935e9, None, "NVIDIA A100 data sheet"),
    "l4": Gpu("L4", 121e12, 24, 300e9, None, "NVIDIA L4 data sheet"),
    "l40s": Gpu("L40S", 362e12, 48, 864e9, 1.1, "NVIDIA L40S data sheet"),
    "h100": Gpu("H100 SXM", 989e12, 80, 3350e9, 3.0, "NVIDIA H100 data sheet"),
    "h100-pcie": Gpu("H100 PCIe", 756e12, 80, 2000e9, None, "NVIDIA H100 data sheet of 2022"),
    "h100-nvl": Gpu("H100 NVL", 835e12, 94, 3900e9, None, "NVIDIA H100 data sheet"),
    "h200": Gpu("H200 SXM", 989e12, 141, 4800e9, 3.8, "NVIDIA H200 data sheet"),
    "b200": Gpu("B200 SXM", 2250e12, 180, 8000e9, 6.0, "NVIDIA DGX B200 data sheet, an eighth of it"),
    "mi300x": Gpu("MI300X", 1307e12, 192, 5300e9, None, "AMD Instinct MI300X data sheet"),
    "3090": Gpu("RTX 3090", 71e12, 24, 936e9, None, "NVIDIA GA102 white paper, appendix A"),
    "4090": Gpu("RTX 4090", 165e12, 24, 1008e9, 0.45, "NVIDIA Ada white paper, appendix A"),
    "5090": Gpu("RTX 5090", 209.5e12, 32, 1792e9, None, "NVIDIA RTX Blackwell white paper, appendix A"),
}
OTHERS = {"laptop", "d", "ti"}  # words that make it another GPU


def gpu_of(name: str) -> Gpu | None:
    """The GPU that CUDA (torch.cuda.get_device_name) or a person calls so: 'NVIDIA H100 80GB HBM3', 'h100'. None where it is unknown."""
    words = set(re.findall(r"[a-z0-9]+", name.lower()))
    fitting = [key for key in GPUS if set(key.split("-")) <= words]
    return GPUS[max(fitting, key=len)] if fitting and not words & OTHERS else None


def known_gpu(name: str) -> Gpu:
    """The same for a name that someone gave. Raises RecipeError with the known ones and the nearest."""
    found = gpu_of(name)
    if found is None:
        near = nearest(name.lower(), list(GPUS))
        raise RecipeError(f"gpu {name!r} is not known.{near} There are: {', '.join(GPUS)}.")
    return found
