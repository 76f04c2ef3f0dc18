"""Starts Keras for a command without the native start-up messages of its backend, which no setting switches off."""

from __future__ import annotations

import os
import sys
import tempfile


def start_keras() -> None:
    """Imports Keras and runs one operation, with file descriptor 2 held back; it is shown after all if that fails."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
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
