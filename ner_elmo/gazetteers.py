"""Lists of known names, one for each type: where a sentence holds one of them, the tagger is told so.

What a list says is a feature and no verdict: the tagger learns how far it may be trusted.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from biLM.corpus import open_text
from biLM.errors import InputError
from biLM.files import read_lines
from biLM.text import Tokenizer

BEGIN, INSIDE, END, SINGLE = range(4)


class Gazetteers:
    """Names by type, as tuples of tokens.

    A name is found where its tokens stand as they are, or all in capitals; of overlapping names of one type the leftmost
    counts, and of those the longest.
    """

    def __init__(self, names: Mapping[str, Iterable[tuple[str, ...]]]):
        self.names = {kind: frozenset(one) for kind, one in names.items()}
        self._spellings = {
            kind: one | {tuple(token.upper() for token in name) for name in one} for kind, one in self.names.items()
        }
        self._longest = {kind: max(map(len, one), default=0) for kind, one in self.names.items()}

    @property
    def width(self) -> int:
        """Features of a token: begin, inside, end and single for each type."""
        return 4 * len(self.names)

    def features(self, tokens: Sequence[str]) -> np.ndarray:
        """1 where a token is that part of a name of that type, else 0. Shape: (len(tokens), 4 * types), float32."""
        found = np.zeros((len(tokens), len(self.names), 4), np.float32)
        for number, kind in enumerate(self.names):
            for start, end in self._places(kind, tuple(tokens)):
                parts = [INSIDE] * (end - start)
                parts[0], parts[-1] = BEGIN, END
                found[np.arange(start, end), number, parts if end - start > 1 else [SINGLE]] = 1
        return found.reshape(len(tokens), self.width)

    def _places(self, kind: str, tokens: tuple[str, ...]) -> Iterable[tuple[int, int]]:
        start = 0
        while start < len(tokens):
            lengths = range(min(self._longest[kind], len(tokens) - start), 0, -1)
            length = next((n for n in lengths if tokens[start : start + n] in self._spellings[kind]), 0)
            if length:
                yield start, start + length
            start += max(1, length)

    def write(self, directory: Path) -> None:
        """Writes gazetteers/0.txt and so on: the type, then a name a line, its tokens between blanks."""
        (directory / "gazetteers").mkdir()
        for number, (kind, names) in enumerate(self.names.items()):
            lines = [f"{kind}\n", *sorted(" ".join(name) + "\n" for name in names)]
            (directory / "gazetteers" / f"{number}.txt").write_text("".join(lines), encoding="utf-8")

    @classmethod
    def of_directory(cls, directory: Path) -> Gazetteers:
        """What `write` left in a model directory. Raises InputError for a file that it cannot have written."""
        found = list((directory / "gazetteers").glob("*.txt"))
        numbered = [directory / "gazetteers" / f"{number}.txt" for number in range(len(found))]
        if other := sorted(set(found) - set(numbered)):
            raise InputError(f"{other[0]}: gazetteers must be called 0.txt, 1.txt and so on. Take it away, or train again.")
        names: dict[str, list[tuple[str, ...]]] = {}
        for path in numbered:
            kind, *lines = read_lines(path) or [""]
            if not kind or kind in names:
                raise InputError(f"{path}: must begin with a type of its own. Received: {kind!r}. Train the model again.")
            names[kind] = [tuple(line.split(" ")) for line in lines]
        return cls(names)


def read_gazetteers(wanted: Sequence[str], lang: str) -> Gazetteers:
    """Reads files of names, a name a line, plain or compressed, given as TYPE=FILE; a type may have several files.

    A name is looked for as its blanks split it and as the tokenizer of the language does.

    Raises: InputError for what is not TYPE=FILE and for a file without a name.
    """
    tokenizer = Tokenizer(lang)
    names: dict[str, set[tuple[str, ...]]] = {}
    for one in wanted:
        kind, equals, path = one.partition("=")
        if not (kind and equals and path):
            raise InputError(f"a gazetteer must be given as TYPE=FILE. Received: {one!r}.")
        with open_text(path) as lines:
            found = [name for line in lines if line.strip() for name in _splits(line.strip(), tokenizer)]
        if not found:
            raise InputError(f"{path}: must hold a name a line. Received: none.")
        names.setdefault(kind, set()).update(found)
    return Gazetteers(names)


def _splits(name: str, tokenizer: Tokenizer) -> set[tuple[str, ...]]:
    split = tuple(token for sentence in tokenizer.sentences(name) for token in sentence.tokens)
    return {tuple(name.split()), split}
