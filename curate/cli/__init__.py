"""The command line. Commands are thin: they read options, call the library, print. Heavy imports happen inside them."""

from __future__ import annotations

import sys


def main() -> None:
    """Console script `curate`: run a command; errors meant for people are printed without a traceback."""
    from curate.cli.app import build_app
    from curate.errors import CurateError

    try:
        build_app(sys.argv[1:])()
    except CurateError as error:
        if {"--verbose", "-v"} & set(sys.argv[1:]):
            import traceback

            _say("".join(traceback.format_exception(error)).rstrip())
        _say(f"curate: {error}" if "\n" not in str(error) else str(error))
        sys.exit(error.exit_code)
    except BrokenPipeError:
        sys.exit(0)


def _say(text: str) -> None:
    sys.stderr.write(text + "\n")
