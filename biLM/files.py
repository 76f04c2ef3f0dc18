"""Files and directories that are either whole or not there, locks, and JSON objects with errors that name the file."""

from __future__ import annotations

import errno
import glob
import json
import os
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from biLM.errors import DISK, InputError

MAX_OBJECT_BYTES = 2**28


def partial_of(path: Path) -> Path:
    """The hidden name beside `path` under which this process writes it. Removes what processes that no longer live have left
    of it; a process on another host may still live."""
    path = path.absolute()
    start = f".{path.name}.{socket.gethostname()}-"
    for left in path.parent.glob(f"{glob.escape(start)}*.partial"):
        number = left.name[len(start) : -len(".partial")]
        if number.isdecimal() and (int(number) == os.getpid() or not _lives(int(number))):
            remove(left)
    return path.with_name(f"{start}{os.getpid()}.partial")


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # somebody else's
        return True
    return True


def remove(path: Path) -> None:
    """Removes a file, or a directory with all that is in it, where it is there and can be removed."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink()


@contextmanager
def whole_file(path: str | Path) -> Iterator[Path]:
    """Gives a path beside `path` to write to. It takes the place of `path` when the block ends well, and goes otherwise.

    Raises: OSError that names `path`, also where a library's error does not (a full disk in the middle of an HDF5 file).
    """
    path = Path(path)
    target = Path(os.path.realpath(path))  # a link stays one
    if target.exists() and not target.is_file():
        raise InputError(f"{path}: must be a file. Received: a directory or a device.")
    partial = partial_of(target)
    try:
        with _naming(path, partial):
            yield partial
            _to_disk(partial)
            os.replace(partial, target)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def _naming(path: Path, partial: Path) -> Iterator[None]:
    """Lets errors about `partial`, and what libraries make of a full disk, name `path`."""
    try:
        yield
    except Exception as error:
        number = errno.ENOSPC if os.strerror(errno.ENOSPC) in str(error) else getattr(error, "errno", None)
        filename = getattr(error, "filename", None)
        is_ours = number in DISK if filename is None else str(filename).startswith(str(partial))
        if number is None or not is_ours:
            raise
        raise OSError(number, os.strerror(number), str(path)) from error


def check_room(path: Path, n_bytes: int) -> None:
    """Raises OSError where a file of so many bytes cannot be written: for libraries that do not survive a full disk."""
    try:
        with open(path, "wb") as file:
            for start in range(0, n_bytes, 2**20):
                file.write(bytes(min(2**20, n_bytes - start)))
    finally:
        path.unlink(missing_ok=True)


def _to_disk(path: Path) -> None:
    with open(path, "rb+") as file:
        os.fsync(file.fileno())


def check_free(directory: Path) -> None:
    """Raises InputError where there is something already."""
    if directory.exists() and not (directory.is_dir() and not any(directory.iterdir())):
        raise InputError(f"{directory}: must be a new directory, or an empty one. Name another.")
    check_replaceable(directory)


def check_replaceable(directory: Path) -> None:
    """Raises InputError where another directory could not take the place of this one."""
    if directory.exists() and (os.path.ismount(directory) or directory.samefile(".")):
        what = "a mount point" if os.path.ismount(directory) else "the working directory"
        raise InputError(f"{directory}: is {what}, whose place nothing can take. Name a new directory inside of it.")


@contextmanager
def whole_directory(directory: Path, replace: bool = False) -> Iterator[Path]:
    """Gives a directory beside `directory` to fill. It takes its place when the block ends well, and goes otherwise.

    replace: in place of what is there, which is kept until then. A process that is killed between the two renamings leaves
    it under a hidden name; `restore` puts it back.
    Raises: InputError where `directory` holds something already and `replace` is false.
    """
    named, directory = directory, Path(os.path.realpath(directory))  # a link stays one
    if replace:
        check_replaceable(named)
        restore(directory)
    else:
        check_free(named)
    directory.parent.mkdir(parents=True, exist_ok=True)
    partial = partial_of(directory)
    try:
        partial.mkdir()  # a signal may come before it returns
        with _naming(named, partial):
            yield partial
            for path in partial.rglob("*"):
                if path.is_file():
                    _to_disk(path)
            if replace and directory.exists():
                os.replace(directory, _kept(directory))
            os.replace(partial, directory)
    finally:
        remove(partial)
        if replace:
            restore(directory)


def _kept(directory: Path) -> Path:
    return directory.absolute().with_name(f".{directory.absolute().name}.replaced")


def restore(directory: Path) -> None:
    """Puts back what `whole_directory` was about to replace, or removes it where it was replaced."""
    kept = _kept(directory)
    if kept.is_dir():
        remove(kept) if directory.exists() else os.replace(kept, directory)


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """Holds what `path` names for this process alone, by a lock on a hidden file beside it that goes with the process.
    A directory that was made for it and holds nothing else goes, too.

    Raises: InputError where another process holds it; the lock's file says which one.
    """
    from filelock import FileLock, Timeout  # a tenth of a second, which `--help` need not wait

    path = path.absolute()
    is_new = not path.parent.exists()
    lock = FileLock(lock_of(path), timeout=0)
    try:
        lock.acquire()
    except Timeout:
        holder = _holder(Path(lock.lock_file))
        raise InputError(f"{path}: another process is writing there{holder}. Wait for it, or name another place.") from None
    try:
        Path(lock.lock_file).write_text(f"{os.getpid()} on {socket.gethostname()}", encoding="utf-8")
        yield
    finally:
        Path(lock.lock_file).unlink(missing_ok=True)
        lock.release()
        if is_new and not any(path.parent.iterdir()):
            path.parent.rmdir()


def lock_of(path: Path) -> Path:
    """The hidden file that `alone` locks."""
    return path.with_name(f".{path.name}.lock")


def _holder(lock: Path) -> str:
    """Who holds a lock, as far as its file says it."""
    try:
        text = lock.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return ""
    return f" ({text})" if text else ""


def read_lines(path: Path) -> list[str]:
    """The lines of a text that we wrote, the last one ended too. Raises InputError where they are not UTF-8."""
    try:
        return path.read_text(encoding="utf-8").split("\n")[:-1]
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: must be UTF-8 text. Received: {error}. The file is damaged: take a sound one.") from error


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
    text = json.dumps(values, indent=1, ensure_ascii=False) + "\n"
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:  # names of files may hold bytes that are no UTF-8
        text = json.dumps(values, indent=1) + "\n"
    with whole_file(path) as partial:
        partial.write_text(text, encoding="utf-8")
