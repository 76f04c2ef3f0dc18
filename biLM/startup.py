"""Starts Keras for a command, without the start-up messages of its backend and its advice on retracing."""

from __future__ import annotations

import logging
import os
import sys
import tempfile


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
            import keras

            keras.ops.zeros(1) + 1
        except BaseException:
            held.seek(0)
            os.write(kept, held.read())
            raise
        finally:
            os.dup2(kept, 2)
            os.close(kept)
