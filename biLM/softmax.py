"""The softmax over the vocabulary: sampled in training, full in evaluation. Both directions share it.

The whole of it lives in NumPy. A training step sees a few rows, those of its targets and candidates (`SampledSoftmax`);
evaluation reads it chunk by chunk (`full_cross_entropy`). So neither a step's cost nor the device's memory grows with V.

Source: Jean et al. 2015; TensorFlow's `sampled_softmax_loss` with its log-uniform sampler, as the reference uses them.
"""

from __future__ import annotations

from dataclasses import dataclass

import keras
import numpy as np
from keras import ops

_POSITIONS_AT_ONCE, _WORDS_AT_ONCE = 4096, 8192  # 128 MiB of float32 logits


@dataclass
class Softmax:
    """`logits = h W' + b`: kernel W (V, P), bias b (V,), float32."""

    kernel: np.ndarray
    bias: np.ndarray

    @classmethod
    def initial(cls, n_tokens_vocab: int, projection_dim: int, seed: int) -> Softmax:
        """W from N(0, 1/P), b zero."""
        kernel = np.random.default_rng([seed, 2]).standard_normal((n_tokens_vocab, projection_dim), dtype=np.float32)
        kernel *= np.float32(projection_dim**-0.5)
        return cls(kernel, np.zeros(n_tokens_vocab, np.float32))

    @property
    def n_tokens_vocab(self) -> int:
        return len(self.kernel)


@keras.saving.register_keras_serializable("biLM")
class SampledSoftmax(keras.layers.Layer):
    """Cross-entropy against a sample of the vocabulary, on the `n_rows` (R) rows of the softmax that a step touches.

    Call: hidden (N, P); targets (N,) and candidates (S,), numbers of rows; their corrections (N,) and (S,), the logarithms
    of how often the word is expected among the candidates; hits (N,), 1 where the target is among the candidates
    -> cross-entropy (N,) in nats.

        logit = h w + b - correction
        nats = log(exp(logit of the target) + sum over the other candidates of exp(logit)) - logit of the target

    A candidate that is the target (an accidental hit) counts once, for its logits are one number. With every word as a
    candidate and corrections of 0 this is the full softmax.
    """

    def __init__(self, n_rows: int, projection_dim: int, **kwargs):
        super().__init__(**kwargs)
        self.n_rows, self.projection_dim = n_rows, projection_dim
        self.kernel = self.add_weight((n_rows, projection_dim), "zeros", name="softmax_W")
        self.bias = self.add_weight((n_rows,), "zeros", name="softmax_b")
        self.built = True

    def call(self, hidden, targets, target_correction, hits, candidates, candidate_correction):
        kernel, bias = 1.0 * self.kernel, 1.0 * self.bias  # a product makes TensorFlow's gradients dense: equal words sum
        true_logits = ops.sum(hidden * ops.take(kernel, targets, axis=0), axis=1) + ops.take(bias, targets)  # (N,)
        true_logits -= target_correction
        logits = ops.matmul(hidden, ops.transpose(ops.take(kernel, candidates, axis=0)))  # (N, S)
        logits += ops.take(bias, candidates) - candidate_correction
        missing = ops.where(hits > 0, -1e30, true_logits)
        return ops.logaddexp(ops.logsumexp(logits, axis=1), missing) - true_logits

    def compute_output_spec(self, hidden, targets, target_correction, hits, candidates, candidate_correction):
        return keras.KerasTensor((hidden.shape[0],), dtype=self.compute_dtype)


def full_cross_entropy(hidden: np.ndarray, targets: np.ndarray, softmax: Softmax) -> np.ndarray:
    """Cross-entropy in nats of targets (N,) after hidden (N, P), over the whole vocabulary. Shape: (N,), float64."""
    nats = np.empty(len(targets))
    for start in range(0, len(targets), _POSITIONS_AT_ONCE):
        rows = slice(start, start + _POSITIONS_AT_ONCE)
        h = ops.convert_to_tensor(hidden[rows])
        total = np.full(len(targets[rows]), -np.inf)
        for first in range(0, softmax.n_tokens_vocab, _WORDS_AT_ONCE):
            words = slice(first, first + _WORDS_AT_ONCE)
            logits = ops.matmul(h, ops.transpose(softmax.kernel[words])) + softmax.bias[words]
            total = np.logaddexp(total, ops.convert_to_numpy(ops.logsumexp(logits, axis=1)))
        picked = np.einsum("np,np->n", hidden[rows], softmax.kernel[targets[rows]]) + softmax.bias[targets[rows]]
        nats[rows] = total - picked
    return nats


def draw_candidates(rng: np.random.Generator, n_tokens_vocab: int, n_candidates: int) -> tuple[np.ndarray, int]:
    """Draws distinct word ids with P(k) = log((k + 2) / (k + 1)) / log(V + 1); frequent words, small ids, more often.

    Returns the ids, int32 (n_candidates,), in the order drawn, and how many draws it took to find them, which their
    expected counts depend on.
    """
    drawn = np.empty(0, dtype=np.int64)
    size = 2 * n_candidates
    while True:
        uniform = rng.random(size)
        drawn = np.concatenate([drawn, (np.exp(uniform * np.log(n_tokens_vocab + 1.0)) - 1.0).astype(np.int64)])
        distinct, first = np.unique(drawn, return_index=True)
        if len(distinct) >= n_candidates:
            first = np.sort(first)[:n_candidates]
            ids = np.minimum(drawn[first], n_tokens_vocab - 1)
            return ids.astype(np.int32), int(first[-1]) + 1
        size *= 2


def log_expected_count(ids: np.ndarray, n_tokens_vocab: int, n_tries: int) -> np.ndarray:
    """log(1 - (1 - P(id)) ^ n_tries): how often a word is expected among distinct candidates. float32, like `ids`."""
    probability = np.log1p(1.0 / (ids + 1.0)) / np.log(n_tokens_vocab + 1.0)
    return np.log(-np.expm1(n_tries * np.log1p(-probability))).astype(np.float32)
