"""Text shards -> sentences -> packed training batches.

A shard is a text file, plain or .gz or .xz, one tokenised sentence a line. Sentences are packed one after another into B
rows; a batch is the next `unroll_steps` positions of every row, so that the LSTM state can be carried from batch to
batch. Both directions read the same sentences: the backward one reads each from its end, in the same positions.
"""

from __future__ import annotations

import glob
import gzip
import itertools
import lzma
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np

from biLM.characters import BEGIN_ROW, BEGIN_TOKEN, END_ROW, END_TOKEN, N_FIXED_ROWS
from biLM.errors import InputError
from biLM.vocabulary import Vocabulary

_OPENERS: dict[str, Callable[..., IO[str]]] = {".gz": gzip.open, ".xz": lzma.open}  # type: ignore[dict-item]


def find_files(patterns: Iterable[str]) -> list[Path]:
    """Files of glob patterns, sorted; a pattern that matches nothing is an InputError."""
    found: list[Path] = []
    for pattern in patterns:
        matches = sorted(glob.glob(str(pattern), recursive=True))
        if not matches:
            raise InputError(f"{pattern}: no such file.")
        found += [Path(match) for match in matches if Path(match).is_file()]
    return found


@contextmanager
def open_text(path: str | Path) -> Iterator[IO[str]]:
    """A text file, plain or compressed, for reading; what cannot be read as UTF-8 text is an InputError."""
    try:
        with _OPENERS.get(Path(path).suffix, open)(path, "rt", encoding="utf-8-sig", newline="\n") as lines:
            yield lines
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: must be UTF-8 text: {error}.") from error
    except (EOFError, gzip.BadGzipFile, lzma.LZMAError) as error:
        raise InputError(f"{path}: a damaged archive: {error}.") from error


def read_sentences(paths: Iterable[str | Path]) -> Iterator[list[str]]:
    """Sentences of shards, in order; empty lines are passed over."""
    for path in paths:
        with open_text(path) as lines:
            for line in lines:
                if tokens := line.split():
                    yield tokens


def shuffled_sentences(paths: Sequence[Path], seed: int, n_epochs: int | None = None) -> Iterator[list[str]]:
    """Sentences of `n_epochs` passes (None: without end): shards in random order, shuffled within each shard."""
    epoch = 0
    while n_epochs is None or epoch < n_epochs:
        rng = np.random.default_rng([seed, epoch])
        found = False
        for number in rng.permutation(len(paths)):
            sentences = list(read_sentences([paths[number]]))
            for position in rng.permutation(len(sentences)):
                found = True
                yield sentences[position]
        if not found:
            raise InputError(f"{paths[0] if paths else 'no file'}: no sentence in the training text.")
        epoch += 1


@dataclass(frozen=True)
class Batch:
    """The next `unroll_steps` (S) positions of every row.

    tokens: distinct input tokens; token k is row k + 3 of the encoded batch, after the fixed rows.
    token_index: (2, B, S) int32, the input of the forward and of the backward direction.
    targets: (2, B, S) int32, the vocabulary ids that they predict.
    """

    tokens: list[str]
    token_index: np.ndarray
    targets: np.ndarray


def packed_batches(
    sentences: Iterator[list[str]], vocabulary: Vocabulary, batch_size: int, unroll_steps: int
) -> Iterator[Batch]:
    """Batches without end, or until the sentences run out (what is left then in the rows is fewer than one batch).

    `</S>` is never an input of the forward direction and `<S>` never one of the backward direction.
    """
    # of each row: inputs and targets of the forward direction, inputs and targets of the backward direction
    rows: list[tuple[list[str], list[str], list[str], list[str]]] = [([], [], [], []) for _ in range(batch_size)]
    while True:
        for row in rows:
            while len(row[0]) < unroll_steps:
                sentence = next(sentences, None)
                if sentence is None:
                    return
                marked = [BEGIN_TOKEN, *sentence, END_TOKEN]
                for tokens, new in zip(row, (marked[:-1], marked[1:], marked[:0:-1], marked[-2::-1]), strict=True):
                    tokens += new
        yield _cut(rows, vocabulary, unroll_steps)
        for tokens in itertools.chain.from_iterable(rows):
            del tokens[:unroll_steps]


def _cut(rows, vocabulary: Vocabulary, unroll_steps: int) -> Batch:
    row_of = {BEGIN_TOKEN: BEGIN_ROW, END_TOKEN: END_ROW}
    n_rows = len(rows)
    inputs = [token for direction in (0, 2) for row in rows for token in row[direction][:unroll_steps]]
    targets = [token for direction in (1, 3) for row in rows for token in row[direction][:unroll_steps]]
    index = [row_of.setdefault(token, len(row_of) + N_FIXED_ROWS - 2) for token in inputs]
    shape = (2, n_rows, unroll_steps)
    return Batch(
        tokens=list(row_of)[2:],
        token_index=np.array(index, dtype=np.int32).reshape(shape),
        targets=vocabulary.encode(targets).reshape(shape),
    )
