"""Calibration: how often entities of a given confidence are right."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ner_elmo.reporting.judged import Judged

N_BINS = 10


@dataclass(frozen=True)
class Bin:
    """Predicted entities whose confidence lies in (low, high]: how many, their mean confidence, the share that is right."""

    low: float
    high: float
    count: int
    confidence: float
    accuracy: float


@dataclass(frozen=True)
class Calibration:
    """Bins of equal width, without empty ones, and the expected calibration error.

    error: the mean of |share right - mean confidence| over the bins, weighted by their entities; in [0, 1].
    """

    bins: tuple[Bin, ...]
    error: float


def calibration(judged: Sequence[Judged]) -> Calibration:
    """Calibration of the predicted entities. Right: type and both borders. Says nothing of missed entities."""
    pairs = [(p, span in one.gold) for one in judged for span, p in zip(one.predicted, one.confidences, strict=True)]
    return calibration_of([p for p, _ in pairs], [right for _, right in pairs])


def calibration_of(confidences: Sequence[float], right: Sequence[bool] | np.ndarray) -> Calibration:
    """Calibration of confidences, given which of the entities are right."""
    confidence, right = np.asarray(confidences, np.float64), np.asarray(right, np.float64)
    if not len(confidence):
        return Calibration((), 0.0)
    number = np.clip(np.ceil(confidence * N_BINS).astype(int) - 1, 0, N_BINS - 1)
    bins = tuple(_bin(k, confidence[number == k], right[number == k]) for k in np.unique(number).tolist())
    error = sum(found.count * abs(found.accuracy - found.confidence) for found in bins) / len(confidence)
    return Calibration(bins, error)


def _bin(number: int, confidence: np.ndarray, right: np.ndarray) -> Bin:
    low, high = number / N_BINS, (number + 1) / N_BINS
    return Bin(low, high, len(right), float(confidence.mean()), float(right.mean()))
