"""Input -> files -> pieces of bounded size, and the texts of a piece.

Lines of text and JSON Lines are cut by bytes at line ends, Parquet by rows. CSV, where a row may hold line ends, and
packed files, which can only be read from the front, are one piece each.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import IO, Any

from pyarrow import parquet
from pyarrow.fs import FileType

from biLM.corpus import BoundedReader, decoded, open_bytes
from biLM.errors import InputError
from ner_elmo.formats import comma
from ner_elmo.formats.source import suffix_of
from ner_elmo.inputs import ANNOTATED, COMMA, JSON_LINES, Item, csv_items, json_items, row_item, without_end
from ner_elmo.scaling.places import Place, told

PARQUET = ".parquet"
PACKED = (".gz", ".xz")
NOT_INPUT = ("_SUCCESS", "_metadata", "_common_metadata")  # what Spark and others put beside their files
ROWS_AT_ONCE = 256


@dataclass(frozen=True)
class InputFile:
    """A file of the input. name: its path below INPUT; mtime: in nanoseconds, None where that is not known."""

    name: str
    place: Place
    size: int
    mtime: int | None


@dataclass(frozen=True)
class Piece:
    """A part of a file. start, end: bytes, or rows of Parquet; None: to the end. line: the number of its first line or
    row, from 1. size: about how many bytes of the file it is."""

    file: InputFile
    number: int
    start: int
    end: int | None
    line: int
    size: int

    def __str__(self) -> str:
        return f"{self.file.place.name}, from line {self.line}"


def find_files(source: Place) -> list[InputFile]:
    """The files of the input, in order. Raises InputError where there are none, and for files of other kinds."""
    info = source.info()
    if info.type == FileType.NotFound:
        raise InputError(f"{source.name}: no such file or directory.")
    if info.type == FileType.File:
        found = [InputFile(info.base_name, source, info.size, info.mtime_ns)]
    else:
        found = [
            InputFile(name, source / name, info.size, info.mtime_ns) for name, info in source.files() if _is_input(name)
        ]
    if not found:
        raise InputError(f"{source.name}: must hold a file at least. Received: an empty directory.")
    for file in found:
        if not {"", ".", ".."}.isdisjoint(file.name.split("/")):
            raise InputError(
                f"{file.place.name}: its name must lead below {source.name}, and to one place: results are named after it. "
                "Rename it."
            )
        if suffix_of(Path(file.name)) in ANNOTATED:
            raise InputError(
                f"{file.place.name}: must be text, JSON Lines, CSV or Parquet. Annotated files: python -m ner_elmo predict."
            )
    return found


def _is_input(name: str) -> bool:
    return not Path(name).name.startswith(".") and Path(name).name not in NOT_INPUT


def cut(file: InputFile, shard_bytes: int) -> list[Piece]:
    """The pieces of a file: all of its lines, each once."""
    if suffix_of(Path(file.name)) == PARQUET:
        return list(_cut_rows(file, shard_bytes))
    if suffix_of(Path(file.name)) in COMMA or Path(file.name).suffix.lower() in PACKED:
        return [Piece(file, 0, 0, None, 1, file.size)] if file.size else []
    return list(_cut_lines(file, shard_bytes))


def _cut_lines(file: InputFile, shard_bytes: int) -> Iterator[Piece]:
    start, end, line, number = 0, 0, 1, 0
    with file.place.reading() as stream:
        for next_line, raw in enumerate(BoundedReader(stream, file.place.name), 2):
            end += len(raw)
            if end - start >= shard_bytes:
                yield Piece(file, number, start, end, line, end - start)
                start, line, number = end, next_line, number + 1
    if end > start:
        yield Piece(file, number, start, end, line, end - start)


def _cut_rows(file: InputFile, shard_bytes: int) -> Iterator[Piece]:
    with _parquet(file) as table:
        n_rows = table.metadata.num_rows
        groups = [table.metadata.row_group(k) for k in range(table.num_row_groups)]
    n_bytes = sum(group.total_byte_size for group in groups)  # unpacked
    step = max(1, n_rows * shard_bytes // max(1, n_bytes))
    for number, start in enumerate(range(0, n_rows, step)):
        end = min(n_rows, start + step)
        yield Piece(file, number, start, end, start + 1, file.size * end // n_rows - file.size * start // n_rows)


def _parquet(file: InputFile) -> parquet.ParquetFile:
    with told(file.place.name):
        return parquet.ParquetFile(file.place.path, filesystem=file.place.system)


def read(piece: Piece, field: str | None) -> Iterator[Item]:
    """The texts of a piece, in order, each with its line or row of the file."""
    name, suffix = piece.file.place.name, suffix_of(Path(piece.file.name))
    if suffix == PARQUET:
        yield from _rows(piece, field)
        return
    with _bytes(piece) as raw:
        lines = decoded(raw, name, piece.line)
        if suffix in COMMA:
            yield from csv_items(comma.rows_of(lines, name), name, field)
        elif suffix in JSON_LINES:
            yield from json_items(map(without_end, lines), name, field, piece.line)
        else:
            yield from (Item(without_end(line), line=number) for number, line in enumerate(lines, piece.line))


@contextmanager
def _bytes(piece: Piece) -> Iterator[IO[bytes]]:
    """The lines of a piece: a whole file is a stream, a part of one is held."""
    with piece.file.place.reading() as stream:
        if piece.end is None:
            with open_bytes(piece.file.name, stream) as lines:
                yield lines
        else:
            stream.seek(piece.start)
            yield io.BytesIO(stream.read(piece.end - piece.start))


def _rows(piece: Piece, field: str | None) -> Iterator[Item]:
    name, end = piece.file.place.name, piece.end or 0
    with _parquet(piece.file) as table, told(name):
        groups, number = _groups(table, piece.start, end)
        for batch in table.iter_batches(ROWS_AT_ONCE, row_groups=groups):
            skip = min(len(batch), max(0, piece.start - number))
            rows = batch.slice(skip, max(0, end - number - skip)).to_pylist()
            for line, row in enumerate(rows, number + skip + 1):
                yield row_item(_plain(row), name, line, field)
            number += len(batch)
            if number >= end:
                return


def _groups(table: parquet.ParquetFile, start: int, end: int) -> tuple[list[int], int]:
    """The row groups that hold rows from `start` to `end`, and the number of rows before them."""
    sizes = [table.metadata.row_group(group).num_rows for group in range(table.num_row_groups)]
    ends = list(accumulate(sizes))
    groups = [k for k, last in enumerate(ends) if last > start and last - sizes[k] < end]
    return groups, ends[groups[0]] - sizes[groups[0]]


def _plain(value: Any) -> Any:
    """A value that JSON can hold; dates, bytes and the like as Python writes them."""
    if isinstance(value, Mapping):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None  # which JSON cannot say; pandas writes NaN for what is missing
    return value if value is None or isinstance(value, str | int) else str(value)
