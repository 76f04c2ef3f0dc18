"""The softmax over the vocabulary: sampled in training, full in evaluation. Both directions share it.

Source: Jean et al. 2015; TensorFlow's `sampled_softmax_loss` with its log-uniform sampler, as the reference uses them.
"""

from __future__ import annotations

import keras
import numpy as np
from keras import ops


@keras.saving.register_keras_serializable("biLM")
class Softmax(keras.layers.Layer):
    """`logits = h W' + b`, W (V, P), b (V,).

    Call: hidden (N, P), targets (N,) int32, and either nothing more (full softmax) or `candidates` (S,) int32 with
    `n_tries` () float32 as `draw_candidates` gives them -> cross-entropy (N,) in nats.

    With candidates, `logit -= log E(count of its word among the candidates)`, and a candidate that equals the target of
    a position (an accidental hit) does not count there.
    """

    def __init__(self, n_tokens_vocab: int, projection_dim: int, **kwargs):
        super().__init__(**kwargs)
        self.n_tokens_vocab, self.projection_dim = n_tokens_vocab, projection_dim

    def build(self, *args, **kwargs):
        normal = keras.initializers.RandomNormal(0.0, self.projection_dim**-0.5)
        self.kernel = self.add_weight((self.n_tokens_vocab, self.projection_dim), normal, name="W")
        self.bias = self.add_weight((self.n_tokens_vocab,), "zeros", name="b")

    def call(self, hidden, targets, candidates=None, n_tries=None):
        if candidates is None:
            logits = ops.matmul(hidden, ops.transpose(self.kernel)) + self.bias  # (N, V)
            picked = ops.squeeze(ops.take_along_axis(logits, targets[:, None], axis=1), axis=1)
            return ops.logsumexp(logits, axis=1) - picked
        kernel, bias = (
            1.0 * self.kernel,
            1.0 * self.bias,
        )  # a product makes TF's gradients dense: equal words are summed
        true_logits = ops.sum(hidden * ops.take(kernel, targets, axis=0), axis=1) + ops.take(bias, targets)  # (N,)
        true_logits -= self._log_expected_count(targets, n_tries)
        logits = ops.matmul(hidden, ops.transpose(ops.take(kernel, candidates, axis=0)))  # (N, S)
        logits += ops.take(bias, candidates) - self._log_expected_count(candidates, n_tries)
        logits = ops.where(targets[:, None] == candidates[None, :], -1e30, logits)
        return ops.logsumexp(ops.concatenate([true_logits[:, None], logits], axis=1), axis=1) - true_logits

    def compute_output_spec(self, hidden, targets, candidates=None, n_tries=None):
        return keras.KerasTensor((hidden.shape[0],), dtype=self.compute_dtype)

    def _log_expected_count(self, ids, n_tries):
        rank = ops.cast(ids, "float32")
        probability = ops.log1p(1.0 / (rank + 1.0)) / np.log(self.n_tokens_vocab + 1.0)
        return ops.log(-ops.expm1(n_tries * ops.log1p(-probability)))


def draw_candidates(rng: np.random.Generator, n_tokens_vocab: int, n_candidates: int) -> tuple[np.ndarray, np.float32]:
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
            return ids.astype(np.int32), np.float32(first[-1] + 1)
        size *= 2
