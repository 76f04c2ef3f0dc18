"""The two heads of the tagger: emissions -> the likelihood of tag sequences. Decoding is `ner_elmo.decoding`.

A linear-chain CRF scores a sequence y of a sentence of T tokens as

    score(y) = start[y_1] + sum_t emission[t, y_t] + sum_t transition[y_(t-1), y_t] + end[y_T]
    log p(y) = score(y) - log sum_y' exp(score(y'))

Source: Lafferty et al. 2001; Lample et al. 2016 for tagging. Transitions that the tag scheme forbids score -10,000 in
training and minus infinity in decoding.
"""

from __future__ import annotations

import keras
import numpy as np
from keras import ops

from ner_elmo.entities import TagSet

IMPOSSIBLE = -1e4
FLOAT32 = {"dtype": "float32"}


@keras.saving.register_keras_serializable("ner_elmo")
class _ForwardCell(keras.layers.Layer):
    """One step of the forward algorithm: `alpha'[j] = emission[j] + logsumexp_i(alpha[i] + transition[i, j])`."""

    def __init__(self, n_tags: int, **kwargs):
        super().__init__(**kwargs)
        self.state_size = self.output_size = n_tags

    def call(self, emission, states):
        alpha = states[0]
        alpha = emission + ops.logsumexp(alpha[:, :, None] + self.transitions[None], axis=1)  # (B, K)
        return alpha, [alpha]


@keras.saving.register_keras_serializable("ner_elmo")
class CRF(keras.layers.Layer):
    """A linear-chain CRF over the tags of a `TagSet`.

    Arguments:
        types: the entity types, in the order of the tag set.

    Call: emissions (B, T, K), tags (B, T) int32, mask (B, T) bool, padding last -> log-likelihood (B,) in nats.
    Padding changes nothing. A sentence has at least one token. Without `mask` the mask that Keras carries along with the
    emissions counts (`ElmoEmbedding` makes one); without either every token is real.
    Computes in float32 whatever the dtype policy: sums over all sequences do not fit into 8 bits.

    Example: log_likelihood = CRF(["LOC", "PER"])(emissions, tags)
    """

    def __init__(self, types: list[str], **kwargs):
        super().__init__(**kwargs | FLOAT32)
        self.types = list(types)
        self.tag_set = TagSet(types)
        self.supports_masking = True
        self.forward_algorithm = keras.layers.RNN(_ForwardCell(len(self.tag_set), **FLOAT32), return_state=True, **FLOAT32)

    def build(self, emissions_shape=None, tags_shape=None, mask_shape=None):
        n_tags = len(self.tag_set)
        self.transitions = self.add_weight((n_tags, n_tags), "zeros", name="transitions")
        self.start = self.add_weight((n_tags,), "zeros", name="start")
        self.end = self.add_weight((n_tags,), "zeros", name="end")
        self.forward_algorithm.build((None, None, n_tags))

    def call(self, emissions, tags, mask=None, emissions_mask=None):
        mask = real_tokens(tags, mask, emissions_mask)
        return self._score(emissions, tags, mask) - self.log_partition(emissions, mask)

    def compute_mask(self, *args, **kwargs):
        return None

    def compute_output_shape(self, emissions_shape, tags_shape=None, mask_shape=None):
        return (emissions_shape[0],)

    def log_partition(self, emissions, mask):
        """log sum_y exp(score(y)) over all sequences. Shape: (B,), in nats."""
        legal = self.tag_set
        self.forward_algorithm.cell.transitions = self.transitions + _penalty(legal.legal)
        alpha = emissions[:, 0] + self.start + _penalty(legal.legal_start)  # (B, K)
        rest = ops.concatenate([emissions[:, 1:], ops.zeros_like(emissions[:, :1])], axis=1)  # a sentence may be one token
        rest_mask = ops.concatenate([mask[:, 1:], ops.zeros_like(mask[:, :1])], axis=1)
        _, alpha = self.forward_algorithm(rest, initial_state=[alpha], mask=rest_mask)
        return ops.logsumexp(alpha + self.end + _penalty(legal.legal_end), axis=1)

    def _score(self, emissions, tags, mask):
        n_tags = len(self.tag_set)
        real = ops.cast(mask, emissions.dtype)
        emitted = ops.squeeze(ops.take_along_axis(emissions, tags[:, :, None], axis=2), axis=2)  # (B, T)
        pairs = tags[:, :-1] * n_tags + tags[:, 1:]
        moved = ops.take(ops.reshape(self.transitions, (-1,)), pairs)  # (B, T-1)
        last = ops.sum(ops.cast(mask, "int32"), axis=1, keepdims=True) - 1
        last_tag = ops.squeeze(ops.take_along_axis(tags, last, axis=1), axis=1)
        return (
            ops.sum(emitted * real, axis=1)
            + ops.sum(moved * real[:, 1:], axis=1)
            + ops.take(self.start, tags[:, 0])
            + ops.take(self.end, last_tag)
        )

    def scores(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """transitions (K, K), start (K,), end (K,) for decoding: minus infinity where the scheme forbids."""
        legal = self.tag_set
        return (
            np.where(legal.legal, np.asarray(self.transitions), -np.inf),
            np.where(legal.legal_start, np.asarray(self.start), -np.inf),
            np.where(legal.legal_end, np.asarray(self.end), -np.inf),
        )

    def get_config(self):
        return super().get_config() | {"types": self.types}


@keras.saving.register_keras_serializable("ner_elmo")
class SoftmaxHead(keras.layers.Layer):
    """Each tag on its own: `log p(y) = sum_t log_softmax(emission[t])[y_t]`. Decoding still obeys the tag scheme.

    Call: as `CRF`.
    """

    def __init__(self, types: list[str], **kwargs):
        super().__init__(**kwargs | FLOAT32)
        self.types = list(types)
        self.tag_set = TagSet(types)
        self.supports_masking = True

    def build(self, emissions_shape=None, tags_shape=None, mask_shape=None):
        """Has no weights."""

    def compute_mask(self, *args, **kwargs):
        return None

    def compute_output_shape(self, emissions_shape, tags_shape=None, mask_shape=None):
        return (emissions_shape[0],)

    def call(self, emissions, tags, mask=None, emissions_mask=None):
        mask = real_tokens(tags, mask, emissions_mask)
        log_probability = ops.log_softmax(emissions, axis=-1)
        picked = ops.squeeze(ops.take_along_axis(log_probability, tags[:, :, None], axis=2), axis=2)
        return ops.sum(picked * ops.cast(mask, picked.dtype), axis=1)

    def scores(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """As `CRF.scores`, all legal ones 0."""
        legal = self.tag_set
        return tuple(np.where(x, 0.0, -np.inf) for x in (legal.legal, legal.legal_start, legal.legal_end))  # type: ignore

    def get_config(self):
        return super().get_config() | {"types": self.types}


@keras.saving.register_keras_serializable("ner_elmo")
def negative_log_likelihood(_targets, log_likelihood):
    """A loss for models that end in a `CRF`; what they shall learn went into the CRF, so the targets do not count.

    Example: model.compile("adam", negative_log_likelihood); model.fit([ids, tags], tags[:, 0])
    """
    return -log_likelihood


def real_tokens(tags, *masks):
    """The first mask that is given, else True everywhere. Shape: (B, T) bool."""
    given = [mask for mask in masks if mask is not None]
    return given[0] if given else ops.ones_like(tags, dtype="bool")


def _penalty(legal: np.ndarray) -> np.ndarray:
    return np.where(legal, 0.0, IMPOSSIBLE).astype(np.float32)
