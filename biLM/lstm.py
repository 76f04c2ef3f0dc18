"""The LSTM with projection, and the residual stack of them that reads one direction.

Time runs forward in the stack: whoever wants the backward direction reverses each sentence over its own length first.
"""

from __future__ import annotations

import math

import keras
from keras import ops

from biLM.options import LSTMOptions

GATES = "ijfo"  # input, new, forget, output: their order in weights.hdf5


@keras.saving.register_keras_serializable("biLM")
class ProjectedLSTMCell(keras.layers.Layer):
    """One step of an LSTM whose output is projected, with clipping.

        i, j, f, o = [x ; h] W_g + b_g, with a W and a b for each gate
        c' = clip(sigmoid(f + 1) * c + sigmoid(i) * tanh(j), cell_clip)
        h' = clip((sigmoid(o) * tanh(c')) P, proj_clip)

    Without a projection (`projection_dim == dim`) h' is the unprojected output and `proj_clip` does not apply.

    Call: x (B, P), states [h (B, P), c (B, H)] -> h' (B, P), [h', c'].
    Source: Sak et al. 2014; gate order and the constant 1 of the forget gate as in TensorFlow's LSTMCell. There one matrix
    holds all gates; apart, each product goes through its bias and its sigmoid or tanh while it is in the processor's cache.
    """

    def __init__(self, options: LSTMOptions, **kwargs):
        super().__init__(**kwargs)
        self.options = options
        self.state_size = [options.projection_dim, options.dim]
        self.output_size = options.projection_dim

    def build(self, input_shape):
        dim, projection_dim = self.options.dim, self.options.projection_dim
        n_rows = input_shape[-1] + projection_dim
        limit = math.sqrt(6 / (n_rows + 4 * dim))  # Glorot's, of the one matrix
        drawn = {gate: keras.initializers.RandomUniform(-limit, limit) for gate in GATES}  # a shared one repeats its draws
        self.kernels = [self.add_weight((n_rows, dim), drawn[gate], name=f"kernel_{gate}") for gate in GATES]
        self.biases = [self.add_weight((dim,), "zeros", name=f"bias_{gate}") for gate in GATES]
        self.projection_kernel = None
        if self.options.has_projection:
            self.projection_kernel = self.add_weight((dim, projection_dim), "glorot_uniform", name="projection_kernel")

    def call(self, x, states):
        h, c = states
        both = ops.concatenate([x, h], axis=-1)
        # ops.add, which TensorFlow can fuse with the product, where `+` stays apart
        i, j, f, o = (ops.add(ops.matmul(both, w), b) for w, b in zip(self.kernels, self._biases(), strict=True))  # (B, H)
        c = _clip(ops.sigmoid(f) * c + ops.sigmoid(i) * ops.tanh(j), self.options.cell_clip)
        h = ops.sigmoid(o) * ops.tanh(c)
        if self.projection_kernel is not None:
            h = _clip(ops.matmul(h, self.projection_kernel), self.options.proj_clip)  # (B, P)
        return h, [h, c]

    def _biases(self):
        """Of the gates, with the forget gate's constant."""
        i, j, f, o = self.biases
        return i, j, f + 1.0, o


def _clip(x, limit: float):
    return ops.clip(x, -limit, limit) if limit else x


@keras.saving.register_keras_serializable("biLM")
class LSTMStack(keras.layers.Layer):
    """The LSTM layers of one direction, with skip connections above the first: `y = LSTM(x) + x`.

    In training each layer's input is dropped out, and the skip connection adds the dropped input (as the reference
    does). The recurrence of a layer uses its own h, never y.

    Call: x (B, T, P), states [h (B, P), c (B, H)] of the layers that shall be read, from the lowest, mask (B, T) bool or
        None -> an output (B, T, P) of each of them, final states.
        Where the mask is False the output is 0 and the state stays; pass None where padding comes last and the final
        states are not needed: that is faster and gives the same outputs at all real positions.
    """

    def __init__(self, options: LSTMOptions, dropout: float = 0.0, **kwargs):
        super().__init__(**kwargs)
        self.options = options
        self.supports_masking = True
        within = {"dtype": self.dtype_policy}
        self.layers = [
            keras.layers.RNN(
                ProjectedLSTMCell(options, name="cell", **within),
                return_sequences=True, return_state=True, zero_output_for_mask=True, name=f"lstm_{number}", **within,
            )
            for number in range(options.n_layers)
        ]  # fmt: skip
        self.dropout = keras.layers.Dropout(dropout, name="dropout", **within)

    def build(self, input_shape):
        for layer in self.layers:
            layer.build((None, None, self.options.projection_dim))

    def call(self, x, states, mask=None, training=False):
        outputs, final = [], []
        for number, (layer, state) in enumerate(zip(self.layers, states, strict=False)):
            x = self.dropout(x, training=training)
            y, h, c = layer(x, initial_state=state, mask=mask)
            x = y + x if number and self.options.use_skip_connections else y
            outputs.append(x)
            final.append([h, c])
        return outputs, final

    def compute_output_shape(self, input_shape):
        """Of each layer's output."""
        return (*input_shape[:2], self.options.projection_dim)

    def compute_output_spec(self, x, states, mask=None, training=False):
        rows, steps = x.shape[:2]
        output = keras.KerasTensor((rows, steps, self.options.projection_dim), dtype=self.compute_dtype)
        return [output] * len(states), states


def reverse(token_index):
    """Each row reversed over its own length; the padding stays at the end. Shape: (B, N) -> (B, N)."""
    lengths = ops.sum(ops.cast(token_index > 0, "int32"), axis=1, keepdims=True)
    position = ops.expand_dims(ops.arange(ops.shape(token_index)[1]), 0)
    source = ops.where(position < lengths, lengths - 1 - position, position)
    return ops.take_along_axis(token_index, source, axis=1)
