"""Programs that try to get out, to take too much, or to stay: each is contained, or its level says that it is not covered."""

from __future__ import annotations

import os
import shutil
import sys
import time
from pathlib import Path

import pytest

from curate.errors import StepError
from formats.sandbox import Limits, Result, run, run_python
from formats.sandbox.runner import LEVELS

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the sandbox needs Linux")
LIMITS = Limits(cpu_s=1, wall_s=20, memory_bytes=192 << 20, disk_bytes=2 << 20, files=64, open_files=32, processes=8, output_bytes=20_000)
QUICK = LIMITS.model_copy(update={"wall_s": 1.0})
SECRET = "a word that must not come back"

# A program says `held` where it was refused and `OUT` where it was not. `try_` runs an expression that must raise OSError.
HEAD = """
import ctypes, errno, os, resource, socket, sys
libc = ctypes.CDLL(None, use_errno=True)
def try_(what, *arguments, **named):
    try:
        result = what(*arguments, **named)
    except (OSError, RuntimeError, MemoryError) as error:
        print('held', type(error).__name__)
    else:
        print('OUT', result)
def call(number, *arguments):
    result = libc.syscall(number, *arguments)
    print('OUT' if result >= 0 else 'held', result, errno.errorcode.get(ctypes.get_errno()))
"""
# name: program. Every line that it prints must begin with `held`.
REFUSED = {
    "tcp": "try_(socket.create_connection, ('127.0.0.1', 22), 1)",
    "udp": "try_(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('8.8.8.8', 53)))",
    "name_lookup": "try_(socket.getaddrinfo, 'example.org', 80)",
    "ipv6": "try_(socket.socket, socket.AF_INET6)",
    "netlink": "try_(socket.socket, socket.AF_NETLINK, socket.SOCK_RAW)",
    "unix_socket": "try_(lambda: socket.socket(socket.AF_UNIX).connect('/var/run/docker.sock'))",
    "memory": "try_(bytearray, 1 << 30)",
    "shared_memory": "import mmap\ntry_(mmap.mmap, -1, 1 << 30)",
    "memory_file": "try_(os.memfd_create, 'x')",
    "system_v_memory": "call(29, 0, 1 << 20, 0o1666)",
    "big_file": "f = open('big', 'wb')\ntry_(lambda: [f.write(b'x' * 65536) and f.flush() for _ in range(100)])",
    "sparse_file": "f = open('big', 'wb')\ntry_(os.posix_fallocate, f.fileno(), 0, 1 << 30)",
    "open_files": "held = []\ntry_(lambda: [held.append(open('/dev/null')) for _ in range(100)])\nheld.clear()",
    "write_system": "try_(open, '/usr/lib/x', 'w')\ntry_(open, '/etc/x', 'w')\ntry_(open, '/x', 'w')",
    "write_interpreter": "try_(open, os.path.join(sys.base_prefix, 'x'), 'w')\ntry_(open, os.path.realpath(sys.executable), 'ab')",
    "kernel_log": "try_(open, '/dev/kmsg')\ntry_(open, '/dev/mem')\ntry_(open, '/dev/sda')",
    "ptrace": "call(101, 16, os.getppid(), 0, 0)",
    "foreign_memory": "call(310, os.getppid(), 0, 0, 0, 0, 0)",
    "mount": "call(165, b'none', b'/tmp', b'tmpfs', 0, 0)",
    "new_namespace": "call(272, 0x10000000)\ncall(56, 0x10000000 | 17, 0, 0, 0, 0)",
    "chroot": "try_(os.chroot, '.')",
    "become_root": "try_(os.setuid, 0)\ntry_(os.setgid, 0)\ntry_(os.setgroups, [0])",
    "raise_limits": "import resource\ntry:\n resource.setrlimit(resource.RLIMIT_AS, (1 << 40, 1 << 40))\n print('OUT')\nexcept ValueError:\n print('held')",
    "device": "try_(os.mknod, 'd', 0o20666, os.makedev(1, 1))",
    "io_uring": "call(425, 8, 0)",
    "bpf": "call(321, 0, 0, 0)",
    "keyring": "call(250, 0, -3, 1)",
    "performance_events": "call(298, 0, 0, -1, -1, 0)",
    "clock": "import time\ntry_(time.clock_settime, time.CLOCK_REALTIME, 0)",
    "32_bit_calls": "call(0x40000000 + 41, 2, 1, 0)",
    "personality": "call(135, 0x0040000)",
    "open_by_handle": "call(304, -100, 0, 0)",
    "reboot": "call(169, 0xfee1dead, 672274793, 0x4321fedc, 0)",
}  # fmt: skip
# Only where the run has namespaces of its own.
ISOLATED = {
    "home": "try_(os.listdir, os.path.expanduser('~root/.ssh'))\ntry_(os.listdir, '/home')",
    "passwords": "try_(open, '/etc/passwd')\ntry_(open, '/etc/shadow')",
    "proc": "try_(open, '/proc/1/environ')\ntry_(os.listdir, '/proc')\ntry_(os.listdir, '/sys')",
    "many_files": "try_(lambda: [open(f'f{n}', 'w').close() for n in range(1000)])",
    "signal_init": "try_(os.kill, 4000000, 9)\n\ntry:\n os.kill(1, 9)\nexcept OSError:\n pass\nprint('held')",
}


def lines(source: str, at: str | None = None, limits: Limits = LIMITS) -> list[str]:
    result = _python(HEAD + source, at, limits)
    assert result.status == "ok", (result.status, result.stdout[-300:], result.stderr[-600:])
    return result.stdout.decode().splitlines()


def _python(source: str, at: str | None = None, limits: Limits = LIMITS) -> Result:
    if at == "limits" and os.geteuid() == 0 and not _readable_by_all(os.path.realpath(sys.base_prefix)):
        if not os.path.exists("/usr/bin/python3"):
            pytest.skip("the interpreter is in a home folder that nobody can't read")
        return run(["/usr/bin/python3", "-I", "-S", "-B", "-c", source], limits=limits, at=at)
    return run_python(source, limits=limits, at=at)


def _readable_by_all(path: str) -> bool:
    return all(p.stat().st_mode & 0o001 for p in [Path(path), *Path(path).parents])


@pytest.fixture(scope="module", params=LEVELS)
def at(request: pytest.FixtureRequest) -> str:
    if request.param == "bubblewrap" and shutil.which("bwrap") is None:
        pytest.skip("bwrap is not installed")
    try:
        run(["/bin/true"], at=request.param)
    except StepError as error:
        pytest.skip(str(error))
    return str(request.param)


def test_what_is_refused(at: str) -> None:
    """One program each would take minutes on a busy machine: they share one, and each line says which it was."""
    tests = REFUSED if at == "limits" else {**REFUSED, **ISOLATED}
    if at == "bubblewrap":
        tests.pop("many_files")  # named as not covered
    source = "".join(f"print('{name}:')\n{code}\n" for name, code in tests.items())
    said = lines(source, at, LIMITS.model_copy(update={"cpu_s": 5}))
    groups: dict[str, list[str]] = {}
    for line in said:
        if line.endswith(":"):
            held = groups.setdefault(line[:-1], [])
        else:
            held.append(line)
    assert set(groups) == set(tests)
    wrong = {name: answers for name, answers in groups.items() if not answers or not all(a.startswith("held") for a in answers)}
    assert not wrong


def test_fork_bomb(at: str) -> None:
    said = lines(
        "import time\nmade = 0\nfor n in range(60):\n try:\n  pid = os.fork()\n except OSError:\n  break\n"
        " if pid == 0:\n  time.sleep(30)\n  os._exit(0)\n made += 1\nprint(made)", at,
    )  # fmt: skip
    assert int(said[0]) == 0 if at == "limits" else int(said[0]) < LIMITS.processes


def test_thread_bomb(at: str) -> None:
    said = lines(
        "import threading, time\nthreading.stack_size(65536)\nmade = 0\ntry:\n while made < 5000:\n"
        "  threading.Thread(target=time.sleep, args=(30,), daemon=True).start()\n  made += 1\nexcept (RuntimeError, MemoryError):\n pass\n"
        "print(made, flush=True)\nos._exit(0)", at,
    )  # fmt: skip
    assert int(said[0]) < (5000 if at == "limits" else LIMITS.processes)


def test_loops_end(at: str) -> None:
    assert _python("while True: pass", at).status == "cpu"
    stubborn = "import signal\nsignal.signal(signal.SIGXCPU, signal.SIG_IGN)\nwhile True: pass"
    assert _python(stubborn, at).status == "cpu"
    started = time.monotonic()
    assert _python("import time\ntime.sleep(60)", at, QUICK).status == "timeout"
    assert _python("import os, time\nos.close(1); os.close(2)\ntime.sleep(60)", at, QUICK).status == "timeout"
    assert time.monotonic() - started < 20


def test_long_output_ends_the_run(at: str) -> None:
    result = _python("while True: print('x' * 1000)", at)
    assert result.status == "output" and len(result.stdout) == LIMITS.output_bytes
    result = _python("import sys\nwhile True: sys.stderr.write('x' * 1000)", at)
    assert result.status == "output" and len(result.stderr) == LIMITS.output_bytes


def test_crashes_are_told_apart(at: str) -> None:
    assert _python("import os\nos.abort()", at).signal == 6
    assert _python("import ctypes\nctypes.string_at(0)", at).signal == 11
    assert _python("raise SystemExit(3)", at).exit_code == 3
    deep = _python("import sys\nsys.setrecursionlimit(10**9)\ndef f(): return f()\nf()", at)
    assert deep.status in ("killed", "failed", "cpu")


def test_secrets_stay_outside(at: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if at == "limits":
        pytest.skip("not covered at this level without Landlock")
    secret = tmp_path / "secret.txt"
    secret.write_text(SECRET)
    secret.chmod(0o644)
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)
    opened = os.open(secret, os.O_RDONLY)
    os.set_inheritable(opened, True)
    program = f"""
try_(open, {str(secret)!r})
os.symlink({str(secret)!r}, 'link'); try_(open, 'link')
try_(os.link, {str(secret)!r}, 'hard')
os.symlink('/' + '../' * 20 + {str(secret)[1:]!r}, 'up'); try_(open, 'up')
for number in range(3, 40): try_(os.read, number, 100)
print('held', dict(os.environ))
"""
    said = lines(program, at)
    os.close(opened)
    assert all(line.startswith("held") for line in said) and not any(SECRET in line for line in said)


def test_signals_do_not_reach_others(at: str) -> None:
    child = f"import os, signal\ntry:\n os.kill({os.getpid()}, signal.SIGTERM)\n print('OUT')\nexcept OSError:\n print('held')"
    assert _python(child, at).stdout == b"held\n"
    _python("import os\nos.kill(-1, 9)", at)  # this process is still here


def test_nothing_is_left_behind(at: str, tmp_path: Path) -> None:
    if at == "limits":
        assert lines("try_(os.fork)", at)[0].startswith("held")
        return
    daemon = (
        "import os, time\nif os.fork() == 0:\n os.setsid()\n if os.fork() == 0:\n  while True: time.sleep(0.01)\n os._exit(0)\n"
        "time.sleep(0.05)\nprint('done')"
    )
    started = time.monotonic()
    assert _python(daemon, at).stdout == b"done\n"  # its output was closed: the daemon is dead
    assert time.monotonic() - started < 15


def test_privileges_are_gone(at: str) -> None:
    said = lines("print(os.getuid() != 0, os.geteuid() != 0, len(os.environ) <= 6)\nprint(libc.prctl(39, 0, 0, 0, 0))", at)
    assert said == ["True True True", "1"]


def test_input_and_command(at: str) -> None:
    big = b"line\n" * 100_000
    result = _python("import sys\nprint(len(sys.stdin.read()))", at)
    assert result.stdout == b"0\n"
    found = run(["/usr/bin/wc", "-c"], stdin=big, at=at)
    assert found.stdout.strip() == b"500000" and found.status == "ok" and found.level == at
    with pytest.raises(StepError, match="sandbox"):
        run(["/nowhere/program"], at=at)


def test_limits_refuse_nonsense() -> None:
    for wrong in ({"cpu_s": 0}, {"wall_s": 0}, {"memory_bytes": 1}, {"open_files": 2}, {"speed": 1}):
        with pytest.raises(ValueError):
            Limits(**wrong)  # type: ignore[arg-type]
