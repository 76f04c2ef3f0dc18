"""`TokenTable`: the vector of a distinct token, computed once for a whole text and not once a batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

CAPACITY = 2**16  # tokens: English newswire holds 30,000 distinct ones in 300,000


class TokenTable:
    """Vectors of tokens, kept until younger ones need the room.

    Arguments:
        encode: tokens -> vectors (len(tokens), P), which depend on the token alone.
        width: P.
        capacity: how many tokens are kept. Any number, 0 included, gives the same vectors.
    """

    def __init__(self, encode: Callable[[Sequence[str]], np.ndarray], width: int, capacity: int = CAPACITY):
        self.encode, self.capacity = encode, capacity
        self._kept = np.empty((self.capacity, width), np.float32)
        self._token_in: list[str] = []  # of each row
        self._row_of: dict[str, int] = {}
        self._next = 0

    def __len__(self) -> int:
        return len(self._row_of)

    def add(self, tokens: Sequence[str]) -> None:
        """Encodes distinct tokens that are not here yet, as many as there is room for."""
        missing = [token for token in tokens if token not in self._row_of][: self.capacity]
        if missing:
            self._keep(missing, self.encode(missing))

    def vectors(self, tokens: Sequence[str]) -> np.ndarray:
        """Vectors of distinct tokens. Shape: (len(tokens), P), float32."""
        rows = np.fromiter((self._row_of.get(token, -1) for token in tokens), np.int64, len(tokens))
        found = np.empty((len(tokens), self._kept.shape[1]), np.float32)
        known, missing = rows >= 0, np.flatnonzero(rows < 0)
        found[known] = self._kept[rows[known]]
        if missing.size:
            new = [tokens[position] for position in missing.tolist()]
            found[missing] = self.encode(new)
            self._keep(new, found[missing])
        return found

    def _keep(self, tokens: Sequence[str], vectors: np.ndarray) -> None:
        for token, vector in zip(tokens[: self.capacity], vectors, strict=False):
            row = self._next
            if row < len(self._token_in):
                del self._row_of[self._token_in[row]]
                self._token_in[row] = token
            else:
                self._token_in.append(token)
            self._kept[row], self._row_of[token] = vector, row
            self._next = (row + 1) % self.capacity
