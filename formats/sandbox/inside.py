"""The launcher: takes everything away from itself, then becomes the program. Run as `python -I -S inside.py SPEC FD`.

A script of its own, with nothing but the standard library, because it runs in a fresh interpreter: a process with threads can't
safely fork into namespaces. SPEC is JSON: level, command, binds, scratch, limits. How the program ended is written to the
file descriptor FD as JSON: {"exit": n, "signal": n, "cpu_s": x, "peak_bytes": n} or {"error": text}.

    launcher --- new namespaces, root of its own ---> init (process 1) ---> the program (nobody, filtered)
                                                        |
                                        waits; when it ends, the kernel ends all that is left
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import signal
import stat
import struct
import sys
from contextlib import suppress
from typing import Any

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import syscalls  # type: ignore[import-not-found]  # beside this file

_LIBC = ctypes.CDLL(None, use_errno=True)
_NEW_MOUNTS, _NEW_UTS, _NEW_IPC, _NEW_USER, _NEW_PIDS, _NEW_NET = 0x20000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000
_MS_NOSUID, _MS_NODEV, _MS_BIND, _MS_REC, _MS_PRIVATE, _MNT_DETACH = 2, 4, 4096, 16384, 1 << 18, 2
_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}
_MOUNT_SETATTR, _AT_RECURSIVE = 442, 0x8000
_READ_ONLY, _NO_SUID, _NO_DEVICES = 1, 2, 4
_DIE_WITH_PARENT = 1
_NOBODY = 65534
_WORK = "/work"


def _check(result: int, what: str) -> None:
    if result:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def _unshare(flags: int) -> None:
    _check(_LIBC.unshare(flags), "unshare")


def _mount(source: str, target: str, kind: str | None, flags: int, options: str = "") -> None:
    _check(_LIBC.mount(source.encode(), target.encode(), kind.encode() if kind else None, ctypes.c_ulong(flags), options.encode()),
           f"mount {target}")  # fmt: skip


def _restrict(target: str, attributes: int, recursive: bool = True) -> None:
    """Read-only and the like for a mount; unlike a remount it leaves alone what is locked."""
    held = struct.pack("QQQQ", attributes, 0, 0, 0)
    flags = _AT_RECURSIVE if recursive else 0
    _check(
        _LIBC.syscall(_MOUNT_SETATTR, -100, target.encode(), flags, ctypes.c_char_p(held), ctypes.c_size_t(32)), f"mount_setattr {target}"
    )


def _write(path: str, text: str) -> None:
    with open(path, "w", encoding="ascii") as file:
        file.write(text)


def _map_user(inside: int, uid: int, gid: int) -> None:
    _write("/proc/self/setgroups", "deny")
    _write("/proc/self/uid_map", f"{inside} {uid} 1")
    _write("/proc/self/gid_map", f"{inside} {gid} 1")


def _new_root(spec: dict[str, Any]) -> None:
    """A root with the interpreter and the system's libraries read-only, four devices, and a small place to write."""
    root, limits = spec["scratch"], spec["limits"]
    _mount("none", "/", None, _MS_REC | _MS_PRIVATE)
    _mount("tmpfs", root, "tmpfs", _MS_NOSUID | _MS_NODEV, "size=1m,mode=755")
    for path in spec["binds"]:
        _bind(path, root)
    os.mkdir(f"{root}/dev")
    for device in ("null", "zero", "random", "urandom"):
        _write(f"{root}/dev/{device}", "")
        _mount(f"/dev/{device}", f"{root}/dev/{device}", None, _MS_BIND)
    os.mkdir(root + _WORK)
    _mount("tmpfs", root + _WORK, "tmpfs", _MS_NOSUID | _MS_NODEV, f"size={limits['disk_bytes']},nr_inodes={limits['files']},mode=1777")
    os.symlink(_WORK, f"{root}/tmp")
    _restrict(root, _READ_ONLY, recursive=False)
    os.chdir(root)
    _check(_LIBC.syscall(_PIVOT_ROOT[os.uname().machine], b".", b"."), "pivot_root")
    _check(_LIBC.umount2(b".", _MNT_DETACH), "umount")
    os.chdir(_WORK)


def _bind(path: str, root: str) -> None:
    if os.path.lexists(root + path):
        return  # below one that is there
    os.makedirs(os.path.dirname(root + path), 0o755, exist_ok=True)
    if os.path.islink(path):
        os.symlink(os.readlink(path), root + path)
        return
    if stat.S_ISDIR(os.stat(path).st_mode):
        os.mkdir(root + path)
    else:
        _write(root + path, "")
    _mount(path, root + path, None, _MS_BIND | _MS_REC)
    _restrict(root + path, _READ_ONLY | _NO_SUID | _NO_DEVICES)


def _limit(limits: dict[str, Any], processes: bool) -> None:
    bounds = {
        resource.RLIMIT_CPU: (limits["cpu_s"], limits["cpu_s"] + 1),  # SIGXCPU, and SIGKILL a second later
        resource.RLIMIT_AS: (limits["memory_bytes"],) * 2,
        resource.RLIMIT_FSIZE: (limits["disk_bytes"],) * 2,
        resource.RLIMIT_NOFILE: (limits["open_files"],) * 2,
        resource.RLIMIT_CORE: (0, 0),
        resource.RLIMIT_MEMLOCK: (0, 0),
        resource.RLIMIT_MSGQUEUE: (0, 0),
        **({resource.RLIMIT_NPROC: (limits["processes"],) * 2} if processes else {}),
    }
    for what, pair in bounds.items():
        resource.setrlimit(what, pair)


def _become(spec: dict[str, Any], isolated: bool) -> None:
    """Drop what is left of privileges, set the limits, and become the program. Never returns."""
    os.setsid()
    if os.geteuid() == 0:
        os.setgroups([])
        os.setresgid(_NOBODY, _NOBODY, _NOBODY)
        os.setresuid(_NOBODY, _NOBODY, _NOBODY)
        if isolated:
            _own_count()
    if spec["level"] == "limits":
        # A user's processes are counted over the whole machine: here forks are refused instead.
        with suppress(syscalls.Unavailable):  # named in the package's text
            syscalls.allow_paths([*spec["binds"], "/dev/null", "/dev/zero", "/dev/urandom", "/dev/random"], [os.getcwd(), "/dev/null"])
    _limit(spec["limits"], processes=spec["level"] != "limits")
    syscalls.no_new_privileges()
    syscalls.refuse_calls(alone=spec["level"] == "limits")
    command = spec["command"]
    os.closerange(3, 4096)
    os.execve(command[0], command, spec["environment"])


def _own_count() -> None:
    """A user namespace, so that processes of nobody are counted for this run alone. Where it is refused they share one count."""
    with suppress(OSError):
        _unshare(_NEW_USER)


def _start(spec: dict[str, Any], isolated: bool) -> int:
    pid = os.fork()
    if pid:
        return pid
    try:
        _become(spec, isolated)
    except BaseException as error:  # noqa: BLE001  reported by its message; nothing may go on from here
        os.write(2, f"sandbox: {type(error).__name__}: {error}\n".encode())
    os._exit(125)


def _wait(pid: int) -> dict[str, Any]:
    """Reap everything until the program is done."""
    while True:
        done, status = os.wait()
        if done == pid:
            used = resource.getrusage(resource.RUSAGE_CHILDREN)
            code = os.waitstatus_to_exitcode(status)
            return {
                "exit": code if code >= 0 else None,
                "signal": -code if code < 0 else None,
                "cpu_s": used.ru_utime + used.ru_stime,
                "peak_bytes": used.ru_maxrss * 1024,
            }


def _isolate(spec: dict[str, Any]) -> None:
    """New namespaces, and process 1 in them. Returns in process 1."""
    uid, gid = os.getuid(), os.getgid()
    spaces = _NEW_MOUNTS | _NEW_UTS | _NEW_IPC | _NEW_PIDS | _NEW_NET
    if uid == 0:
        _unshare(spaces)
    else:
        _unshare(spaces | _NEW_USER)
        _map_user(1000, uid, gid)
    _new_root(spec)
    pid = os.fork()
    if pid:
        _, status = os.waitpid(pid, 0)
        os._exit(0 if status == 0 else 1)
    _LIBC.prctl(_DIE_WITH_PARENT, signal.SIGKILL, 0, 0, 0)


def main() -> None:
    spec, report = json.loads(sys.argv[1]), int(sys.argv[2])
    _LIBC.prctl(_DIE_WITH_PARENT, signal.SIGKILL, 0, 0, 0)
    try:
        if spec["level"] == "namespaces":
            _isolate(spec)
        ended = _wait(_start(spec, spec["level"] == "namespaces"))
    except OSError as error:
        ended = {"error": str(error)}
    os.write(report, json.dumps(ended).encode())
    os._exit(0)


if __name__ == "__main__":
    main()
