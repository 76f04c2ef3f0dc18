"""`LanguageModel`: a `BiLM` and its `Softmax`, the thing that is trained and whose perplexity is measured."""

from __future__ import annotations

import keras
from keras import ops

from biLM.model import BiLM
from biLM.softmax import Softmax

NO_TARGET = -1


@keras.saving.register_keras_serializable("biLM")
class LanguageModel(keras.Model):
    """Predicts the next token in each direction.

    Arguments:
        bilm, softmax: the parts; both directions share the softmax.
        batch_size: B, the rows whose state is carried from one training batch to the next.
        unroll_steps: the gradient is that of loss * unroll_steps, as in the reference.

    Call: `characters` (U, C), `token_index` (2, B, S) (forward, backward, each in reading order), `targets` (2, B, S)
        with -1 where there is nothing to predict, and for the sampled softmax `candidates` and `n_tries` ->
        the mean cross-entropy in nats of each direction (2,) and the number of predictions of one direction ().
        In training rows start from the carried state times `keep` (B,), 0 where a row starts anew from zeros; otherwise
        from the biLM's initial state.
    """

    def __init__(self, bilm: BiLM, softmax: Softmax, batch_size: int = 1, unroll_steps: int = 20, **kwargs):
        super().__init__(**kwargs)
        self.bilm, self.softmax = bilm, softmax
        self.batch_size, self.unroll_steps = batch_size, unroll_steps
        self.dropout = keras.layers.Dropout(bilm.options.dropout, name="dropout")
        self.jit_compile = bilm.jit_compile
        self.build()

    def build(self, input_shape=None):
        if not self.softmax.built:
            self.softmax.build()
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
        self.built = True

    def call(self, inputs, training=False):
        index, targets = inputs["token_index"], inputs["targets"]
        if training:
            states = keras.tree.map_structure(lambda v: v * inputs["keep"][:, None], nested(self.carried))
        else:
            states = self.bilm.expand_states(ops.shape(index)[1])
        indices = [index[d] for d in range(self.bilm.options.n_directions)]
        directions, final = self.bilm.read(inputs["characters"], indices, states, training=training)
        if training:
            for variable, value in zip(keras.tree.flatten(self.carried), keras.tree.flatten(final), strict=True):
                variable.assign(ops.stop_gradient(value))
        hidden = ops.stack([layers[-1] for layers in directions])  # (directions, B, S, P)
        hidden = ops.reshape(self.dropout(hidden, training=training), (-1, self.bilm.options.lstm.projection_dim))
        targets = targets[: len(directions)]
        flat = ops.reshape(targets, (-1,))
        nats = self.softmax(hidden, ops.maximum(flat, 0), inputs.get("candidates"), inputs.get("n_tries"))
        nats = ops.reshape(ops.where(flat == NO_TARGET, 0.0, nats), (len(directions), -1))
        count = ops.sum(ops.cast(targets[0] != NO_TARGET, "float32"))
        return {"nats": ops.sum(nats, axis=1) / count, "count": count}

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        return self.unroll_steps * ops.mean(y_pred["nats"])


def nested(variables) -> list:
    """Direction, layer, [h, c] as plain lists."""
    return [[list(layer) for layer in direction] for direction in variables]
