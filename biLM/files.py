"""Files that are either whole or not there, and JSON objects with errors that name the file."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from biLM.errors import InputError

MAX_OBJECT_BYTES = 2**28


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


def check_free(directory: Path) -> None:
    """Raises InputError where there is something already."""
    if directory.exists() and not (directory.is_dir() and not any(directory.iterdir())):
        raise InputError(f"{directory}: must be a new directory, or an empty one. Name another.")


@contextmanager
def whole_directory(directory: Path) -> Iterator[Path]:
    """Gives a directory beside `directory` to fill. It takes its place when the block ends well, and goes otherwise.

    Raises: InputError where `directory` holds something already.
    """
    check_free(directory)
    directory.absolute().parent.mkdir(parents=True, exist_ok=True)
    partial = directory.absolute().with_name(f".{directory.absolute().name}.{os.getpid()}.partial")
    partial.mkdir()
    try:
        yield partial
        os.replace(partial, directory)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def read_object(path: str | Path) -> dict[str, Any]:
    """The object that a JSON file holds. Raises InputError for anything else."""
    size = Path(path).stat().st_size
    if size > MAX_OBJECT_BYTES:
        raise InputError(f"{path}: must be a JSON object of {MAX_OBJECT_BYTES:,} bytes at most. Received: {size:,} bytes.")
    try:
        values = json.loads(Path(path).read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:  # numbers of too many digits are ValueErrors, too
        raise InputError(f"{path}: not a JSON file: {error}.") from error
    if not isinstance(values, dict):
        raise InputError(f"{path}: must hold a JSON object. Received: {type(values).__name__}.")
    return values


def write_object(path: str | Path, values: dict[str, Any]) -> None:
    with whole_file(path) as partial:
        partial.write_text(json.dumps(values, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
