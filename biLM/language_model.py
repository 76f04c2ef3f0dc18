"""`LanguageModel`: a `BiLM` and the rows of the softmax that a step touches; the thing that is trained."""

from __future__ import annotations

from typing import ClassVar

import keras
from keras import ops

from biLM.model import BiLM
from biLM.softmax import SampledSoftmax
from biLM.tracing import Axes, NamedInputs, by_name


@keras.saving.register_keras_serializable("biLM")
class LanguageModel(NamedInputs, keras.Model):
    """Predicts the next token in each direction.

    Arguments:
        bilm: the network below the softmax.
        n_rows: R, the rows of the softmax that one training step may touch; None for a model that is only evaluated.
        n_word_rows: with word-id input, the rows of the embedding that one step may touch; 0 where the softmax's own
            rows are the embedding (`share_embedding_softmax`).
        batch_size: B, the rows whose state is carried from one training batch to the next.
        unroll_steps: the gradient is that of loss * unroll_steps, as in the reference.

    Call in training: `characters` (U, C), `token_index` and `targets` (B, D, S) with D directions, each in reading order,
        `target_correction` and `hits` (B, D, S), `candidates` and `candidate_correction` (S', D) (see `SampledSoftmax`),
        `keep` (B,), `learn` (B,) -> the mean cross-entropy in nats of each direction, (D,). Rows start from the carried
        state times `keep`: 0 where a row starts anew from zeros; `learn` is 0 where only the softmax is to learn. Targets
        and candidates are numbers of rows of the softmax; with word-id input `token_index` holds numbers of rows of the
        embedding, and there are no `characters`.
    Call otherwise: `vectors` (U, P) of tokens, `token_index` (B, D, S) -> the top layer's outputs (B, D, S, P), each row
        from the biLM's initial state.
    """

    open_axes: ClassVar[Axes] = {"characters": (0, 1), "vectors": (0,)}

    def __init__(
        self,
        bilm: BiLM,
        n_rows: int | None = None,
        n_word_rows: int = 0,
        batch_size: int = 1,
        unroll_steps: int = 20,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.bilm, self.n_word_rows = bilm, n_word_rows
        self.batch_size, self.unroll_steps = batch_size, unroll_steps
        self.dropout = keras.layers.Dropout(bilm.options.dropout, name="dropout")
        self.softmax = None if n_rows is None else SampledSoftmax(n_rows, bilm.options.lstm.projection_dim, name="softmax")
        self.jit_compile = bilm.jit_compile
        self.build()

    def build(self, input_shape=None):
        self.carried = [
            [
                [
                    self.add_weight((self.batch_size, v.shape[0]), "zeros", trainable=False, name="carried_" + v.name)
                    for v in layer
                ]
                for layer in direction
            ]
            for direction in self.bilm.initial_states
        ]
        self.words = None
        if self.n_word_rows:
            self.words = self.add_weight((self.n_word_rows, self.bilm.options.lstm.projection_dim), "zeros", name="words")
        self.built = True

    @property
    def row_variables(self) -> list[keras.Variable]:
        """The variables that hold rows of large matrices: the softmax's W and b, and the embedding's with word-id input."""
        softmax = [] if self.softmax is None else [self.softmax.kernel, self.softmax.bias]
        return softmax if self.words is None else [*softmax, self.words]

    def call(self, inputs, training=False):
        inputs = by_name(inputs)
        index = inputs["token_index"]
        indices = [index[:, d] for d in range(self.bilm.options.n_directions)]
        if not training:
            vectors = inputs["vectors"]
            directions, _ = self.bilm.read(vectors, indices, self.bilm.expand_states(ops.shape(index)[0]))
            return ops.stack([layers[-1] for layers in directions], axis=1)
        if self.bilm.options.char_cnn:
            vectors = self.bilm.encoder(inputs["characters"])
        else:  # a product makes TensorFlow's gradients dense: equal words sum
            vectors = 1.0 * (self.softmax.kernel if self.words is None else self.words)
        states = keras.tree.map_structure(lambda v: v * inputs["keep"][:, None], nested(self.carried))
        directions, final = self.bilm.read(vectors, indices, states, training=True)
        for variable, value in zip(keras.tree.flatten(self.carried), keras.tree.flatten(final), strict=True):
            variable.assign(ops.stop_gradient(value))
        hidden = ops.stack([layers[-1] for layers in directions], axis=1)  # (B, D, S, P)
        hidden = ops.where(inputs["learn"][:, None, None, None] > 0, hidden, ops.stop_gradient(hidden))
        hidden = self.dropout(hidden, training=True)
        return ops.stack([ops.mean(self._cross_entropy(hidden, inputs, d)) for d in range(len(indices))])

    def _cross_entropy(self, hidden, inputs, direction):
        """Of the predictions of one direction, in nats. Shape: (B * S,)."""
        of_tokens = [inputs[name][:, direction] for name in ("targets", "target_correction", "hits")]
        return self.softmax(
            ops.reshape(hidden[:, direction], (-1, self.bilm.options.lstm.projection_dim)),
            *(ops.reshape(each, (-1,)) for each in of_tokens),
            inputs["candidates"][:, direction],
            inputs["candidate_correction"][:, direction],
        )

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        return self.unroll_steps * ops.mean(y_pred)


def nested(variables) -> list:
    """Direction, layer, [h, c] as plain lists."""
    return [[list(layer) for layer in direction] for direction in variables]
