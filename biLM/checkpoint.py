"""Checkpoints: arrays and a JSON object in one .npz file, whose members carry checksums; the last two are kept.

A file appears whole or not at all. One that was damaged later is noticed when it is read, and the one before it serves.
"""

from __future__ import annotations

import json
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from biLM.errors import InputError
from biLM.files import whole_file

KEPT = 2
_DAMAGE = (zipfile.BadZipFile, ValueError, KeyError, EOFError, OSError, NotImplementedError, RuntimeError, zlib.error)
_STATE, _NAMES = "state.json", "arrays"


def write_checkpoint(directory: Path, step: int, arrays: Mapping[str, np.ndarray], state: dict[str, Any]) -> Path:
    """Writes `directory/step-<step>.npz` and removes all but the last two."""
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / f"step-{step:09d}.npz"
    text = np.frombuffer(json.dumps(state | {_NAMES: sorted(arrays)}).encode("utf-8"), dtype=np.uint8)
    with whole_file(path) as partial, open(partial, "wb") as file:
        np.savez(file, allow_pickle=False, **{_STATE: text}, **arrays)  # type: ignore[arg-type]
    for old in checkpoints(directory)[:-KEPT]:
        old.unlink()
    return path


def checkpoints(directory: Path) -> list[Path]:
    """Checkpoint files, the oldest first."""
    return sorted(directory.glob("step-*.npz"))


def read_checkpoint(path: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """The arrays and the state of a checkpoint. Raises InputError where it is damaged."""
    try:
        with open(path, "rb") as raw, np.load(raw, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        state = json.loads(arrays.pop(_STATE).tobytes())
        if state.pop(_NAMES) != sorted(arrays):
            raise KeyError("an array is missing")
        return arrays, state
    except _DAMAGE as error:
        raise InputError(f"{path}: a damaged checkpoint: {error}.") from error
