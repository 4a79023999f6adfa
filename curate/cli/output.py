"""`--json`, `--quiet` and `--verbose`: the same options with the same meaning on every command, given in one place.

    --json     stdout holds JSON and nothing else; all other words go to stderr. An error is a last line of JSON on stderr.
    --quiet    nothing is printed but errors, and what --json asks for.
    --verbose  errors come with their traceback; `run` adds where the time went.

Exit codes are the same with all of them. `uniform` adds to a command what it does not declare itself; a command that has
something to say to programs hands it to `emit`, one value (rows of `inspect`: one value a line).
"""

from __future__ import annotations

import inspect
import io
import json
import math
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout
from typing import Annotated, Any, TextIO, get_args

import typer

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON on stdout and nothing else there; errors as JSON on stderr.")]
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but errors, and what --json asks for.")]
VerboseOption = Annotated[bool, typer.Option("--verbose", "-v", help="More words where there are some; errors with their traceback.")]
OPTIONS: dict[str, tuple[str, Any]] = {
    "--json": ("as_json", JsonOption),
    "--quiet": ("quiet", QuietOption),
    "--verbose": ("verbose", VerboseOption),
}

_stdout: list[TextIO] = []  # where `emit` writes while a command with --json runs


def emit(value: Any) -> None:
    """Print a value as one line of JSON on stdout. NaN and infinities, which JSON lacks, become null."""
    out = _stdout[-1] if _stdout else sys.stdout
    out.write(to_json(value) + "\n")
    out.flush()


def to_json(value: Any) -> str:
    """One line of JSON; what is no JSON as its text, lone surrogates as escapes."""
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False, default=str)
    except ValueError:
        text = json.dumps(_finite(value), ensure_ascii=False, default=str)
    return text if _encodes(text) else json.dumps(json.loads(text), ensure_ascii=True)


def uniform(command: Callable[..., Any]) -> Callable[..., None]:
    """The command with all three options; it is handed those that it declares. Safe to apply twice."""
    if hasattr(command, "with_options"):
        return command
    signature = inspect.signature(command, eval_str=True)
    declared = {option: name for name, parameter in signature.parameters.items() for option in _declarations(parameter)}
    added = {option: (name, kind) for option, (name, kind) in OPTIONS.items() if option not in declared}
    flags = {option: declared.get(option) or added[option][0] for option in OPTIONS}

    def run(**given: Any) -> None:
        asked = {option: bool(given[name]) for option, name in flags.items()}
        for name, _ in added.values():
            del given[name]
        with _streams(asked["--json"], asked["--quiet"]):
            command(**given)

    new = [inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=False, annotation=kind) for name, kind in added.values()]
    parameters = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in signature.parameters.values()]
    run.__signature__ = signature.replace(parameters=[*parameters, *new])  # type: ignore[attr-defined]
    run.__annotations__ = {p.name: p.annotation for p in (*parameters, *new)}
    run.__name__, run.__doc__, run.__module__ = command.__name__, command.__doc__, command.__module__
    run.with_options = True  # type: ignore[attr-defined]
    return run


def error_json(error: Exception, exit_code: int) -> str:
    """An error as --json prints it on stderr: kind, message, exit code, and each mistake in a recipe with its place."""
    problems = [{"message": p.message, "file": p.file or None, "line": p.line or None} for p in getattr(error, "problems", ())]
    message = error.format_message() if hasattr(error, "format_message") else str(error)
    return to_json({"error": {"kind": type(error).__name__, "message": message, "problems": problems, "exit_code": exit_code}})


@contextmanager
def _streams(as_json: bool, quiet: bool) -> Iterator[None]:
    """Keep words off stdout for --json, and off both for --quiet, whoever writes them."""
    with ExitStack() as stack:
        if as_json:
            _stdout.append(sys.stdout)
            stack.callback(_stdout.pop)
            stack.enter_context(redirect_stdout(sys.stderr))
        if quiet:
            nowhere = io.StringIO()
            stack.enter_context(redirect_stdout(nowhere))
            stack.enter_context(redirect_stderr(nowhere))
        yield


def _declarations(parameter: inspect.Parameter) -> Sequence[str]:
    """'--json' and the like, as a parameter of a command declares them."""
    infos = [*get_args(parameter.annotation), parameter.default]
    found: list[str] = []
    for info in infos:
        if isinstance(info, typer.models.OptionInfo):
            found += [d for d in (info.default, *(info.param_decls or ())) if isinstance(d, str) and d in OPTIONS]
    return found


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    return [_finite(item) for item in value] if isinstance(value, list | tuple) else value


def _encodes(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
