"""Files that are either whole or not there, and JSON objects with errors that name the file."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from biLM.errors import InputError


@contextmanager
def whole_file(path: str | Path) -> Iterator[Path]:
    """Gives a path beside `path` to write to. It takes the place of `path` when the block ends well, and goes otherwise.

    Raises: OSError that names `path`, also where a library's error does not (a full disk in the middle of an HDF5 file).
    """
    path = Path(path)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        yield partial
        with open(partial, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(partial, path)
    except OSError as error:
        if error.filename is not None and str(error.filename) != str(partial):
            raise
        number = error.errno or (errno.ENOSPC if "No space left" in str(error) else errno.EIO)
        raise OSError(number, os.strerror(number), str(path)) from error
    finally:
        partial.unlink(missing_ok=True)


def read_object(path: str | Path) -> dict[str, Any]:
    """The object that a JSON file holds. Raises InputError for anything else."""
    try:
        values = json.loads(Path(path).read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not a JSON file: {error}.") from error
    if not isinstance(values, dict):
        raise InputError(f"{path}: must hold a JSON object. Received: {type(values).__name__}.")
    return values


def write_object(path: str | Path, values: dict[str, Any]) -> None:
    with whole_file(path) as partial:
        partial.write_text(json.dumps(values, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
