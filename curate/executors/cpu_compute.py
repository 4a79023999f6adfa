"""How a process that computes on a CPU is set up, before torch and pyarrow are imported. What the user has set stays.

Waiting, with torch. OpenMP's threads spin while they wait for each other. On cores that anything else uses too, a thread that is not running is
waited for by one that burns its core: two threads took 40 s of CPU and 89 s of time for 16 steps of a 1.3M parameter model on two
cores shared with seven other processes, 6.9 s and 16 s with OMP_WAIT_POLICY=PASSIVE.

Memory. glibc gives every block of more than 32 MB back to the system when it is freed, and smaller ones often, and gets them anew, page
by page, in the next step: 15 to 30 % of the CPU time of such steps. Blocks of up to 256 MB are kept here. Batches of documents are the
same case: their arrays of words, lines and hashes are made anew for each, and clearing pages for them was 12 % of the CPU time of a
pipeline. Arrow's own allocator gives pages back too, so in workers Arrow takes its memory from glibc.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys

WAITING = "OMP_WAIT_POLICY"
KEPT_BLOCK, KEPT_FREE = 1 << 28, 1 << 30  # bytes: largest block that is kept, most that is kept at the heap's end
OLD_KEPT_BLOCK = 1 << 25  # the most that glibc takes before 2.35
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of mallopt(3)
ARROW_POOL = "ARROW_DEFAULT_MEMORY_POOL"  # read when pyarrow is imported
MALLOC = ("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_", "LD_PRELOAD")


def set_up() -> None:
    """For torch: waiting and memory. Has an effect on threads only before torch is imported; may be called again."""
    os.environ.setdefault(WAITING, "PASSIVE")
    keep_memory()


def set_up_worker() -> None:
    """For batches of documents: memory, Arrow's too where glibc keeps it. Only before pyarrow is imported."""
    if keep_memory():
        os.environ.setdefault(ARROW_POOL, "system")


def keep_memory() -> bool:
    """Let glibc keep what is freed, for the next block. False where it is left as it is."""
    if sys.platform != "linux" or any(name in os.environ for name in MALLOC):
        return False
    with contextlib.suppress(OSError, AttributeError):  # another C library has no mallopt
        libc = ctypes.CDLL(None)
        blocks = libc.mallopt(M_MMAP_THRESHOLD, KEPT_BLOCK) or libc.mallopt(M_MMAP_THRESHOLD, OLD_KEPT_BLOCK)
        return bool(blocks and libc.mallopt(M_TRIM_THRESHOLD, KEPT_FREE))
    return False
