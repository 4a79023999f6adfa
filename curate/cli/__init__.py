"""The command line. Commands are thin: they read options, call the library, print. Heavy imports happen inside them."""

from __future__ import annotations

import atexit
import errno
import gc
import os
import sys
import threading
from typing import NoReturn

OBJECTS_BETWEEN_COLLECTIONS = 100_000  # Python's 700 make it look for garbage among what is being imported: 0.1 s of a command's start


def script() -> NoReturn:
    """Console script `curate`: `main`, and then the end of the process.

    What Python does at exit is done (functions of `atexit`, flushing), but for taking apart, object by object, what numpy, Arrow and
    pydantic hold: that takes up to 0.2 s, and the system frees it at once. Where threads still run, or another program (a profiler)
    has called this, Python ends as it always does.
    """
    gc.set_threshold(OBJECTS_BETWEEN_COLLECTIONS)
    try:
        main()
        code: object = 0
    except SystemExit as error:
        code = error.code or 0
    if not isinstance(code, int) or threading.active_count() > 1 or not _is_program():
        sys.exit(code)  # type: ignore[arg-type]
    atexit._run_exitfuncs()
    try:
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:  # closed by the caller
                stream.flush()
    except BrokenPipeError:
        code = 0
    except OSError as error:
        code = _unwritten(error)
    os._exit(code)


def _is_program() -> bool:
    """Whether this process was started as `curate` or `python -m curate`."""
    started = sys.modules["__main__"]
    if started.__spec__ is not None:
        return started.__spec__.name == "curate.__main__"
    return os.path.splitext(os.path.basename(getattr(started, "__file__", "")))[0] == "curate"


def main() -> None:
    """Run the command that sys.argv names; errors meant for people are printed without a traceback. Ends in SystemExit."""
    from curate.cli.ahead import starting
    from curate.errors import CurateError

    # pydantic would look through the metadata of all installed packages for plugins: 0.05 s in a large environment, for none.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    arguments = sys.argv[1:]
    as_json = "--json" in arguments
    try:
        with starting(arguments):
            from curate.cli.app import build_app

            code = build_app(arguments)(prog_name="curate", standalone_mode=not as_json)
            sys.exit(code if isinstance(code, int) else 0)
    except CurateError as error:
        _tell(error, error.exit_code, as_json, bool({"--verbose", "-v"} & set(arguments)))
        sys.exit(error.exit_code)
    except BrokenPipeError:
        sys.exit(0)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        sys.exit(_unwritten(error))
    except Exception as error:
        if not (as_json and hasattr(error, "format_message")):
            raise
        exit_code = int(getattr(error, "exit_code", 2))  # a word on the command line that is none; told as text without --json
        _tell(error, exit_code, as_json)
        sys.exit(exit_code)


def _unwritten(error: OSError) -> int:
    _say(
        f"curate: {error.filename or 'output'} could not be written: {os.strerror(error.errno or 0)}. Free some space and run the same command again."
    )
    return 1


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
