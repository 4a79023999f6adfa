"""The command line. Commands are thin: they read options, call the library, print. Heavy imports happen inside them."""

from __future__ import annotations

import os
import sys


def main() -> None:
    """Console script `curate`: run a command; errors meant for people are printed without a traceback."""
    from curate.cli.app import build_app
    from curate.errors import CurateError

    # pydantic would look through the metadata of all installed packages for plugins: 0.05 s in a large environment, for none.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    arguments = sys.argv[1:]
    as_json = "--json" in arguments
    try:
        code = build_app(arguments)(prog_name="curate", standalone_mode=not as_json)
        sys.exit(code if isinstance(code, int) else 0)
    except CurateError as error:
        _tell(error, error.exit_code, as_json, bool({"--verbose", "-v"} & set(arguments)))
        sys.exit(error.exit_code)
    except BrokenPipeError:
        sys.exit(0)
    except Exception as error:
        if not (as_json and hasattr(error, "format_message")):
            raise
        exit_code = int(getattr(error, "exit_code", 2))  # a word on the command line that is none; told as text without --json
        _tell(error, exit_code, as_json)
        sys.exit(exit_code)


def _tell(error: Exception, exit_code: int, as_json: bool, with_traceback: bool = False) -> None:
    if with_traceback:
        import traceback

        _say("".join(traceback.format_exception(error)).rstrip())
    if as_json:
        from curate.cli.output import error_json

        _say(error_json(error, exit_code))
    else:
        _say(f"curate: {error}" if "\n" not in str(error) else str(error))


def _say(text: str) -> None:
    sys.stderr.write(text + "\n")
