"""A biLM as a SavedModel with the signatures of TensorFlow Hub's ELMo modules: strings in, layers out.

    default   strings (B,), their tokens parted by blanks
    tokens    tokens (B, T) strings, padded with "", and sequence_len (B,) int32

    -> word_emb (B, T, P), lstm_outputs1, lstm_outputs2, ..., elmo (B, T, D) float32, 0 in the padding; default (B, D)

`elmo` is the mean of all layers (a mix that was not trained), `default` its mean over the real tokens. Characters are
computed in the graph; every sentence starts from the biLM's initial state.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from biLM.errors import InputError
from biLM.files import whole_directory
from biLM.graph import TokenReader, mask_of
from biLM.model import BiLM

TOLERANCE = 1e-5
SAMPLE = (
    ("The", "harbour", "at", "Ålesund", "froze", "."), ("x",), ("A", "very" * 30, "long", "token", "😀", "!"),
    ("<S>", "inside", "</S>", "."), ("same", "same", "Same"),
)  # fmt: skip


class HubModule(tf.Module):
    """The two signatures as functions."""

    def __init__(self, bilm: BiLM):
        super().__init__()
        reader, self._p = TokenReader(bilm), bilm.options.lstm.projection_dim
        self.table = reader.table  # tracked, where there is one
        self.kept = [variable.value for variable in bilm.variables]
        self._activations = lambda tokens, lengths: bilm(reader(tokens, lengths))["activations"]

    @tf.function(input_signature=[tf.TensorSpec([None, None], tf.string), tf.TensorSpec([None], tf.int32)])
    def tokens(self, tokens, sequence_len):
        lengths = tf.clip_by_value(sequence_len, 0, tf.shape(tokens)[1])
        layers = tf.unstack(self._activations(tokens, lengths), axis=1)  # L+1 times (B, T, D)
        real = tf.cast(mask_of(tokens, lengths), tf.float32)[:, :, None]
        elmo = tf.add_n(layers) / len(layers)
        outputs = {f"lstm_outputs{k}": layer for k, layer in enumerate(layers) if k}
        outputs |= {"word_emb": layers[0][:, :, : self._p], "elmo": elmo}
        total = tf.maximum(tf.reduce_sum(real, axis=1), 1.0)
        return outputs | {"default": tf.reduce_sum(elmo * real, axis=1) / total}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
    def default(self, strings):
        tokens = tf.strings.split(strings)
        return self.tokens(tokens.to_tensor(""), tf.cast(tokens.row_lengths(), tf.int32))


def export_hub(bilm: BiLM, directory: Path) -> None:
    """Writes the SavedModel, reads it back and compares it with `BiLM.embed`; it appears whole and right, or not at all.

    Raises: InputError where the directory holds something, and on another backend than TensorFlow.
    """
    if keras.backend.backend() != "tensorflow":
        raise InputError(f"a SavedModel is made on TensorFlow. Received: KERAS_BACKEND={keras.backend.backend()}.")
    module = HubModule(bilm)
    with whole_directory(directory) as partial:
        signatures = {"default": module.default, "tokens": module.tokens}
        tf.saved_model.save(module, str(partial), signatures)
        _compare(bilm, tf.saved_model.load(str(partial)).signatures["tokens"])


def _compare(bilm: BiLM, tokens_signature: Any) -> None:
    lengths = [len(sentence) for sentence in SAMPLE]
    padded = [[*sentence, *[""] * (max(lengths) - len(sentence))] for sentence in SAMPLE]
    outputs = tokens_signature(tokens=tf.constant(padded), sequence_len=tf.constant(lengths))
    words = outputs["word_emb"].numpy()
    for row, expected in enumerate(bilm.embed(SAMPLE)):
        found = [words[row, : lengths[row]]] + [
            outputs[f"lstm_outputs{k}"].numpy()[row, : lengths[row]] for k in range(1, bilm.n_layers)
        ]
        wanted = [expected[0][:, : words.shape[-1]], *expected[1:]]
        if not all(np.allclose(a, b, atol=TOLERANCE) for a, b in zip(found, wanted, strict=True)):
            raise RuntimeError(f"the exported model differs from the biLM for {SAMPLE[row]}")
