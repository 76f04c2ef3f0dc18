"""HDF5 files: those of strangers are read only where all that they name lies in the file itself and could fill what it
declares; ours appear whole."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import h5py
import numpy as np

from biLM.errors import InputError
from biLM.files import whole_file

EXPANSION = 64  # times the file's size that its datasets may declare: weights are barely compressible
SHOWN = 10  # problems that a message lists
_DAMAGED = (OSError, KeyError, RuntimeError, ValueError, TypeError)  # what h5py raises where the file makes no sense


@contextmanager
def open_hdf5(path: Path) -> Iterator[dict[str, h5py.Dataset]]:
    """The datasets of a file by their names, after a look at every link and shape; no numbers are read for that.

    Raises: InputError for what is no HDF5, for soft and external links, virtual datasets, datasets kept in other files,
        objects of variable size, and for more declared bytes than such a file can hold.
    """
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise InputError(f"{path}: not an HDF5 file, or a damaged one: {_why(error)}.") from error
    with file:
        try:
            datasets = dict(_datasets(path, file))
            _check(path, datasets)
        except InputError:
            raise
        except _DAMAGED as error:
            raise InputError(f"{path}: a damaged HDF5 file: {_why(error)}.") from error
        yield datasets


@contextmanager
def new_hdf5(path: str | Path) -> Iterator[h5py.File]:
    """A file to write, which takes the place of `path` as a whole when the block ends well.

    Raises: OSError that names `path` where the disk is full. HDF5 itself never learns of that: once it could not close a
    file, the next one that a process opens may crash it.
    """
    with whole_file(path) as partial, open(partial, "w+b") as raw:
        disk = _Disk(raw)
        with h5py.File(partial, "w", driver="fileobj", fileobj=disk) as file:
            yield file
        if disk.error is not None:
            raise disk.error


class _Disk:
    """A new binary file whose writes never fail: after the first that did, `error`, nothing more is written."""

    def __init__(self, file: BinaryIO):
        self.file, self.position, self.end = file, 0, 0
        self.error: OSError | None = None

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self.position = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self.position, os.SEEK_END: self.end}[whence]
        return self.position

    def tell(self) -> int:
        return self.position

    def write(self, data: bytes) -> int:
        self._keep(lambda: (self.file.seek(self.position), self.file.write(data)))
        self.position += len(data)
        self.end = max(self.end, self.position)
        return len(data)

    def readinto(self, buffer: memoryview) -> int:
        self._keep(lambda: (self.file.seek(self.position), self.file.readinto(buffer)))  # type: ignore[attr-defined]
        self.position += len(buffer)
        return len(buffer)

    def truncate(self, size: int) -> int:
        self._keep(lambda: self.file.truncate(size))
        self.end = size
        return size

    def flush(self) -> None:
        self._keep(self.file.flush)

    def _keep(self, work: Callable[[], object]) -> None:
        if self.error is None:
            try:
                work()
            except OSError as error:
                self.error = error


def numbers(path: Path, name: str, dataset: h5py.Dataset) -> np.ndarray:
    """All numbers of a dataset. Raises InputError where they cannot be read."""
    try:
        return np.asarray(dataset[()])
    except _DAMAGED as error:
        raise InputError(f"{path}: {name} cannot be read, the file is damaged: {_why(error)}.") from error


def finite(path: Path, name: str, array: np.ndarray) -> np.ndarray:
    """The array in float32. Raises InputError where it holds something else than numbers that float32 can hold."""
    if array.dtype.kind not in "fiu" or not (np.abs(array) <= np.finfo(np.float32).max).all():
        raise InputError(f"{path}: {name} holds numbers that are not finite. The file is damaged: take a sound one.")
    return array.astype(np.float32)


def _why(error: Exception) -> str:
    return " ".join(str(error).split())


def _check(path: Path, datasets: dict[str, h5py.Dataset]) -> None:
    declared = 0
    for name, dataset in datasets.items():
        if dataset.is_virtual or dataset.external:
            raise InputError(f"{path}: {name} keeps its numbers in other files, which are not read.")
        if dataset.dtype.hasobject:
            raise InputError(f"{path}: {name} must hold numbers. Received: {dataset.dtype}.")
        declared += dataset.dtype.itemsize * (dataset.size or 0)
    limit = EXPANSION * max(path.stat().st_size, 2**20)
    if declared > limit:
        raise InputError(
            f"{path}: declares {declared:,} bytes of numbers in a file of {path.stat().st_size:,}; more than {EXPANSION} "
            "times its size is not read. Write it again without compression."
        )


def _datasets(path: Path, file: h5py.File) -> Iterator[tuple[str, h5py.Dataset]]:
    """Names and datasets, each once however many links lead to it."""
    waiting: list[tuple[str, h5py.Group]] = [("", file)]
    seen = {h5py.h5o.get_info(file.id).addr}
    while waiting:
        prefix, group = waiting.pop()
        for key in group:
            name = prefix + key
            if not isinstance(group.get(key, getlink=True), h5py.HardLink):
                raise InputError(f"{path}: {name} is a link to another place, which is not followed.")
            item = group[key]
            address = h5py.h5o.get_info(item.id).addr
            if address in seen:
                continue
            seen.add(address)
            if isinstance(item, h5py.Dataset):
                yield name, item
            elif isinstance(item, h5py.Group):
                waiting.append((f"{name}/", item))


def listed(problems: list[str]) -> str:
    """Problems as one text, the first ones if there are many."""
    more = f"; and {len(problems) - SHOWN} more" if len(problems) > SHOWN else ""
    return "; ".join(problems[:SHOWN]) + more
