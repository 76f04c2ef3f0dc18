"""The one error that means "you, the user, can mend this", and how a command reports it."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from difflib import get_close_matches

EXIT_FAILED, EXIT_USER_ERROR, EXIT_INTERRUPTED, EXIT_TERMINATED = 1, 2, 130, 143


class InputError(ValueError):
    """A file, option or argument that cannot be used as it is.

    The message is one line: what must hold, what was received, where (file:line), what to do.
    """


class Terminated(KeyboardInterrupt):
    """SIGTERM, taken as Ctrl-C is: what cleans up or saves then does so now."""


class Stopped(RuntimeError):
    """A run that was asked to stop and has saved where it stands."""


def nearest(name: str, known: list[str]) -> str:
    """A hint like ``" Did you mean 'dropout'?"``, empty when nothing is near."""
    matches = get_close_matches(name, known, n=1)
    return f" Did you mean {matches[0]!r}?" if matches else ""


def run_command(name: str, main: Callable[[], int | None]) -> int:
    """Runs a command's ``main`` and turns its outcome into an exit status.

    0 done, 1 stopped on request or out of memory, 2 the user's mistake (`InputError`, or a file that cannot be opened or
    written: one line on stderr), 130 interrupted, 143 terminated.
    Everything else is a fault of ours and keeps its traceback (exit status 1).
    """
    before = signal.signal(signal.SIGTERM, _terminate)
    try:
        status = main() or 0
        sys.stdout.flush()
        return status
    except InputError as error:
        print(f"{name}: error: {error}", file=sys.stderr)
        return EXIT_USER_ERROR
    except Stopped as error:
        print(f"{name}: {error}", file=sys.stderr)
        return EXIT_FAILED
    except BrokenPipeError:  # the reader went away (`| head`): nothing is wrong
        _drop_standard_output()
        return EXIT_FAILED
    except OSError as error:
        if error.filename is None and _standard_output_works():
            raise
        print(f"{name}: error: {error.filename or 'standard output'}: {error.strerror}.", file=sys.stderr)
        return EXIT_USER_ERROR
    except KeyboardInterrupt as error:
        print(f"{name}: interrupted.", file=sys.stderr)
        return EXIT_TERMINATED if isinstance(error, Terminated) else EXIT_INTERRUPTED
    finally:
        signal.signal(signal.SIGTERM, before)


def _standard_output_works() -> bool:
    try:
        sys.stdout.flush()  # what could not be written is still there
    except OSError:
        _drop_standard_output()
        return False
    return True


def _drop_standard_output() -> None:
    """What is left of it goes nowhere: flushing at exit would fail again."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _terminate(number: int, frame: object) -> None:
    raise Terminated
