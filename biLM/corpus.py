"""Text shards -> sentences -> packed training batches, in constant memory and from any position.

A shard is a text file, plain or .gz or .xz, one tokenised sentence a line. An epoch reads the shards in random order, a
block of lines at a time, each block shuffled. Sentences are packed one after another into B rows; a batch is the next
`unroll_steps` positions of every row, so that the LSTM state can be carried from batch to batch. Both directions read
the same sentences: the backward one reads each from its end, in the same positions.
"""

from __future__ import annotations

import glob
import gzip
import io
import itertools
import lzma
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from biLM.characters import BEGIN_TOKEN, END_TOKEN, numbered
from biLM.errors import InputError
from biLM.vocabulary import Vocabulary

_OPENERS: dict[str, Callable[..., Any]] = {".gz": gzip.open, ".xz": lzma.open}
BLOCK_BYTES = 2**22  # shuffled among themselves: some 30,000 sentences
MAX_LINE_BYTES = 2**27  # unpacked: what a small archive swells to must not fill the memory
MAX_SWELLING, SMALL_ARCHIVE = 256, 2**26  # what a byte of an archive may become (text: 3 to 20), from so many bytes on


def find_files(patterns: Iterable[str]) -> list[Path]:
    """Files of glob patterns, sorted, each once; a pattern that matches none is an InputError."""
    found: dict[Path, Path] = {}  # by where a link leads
    for pattern in patterns:
        names = [pattern] if Path(pattern).is_file() else sorted(glob.glob(str(pattern), recursive=True))
        files = [path for path in map(Path, names) if path.is_file()]
        if not files:
            raise InputError(f"{pattern}: no such file.")
        for path in files:
            found.setdefault(path.resolve(), path)
    return list(found.values())


class BoundedReader(io.BufferedReader):
    """Bytes whose lines have a limit: a longer one is an InputError that names the file. name: for messages."""

    def __init__(self, raw: Any, name: str):
        super().__init__(raw, 2**18)
        self.path = name

    def readline(self, size: int | None = -1) -> bytes:
        line = super().readline(MAX_LINE_BYTES + 1 if size is None or size < 0 else size)
        if len(line) > MAX_LINE_BYTES:
            raise InputError(
                f"{self.path}: a line must hold {MAX_LINE_BYTES:,} bytes at most. Received: a longer one, which begins with "
                f"{line[:40].decode('utf-8', 'replace')!r}."
            )
        return line


class Unpacked(io.RawIOBase):
    """What an archive holds: one that swells as no text does is an InputError.

    unpacked: the library's reader of `packed`, the archive's bytes. name: for messages.
    """

    def __init__(self, unpacked: Any, packed: Any, name: str):
        self.unpacked, self.packed, self.path = unpacked, packed, name

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return bool(self.unpacked.seekable())

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return int(self.unpacked.seek(offset, whence))

    def tell(self) -> int:
        return int(self.unpacked.tell())

    def readinto(self, buffer: Any) -> int:
        n_bytes = int(self.unpacked.readinto(buffer))
        if self.tell() > max(SMALL_ARCHIVE, MAX_SWELLING * self.packed.tell()):
            raise InputError(
                f"{self.path}: a byte of an archive may become {MAX_SWELLING} at most. Received: {self.tell():,} bytes "
                f"out of {self.packed.tell():,}, and more to come. Unpack it yourself if that is what it should hold."
            )
        return n_bytes

    def close(self) -> None:
        self.unpacked.close()
        super().close()


@contextmanager
def open_bytes(path: str | Path, stream: Any = None) -> Iterator[BoundedReader]:
    """A file, plain or compressed, for reading bytes. stream: the file's bytes, where it is no local one."""
    opener = _OPENERS.get(Path(path).suffix.lower())
    try:
        with (
            open(path, "rb", buffering=0) if stream is None else stream as raw,
            BoundedReader(Unpacked(opener(raw, "rb"), raw, str(path)) if opener else raw, str(path)) as lines,
        ):
            yield lines
    except (EOFError, gzip.BadGzipFile, lzma.LZMAError, zlib.error) as error:
        raise InputError(f"{path}: a damaged archive: {error}.") from error


@contextmanager
def open_text(path: str | Path) -> Iterator[Iterator[str]]:
    """The lines of a text file, plain or compressed (see `decoded`)."""
    with open_bytes(path) as raw:
        yield decoded(raw, str(path))


def decoded(lines: Iterable[bytes], name: str, first: int = 1) -> Iterator[str]:
    """The text of lines of UTF-8, with their ends and without a byte-order mark.

    name, first: the file and the number of the first line, for messages. Raises InputError, with file and line, for what
    is no UTF-8.
    """
    for number, raw in enumerate(lines, first):
        try:
            yield raw.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError as error:
            raise InputError(
                f"{name}:{number}: must be UTF-8. Received the byte {raw[error.start]:#04x}; convert it with "
                "`iconv -f LATIN1 -t UTF-8`."
            ) from None


def count_lines(path: Path) -> int:
    with open_bytes(path) as lines:
        return sum(1 for _ in lines)


def read_sentences(paths: Iterable[str | Path]) -> Iterator[list[str]]:
    """Sentences of shards, in order; empty lines are passed over."""
    for path in paths:
        with open_text(path) as lines:
            for line in lines:
                if tokens := line.split():
                    yield tokens


@dataclass(frozen=True)
class Position:
    """Where a stream of sentences stands: the shard of the epoch's order, the byte (unpacked) at which its block begins,
    and how many sentences of the block, in its shuffled order, have been given."""

    epoch: int = 0
    shard: int = 0
    block: int = 0
    sentence: int = 0


class SentenceStream:
    """Sentences of shards without end, shuffled by `seed`; `position` says at any time where to go on.

    The order depends on the shards' contents and order, the seed and the position alone. Holds one block in memory.
    """

    def __init__(self, paths: Sequence[Path], seed: int, position: Position = Position()):
        if not paths:
            raise InputError("a stream of sentences needs at least one file. Received: none.")
        self.paths, self.seed, self.position = paths, seed, position
        self._sentences = self._read()

    def __iter__(self) -> Iterator[list[str]]:
        return self

    def __next__(self) -> list[str]:
        return next(self._sentences)

    def _read(self) -> Iterator[list[str]]:
        start = self.position
        for epoch in itertools.count(start.epoch):
            order = np.random.default_rng([self.seed, epoch]).permutation(len(self.paths))
            found = start.epoch == epoch and start != Position(epoch)
            for shard in range(start.shard, len(order)):
                rng_key = [self.seed, epoch, int(order[shard])]
                for block, lines in _blocks(self.paths[order[shard]], start.block):
                    shuffled = np.random.default_rng([*rng_key, block]).permutation(len(lines))
                    for number in range(start.sentence, len(lines)):
                        self.position = Position(epoch, shard, block, number + 1)
                        if tokens := lines[shuffled[number]].split():
                            found = True
                            yield tokens
                    start = Position(epoch, shard)
                start = Position(epoch, shard + 1)
            start = Position(epoch + 1)
            if not found:
                raise InputError(f"{self.paths[0]}: no sentence in the training text.")


def _blocks(path: Path, start: int) -> Iterator[tuple[int, list[str]]]:
    """Blocks of lines, each with the byte at which it begins."""
    with open_bytes(path) as file:
        file.seek(start)
        while raw := file.readlines(BLOCK_BYTES):
            try:
                lines = b"".join(raw).decode("utf-8-sig" if start == 0 else "utf-8").split("\n")
            except UnicodeDecodeError:
                with open_text(path) as whole:
                    deque(whole, 0)  # finds the line, and raises
                raise
            yield start, lines
            start += sum(map(len, raw))


@dataclass(frozen=True)
class Batch:
    """The next `unroll_steps` (S) positions of every row.

    tokens: distinct input tokens, as `numbered`; token k is row k + 3 of the encoded batch, after the fixed rows.
    token_index: (B, 2, S) int32, the input of the forward and of the backward direction.
    targets: (B, 2, S) int32, the vocabulary ids that they predict.
    """

    tokens: list[str]
    token_index: np.ndarray
    targets: np.ndarray


class PackedBatches:
    """Batches without end, or until the sentences run out (what is left then in the rows is fewer than one batch).

    `</S>` is never an input of the forward direction and `<S>` never one of the backward direction. `rows` and the
    position of the sentences are all that the next batches depend on.
    """

    def __init__(self, sentences: Iterator[list[str]], vocabulary: Vocabulary, batch_size: int, unroll_steps: int):
        self.sentences, self.vocabulary, self.unroll_steps = sentences, vocabulary, unroll_steps
        # of each row: inputs and targets of the forward direction, inputs and targets of the backward direction
        self.rows: list[list[list[str]]] = [[[], [], [], []] for _ in range(batch_size)]

    def __iter__(self) -> Iterator[Batch]:
        return self

    def __next__(self) -> Batch:
        for row in self.rows:
            while len(row[0]) < self.unroll_steps:
                marked = [BEGIN_TOKEN, *next(self.sentences), END_TOKEN]
                for tokens, new in zip(row, (marked[:-1], marked[1:], marked[:0:-1], marked[-2::-1]), strict=True):
                    tokens += new
        batch = self._cut()
        for tokens in itertools.chain.from_iterable(self.rows):
            del tokens[: self.unroll_steps]
        return batch

    def _cut(self) -> Batch:
        inputs = [token for row in self.rows for kind in (0, 2) for token in row[kind][: self.unroll_steps]]
        targets = [token for row in self.rows for kind in (1, 3) for token in row[kind][: self.unroll_steps]]
        row_of = numbered(inputs)
        index = [row_of[token] for token in inputs]
        shape = (len(self.rows), 2, self.unroll_steps)
        return Batch(
            tokens=list(row_of)[2:],
            token_index=np.array(index, dtype=np.int32).reshape(shape),
            targets=self.vocabulary.encode(targets).reshape(shape),
        )
