"""Word vectors: from a file in the text formats of GloVe, word2vec and fastText (a word and its numbers a line), or from the
softmax of a biLM that was trained here.

The table stays in NumPy and is not trained: a batch carries the vectors of its distinct tokens, so that words that never
occurred in training have theirs too.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from biLM.corpus import open_text
from biLM.errors import InputError
from biLM.files import read_lines
from biLM.progress import Report, silent
from biLM.trained import output_vectors

WORD_VECTORS = "word_vectors.npy"  # in a model directory
MOST = 65504  # what float16 can hold
SPREAD = 0.4  # standard deviation of a biLM's word vectors once they are scaled; about that of GloVe's
_REPORT_EVERY = 10_000  # lines


class WordVectors:
    """Vectors of words: float16 (V, W) in memory and on disk, float32 when read.

    A token has the vector of its own spelling, else that of its lower-cased one, else that of its capitalised one (OSLO in
    a headline is Oslo), else zeros.
    """

    def __init__(self, words: Sequence[str], table: np.ndarray):
        self.words, self.table = list(words), table.astype(np.float16)
        self.row_of = {word: row for row, word in enumerate(self.words)}

    @property
    def width(self) -> int:
        """W."""
        return self.table.shape[1]

    def vectors(self, tokens: Sequence[str]) -> np.ndarray:
        """Shape: (len(tokens), W), float32."""
        rows = np.array([self._row(token) for token in tokens], np.int64)
        return np.where(rows[:, None] >= 0, self.table[rows], 0).astype(np.float32)

    def coverage(self, tokens: Sequence[str]) -> float:
        """The share of tokens that have a vector."""
        return sum(self._row(token) >= 0 for token in tokens) / max(1, len(tokens))

    def _row(self, token: str) -> int:
        """-1 where there is none."""
        spellings = token, token.lower(), token[:1].upper() + token[1:].lower()
        return next((self.row_of[one] for one in spellings if one in self.row_of), -1)

    def write(self, directory: Path) -> None:
        """Writes word_vectors.txt, the words, and word_vectors.npy."""
        (directory / "word_vectors.txt").write_text("".join(word + "\n" for word in self.words), encoding="utf-8")
        np.save(directory / WORD_VECTORS, self.table)

    @classmethod
    def of_directory(cls, directory: Path) -> WordVectors:
        words = read_lines(directory / "word_vectors.txt")
        path = directory / WORD_VECTORS
        try:
            table = np.load(path, mmap_mode="r", allow_pickle=False)  # mapped: a shape that the file cannot hold is an error
        except (ValueError, EOFError) as error:
            raise InputError(f"{path}: is no array of numbers, or a damaged one: {error}.") from error
        if table.ndim != 2 or table.dtype != np.float16 or len(table) != len(words):
            raise InputError(f"{path}: must hold {len(words)} rows of float16. Received: {table.shape}, {table.dtype}.")
        found = np.array(table)
        wrong = np.flatnonzero(~np.isfinite(found).all(axis=1))
        if len(wrong):
            where = f"row {wrong[0] + 1}, of {words[wrong[0]]!r}"
            raise InputError(f"{path}: holds numbers that are not finite ({where}). Train the model again.")
        return cls(words, found)


def read_word_vectors(path: str | Path, max_words: int, report: Report = silent) -> WordVectors:
    """Reads the first `max_words` words of a file, plain, .gz or .xz. A first line of two numbers, as word2vec and
    fastText write it, is passed over; of equal words the first one counts. A directory is that of a biLM.

    Raises: InputError, with file and line, for a line that does not hold a word and as many numbers as the first one.
    """
    if Path(path).is_dir():
        return _of_bilm(Path(path), max_words)
    words: dict[str, None] = {}
    rows: list[np.ndarray] = []
    for number, word, row in _lines(path):
        if word not in words:
            words[word] = None
            rows.append(row)
        if number % _REPORT_EVERY == 0:
            report(len(words), max_words)
        if len(words) == max_words:
            break
    if not rows:
        raise InputError(f"{path}: must hold a word and its vector a line. Received: none.")
    return WordVectors(list(words), np.stack(rows))


def _of_bilm(directory: Path, max_words: int) -> WordVectors:
    """`(W - mean of W) / standard deviation of W * SPREAD`: W (V, P) is the softmax of the biLM in a directory."""
    try:
        words, kernel = output_vectors(directory)
    except InputError as error:
        raise InputError(f"{error} To train without word vectors: --word-vectors none.") from error
    table = kernel[:max_words] - kernel[:max_words].mean(axis=0)
    return WordVectors(words[:max_words], table * (SPREAD / max(float(table.std()), 1e-6)))


def _lines(path: str | Path) -> Iterator[tuple[int, str, np.ndarray]]:
    """Line number, word and vector of each line; a word may hold blanks (as in GloVe's 840B), its numbers come last."""
    width = 0
    with open_text(path) as lines:
        for number, line in enumerate(lines, 1):
            parts = line.rstrip("\r\n ").split(" ")
            if number == 1 and len(parts) == 2 and all(part.isdigit() for part in parts):
                continue
            width = width or len(parts) - 1
            word, numbers = " ".join(parts[: len(parts) - width]), parts[len(parts) - width :]
            try:
                row = np.array(numbers, np.float32)
            except ValueError:
                row = np.empty(0, np.float32)
            if not word or len(row) != width or width < 1 or not (np.abs(row) <= MOST).all():
                wanted = f"a word and {max(1, width)} numbers up to {MOST}"
                raise InputError(f"{path}:{number}: expected {wanted}, got {line[:60].strip()!r}.")
            yield number, word, row.astype(np.float16)
