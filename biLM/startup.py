"""Starts Keras for a command, without the start-up messages of its backend and its advice on retracing."""

from __future__ import annotations

import gc
import logging
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

NOT_NEEDED = ("matplotlib", "sklearn")  # Keras imports them where they are there, for parts that no command uses


def start_keras() -> None:
    """Imports Keras and runs one operation, with file descriptor 2 held back; it is shown after all if that fails.

    The native messages are written before any setting can switch them off.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            with nullcontext() if "keras" in sys.modules else _quick_imports():
                import keras

            keras.ops.zeros(1) + 1
        except BaseException:
            held.seek(0)
            os.write(kept, held.read())
            raise
        finally:
            os.dup2(kept, 2)
            os.close(kept)


@contextmanager
def _quick_imports() -> Iterator[None]:
    """Meanwhile packages that are not needed seem not to be there, and nobody looks for garbage; what was imported is left
    out of later searches, of which the one at exit would take a second."""
    held = [name for name in NOT_NEEDED if name not in sys.modules]
    sys.modules.update(dict.fromkeys(held))  # type: ignore[arg-type]  # None: "is not there"
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        for name in held:
            del sys.modules[name]
        gc.freeze()
        if collects:
            gc.enable()
