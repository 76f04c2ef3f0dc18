"""`CharacterEncoder`: character ids of distinct tokens -> context-free token vectors, layer 0 of the biLM.

Source: Kim et al. 2016 (character convolutions, highway) as used by ELMo (Peters et al. 2018).
"""

from __future__ import annotations

import keras
from keras import ops

from biLM.options import N_CHARACTERS, CharCNNOptions


@keras.saving.register_keras_serializable("biLM")
class Highway(keras.layers.Layer):
    """One highway layer: `g = sigmoid(x W_carry + b_carry)`, `y = g * relu(x W_transform + b_transform) + (1 - g) * x`.

    Shape: (U, F) -> (U, F). The transform is ReLU whatever the activation of the convolutions.
    """

    def build(self, input_shape):
        width = input_shape[-1]
        one, other = (keras.initializers.RandomNormal(0.0, width**-0.5) for _ in range(2))  # a shared one repeats its draws
        self.carry_kernel = self.add_weight((width, width), one, name="carry_kernel")
        self.carry_bias = self.add_weight((width,), keras.initializers.Constant(-2.0), name="carry_bias")
        self.transform_kernel = self.add_weight((width, width), other, name="transform_kernel")
        self.transform_bias = self.add_weight((width,), "zeros", name="transform_bias")

    def call(self, x):
        gate = ops.sigmoid(ops.matmul(x, self.carry_kernel) + self.carry_bias)
        return gate * ops.relu(ops.matmul(x, self.transform_kernel) + self.transform_bias) + (1.0 - gate) * x


@keras.saving.register_keras_serializable("biLM")
class CharacterEncoder(keras.layers.Layer):
    """Character ids -> token vectors.

    lookup -> per filter width a VALID convolution -> maximum over all positions, padding included -> + bias ->
    activation -> concatenation in filter order -> highway layers -> projection (absent where F == P).

    Arguments:
        options: the shape of the encoder.
        projection_dim: P.

    Call: ids (U, C') int32 as `CharacterInput` gives them, or a list of groups of them with a C' each, whose rows count
    on -> (U, P). The row of "no token" gets a vector too; whoever
    uses the result masks it.

    Source: bilm-tf. It adds the bias and applies the activation before the maximum; both are monotone, so the result is
    the same and the work is C times less.
    """

    def __init__(self, options: CharCNNOptions, projection_dim: int, **kwargs):
        super().__init__(**kwargs)
        self.options = options
        self.projection_dim = projection_dim

    def build(self, input_shape):
        options, n_filters = self.options, self.options.n_filters
        uniform = keras.initializers.RandomUniform
        self.embedding = self.add_weight((N_CHARACTERS, options.embedding_dim), uniform(-1.0, 1.0), name="char_embed")
        self.kernels, self.biases = [], []
        for number, (width, count) in enumerate(options.filters):
            init = uniform(-0.05, 0.05)
            if options.activation == "tanh":
                init = keras.initializers.RandomNormal(0.0, (1.0 / (width * options.embedding_dim)) ** 0.5)
            self.kernels.append(self.add_weight((width, options.embedding_dim, count), init, name=f"W_cnn_{number}"))
            self.biases.append(self.add_weight((count,), "zeros", name=f"b_cnn_{number}"))
        self.highways = [Highway(name=f"highway_{number}", dtype=self.dtype_policy) for number in range(options.n_highway)]
        for highway in self.highways:
            highway.build((None, n_filters))
        self.projection_kernel = None
        if n_filters != self.projection_dim:
            normal = keras.initializers.RandomNormal(0.0, n_filters**-0.5)
            self.projection_kernel = self.add_weight((n_filters, self.projection_dim), normal, name="W_proj")
            self.projection_bias = self.add_weight((self.projection_dim,), "zeros", name="b_proj")

    def call(self, ids):
        groups = ids if isinstance(ids, list | tuple) else [ids]
        x = ops.concatenate([self._convolve(group) for group in groups], axis=0)  # (U, F)
        for highway in self.highways:
            x = highway(x)
        if self.projection_kernel is None:
            return x
        return ops.matmul(x, self.projection_kernel) + self.projection_bias  # (U, P)

    def _convolve(self, ids):
        characters = ops.take(self.embedding, ops.maximum(ids - 1, 0), axis=0)  # (U, C', 16)
        activation = keras.activations.get(self.options.activation)
        return ops.concatenate(
            [
                activation(ops.max(ops.conv(characters, kernel, padding="valid"), axis=1) + bias)
                for kernel, bias in zip(self.kernels, self.biases, strict=True)
            ],
            axis=-1,
        )

    def compute_output_shape(self, input_shape):
        groups = input_shape if isinstance(input_shape[0], list | tuple) else [input_shape]
        counts = [group[0] for group in groups]
        return (None if None in counts else sum(counts), self.projection_dim)
