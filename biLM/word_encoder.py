"""`WordEncoder`: ids of words -> vectors, for a biLM without character input."""

from __future__ import annotations

import keras
from keras import ops


@keras.saving.register_keras_serializable("biLM")
class WordEncoder(keras.layers.Layer):
    """The lookup of a word-id biLM. Call: ids (U,), 0 = no token -> (U, P)."""

    def __init__(self, n_tokens: int, projection_dim: int, **kwargs):
        super().__init__(**kwargs)
        self.n_tokens, self.projection_dim = n_tokens, projection_dim

    def build(self, input_shape):
        normal = keras.initializers.RandomNormal(0.0, self.projection_dim**-0.5)
        self.embedding = self.add_weight((self.n_tokens, self.projection_dim), normal, name="embedding")

    def call(self, ids):
        return ops.take(self.embedding, ops.maximum(ids - 1, 0), axis=0)
