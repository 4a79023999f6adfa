"""Start a program in the sandbox, feed it, watch it, and say how it ended."""

from __future__ import annotations

import json
import os
import selectors
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

from curate.errors import StepError
from formats.sandbox.limits import Limits, Result, Status

LEVELS = ("namespaces", "bubblewrap", "limits")
_LAUNCHER = Path(__file__).with_name("inside.py")
_SYSTEM = ("/usr", "/lib", "/lib64", "/lib32", "/bin", "/sbin", "/etc/ld.so.cache", "/etc/alternatives", "/etc/localtime")
_ENVIRONMENT = {"PATH": "/usr/bin:/bin", "HOME": "/work", "LANG": "C.UTF-8", "PYTHONHASHSEED": "0"}
_CHUNK = 65_536
_DEFAULT = Limits()


def run_python(source: str, stdin: bytes = b"", limits: Limits = _DEFAULT, at: str | None = None) -> Result:
    """Run Python source with the standard library only (the interpreter is started with -I -S)."""
    return run([_interpreter(), "-I", "-S", "-B", "-c", source], stdin, limits, at)


def run(command: Sequence[str], stdin: bytes = b"", limits: Limits = _DEFAULT, at: str | None = None) -> Result:
    """Run a command. command[0] is an absolute path below the system's folders or the interpreter's. at: a level; None: `level()`.

    Raises StepError where the sandbox itself can't be set up: nothing was run then.
    """
    chosen = at or level()
    if chosen == "bubblewrap" and os.geteuid() == 0:
        raise StepError("The sandbox at level bubblewrap is not for root, whom no count of processes stops. Use the level namespaces.")
    scratch = tempfile.mkdtemp(prefix="curate-sandbox-")
    try:
        os.chmod(scratch, 0o777 if chosen == "limits" else 0o700)  # at level limits it is where the program may write
        return _run(command, stdin, limits, chosen, scratch)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


@cache
def level() -> str:
    """The strongest level that works here. bubblewrap comes first where it is installed: it works where users may make no namespaces."""
    if not sys.platform.startswith("linux"):
        raise StepError("The sandbox needs Linux. Run this recipe in a Linux container or virtual machine.")
    order = LEVELS if os.geteuid() == 0 else ("bubblewrap", "namespaces", "limits")
    failed = []
    for name in order:
        if name == "bubblewrap" and shutil.which("bwrap") is None:
            continue
        try:
            if run(["/bin/true"], at=name).status == "ok":
                return name
            failed.append(f"{name}: /bin/true failed")
        except StepError as error:
            failed.append(f"{name}: {error}")
    raise StepError("No level of the sandbox works here: " + "; ".join(failed))


@cache
def _interpreter() -> str:
    return os.path.realpath(getattr(sys, "_base_executable", sys.executable))


@cache
def _binds() -> tuple[str, ...]:
    """What the program may read: system folders and the interpreter's own, not the environment it was started from."""
    wanted = [p for p in _SYSTEM if os.path.lexists(p)]
    wanted += [p for p in (sys.base_prefix, sys.base_exec_prefix) if not p.startswith("/usr")]
    return tuple(dict.fromkeys(os.path.abspath(p) for p in wanted))


def _run(command: Sequence[str], stdin: bytes, limits: Limits, chosen: str, scratch: str) -> Result:
    spec = {
        "level": chosen,
        "command": list(command),
        "binds": _binds(),
        "scratch": scratch,
        "limits": limits.model_dump(),
        "environment": _ENVIRONMENT,
    }
    if chosen == "limits":
        spec["environment"] = {**_ENVIRONMENT, "HOME": scratch, "TMPDIR": scratch}
    reading, writing = os.pipe()
    started = time.monotonic()
    try:
        process = subprocess.Popen(
            [*(_bubblewrap(limits) if chosen == "bubblewrap" else ()), _interpreter(), "-I", "-S", "-B", str(_launcher(chosen)), json.dumps(spec), str(writing)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, pass_fds=(writing,), env={},
            cwd=scratch if chosen == "limits" else "/", start_new_session=True,
        )  # fmt: skip
    except BaseException:
        os.close(reading)
        raise
    finally:
        os.close(writing)
    try:
        outputs, cut = _watch(process, stdin, limits, started)
        if cut is not None:
            _end(process)  # so that the report, which is not written yet, ends too
        report = os.read(reading, _CHUNK)
    finally:
        _end(process)
        os.close(reading)
    ended: dict[str, Any] = json.loads(report) if report else {}
    if not report and process.returncode in (-signal.SIGKILL, 128 + signal.SIGKILL):  # the program killed all it could see (bubblewrap)
        ended, report = {"exit": None, "signal": int(signal.SIGKILL), "cpu_s": 0.0}, b"{}"
    if "error" in ended or (not report and cut is None) or (ended.get("exit") == 125 and outputs[1].startswith(b"sandbox: ")):
        reason = ended.get("error") or outputs[1].decode(errors="replace").strip() or f"the launcher ended with {process.returncode}"
        raise StepError(f"The sandbox could not be set up at level {chosen}: {reason}")
    wall = time.monotonic() - started
    return Result(
        cut or _status(ended, limits), ended.get("exit"), ended.get("signal"), outputs[0], outputs[1],
        ended.get("cpu_s", 0.0), wall, ended.get("peak_bytes", 0), chosen,
    )  # fmt: skip


def _launcher(chosen: str) -> Path:
    return Path("/launcher/inside.py") if chosen == "bubblewrap" else _LAUNCHER


def _bubblewrap(limits: Limits) -> list[str]:
    """bwrap and its options: the same root as the launcher makes at level namespaces."""
    made = [shutil.which("bwrap") or "bwrap", "--unshare-all", "--die-with-parent", "--new-session", "--cap-drop", "ALL"]
    made += ["--uid", "1000", "--gid", "1000"] if os.geteuid() == 0 else []
    for path in _binds():
        made += ["--symlink", os.readlink(path), path] if os.path.islink(path) else ["--ro-bind", path, path]
    made += ["--ro-bind", str(_LAUNCHER.parent), "/launcher", "--dir", "/dev"]
    for device in ("null", "zero", "random", "urandom"):
        made += ["--dev-bind", f"/dev/{device}", f"/dev/{device}"]
    return [
        *made,
        "--size",
        str(limits.disk_bytes),
        "--tmpfs",
        "/work",
        "--symlink",
        "/work",
        "/tmp",
        "--remount-ro",
        "/",
        "--chdir",
        "/work",
        "--",
    ]


def _status(ended: dict[str, Any], limits: Limits) -> Status:
    if ended["signal"] == signal.SIGXCPU or (ended["signal"] == signal.SIGKILL and ended["cpu_s"] >= limits.cpu_s):
        return "cpu"
    return "killed" if ended["signal"] is not None else "ok" if ended["exit"] == 0 else "failed"


def _watch(process: subprocess.Popen[bytes], stdin: bytes, limits: Limits, started: float) -> tuple[list[bytes], Status | None]:
    """Feed the program and read what it says, until it is done or over a bound; (outputs, why it was cut short)."""
    assert process.stdin and process.stdout and process.stderr
    held: dict[Any, bytearray] = {process.stdout: bytearray(), process.stderr: bytearray()}
    cut: Status | None = None
    sent = 0
    with selectors.DefaultSelector() as selector:
        for output in held:
            selector.register(output, selectors.EVENT_READ)
        os.set_blocking(process.stdin.fileno(), False)
        if stdin:
            selector.register(process.stdin, selectors.EVENT_WRITE)
        else:
            process.stdin.close()
        while selector.get_map() and cut is None:
            left = started + limits.wall_s - time.monotonic()
            if left <= 0:
                cut = "timeout"
                break
            for key, _ in selector.select(left):
                stream: Any = key.fileobj
                if stream is process.stdin:
                    try:
                        sent += os.write(stream.fileno(), stdin[sent : sent + _CHUNK])
                    except BrokenPipeError:
                        sent = len(stdin)
                    if sent >= len(stdin):
                        selector.unregister(stream)
                        stream.close()
                    continue
                data = os.read(stream.fileno(), _CHUNK)
                if not data:
                    selector.unregister(stream)
                held[stream] += data
                if len(held[stream]) > limits.output_bytes:
                    cut = "output"
    if cut is None:
        try:
            process.wait(max(0.0, started + limits.wall_s - time.monotonic()))
        except subprocess.TimeoutExpired:  # it closed its outputs and goes on
            cut = "timeout"
    return [bytes(held[s][: limits.output_bytes]) for s in (process.stdout, process.stderr)], cut


def _end(process: subprocess.Popen[bytes]) -> None:
    """Nothing of the run is left: the launcher's death is process 1's death, and with it that of everything inside."""
    if process.poll() is None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    for stream in (process.stdin, process.stdout, process.stderr):
        if stream is not None and not stream.closed:
            stream.close()
