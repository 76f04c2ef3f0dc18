"""Counts of words over any amount of text, exactly, in constant memory: what does not fit goes to sorted files."""

from __future__ import annotations

import heapq
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from itertools import groupby, islice
from pathlib import Path

from biLM.errors import InputError
from biLM.files import whole_file
from biLM.vocabulary import SPECIAL_TOKENS, Vocabulary

WORDS_IN_MEMORY = 2_000_000  # some 250 MB


class WordCounts:
    """Counts words. Use as a context manager: the files of a large count are removed at its end."""

    def __init__(self) -> None:
        self.n_tokens = 0
        self._counts: Counter[str] = Counter()
        self._directory: tempfile.TemporaryDirectory[str] | None = None
        self._files: list[Path] = []

    def __enter__(self) -> WordCounts:
        return self

    def __exit__(self, *error: object) -> None:
        if self._directory:
            self._directory.cleanup()

    def add(self, tokens: Sequence[str]) -> None:
        """Counts a sentence."""
        self.n_tokens += len(tokens)
        self._counts.update(tokens)
        if len(self._counts) > WORDS_IN_MEMORY:
            self._spill()

    def items(self) -> Iterator[tuple[str, int]]:
        """Words and their counts, in the order of the words."""
        if not self._files:
            yield from sorted(self._counts.items())
            return
        if self._counts:
            self._spill()
        with ExitStack() as stack:
            files = [stack.enter_context(open(path, encoding="utf-8", newline="\n")) for path in self._files]
            merged = heapq.merge(*map(_read, files))
            for word, found in groupby(merged, key=lambda item: item[0]):
                yield word, sum(count for _, count in found)

    def vocabulary(self, max_size: int | None = None, min_count: int = 1) -> Vocabulary:
        """The words that occur most; equal counts are ordered by the word itself."""
        if max_size is not None and max_size <= len(SPECIAL_TOKENS):
            raise InputError(
                f"a vocabulary must hold more than its {len(SPECIAL_TOKENS)} special tokens. Received: {max_size}."
            )
        limit = None if max_size is None else max_size - len(SPECIAL_TOKENS)
        words = (item for item in self.items() if item[1] >= min_count and item[0] not in SPECIAL_TOKENS)
        ranked = _most_frequent(words, limit)
        return Vocabulary([*SPECIAL_TOKENS, *(word for word, _ in ranked)])

    def _spill(self) -> None:
        self._directory = self._directory or tempfile.TemporaryDirectory(prefix="word-counts-")
        path = Path(self._directory.name) / str(len(self._files))
        with whole_file(path) as partial, open(partial, "w", encoding="utf-8", newline="\n") as file:
            file.writelines(f"{word} {count}\n" for word, count in sorted(self._counts.items()))
        self._files.append(path)
        self._counts.clear()


def _read(file: Iterable[str]) -> Iterator[tuple[str, int]]:
    for line in file:
        word, _, count = line.rpartition(" ")
        yield word, int(count)


def _most_frequent(words: Iterable[tuple[str, int]], limit: int | None) -> list[tuple[str, int]]:
    """Sorted by falling count, then by word; at most `limit`, never holding more than twice as many."""
    rank = lambda item: (-item[1], item[0])  # noqa: E731
    if limit is None:
        return sorted(words, key=rank)
    stream, best = iter(words), list[tuple[str, int]]()
    while chunk := list(islice(stream, max(limit, 1000))):
        best = sorted(best + chunk, key=rank)[:limit]
    return best
