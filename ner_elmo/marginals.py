"""Lattices -> probabilities that predictions alone do not show: of each tag at each token, of a stretch without entities."""

from __future__ import annotations

import numpy as np

from ner_elmo.decoding import Lattice, Scores
from ner_elmo.entities import OUTSIDE, Span, TagSet


def tag_probabilities(lattice: Lattice) -> np.ndarray:
    """The probability of each tag at each token: the share of all sequences that go through it. Shape: (T, K)."""
    probabilities = np.exp(np.minimum(0.0, lattice.alpha + lattice.beta - lattice.log_z))
    return probabilities / probabilities.sum(axis=1, keepdims=True)


def outside_probability(span: Span, emissions: np.ndarray, lattice: Lattice, scores: Scores, tag_set: TagSet) -> float:
    """The probability that no token of `span` belongs to any entity. emissions (T, K)."""
    outside = tag_set.id_of[OUTSIDE]
    steps = scores.transitions[outside, outside] + emissions[span.start + 1 : span.end, outside].astype(np.float64)
    log_p = lattice.alpha[span.start, outside] + steps.sum() + lattice.beta[span.end - 1, outside] - lattice.log_z
    return float(np.exp(min(0.0, log_p)))
