"""`Vocabulary`: the words that the softmax predicts, and the input of word-id models.

File format: one word a line, `<S>`, `</S>` and `<UNK>` first, then by falling count (the sampled softmax relies on it).
Source: vocabulary files of bilm-tf.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from biLM.characters import BEGIN_TOKEN, END_TOKEN
from biLM.errors import InputError
from biLM.files import whole_file

UNKNOWN_TOKEN = "<UNK>"
SPECIAL_TOKENS = (BEGIN_TOKEN, END_TOKEN, UNKNOWN_TOKEN)
BEGIN_ID, END_ID, UNKNOWN_ID = 0, 1, 2


class Vocabulary:
    """Words and their ids. `len(vocabulary)` is V; ids are positions in the file; unknown words are `<UNK>`."""

    def __init__(self, words: Sequence[str]):
        if tuple(words[:3]) != SPECIAL_TOKENS:
            raise InputError(f"a vocabulary must begin with {SPECIAL_TOKENS}. Received: {tuple(words[:3])}.")
        self.words = list(words)
        self.id_of = {word: number for number, word in enumerate(self.words)}
        if len(self.id_of) != len(self.words):
            repeated = next(word for word, count in Counter(self.words).items() if count > 1)
            raise InputError(f"a vocabulary must hold each word once. Received twice or more: {repeated!r}.")

    def __len__(self) -> int:
        return len(self.words)

    @classmethod
    def read(cls, path: str | Path) -> Vocabulary:
        try:
            text = Path(path).read_text(encoding="utf-8-sig")
        except UnicodeDecodeError as error:
            raise InputError(f"{path}: must be UTF-8: {error}.") from error
        try:
            return cls(text.removesuffix("\n").split("\n"))
        except InputError as error:
            raise InputError(f"{path}: {error}") from None

    def write(self, path: str | Path) -> None:
        with whole_file(path) as partial:
            partial.write_text("".join(word + "\n" for word in self.words), encoding="utf-8")

    def encode(self, tokens: Iterable[str]) -> np.ndarray:
        """Ids of tokens. Shape: (len(tokens),), int32."""
        return np.fromiter((self.id_of.get(token, UNKNOWN_ID) for token in tokens), dtype=np.int32)


class WordInput:
    """Encodes distinct tokens for a biLM with word-id input: calls give (3 + len(tokens),), ids plus 1, 0 = no token."""

    def __init__(self, vocabulary: Vocabulary):
        self.vocabulary = vocabulary

    def __call__(self, tokens: Sequence[str], multiple_of: int = 1) -> np.ndarray:
        fixed = np.array([0, BEGIN_ID + 1, END_ID + 1], dtype=np.int32)
        return np.concatenate([fixed, self.vocabulary.encode(tokens) + 1])
