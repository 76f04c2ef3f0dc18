"""The one error that means "you, the user, can mend this", and how a command reports it."""

from __future__ import annotations

import errno
import io
import os
import signal
import sys
from collections.abc import Callable
from difflib import get_close_matches

EXIT_FAILED, EXIT_USER_ERROR, EXIT_INTERRUPTED, EXIT_TERMINATED = 1, 2, 130, 143

DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)  # no room, or the device fails
OUT_OF_MEMORY = (
    "out of memory. The longest sentence and the size of a batch decide how much is needed: split long sentences, lower "
    "--batch-size or --batch-tokens where the command has them, or give it more."
)


class InputError(ValueError):
    """A file, option or argument that cannot be used as it is.

    The message is one line: what must hold, what was received, where (file:line), what to do.
    """


class Terminated(KeyboardInterrupt):
    """SIGTERM, taken as Ctrl-C is: what cleans up or saves then does so now."""


class Stopped(RuntimeError):
    """A run that was asked to stop and has saved where it stands."""


def require(holds: bool, rule: str, received: object) -> None:
    """Raises InputError where an option breaks its rule."""
    if not holds:
        raise InputError(f"{rule}. Received: {received!r}.")


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
    if isinstance(sys.stdout, io.TextIOWrapper):  # data is UTF-8, whatever the locale
        sys.stdout.reconfigure(encoding="utf-8", errors="backslashreplace")
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
    except OSError as error:
        return _report_file(name, error)
    except KeyboardInterrupt as error:
        print(f"{name}: interrupted.", file=sys.stderr)
        return EXIT_TERMINATED if isinstance(error, Terminated) else EXIT_INTERRUPTED
    except Exception as error:
        if not _is_out_of_memory(error):
            raise
        print(f"{name}: error: {OUT_OF_MEMORY}", file=sys.stderr)
        return EXIT_FAILED
    finally:
        signal.signal(signal.SIGTERM, before)


def _report_file(name: str, error: OSError) -> int:
    """Says which file could not be opened or written; raises again where that is not known."""
    if isinstance(error, BrokenPipeError):  # the reader went away (`| head`): nothing is wrong
        _drop_standard_output()
        return EXIT_FAILED
    if error.filename is None:
        if error.errno not in DISK:
            raise error
        _drop_standard_output()  # all other files are named
    print(f"{name}: error: {error.filename or 'standard output'}: {error.strerror}.", file=sys.stderr)
    return EXIT_USER_ERROR


def _drop_standard_output() -> None:
    """What is left of it goes nowhere: flushing at exit would fail again."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _is_out_of_memory(error: Exception) -> bool:
    """As Python and NumPy, TensorFlow and JAX say it."""
    return (
        isinstance(error, MemoryError) or "ResourceExhausted" in type(error).__name__ or "RESOURCE_EXHAUSTED" in str(error)
    )


def _terminate(number: int, frame: object) -> None:
    raise Terminated
