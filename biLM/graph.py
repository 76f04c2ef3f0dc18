"""Strings -> the input of a `BiLM`, in a TensorFlow graph: what `biLM.characters` does in NumPy. For exported models."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from biLM.characters import (
    BEGIN_ROW,
    BEGIN_TOKEN,
    BEGIN_WORD,
    END_ROW,
    END_TOKEN,
    END_WORD,
    N_FIXED_ROWS,
    PADDING,
    fixed_rows,
)
from biLM.errors import InputError
from biLM.model import BiLM
from biLM.vocabulary import BEGIN_ID, END_ID, UNKNOWN_ID


def mask_of(tokens: tf.Tensor, lengths: tf.Tensor) -> tf.Tensor:
    """True at real tokens. tokens (B, T) string, lengths (B,) int32 -> (B, T) bool."""
    return tf.sequence_mask(lengths, tf.shape(tokens)[1])


def distinct(tokens: tf.Tensor, mask: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Distinct tokens and where they stand: (B, T) -> (U,) string, (B, T) int32. The padding counts as the token ""."""
    flat = tf.reshape(tf.where(mask, tokens, ""), [-1])
    found, index = tf.unique(flat)
    return found, tf.reshape(index, tf.shape(tokens))


def place(tokens: tf.Tensor, mask: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Distinct tokens (U,), and the rows of `encode` where they stand (B, T): 0 in the padding."""
    found, index = distinct(tokens, mask)
    index = index + N_FIXED_ROWS
    index = tf.where(tokens == BEGIN_TOKEN, BEGIN_ROW, tf.where(tokens == END_TOKEN, END_ROW, index))
    return found, tf.where(mask, index, 0)


def encode(tokens: tf.Tensor, limit: int, widest: int) -> tf.Tensor:
    """Rows of distinct tokens, the fixed rows first, as `CharacterInput` gives them. (U,) -> (3 + U, C') int32."""
    room = limit - 2
    text = tf.cast(tf.io.decode_raw(tokens, tf.uint8, fixed_length=room), tf.int32) + 1  # (U, C - 2)
    lengths = tf.minimum(tf.strings.length(tokens, unit="BYTE"), room)
    text = tf.where(tf.sequence_mask(lengths, room), text, PADDING)
    ends = tf.one_hot(lengths + 1, limit, on_value=END_WORD, off_value=0, dtype=tf.int32)
    rows = tf.pad(text, [[0, 0], [1, 1]], constant_values=PADDING)
    rows = tf.where(ends > 0, ends, rows)
    rows = tf.concat([tf.fill([tf.size(tokens), 1], BEGIN_WORD), rows[:, 1:]], axis=1)
    rows = tf.concat([tf.constant(fixed_rows(limit)), rows], axis=0)
    longest = tf.reduce_max(tf.concat([lengths, [1]], axis=0)) + 2
    return rows[:, : tf.minimum(limit, longest + widest)]  # one window of padding only is left: the same maxima


class TokenReader:
    """Tokens -> the input of a biLM; holds the vocabulary's table of a word-id one, which its owner must keep."""

    def __init__(self, bilm: BiLM):
        self.options = bilm.options
        self.table = None
        if self.options.char_cnn is None:
            if bilm.vocabulary is None:
                raise InputError("a word-id biLM needs its vocabulary: vocab.txt beside the weights.")
            self.table = lookup_table(bilm.vocabulary.id_of, UNKNOWN_ID)

    def __call__(self, tokens: tf.Tensor, lengths: tf.Tensor) -> dict[str, Any]:
        """tokens (B, T) string, lengths (B,) int32 -> `characters` and `token_index` (B, T + 2), see `BiLM`."""
        found, index = place(tokens, mask_of(tokens, lengths))
        index = tf.pad(index, [[0, 0], [1, 1]])
        position = tf.range(tf.shape(index)[1])[None, :]
        index = tf.where(position == 0, BEGIN_ROW, tf.where(position == lengths[:, None] + 1, END_ROW, index))
        return {"characters": self._rows(found), "token_index": index}

    def _rows(self, tokens: tf.Tensor) -> tf.Tensor:
        cnn = self.options.char_cnn
        if cnn is not None:
            return encode(tokens, cnn.max_characters_per_token, cnn.widest)
        assert self.table is not None
        return tf.concat([[0, BEGIN_ID + 1, END_ID + 1], self.table.lookup(tokens) + 1], axis=0)


def lookup_table(id_of: dict[str, int], unknown: int) -> tf.lookup.StaticHashTable:
    """Words -> ids (int32), `unknown` for what is no word of them. Whoever exports a graph must keep it."""
    words = [word.encode("utf-8", "surrogatepass") for word in id_of]
    values = tf.constant(list(id_of.values()), tf.int32)
    return tf.lookup.StaticHashTable(tf.lookup.KeyValueTensorInitializer(tf.constant(words, tf.string), values), unknown)
