"""The filter of system calls (seccomp) and the filter of paths (Landlock), installed by ctypes: no package needed.

Both hold for the calling thread and everything it starts, and can't be taken back. Numbers are those of the kernel's tables
for x86-64 and arm64 (Linux 6.18). What is refused returns EPERM; clone3 returns ENOSYS, so that the C library falls
back to clone, whose flags can be looked at. 32-bit calls are refused as a whole.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct
from collections.abc import Sequence

_LIBC = ctypes.CDLL(None, use_errno=True)
_PR_SET_NO_NEW_PRIVS, _PR_SET_SECCOMP, _SECCOMP_MODE_FILTER = 38, 22, 2

# name: (x86-64, arm64); None where the machine has no such call
_REFUSED: dict[str, tuple[int | None, int | None]] = {
    "socket": (41, 198), "ptrace": (101, 117), "process_vm_readv": (310, 270), "process_vm_writev": (311, 271), "kcmp": (312, 272),
    "pidfd_getfd": (438, 438), "mount": (165, 40), "umount2": (166, 39), "pivot_root": (155, 41), "chroot": (161, 51),
    "open_tree": (428, 428), "move_mount": (429, 429), "fsopen": (430, 430), "fsconfig": (431, 431), "fsmount": (432, 432),
    "fspick": (433, 433), "mount_setattr": (442, 442), "unshare": (272, 97), "setns": (308, 268), "keyctl": (250, 219),
    "add_key": (248, 217), "request_key": (249, 218), "bpf": (321, 280), "perf_event_open": (298, 241), "userfaultfd": (323, 282),
    "kexec_load": (246, 104), "kexec_file_load": (320, 294), "init_module": (175, 105), "finit_module": (313, 273),
    "delete_module": (176, 106), "reboot": (169, 142), "swapon": (167, 224), "swapoff": (168, 225), "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426), "io_uring_register": (427, 427), "open_by_handle_at": (304, 265), "name_to_handle_at": (303, 264),
    "memfd_create": (319, 279), "memfd_secret": (447, 447), "shmget": (29, 194), "semget": (64, 190), "msgget": (68, 186),
    "sethostname": (170, 161), "setdomainname": (171, 162), "settimeofday": (164, 170), "clock_settime": (227, 112),
    "adjtimex": (159, 171), "acct": (163, 89), "quotactl": (179, 60), "mknod": (133, None), "mknodat": (259, 33),
    "personality": (135, 92), "vhangup": (153, 58), "syslog": (103, 116), "iopl": (172, None), "ioperm": (173, None),
}  # fmt: skip
_SIGNALS = {"tkill": (200, 130), "rt_sigqueueinfo": (129, 138), "rt_tgsigqueueinfo": (297, 240), "pidfd_send_signal": (424, 424)}
_FORKS: dict[str, tuple[int | None, int | None]] = {"fork": (57, None), "vfork": (58, None)}
_KILL, _TGKILL, _CLONE, _CLONE3 = (62, 129), (234, 131), (56, 220), (435, 435)
_ARCHES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}
_NEW_NAMESPACE = 0x7E020080  # CLONE_NEW*: cgroup, uts, ipc, user, pid, net, mount, time
_THREAD = 0x00010000

_LOAD, _EQUAL, _ABOVE, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_ALLOW, _KILL_PROCESS, _ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
_NUMBER, _ARCH, _FIRST_ARGUMENT = 0, 4, 16


class Unavailable(OSError):
    """This machine has no such filter."""


def no_new_privileges() -> None:
    """No set-uid program gives anything from here on."""
    if _LIBC.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0):
        raise Unavailable(ctypes.get_errno(), "no_new_privs")


def refuse_calls(alone: bool) -> None:
    """Install the filter. alone: no new processes, and signals to this process only (for runs without a process namespace)."""
    program = b"".join(_program(alone, os.getpid()))
    held = ctypes.create_string_buffer(program, len(program))
    filter_ = struct.pack("HxxxxxxP", len(program) // 8, ctypes.addressof(held))
    if _LIBC.prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.c_char_p(filter_), 0, 0):
        raise Unavailable(ctypes.get_errno(), "seccomp")


def _op(code: int, value: int, yes: int = 0, no: int = 0) -> bytes:
    return struct.pack("HBBI", code, yes, no, value)


def _program(alone: bool, own: int) -> list[bytes]:
    """Instructions: every rule returns by itself or falls through to the next one, so that no jump is long."""
    if platform.machine() not in _ARCHES:
        raise Unavailable(errno.ENOSYS, f"no table of system calls for {platform.machine()}")
    machine, arch = _ARCHES[platform.machine()]
    refuse = _op(_RETURN, _ERRNO | errno.EPERM)
    made = [_op(_LOAD, _ARCH), _op(_EQUAL, arch, 1, 0), _op(_RETURN, _KILL_PROCESS), _op(_LOAD, _NUMBER)]
    made += [_op(_ABOVE, 0x40000000, 0, 1), refuse]
    numbers = [pair[machine] for pair in {**_REFUSED, **({**_SIGNALS, **_FORKS} if alone else {})}.values()]
    for number in numbers:
        if number is not None:
            made += [_op(_EQUAL, number, 0, 1), refuse]
    made += [_op(_EQUAL, _CLONE3[machine], 0, 1), _op(_RETURN, _ERRNO | errno.ENOSYS)]
    flags = [_op(_LOAD, _FIRST_ARGUMENT), _op(_ANY_BIT, _NEW_NAMESPACE, 0, 1), refuse]
    flags += [_op(_ANY_BIT, _THREAD, 1, 0), refuse] if alone else []
    made += [_op(_EQUAL, _CLONE[machine], 0, len(flags) + 1), *flags, _op(_RETURN, _ALLOW)]
    for pair in (_KILL, _TGKILL) if alone else ():
        made += [_op(_EQUAL, pair[machine], 0, 4), _op(_LOAD, _FIRST_ARGUMENT), _op(_EQUAL, own, 1, 0), refuse, _op(_RETURN, _ALLOW)]
    return [*made, _op(_RETURN, _ALLOW)]


# Landlock: a process gives up paths for itself (Linux 5.13 and later)

_CREATE, _ADD, _RESTRICT = 444, 445, 446
_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1, 2, 4, 8
_ALL = (1 << 13) - 1  # what the first version knows


def allow_paths(readable: Sequence[str], writable: Sequence[str]) -> None:
    """Give up every path but these and what lies below. Raises Unavailable where the kernel has no Landlock."""
    attribute = struct.pack("Q", _ALL)
    rules = _LIBC.syscall(_CREATE, ctypes.c_char_p(attribute), ctypes.c_size_t(len(attribute)), 0)
    if rules < 0:
        raise Unavailable(ctypes.get_errno(), "Landlock")
    for path, rights in [*((p, _EXECUTE | _READ_FILE | _READ_DIR) for p in readable), *((p, _ALL) for p in writable)]:
        if not os.path.exists(path):
            continue
        handle = os.open(path, os.O_PATH | os.O_CLOEXEC)
        if not os.path.isdir(path):
            rights &= _EXECUTE | _READ_FILE | _WRITE_FILE
        if _LIBC.syscall(_ADD, rules, 1, ctypes.c_char_p(struct.pack("=Qi", rights, handle)), 0):
            raise Unavailable(ctypes.get_errno(), f"Landlock rule for {path}")
        os.close(handle)
    if _LIBC.syscall(_RESTRICT, rules, 0):
        raise Unavailable(ctypes.get_errno(), "Landlock")
    os.close(rules)
