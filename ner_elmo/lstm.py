"""The tagger's LSTM: that of Keras, with as much as possible outside its loop over time."""

from __future__ import annotations

import keras
from keras import ops


@keras.saving.register_keras_serializable("ner_elmo")
class LSTM(keras.layers.LSTM):
    """`keras.layers.LSTM`, faster to train where cuDNN does not compute it; its weights and numbers are the same.

        i, f, g, o = x_t W + b + h_{t-1} U
        c_t = sigmoid(f) * c_{t-1} + sigmoid(i) * tanh(g);  h_t = sigmoid(o) * tanh(c_t)

    Keras multiplies by W at every step, and its gradient adds a matrix of W's size to a sum at every step. Here x W + b is
    one product before the loop, and the gradient of W one after it. U is transposed once for the gradient of h.

    Arguments: as for `keras.layers.LSTM`; dropout takes its slower way.
    Attributes: as_keras: True for Keras' own loop, which converters know as an LSTM.
    Call: x (B, T, D) -> (B, T, units), with `return_sequences`.
    Source: Hochreiter and Schmidhuber 1997, with the forget gate of Gers et al. 2000.
    """

    as_keras = False

    def inner_loop(self, sequences, initial_state, mask, training=False):
        on_accelerator = not keras.distribution.list_devices()[0].startswith("cpu")
        if on_accelerator or self.as_keras or self.dropout or self.recurrent_dropout:
            return super().inner_loop(sequences, initial_state, mask, training=training)
        loop = keras.layers.RNN(
            _Recurrence(self.cell), return_sequences=self.return_sequences, go_backwards=self.go_backwards,
            unroll=self.unroll, zero_output_for_mask=self.zero_output_for_mask, name="loop",
        )  # fmt: skip
        products = ops.matmul(sequences, self.cell.kernel)  # (B, T, 4 * units)
        if self.use_bias:
            products = ops.add(products, self.cell.bias)
        return loop.inner_loop(products, initial_state, mask)


class _Recurrence:
    """The rest of a step, with the weights of `cell`: x_t W + b (B, 4 * units), [h, c] (B, units) -> h', [h', c']."""

    def __init__(self, cell: keras.layers.LSTMCell):
        self.cell, self.state_size = cell, cell.state_size
        self.times_kernel = _times(1.0 * cell.recurrent_kernel)  # a tensor: custom gradients take no variables

    def call(self, product, states):
        h, c = states
        i, f, g, o = ops.split(ops.add(product, self.times_kernel(h)), 4, axis=-1)
        gate, activation = self.cell.recurrent_activation, self.cell.activation
        c = gate(f) * c + gate(i) * activation(g)
        h = gate(o) * activation(c)
        return h, [h, c]

    __call__ = call  # what Keras calls; it asks for `call`, too


def _times(kernel):
    """`h -> h U`, for a tensor U. Its gradient multiplies by U^T as it lies in memory: on a CPU a product of few rows and a
    matrix that is transposed on the way takes longer. (XLA chooses the layout itself.)"""
    if keras.backend.backend() != "tensorflow":
        return lambda h: ops.matmul(h, kernel)
    transposed = ops.transpose(kernel)

    @ops.custom_gradient
    def product(h, kernel):
        def gradient(above):
            return ops.matmul(above, transposed), ops.matmul(ops.transpose(h), above)

        return ops.matmul(h, kernel), gradient

    return lambda h: product(h, kernel)
