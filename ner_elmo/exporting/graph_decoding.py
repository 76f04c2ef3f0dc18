"""`ner_elmo.decoding` in a TensorFlow graph: Viterbi, forward-backward and spans, for exported models.

Scores are float64, minus infinity where the tag scheme forbids a step. T is at least 1.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from ner_elmo.confidence import EDGE, Confidence
from ner_elmo.decoding import Scores
from ner_elmo.entities import TagSet, split_tag


@dataclass(frozen=True)
class Tables:
    """What decoding looks up for each of the K tags: scores, and what the tags mean; and what probabilities are worth."""

    transitions: tf.Tensor
    start: tf.Tensor
    end: tf.Tensor
    opens: tf.Tensor  # True at B and S
    closes: tf.Tensor  # True at E and S
    types: tf.Tensor
    iob2: tf.Tensor
    confidence: Confidence

    @classmethod
    def of(cls, scores: Scores, tag_set: TagSet, confidence: Confidence) -> Tables:
        parts = [split_tag(tag) for tag in tag_set.tags]
        iob2 = [f"{'B' if prefix in 'BS' else 'I'}-{kind}" if kind else prefix for prefix, kind in parts]
        transitions, start, end = (
            tf.constant(np.asarray(x, np.float64)) for x in (scores.transitions, scores.start, scores.end)
        )
        opens, closes = (tf.constant([prefix in letters for prefix, _ in parts]) for letters in ("BS", "ES"))
        types = tf.constant([kind for _, kind in parts])
        return cls(transitions, start, end, opens, closes, types, tf.constant(iob2), confidence)


def decode(emissions: tf.Tensor, mask: tf.Tensor, tables: Tables) -> dict[str, tf.Tensor]:
    """Emissions (B, T, K) and mask (B, T) -> tags and spans.

    tags (B, T) IOB2 strings, "" in the padding; tag_scores (B, T), the probability of each tag.
    n_spans (B,); span_start, span_end (B, S) int32, half-open over tokens, span_type (B, S), span_score (B, S), the
    confidence that exactly this span has exactly this type. Beyond n_spans: -1, -1, "" and 0.
    """
    emissions = tf.cast(emissions, tf.float64)
    tags = _viterbi(emissions, mask, tables)
    alpha, beta, log_z = _forward_backward(emissions, mask, tables)
    here = tf.gather(alpha, tags, batch_dims=2)  # (B, T)
    after = tf.gather(beta, tags, batch_dims=2)
    real = tf.cast(mask, tf.float64)
    found = {
        "tags": tf.where(mask, tf.gather(tables.iob2, tags), ""),
        "tag_scores": tf.cast(tf.exp(tf.minimum(here + after - log_z[:, None], 0.0)) * real, tf.float32),
    }
    starts = tf.where(tf.gather(tables.opens, tags) & mask)  # (N, 2): row, position
    ends = tf.where(tf.gather(tables.closes, tags) & mask)
    path = _along(emissions, tags, mask, tables)
    inside = tf.gather_nd(path, ends) - tf.gather_nd(path, starts)
    log_p = tf.gather_nd(here, starts) + inside + tf.gather_nd(after, ends) - tf.gather(log_z, starts[:, 0])
    return found | _by_row(tags, starts, ends, _confidence(tf.exp(tf.minimum(log_p, 0.0)), tables.confidence), tables)


def _confidence(p: tf.Tensor, learned: Confidence) -> tf.Tensor:
    """`ner_elmo.confidence.Confidence` of probabilities."""
    if learned.is_identity:
        return p
    p = tf.clip_by_value(p, EDGE, 1 - EDGE)
    return tf.sigmoid(learned.slope * tf.math.log(p / (1 - p)) + learned.intercept)


def _by_row(tags: tf.Tensor, starts: tf.Tensor, ends: tf.Tensor, scores: tf.Tensor, tables: Tables) -> dict[str, tf.Tensor]:
    n_rows = tf.shape(tags, tf.int64)[0]

    def rows(values, default):
        return tf.RaggedTensor.from_value_rowids(values, starts[:, 0], n_rows).to_tensor(default)

    return {
        "n_spans": tf.math.bincount(tf.cast(starts[:, 0], tf.int32), minlength=tf.shape(tags)[0]),
        "span_start": rows(tf.cast(starts[:, 1], tf.int32), -1),
        "span_end": rows(tf.cast(ends[:, 1] + 1, tf.int32), -1),
        "span_type": rows(tf.gather(tables.types, tf.gather_nd(tags, starts)), ""),
        "span_score": rows(tf.cast(scores, tf.float32), 0.0),
    }


def _viterbi(emissions: tf.Tensor, mask: tf.Tensor, tables: Tables) -> tf.Tensor:
    """The best legal sequences, (B, T) int32, 0 in the padding."""
    steps, going_on = _by_step(emissions, mask)
    stay = tf.broadcast_to(tf.range(tf.shape(emissions)[2]), tf.shape(emissions[:, 0]))

    def step(state, inputs):
        (best, _), (emission, here) = state, inputs
        candidates = best[:, :, None] + tables.transitions  # (B, from, to)
        pointers = tf.where(here, tf.argmax(candidates, axis=1, output_type=tf.int32), stay)
        return tf.where(here, tf.reduce_max(candidates, axis=1) + emission, best), pointers

    best, pointers = tf.scan(step, (steps, going_on), (emissions[:, 0] + tables.start, stay))
    last = tf.argmax(best[-1] + tables.end, axis=1, output_type=tf.int32)
    before = tf.scan(lambda tag, pointer: tf.gather(pointer, tag, batch_dims=1), pointers, last, reverse=True)
    tags = tf.transpose(tf.concat([before[1:], last[None]], axis=0))
    return tf.where(mask, tags, 0)


def _forward_backward(emissions: tf.Tensor, mask: tf.Tensor, tables: Tables) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """alpha, beta (B, T, K) and log_z (B,), as `ner_elmo.decoding.Lattice` has them."""
    steps, going_on = _by_step(emissions, mask)

    def forward(alpha, inputs):
        emission, here = inputs
        return tf.where(here, emission + tf.reduce_logsumexp(alpha[:, :, None] + tables.transitions, axis=1), alpha)

    def backward(beta, inputs):
        emission, follows = inputs
        summed = tf.reduce_logsumexp(tables.transitions + (emission + beta)[:, None, :], axis=2)
        return tf.where(follows, summed, end)

    end = tf.broadcast_to(tables.end, tf.shape(emissions[:, 0]))
    alpha = tf.scan(forward, (steps, going_on), emissions[:, 0] + tables.start)
    following = tf.concat([steps[1:], tf.zeros_like(steps[:1])], axis=0)
    follows = tf.concat([going_on[1:], tf.zeros_like(going_on[:1])], axis=0)
    beta = tf.scan(backward, (following, follows), end, reverse=True)
    log_z = tf.reduce_logsumexp(alpha[-1] + tables.end, axis=1)
    return tf.transpose(alpha, [1, 0, 2]), tf.transpose(beta, [1, 0, 2]), log_z


def _by_step(emissions: tf.Tensor, mask: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Emissions (T, B, K), and where a step leads from a real token to the next (T, B, 1): never at the first."""
    going_on = tf.concat([tf.zeros_like(mask[:, :1]), mask[:, 1:]], axis=1)
    return tf.transpose(emissions, [1, 0, 2]), tf.transpose(going_on)[:, :, None]


def _along(emissions: tf.Tensor, tags: tf.Tensor, mask: tf.Tensor, tables: Tables) -> tf.Tensor:
    """The summed score of the best sequence up to each position, without its first emission. Shape: (B, T)."""
    moved = tf.gather_nd(tables.transitions, tf.stack([tags[:, :-1], tags[:, 1:]], axis=-1))
    emitted = tf.gather(emissions, tags, batch_dims=2)[:, 1:]
    steps = tf.where(mask[:, 1:], moved + emitted, 0.0)
    return tf.pad(tf.cumsum(steps, axis=1), [[0, 0], [1, 0]])
