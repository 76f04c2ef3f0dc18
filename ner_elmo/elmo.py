"""`ScalarMix` and `ElmoEmbedding`: the biLM as layers of any Keras model.

Source: Peters et al. 2018, equation 1; AllenNLP's ScalarMix and Elmo.
"""

from __future__ import annotations

from collections.abc import Sequence

import keras
from keras import ops

from biLM import BiLM, InputError
from biLM.characters import BEGIN_ROW, END_ROW, N_FIXED_ROWS, fixed_rows


@keras.saving.register_keras_serializable("ner_elmo")
class ScalarMix(keras.layers.Layer):
    """`gamma * sum_k softmax(w)_k * layer_k`, with w and gamma learned.

    Arguments:
        l2: the loss gains `l2 * sum(w^2)`; on w before the softmax, not on gamma. 0.001 lets the weights differ (paper).
        layers: which layers to mix, such as (0, 1); None: all.
        layer_norm: normalise each layer first, with one mean and one variance over all real positions and dimensions of
            the batch (epsilon 1e-12). A sentence's vectors then depend on its batch: off by default.

    Call: activations (B, L+1, T, D), any float dtype; mask (B, T) bool, needed for layer_norm -> (B, T, D) float32.
    """

    def __init__(self, l2: float = 0.001, layers: Sequence[int] | None = None, layer_norm: bool = False, **kwargs):
        super().__init__(autocast=False, **kwargs)
        self.l2, self.layer_norm = l2, layer_norm
        self.layers = None if layers is None else tuple(layers)
        self.supports_masking = True

    def build(self, input_shape):
        available = input_shape[1]
        chosen = range(available) if self.layers is None else self.layers
        if not chosen or not all(0 <= number < available for number in chosen):
            raise InputError(f"`layers` must be numbers from 0 to {available - 1}. Received: {self.layers}.")
        self.chosen = list(chosen)
        regularizer = keras.regularizers.L2(self.l2) if self.l2 else None
        self.w = self.add_weight((len(self.chosen),), "zeros", regularizer=regularizer, name="w")
        self.gamma = self.add_weight((), "ones", name="gamma")

    def call(self, activations, mask=None):
        weights = ops.softmax(self.w)
        mixed = 0.0
        for position, number in enumerate(self.chosen):
            layer = ops.cast(activations[:, number], "float32")
            mixed += weights[position] * (self._normalised(layer, mask) if self.layer_norm else layer)
        return self.gamma * mixed

    def _normalised(self, layer, mask):
        real = ops.ones_like(layer[:, :, :1]) if mask is None else ops.cast(mask, layer.dtype)[:, :, None]
        count = ops.sum(real) * layer.shape[-1]
        mean = ops.sum(layer * real) / count
        variance = ops.sum(((layer - mean) * real) ** 2) / count
        return (layer - mean) * real / ops.sqrt(variance + 1e-12)

    def compute_output_shape(self, input_shape):
        return (input_shape[0], *input_shape[2:])

    def learned(self) -> tuple[list[float], float]:
        """softmax(w) and gamma."""
        return ops.convert_to_numpy(ops.softmax(self.w)).tolist(), float(ops.convert_to_numpy(self.gamma))

    def get_config(self):
        return super().get_config() | {"l2": self.l2, "layers": self.layers, "layer_norm": self.layer_norm}


@keras.saving.register_keras_serializable("ner_elmo")
class ElmoEmbedding(keras.layers.Layer):
    """A biLM and its scalar mix as one layer, for any Keras model.

    Arguments:
        bilm: the biLM; frozen unless `train_bilm`.
        l2, layers, layer_norm: see `ScalarMix`.
        dropout: applied to the result in training.
        train_bilm: fine-tune the biLM too.
        n_mixes: how many mixes over the one biLM run; above 1 the layer returns a list.

    Call: character ids (B, T, C) as `batch_to_ids` gives them, padding last, or the deduplicated pair (characters (U, C),
        token_index (B, T+2)) as `BiLM.encode` gives it -> (B, T, D), float32 unless the dtype policy says otherwise. The
        layer computes its mask and passes it on; padding is 0.

    Example:
        ids = keras.Input((None, 50), dtype="int32")
        vectors = ElmoEmbedding(load_bilm("weights.hdf5"))(ids)
    """

    def __init__(
        self,
        bilm: BiLM,
        l2: float = 0.001,
        dropout: float = 0.0,
        layers: Sequence[int] | None = None,
        layer_norm: bool = False,
        train_bilm: bool = False,
        n_mixes: int = 1,
        **kwargs,
    ):
        super().__init__(**kwargs)
        if not isinstance(bilm, BiLM):
            raise InputError(
                f"`bilm` must be a BiLM, which reads character ids. Received: a {type(bilm).__name__}. A TF-Hub module "
                "reads strings: give a model what its `embed(sentences)` returns."
            )
        self.bilm, self.l2, self.rate, self.layer_norm = bilm, l2, dropout, layer_norm
        self.layers, self.train_bilm, self.n_mixes = layers, train_bilm, n_mixes
        bilm.trainable = train_bilm
        self.mixes = [ScalarMix(l2, layers, layer_norm, name=f"mix_{number}") for number in range(n_mixes)]
        self.dropout = keras.layers.Dropout(dropout, name="dropout", dtype=self.dtype_policy)

    def build(self, *input_shape):
        for mix in self.mixes:
            mix.build((None, self.bilm.n_layers, None, self.bilm.width))

    def call(self, inputs, training=False):
        characters, token_index = inputs if isinstance(inputs, list | tuple) else self._pair(inputs)
        outputs = self.bilm({"characters": characters, "token_index": token_index}, training=training and self.train_bilm)
        mask = outputs["mask"]
        mixed = [self.dropout(mix(outputs["activations"], mask), training=training) for mix in self.mixes]
        return mixed if self.n_mixes > 1 else mixed[0]

    def _pair(self, ids):
        """(B, T, C) -> rows (3 + B * T, C) and token_index (B, T+2), with the marks put in."""
        n_rows, n_tokens, limit = ops.shape(ids)[0], ops.shape(ids)[1], ids.shape[2]
        expected = self.bilm.options.char_cnn
        if expected is None or limit != expected.max_characters_per_token:
            wanted = f"(batch, tokens, {expected.max_characters_per_token})" if expected else "a pair, for word-id input"
            raise InputError(f"`ids` must have shape {wanted}. Received: {tuple(ids.shape)}. Use `batch_to_ids(sentences)`.")
        ids = ops.cast(ids, "int32")
        characters = ops.concatenate([fixed_rows(limit), ops.reshape(ids, (-1, limit))], axis=0)
        mask = ops.any(ids > 0, axis=-1)
        index = N_FIXED_ROWS + ops.reshape(ops.arange(n_rows * n_tokens, dtype="int32"), (n_rows, n_tokens))
        index = ops.where(mask, index, 0)
        index = ops.pad(index, [(0, 0), (1, 1)])
        position = ops.arange(n_tokens + 2)[None, :]
        end = ops.sum(ops.cast(mask, "int32"), axis=1, keepdims=True) + 1
        index = ops.where(position == 0, BEGIN_ROW, index)
        return characters, ops.where(position == end, END_ROW, index)

    def compute_mask(self, inputs, mask=None):
        if isinstance(inputs, list | tuple):
            real = inputs[1][:, 2:] > 0  # the column after a token holds a token or </S>
        else:
            real = ops.any(inputs > 0, axis=-1)
        return [real] * self.n_mixes if self.n_mixes > 1 else real

    def compute_output_shape(self, input_shape):
        pair = isinstance(input_shape[0], list | tuple)
        rows, tokens = input_shape[1] if pair else input_shape[:2]
        tokens = tokens - 2 if pair and tokens is not None else tokens
        shape = (rows, tokens, self.bilm.width)
        return [shape] * self.n_mixes if self.n_mixes > 1 else shape

    def get_config(self):
        return super().get_config() | {
            "bilm": keras.saving.serialize_keras_object(self.bilm), "l2": self.l2, "dropout": self.rate,
            "layers": self.layers, "layer_norm": self.layer_norm, "train_bilm": self.train_bilm, "n_mixes": self.n_mixes,
        }  # fmt: skip

    @classmethod
    def from_config(cls, config):
        config["bilm"] = keras.saving.deserialize_keras_object(config["bilm"])
        return cls(**config)
