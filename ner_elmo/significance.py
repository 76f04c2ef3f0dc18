"""Is one model better than another, or was it luck? Paired approximate randomisation over the sentences of a test set.

Under the hypothesis that both are equally good it does not matter which of them said what of a sentence. So in each round
the two answers to every sentence are swapped with probability one half; p is the share of rounds in which the difference
in F1 is at least as large as the one observed.

Source: Noreen 1989; Yeh 2000 for F1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ner_elmo.entities import Span

ROUNDS = 10_000
_AT_ONCE = 500  # rounds, to bound memory


@dataclass(frozen=True)
class Comparison:
    """f1 of both, their difference (b less a), the two-sided p of that difference, and how many rounds it comes from."""

    a_f1: float
    b_f1: float
    difference: float
    p: float
    rounds: int
    sentences: int


def compare(
    gold: Sequence[Sequence[Span]],
    a: Sequence[Sequence[Span]],
    b: Sequence[Sequence[Span]],
    rounds: int = ROUNDS,
    seed: int = 0,
) -> Comparison:
    """Compares two predictions for the same sentences by strict micro F1.

    p = (1 + rounds with at least the observed difference) / (1 + rounds), so it is never 0.
    """
    counts = np.array([_counts(gold, side) for side in (a, b)])  # (2, sentences, 2): right, predicted
    n_gold = sum(map(len, gold))
    observed = _f1(counts.sum(axis=1), n_gold)
    difference = observed[1] - observed[0]
    total, gap = counts.sum(axis=1), (counts[1] - counts[0])
    rng, beyond, done = np.random.default_rng(seed), 0, 0
    while done < rounds:
        n = min(_AT_ONCE, rounds - done)
        swapped = (rng.random((n, len(gold))) < 0.5) @ gap  # (n, 2): what moves from one side to the other
        differences = _f1(total[1] - swapped, n_gold) - _f1(total[0] + swapped, n_gold)
        beyond += int((np.abs(differences) >= abs(difference) - 1e-12).sum())
        done += n
    return Comparison(
        float(observed[0]), float(observed[1]), float(difference), (1 + beyond) / (1 + rounds), rounds, len(gold)
    )


def _counts(gold: Sequence[Sequence[Span]], predicted: Sequence[Sequence[Span]]) -> list[tuple[int, int]]:
    return [(len(set(own) & set(spans)), len(spans)) for own, spans in zip(gold, predicted, strict=True)]


def _f1(counts: np.ndarray, n_gold: int) -> np.ndarray:
    """F1 of counts (..., 2) of right and predicted entities."""
    return 2 * counts[..., 0] / np.maximum(1, counts[..., 1] + n_gold)
