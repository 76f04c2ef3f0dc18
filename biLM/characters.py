"""Tokens to character ids, in bulk, distinct tokens once.

Model input ids: 0 no token; 1-256 the UTF-8 bytes plus 1; 257 begin-sentence, 258 end-sentence, 259 begin-word,
260 end-word, 261 padding. A token is begin-word, at most C - 2 bytes, end-word, padding. Truncation is by byte and may
split a character, as in the reference; no token is dropped.

A batch travels as a pair: the rows of its distinct tokens (U, C), short ones first, and, for each position of each
sentence, the number of its row (B, T+2). The first three rows are fixed: 0 no token, 1 `<S>`, 2 `</S>`.

Source: the character vocabulary of bilm-tf and AllenNLP's ELMoCharacterMapper.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

BEGIN_SENTENCE, END_SENTENCE, BEGIN_WORD, END_WORD, PADDING = 257, 258, 259, 260, 261
NO_TOKEN_ROW, BEGIN_ROW, END_ROW, N_FIXED_ROWS = 0, 1, 2, 3
BEGIN_TOKEN, END_TOKEN = "<S>", "</S>"
SHORT_TOKEN = 10  # bytes; of running English text nine distinct tokens in ten are no longer


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
    one such window is left, so the maximum over positions stays the same. `groups` cuts the few long tokens off first, so
    that they do not make all others wide.
    """

    def __init__(self, max_characters_per_token: int, widest: int):
        self.max_characters_per_token = max_characters_per_token
        self.widest = widest

    def __call__(self, tokens: Sequence[str], multiple_of: int = 1) -> np.ndarray:
        limit = self.max_characters_per_token
        rows = np.concatenate([fixed_rows(limit), encode_tokens(tokens, limit)])
        longest = int((rows[1:] != PADDING).sum(axis=1).max())
        return rows[:, : min(limit, round_up(longest + self.widest, multiple_of))]

    def groups(
        self, tokens: Sequence[str], token_index: np.ndarray, multiple_of: int = 1, rows_multiple_of: int = 1
    ) -> tuple[list[np.ndarray], np.ndarray]:
        """Rows of tokens that are sorted as `numbered` does, in groups of like length, and the index into all of them.

        The short tokens' group has a fixed width; there is a group of long ones, of one row of "no token" at least,
        unless the model's limit is too low for one. Each is filled up to a multiple of `rows_multiple_of` rows.
        """
        rows = self(tokens, multiple_of)
        width = SHORT_TOKEN + 2 + self.widest
        if self.max_characters_per_token <= width:
            return [_filled(rows, rows_multiple_of)], token_index
        n_short = len(rows)
        if rows.shape[1] > SHORT_TOKEN + 2:
            n_short -= int((rows[N_FIXED_ROWS:, SHORT_TOKEN + 2] != PADDING).sum())
        short = np.full((n_short, width), PADDING, np.int32)
        common = min(width, rows.shape[1])
        short[:, :common] = rows[:n_short, :common]
        short[NO_TOKEN_ROW] = 0
        short = _filled(short, rows_multiple_of)
        long = rows[n_short:] if n_short < len(rows) else np.zeros((1, width + 1), np.int32)
        index = np.where(token_index >= n_short, token_index + len(short) - n_short, token_index).astype(np.int32)
        return [short, _filled(long, rows_multiple_of)], index


def _filled(rows: np.ndarray, multiple_of: int) -> np.ndarray:
    return np.pad(rows, [(0, -len(rows) % multiple_of), (0, 0)])


def round_up(number: int, multiple_of: int) -> int:
    return -(-number // multiple_of) * multiple_of


def numbered(tokens: Iterable[str]) -> dict[str, int]:
    """Distinct tokens -> rows: the two marks, then the rest by length in bytes, equal lengths by first appearance."""
    distinct = dict.fromkeys(tokens)
    for mark in (BEGIN_TOKEN, END_TOKEN):
        distinct.pop(mark, None)
    lengths = np.fromiter((len(token.encode("utf-8", "surrogatepass")) for token in distinct), np.int64, len(distinct))
    inner = list(distinct)
    order = np.argsort(lengths, kind="stable").tolist()
    ranked = {inner[place]: row for row, place in enumerate(order, N_FIXED_ROWS)}
    return {BEGIN_TOKEN: BEGIN_ROW, END_TOKEN: END_ROW, **ranked}


def deduplicate(sentences: Sequence[Sequence[str]], multiple_of: int = 1) -> tuple[list[str], np.ndarray]:
    """The distinct tokens of sentences and where they stand.

    Returns the tokens in the order of `numbered` (row k + 3 of the encoded batch is token k) and `token_index`, int32
    of shape (B, T+2): `<S>`, the sentence, `</S>`, then 0. T is the longest sentence, rounded up to `multiple_of`.
    The strings `<S>` and `</S>` inside a sentence get the rows of the marks, as in the reference.
    """
    row_of = numbered(token for sentence in sentences for token in sentence)
    longest = max(map(len, sentences), default=0)
    token_index = np.zeros((len(sentences), round_up(longest + 2, multiple_of)), dtype=np.int32)
    for row, sentence in enumerate(sentences):
        token_index[row, : len(sentence) + 2] = [BEGIN_ROW, *(row_of[token] for token in sentence), END_ROW]
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
