"""How a process that computes with torch on a CPU is set up, before torch is imported. What the user has set stays.

Waiting. OpenMP's threads spin while they wait for each other. On cores that anything else uses too, a thread that is not running is
waited for by one that burns its core: two threads took 40 s of CPU and 89 s of time for 16 steps of a 1.3M parameter model on two
cores shared with seven other processes, 6.9 s and 16 s with OMP_WAIT_POLICY=PASSIVE.

Memory. glibc gives every block of more than 32 MB back to the system when it is freed, and smaller ones often, and gets them anew, page
by page, in the next step: 15 to 30 % of the CPU time of such steps. Blocks of up to 256 MB are kept here.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys

WAITING = "OMP_WAIT_POLICY"
KEPT_BLOCK, KEPT_FREE = 1 << 28, 1 << 30  # bytes: largest block that is kept, most that is kept at the heap's end
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of mallopt(3)
MALLOC = ("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_", "LD_PRELOAD")


def set_up() -> None:
    """Set this process up. Has an effect on threads only before torch is imported; may be called again."""
    os.environ.setdefault(WAITING, "PASSIVE")
    if sys.platform != "linux" or any(name in os.environ for name in MALLOC):
        return
    with contextlib.suppress(OSError, AttributeError):  # another C library has no mallopt
        libc = ctypes.CDLL(None)
        libc.mallopt(M_MMAP_THRESHOLD, KEPT_BLOCK)
        libc.mallopt(M_TRIM_THRESHOLD, KEPT_FREE)
