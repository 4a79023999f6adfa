"""The verifier `code`: Python against unit tests, in the sandbox."""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import Field

from formats.sandbox import Limits, run_python
from formats.scoring.verifier import Verifier, field_of, text_field

_BLOCK = re.compile(r"```(?:python|py|python3)?[ \t]*\r?\n(.*?)(?:```|\Z)", re.DOTALL | re.IGNORECASE)

# Runs in the sandbox. The word that proves success comes after the tests, from the input: a program that ends itself early
# (`sys.exit(0)`) has proved nothing. What the program prints goes nowhere.
_HARNESS = """
import json, os, sys
said = os.dup(1)
null = os.open('/dev/null', os.O_WRONLY)
os.dup2(null, 1); os.dup2(null, 2)
given = os.fdopen(os.dup(0), 'rb', 0)
def line():
    out = bytearray()
    while (c := given.read(1)) not in (b'\\n', b''):
        out += c
    return bytes(out)
size = int(line())
data = bytearray()
while len(data) < size:
    data += given.read(size - len(data))
os.dup2(os.open('/dev/null', os.O_RDONLY), 0)
pieces = json.loads(data)
space = {'__name__': 'solution', '__builtins__': __builtins__}
for name, code in pieces:
    exec(compile(code, name, 'exec'), space)
os.write(said, line())
os._exit(0)
"""


class Code(Verifier):
    """1 where the program in the answer passes the row's tests, 0 where it fails, crashes, hangs or takes too much; null without tests.

    The last ```python block is the program, else the whole answer. tests: a string of Python, or a list of statements such as MBPP's asserts.
    With `entry_point` the tests define `check(candidate)`, as HumanEval's do. Each answer runs in a process of its own in `formats.sandbox`
    (which says what it covers): standard library only, no network, no files. About 20 a second and core.
    """

    name: ClassVar[str] = "code"
    summary: ClassVar[str] = "the program passes unit tests in a sandbox"

    tests: str = Field(default="tests", min_length=1, description="field of the row with the tests")
    setup: str | None = Field(
        default=None,
        min_length=1,
        description="field of the row with code that stands between the answer and the tests, such as MBPP's test_setup_code",
    )
    prefix: str | None = Field(
        default=None, min_length=1, description="field of the row that the answer goes on from, such as HumanEval's prompt"
    )
    entry_point: str | None = Field(default=None, min_length=1, description="field of the row with the name that `check` gets")
    limits: Limits = Field(default=Limits(), description="what a run may use")

    def check(self, prompt: str, answer: str, row: Mapping[str, Any]) -> float | None:
        tests = field_of(row, self.tests)
        if isinstance(tests, list):
            tests = "\n".join(str(t) for t in tests)
        if not isinstance(tests, str) or not tests.strip():
            return None
        setup = (text_field(row, self.setup) if self.setup else None) or ""
        prefix = (text_field(row, self.prefix) if self.prefix else None) or ""
        entry = text_field(row, self.entry_point) if self.entry_point else None
        if entry is not None:
            if not entry.isidentifier():
                return None
            tests += f"\ncheck({entry})\n"
        return float(passes([program_of(answer, prefix), setup, tests], self.limits))


def program_of(answer: str, prefix: str = "") -> str:
    """The program in an answer: the last code block, else all of it; after `prefix`, unless the block defines what that begins."""
    blocks = _BLOCK.findall(answer)
    code = blocks[-1] if blocks else answer
    if not prefix or (blocks and "def " in code):
        return _imports(prefix) + code if prefix else code
    return prefix + code


def _imports(prefix: str) -> str:
    return "".join(f"{line}\n" for line in prefix.splitlines() if line.startswith(("import ", "from ")))


def passes(pieces: list[str], limits: Limits) -> bool:
    """Whether pieces of Python run one after the other without an exception."""
    word = secrets.token_hex(16).encode()
    body = json.dumps([[f"<{name}>", code] for name, code in zip(("answer", "setup", "tests"), pieces, strict=True)]).encode()
    result = run_python(_HARNESS, stdin=b"%d\n" % len(body) + body + word + b"\n", limits=limits)
    return result.status == "ok" and result.stdout == word
