"""Confidence intervals of precision, recall and F1: the percentile bootstrap over sentences.

The test sentences are drawn anew, as many as there are, with replacement; each draw is scored; the interval holds the middle
95 % of the scores. Sentences are drawn whole, because entities of one sentence are right or wrong together. What it does not
cover: another training run, or text of another kind.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ner_elmo.reporting.judged import Judged

N_SAMPLES, LEVEL, SEED = 1000, 0.95, 1
_DRAWS_AT_ONCE = 2**22  # sentences drawn in one block: memory stays small however large the test file is
Interval = tuple[float, float]


@dataclass(frozen=True)
class ScoreIntervals:
    """The intervals of one type's scores, or of the micro averages."""

    precision: Interval
    recall: Interval
    f1: Interval


@dataclass(frozen=True)
class Intervals:
    """Intervals of the strict scores; `method` says how they came about."""

    micro: ScoreIntervals
    types: dict[str, ScoreIntervals]
    method: str
    n_samples: int
    level: float
    seed: int


def bootstrap(judged: Sequence[Judged], n_samples: int = N_SAMPLES, level: float = LEVEL, seed: int = SEED) -> Intervals:
    """Intervals of strict precision, recall and F1, of each type and of all. The same seed gives the same numbers."""
    types = sorted({span.type for one in judged for span in (*one.gold, *one.predicted)})
    counts = _counts(judged, types)
    rng = np.random.default_rng(seed)
    drawn = np.concatenate(list(_drawn(counts.reshape(len(judged), -1), n_samples, rng)))
    drawn = drawn.reshape(n_samples, len(types) + 1, 3)
    found = [_intervals(drawn[:, column], level) for column in range(len(types) + 1)]
    method = f"percentile bootstrap over {len(judged):,} sentences, {n_samples:,} samples, seed {seed}"
    return Intervals(found[-1], dict(zip(types, found, strict=False)), method, n_samples, level, seed)


def _counts(judged: Sequence[Judged], types: Sequence[str]) -> np.ndarray:
    """Right, predicted and gold entities of each sentence and type, and of all types together. Shape: (N, types + 1, 3)."""
    column = {kind: number for number, kind in enumerate(types)}
    counts = np.zeros((len(judged), len(types) + 1, 3), np.float32)
    for row, one in enumerate(judged):
        for which, spans in enumerate((set(one.gold) & set(one.predicted), one.predicted, one.gold)):
            for span in spans:
                counts[row, column[span.type], which] += 1
    counts[:, -1] = counts[:, :-1].sum(axis=1)
    return counts


def _drawn(counts: np.ndarray, n_samples: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Sums over the drawn sentences, a block of samples at a time. counts (N, C) -> (samples, C)."""
    n = len(counts)
    at_once = max(1, _DRAWS_AT_ONCE // max(1, n))
    for start in range(0, n_samples, at_once):
        draws = rng.integers(n, size=(min(at_once, n_samples - start), n))
        times = np.stack([np.bincount(row, minlength=n) for row in draws])
        yield times.astype(np.float32) @ counts


def _intervals(drawn: np.ndarray, level: float) -> ScoreIntervals:
    """drawn (samples, 3): right, predicted, gold. 0 / 0 is 0, as in the scores themselves."""
    right, predicted, gold = drawn.astype(np.float64).T
    scores = (right / np.maximum(predicted, 1), right / np.maximum(gold, 1), 2 * right / np.maximum(predicted + gold, 1))
    ends = [np.quantile(score, [(1 - level) / 2, (1 + level) / 2]).tolist() for score in scores]
    return ScoreIntervals(*((low, high) for low, high in ends))
