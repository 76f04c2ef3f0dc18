"""Files and directories, here or on s3:// and gs://, through pyarrow's file systems."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from pyarrow import ArrowException
from pyarrow.fs import FileInfo, FileSelector, FileSystem, FileType, LocalFileSystem

from biLM.errors import InputError
from biLM.files import whole_file

RETRY_LIMIT, RETRY_SECONDS = "retry_limit_seconds", 20


@dataclass(frozen=True)
class Place:
    """A file or directory. name: as messages call it."""

    system: FileSystem
    path: str
    name: str

    @classmethod
    def of(cls, name: str) -> Place:
        """The place that a path or an address with a scheme names; nothing need be there."""
        if "://" not in name:
            return cls(LocalFileSystem(), str(Path(name).absolute()), name)
        with told(name):
            system, path = FileSystem.from_uri(_with_limit(name))
        return cls(system, path.rstrip("/"), shown(name))

    def __truediv__(self, inside: str) -> Place:
        return Place(self.system, f"{self.path}/{inside}", f"{self.name}/{inside}")

    @property
    def is_local(self) -> bool:
        return isinstance(self.system, LocalFileSystem)

    def info(self) -> FileInfo:
        with told(self.name):
            return self.system.get_file_info(self.path)

    def files(self) -> list[tuple[str, FileInfo]]:
        """All files below a directory with their paths from there, in order; none where there is no such directory."""
        with told(self.name):
            found = self.system.get_file_info(FileSelector(self.path, allow_not_found=True, recursive=True))
        inside = len(self.path.rstrip("/")) + 1
        return sorted((info.path[inside:], info) for info in found if info.type == FileType.File)

    @contextmanager
    def reading(self) -> Iterator[IO[bytes]]:
        with told(self.name), self.system.open_input_file(self.path) as stream:
            yield stream

    @contextmanager
    def writing(self) -> Iterator[IO[bytes]]:
        """What is written is there when the block ends well. On a local file system nothing is there before; a remote one
        may show a part of it, which is why a shard counts only with its mark."""
        if not self.is_local:
            with told(self.name), self.system.open_output_stream(self.path) as stream:
                yield stream
            return
        Path(self.path).parent.mkdir(parents=True, exist_ok=True)
        with whole_file(self.path) as partial, open(partial, "wb") as file:
            yield file

    def read_object(self) -> dict[str, Any]:
        """The object that a JSON file of ours holds."""
        with self.reading() as stream:
            text = stream.read()
        try:
            values = json.loads(text)
        except ValueError as error:
            raise InputError(f"{self.name}: not a JSON file: {error}.") from error
        if not isinstance(values, dict):
            raise InputError(f"{self.name}: must hold a JSON object. Received: {type(values).__name__}.")
        return values

    def write_object(self, values: dict[str, Any]) -> None:
        with self.writing() as stream:
            stream.write((json.dumps(values, ensure_ascii=False) + "\n").encode())


def shown(address: str) -> str:
    """An address as messages, files and standard output have it: what follows "?" or stands before "@" may be a secret."""
    scheme, _, rest = address.partition("?")[0].rpartition("://")
    host, slash, path = rest.partition("/")
    return f"{scheme}://{host.rpartition('@')[2]}{slash}{path}".rstrip("/") if scheme else address


def _with_limit(address: str) -> str:
    """The client of gs:// would try for 15 minutes what fails for want of credentials."""
    if not address.startswith(("gs://", "gcs://")) or RETRY_LIMIT in address:
        return address
    return f"{address}{'&' if '?' in address else '?'}{RETRY_LIMIT}={RETRY_SECONDS}"


@contextmanager
def told(name: str) -> Iterator[None]:
    """Makes one line that names the place of what a file system says. Raises: InputError."""
    try:
        yield
    except (OSError, ArrowException) as error:
        if isinstance(error, OSError) and error.filename is not None:
            raise
        says = " ".join(str(error).replace(name, shown(name)).split()).partition(" error_info=")[0]
        says = says.removeprefix("google::cloud::Status(").rstrip(".")
        hint = " Check the address, and the credentials that are found here." if "://" in name else ""
        raise InputError(f"{shown(name)}: {says}.{hint}") from error
