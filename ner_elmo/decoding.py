"""Emissions -> tags and confidences: Viterbi and forward-backward over the legal sequences, in NumPy, a batch at a time.

Scores are as in `ner_elmo.crf`, minus infinity where the tag scheme forbids a step; no emission can make an illegal
sequence win.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ner_elmo.entities import Span, TagSet


@dataclass(frozen=True)
class Scores:
    """transitions (K, K), start (K,), end (K,), in nats."""

    transitions: np.ndarray
    start: np.ndarray
    end: np.ndarray


def viterbi(emissions: np.ndarray, lengths: np.ndarray, scores: Scores) -> np.ndarray:
    """The best legal sequences. emissions (B, T, K), lengths (B,) >= 1 -> tag ids (B, T) int32, 0 in the padding."""
    n_rows, n_steps, n_tags = emissions.shape
    best = emissions[:, 0] + scores.start  # (B, K)
    pointers = np.zeros((n_rows, n_steps, n_tags), dtype=np.int32)
    stay = np.arange(n_tags)
    for t in range(1, n_steps):
        candidates = best[:, :, None] + scores.transitions  # (B, from, to)
        here = np.less(t, lengths)[:, None]
        pointers[:, t] = np.where(here, candidates.argmax(axis=1), stay)
        best = np.where(here, candidates.max(axis=1) + emissions[:, t], best)
    tags = np.zeros((n_rows, n_steps), dtype=np.int32)
    current = (best + scores.end).argmax(axis=1)
    rows = np.arange(n_rows)
    for t in range(n_steps - 1, -1, -1):
        tags[:, t] = np.where(t < lengths, current, 0)
        current = pointers[rows, t, current] if t else current
    return tags


def n_best(emissions: np.ndarray, scores: Scores, n: int) -> list[tuple[float, np.ndarray]]:
    """The `n` best legal tag sequences of one sentence, best first, or as many as there are.

    emissions (T, K), T >= 1 -> pairs of a score in nats and tag ids (T,). Probabilities: exp(score - log_z of the lattice).
    """
    n_steps, n_tags = emissions.shape
    best = np.full((n_tags, n), -np.inf)  # of each tag the n best sequences that end in it
    best[:, 0] = emissions[0] + scores.start
    pointers = np.zeros((n_steps, n_tags, n), np.int64)  # tag * n + rank of the step before
    for t in range(1, n_steps):
        candidates = (best[:, :, None] + scores.transitions[:, None, :]).reshape(n_tags * n, n_tags)
        order = np.argsort(-candidates, axis=0, kind="stable")[:n]  # (n, to)
        pointers[t] = order.T
        best = np.take_along_axis(candidates, order, axis=0).T + emissions[t][:, None]
    ended = (best + scores.end[:, None]).ravel()
    found = []
    for place in np.argsort(-ended, kind="stable")[:n]:
        if ended[place] == -np.inf:
            break
        tags, state = np.zeros(n_steps, np.int32), int(place)
        for t in range(n_steps - 1, -1, -1):
            tags[t] = state // n
            state = int(pointers[t, state // n, state % n])
        found.append((float(ended[place]), tags))
    return found


@dataclass(frozen=True)
class Lattice:
    """alpha, beta (T, K) and log_z () of one sentence: logs of the summed scores before and after each tag, and of all.

    alpha holds the emission of its own position, beta does not.
    """

    alpha: np.ndarray
    beta: np.ndarray
    log_z: float


def forward_backward(emissions: np.ndarray, lengths: np.ndarray, scores: Scores) -> list[Lattice]:
    """Lattices of a batch. emissions (B, T, K), lengths (B,) >= 1."""
    n_steps = emissions.shape[1]
    emissions = emissions.astype(np.float64)
    alpha, beta = np.empty_like(emissions), np.empty_like(emissions)
    alpha[:, 0] = emissions[:, 0] + scores.start
    for t in range(1, n_steps):
        alpha[:, t] = emissions[:, t] + _logsumexp(alpha[:, t - 1, :, None] + scores.transitions, axis=1)
    beta[:, -1] = scores.end
    for t in range(n_steps - 2, -1, -1):
        going_on = _logsumexp(scores.transitions + (emissions[:, t + 1] + beta[:, t + 1])[:, None, :], axis=2)
        beta[:, t] = np.where(np.equal(t, lengths - 1)[:, None], scores.end, going_on)
    log_z = _logsumexp(alpha[:, 0] + beta[:, 0], axis=1)
    return [Lattice(alpha[row, :n], beta[row, :n], float(log_z[row])) for row, n in enumerate(lengths)]


def span_probability(span: Span, emissions: np.ndarray, lattice: Lattice, scores: Scores, tag_set: TagSet) -> float:
    """The probability that exactly this span has exactly this type: the share of all sequences that tag it so."""
    tags = tag_set.encode([Span(span.type, 0, span.end - span.start)], span.end - span.start)
    inside = sum(
        scores.transitions[before, after] + float(emissions[span.start + step, after])
        for step, (before, after) in enumerate(zip(tags, tags[1:], strict=False), 1)
    )
    log_p = lattice.alpha[span.start, tags[0]] + inside + lattice.beta[span.end - 1, tags[-1]] - lattice.log_z
    return float(np.exp(min(0.0, log_p)))


def decode(
    emissions: np.ndarray, lengths: Sequence[int] | np.ndarray, scores: Scores, tag_set: TagSet
) -> list[list[tuple[Span, float]]]:
    """Entities of a batch with their probabilities. emissions (B, T, K); a sentence of no tokens has no entities."""
    counts = np.maximum(np.asarray(lengths), 1)
    tags = viterbi(emissions, counts, scores)
    found = [tag_set.decode(row[:n]) for row, n in zip(tags, lengths, strict=True)]
    rows = [row for row, spans in enumerate(found) if spans]
    if not rows:
        return [[] for _ in found]
    lattices = dict(zip(rows, forward_backward(emissions[rows], counts[rows], scores), strict=True))
    return [
        [(span, span_probability(span, emissions[row], lattices[row], scores, tag_set)) for span in spans]
        for row, spans in enumerate(found)
    ]


def _logsumexp(x: np.ndarray, axis: int) -> np.ndarray:
    peak = x.max(axis=axis, keepdims=True)
    peak = np.where(np.isfinite(peak), peak, 0.0)
    with np.errstate(divide="ignore"):  # log 0 is minus infinity: nothing legal leads there
        return np.log(np.exp(x - peak).sum(axis=axis)) + peak.squeeze(axis)
