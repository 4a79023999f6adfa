"""Run a program that nobody has read: a model's answer, against unit tests.

    from formats.sandbox import Limits, run_python
    result = run_python("print(6 * 7)", limits=Limits(cpu_s=2))
    result.status, result.stdout                    # ("ok", b"42\\n")

Three levels, the strongest that the machine allows (`level()` says which, every result names it):

                              namespaces / bubblewrap          limits
    network                   none: an empty network namespace, and no sockets by seccomp     no sockets by seccomp
    files outside             not there: a root of its own with the interpreter and system    Landlock where the kernel has it, else what
                              libraries read-only, no home, no /proc, no /sys                 the user's permissions say (nobody, if root)
    disk                      a tmpfs of `disk_bytes` and `files`                             `disk_bytes` for each file
    other processes           not seen (process namespace); ptrace and process_vm by seccomp  signals only to itself, ptrace by seccomp
    fork bomb                 `processes` in a user namespace of its own                      no new processes, threads only
    leftovers                 killed with the namespace                                       none can be: no fork
    memory, CPU, open files, core dumps, wall time, output: limits of the process, checked from outside
    kernel surface            mounts, namespaces, bpf, keyrings, io_uring, modules, clocks, shared memory refused by seccomp
    privileges                none: nobody or the caller's user without capabilities, no_new_privs; environment empty

What it does not cover: bugs of the kernel (a virtual machine does); `memory_bytes` holds for each process, so that all of
them may use `processes` times as much; bubblewrap counts bytes on disk, not files, and is not for root; timing and cache channels; reading system libraries and the interpreter, which
every program may; a program written against the test harness in particular, which shares its interpreter with the tests
and may claim success, patch what an assertion calls or return objects that are equal to everything. Windows and macOS
have no level: the call is refused there. x86-64 is tested; the numbers for arm64 are from the kernel's table only.
"""

from formats.sandbox.limits import Limits, Result
from formats.sandbox.runner import level, run, run_python

__all__ = ["Limits", "Result", "level", "run", "run_python"]
