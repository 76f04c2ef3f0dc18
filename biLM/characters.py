"""Tokens to character ids, in bulk, distinct tokens once.

Model input ids: 0 no token; 1-256 the UTF-8 bytes plus 1; 257 begin-sentence, 258 end-sentence, 259 begin-word,
260 end-word, 261 padding. A token is begin-word, at most C - 2 bytes, end-word, padding. Truncation is by byte and may
split a character, as in the reference; no token is dropped.

A batch travels as a pair: the rows of its distinct tokens (U, C) and, for each position of each sentence, the number of
its row (B, T+2). The first three rows are fixed: 0 no token, 1 `<S>`, 2 `</S>`.

Source: the character vocabulary of bilm-tf and AllenNLP's ELMoCharacterMapper.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

BEGIN_SENTENCE, END_SENTENCE, BEGIN_WORD, END_WORD, PADDING = 257, 258, 259, 260, 261
NO_TOKEN_ROW, BEGIN_ROW, END_ROW, N_FIXED_ROWS = 0, 1, 2, 3
BEGIN_TOKEN, END_TOKEN = "<S>", "</S>"


def encode_tokens(tokens: Sequence[str], max_characters_per_token: int = 50) -> np.ndarray:
    """Character ids of tokens, without the fixed rows. Shape: (len(tokens), C), int32."""
    limit = max_characters_per_token
    encoded = [token.encode("utf-8", "surrogatepass")[: limit - 2] for token in tokens]
    lengths = np.fromiter(map(len, encoded), dtype=np.int64, count=len(encoded))
    ids = np.full((len(encoded), limit), PADDING, dtype=np.int32)
    rows = np.arange(len(encoded))
    ids[:, 0] = BEGIN_WORD
    ids[rows, lengths + 1] = END_WORD
    starts = np.cumsum(lengths) - lengths
    columns = 1 + np.arange(lengths.sum()) - np.repeat(starts, lengths)
    ids[np.repeat(rows, lengths), columns] = np.frombuffer(b"".join(encoded), dtype=np.uint8) + np.int32(1)
    return ids


def fixed_rows(max_characters_per_token: int = 50) -> np.ndarray:
    """The rows of no token, `<S>` and `</S>`. Shape: (3, C), int32."""
    rows = np.full((N_FIXED_ROWS, max_characters_per_token), PADDING, dtype=np.int32)
    rows[NO_TOKEN_ROW] = 0
    rows[BEGIN_ROW, :3] = BEGIN_WORD, BEGIN_SENTENCE, END_WORD
    rows[END_ROW, :3] = BEGIN_WORD, END_SENTENCE, END_WORD
    return rows


class CharacterInput:
    """Encodes distinct tokens for a biLM with character input; calls give (3 + len(tokens), C') with C' <= C.

    Columns beyond the longest token plus the widest filter are cut: every convolution window there is padding only, and
    one such window is left, so the maximum over positions stays the same.
    """

    def __init__(self, max_characters_per_token: int, widest: int):
        self.max_characters_per_token = max_characters_per_token
        self.widest = widest

    def __call__(self, tokens: Sequence[str], multiple_of: int = 1) -> np.ndarray:
        limit = self.max_characters_per_token
        rows = np.concatenate([fixed_rows(limit), encode_tokens(tokens, limit)])
        longest = int((rows[1:] != PADDING).sum(axis=1).max())
        return rows[:, : min(limit, round_up(longest + self.widest, multiple_of))]


def round_up(number: int, multiple_of: int) -> int:
    return -(-number // multiple_of) * multiple_of


def deduplicate(sentences: Sequence[Sequence[str]], multiple_of: int = 1) -> tuple[list[str], np.ndarray]:
    """The distinct tokens of sentences and where they stand.

    Returns the tokens in order of first appearance (row k + 3 of the encoded batch is token k) and `token_index`, int32
    of shape (B, T+2): `<S>`, the sentence, `</S>`, then 0. T is the longest sentence, rounded up to `multiple_of`.
    The strings `<S>` and `</S>` inside a sentence get the rows of the marks, as in the reference.
    """
    row_of = {BEGIN_TOKEN: BEGIN_ROW, END_TOKEN: END_ROW}
    longest = max(map(len, sentences), default=0)
    token_index = np.zeros((len(sentences), round_up(longest + 2, multiple_of)), dtype=np.int32)
    for row, sentence in enumerate(sentences):
        found = [row_of.setdefault(token, len(row_of) + 1) for token in sentence]
        token_index[row, : len(found) + 2] = [BEGIN_ROW, *found, END_ROW]
    return list(row_of)[2:], token_index


def batch_to_ids(sentences: Sequence[Sequence[str]], max_characters_per_token: int = 50) -> np.ndarray:
    """Character ids of a batch of tokenised sentences, padded with zero rows; the sentence marks are left to the layer.

    Shape: (B, T, C), int32.

    Example: `batch_to_ids([["Hello", "."], ["Hi"]]).shape == (2, 2, 50)`.
    Source: the function of the same name in AllenNLP.
    """
    tokens, token_index = deduplicate(sentences)
    rows = np.concatenate([fixed_rows(max_characters_per_token), encode_tokens(tokens, max_characters_per_token)])
    inner = token_index[:, 1:-1].copy()
    lengths = np.fromiter(map(len, sentences), dtype=np.int64, count=len(sentences))
    inner[np.arange(inner.shape[1]) >= lengths[:, None]] = NO_TOKEN_ROW  # shorter sentences end in </S> there
    return rows[inner]
