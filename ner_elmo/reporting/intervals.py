"""Confidence intervals of precision, recall and F1: the percentile bootstrap over sentences.

The test sentences are drawn anew, as many as there are, with replacement; each draw is scored; the interval holds the middle
95 % of the scores. Sentences are drawn whole, because entities of one sentence are right or wrong together. What it does not
cover: another training run, or text of another kind.

Where all draws score alike, as when every entity is right, they say nothing of how sure that is: the interval is then the
one of Clopper and Pearson (1934) for a share of n, the sentences that have such an entity. All right in 25 sentences:
from 0.025^(1/25), 86 %, to 100 %. A draw without an entity of a type does not count for it. Where nothing was predicted
at all, precision may be anything.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import betaincinv

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
    found = [_intervals(drawn[:, column], counts[:, column], level) for column in range(len(types) + 1)]
    method = f"percentile bootstrap over {len(judged):,} sentences, {n_samples:,} samples, seed {seed}"
    method += "; Clopper and Pearson's where all samples score alike"
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


def _intervals(drawn: np.ndarray, counts: np.ndarray, level: float) -> ScoreIntervals:
    """drawn (samples, 3): right, predicted, gold; counts (N, 3): the same of each sentence."""
    right, predicted, gold = drawn.astype(np.float64).T
    having = [int(np.count_nonzero(has)) for has in (counts[:, 1], counts[:, 2], counts[:, 1:].sum(axis=1))]
    parts = zip((right, right, 2 * right), (predicted, gold, predicted + gold), having, strict=True)
    return ScoreIntervals(*(_interval(part[of > 0] / of[of > 0], n, level) for part, of, n in parts))


def _interval(scores: np.ndarray, n_sentences: int, level: float) -> Interval:
    """The middle of the scores; of scores that are all alike what n sentences can say of a share."""
    if not len(scores):
        return 0.0, 1.0
    ends = (1 - level) / 2, (1 + level) / 2
    if np.ptp(scores) > 0:
        low, high = np.quantile(scores, ends).tolist()
        return low, high
    alike = scores[0] * n_sentences
    low = betaincinv(alike, n_sentences - alike + 1, ends[0]) if alike > 0 else 0.0
    high = betaincinv(alike + 1, n_sentences - alike, ends[1]) if alike < n_sentences else 1.0
    return float(low), float(high)
