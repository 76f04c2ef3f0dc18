"""Strict and partial matches, computed by nervaluate (after SemEval-2013 task 9.1).

strict: borders and type; exact: borders, whatever the type; partial: any overlap, whatever the type, counts half; ent_type:
any overlap, and the type.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ner_elmo.entities import Span
from ner_elmo.reporting.judged import Judged


@dataclass(frozen=True)
class Matches:
    """What one way of matching counts, and the scores that follow."""

    correct: int
    incorrect: int
    partial: int
    missed: int
    spurious: int
    precision: float
    recall: float
    f1: float


def matches(judged: Sequence[Judged]) -> dict[str, Matches]:
    """The four ways: "strict", "exact", "partial", "ent_type"."""
    from nervaluate import strategies

    ways = {
        "strict": strategies.StrictEvaluation(),
        "exact": strategies.ExactEvaluation(),
        "partial": strategies.PartialEvaluation(),
        "ent_type": strategies.EntityTypeEvaluation(),
    }
    sentences = [(_entities(one.gold), _entities(one.predicted)) for one in judged if one.gold or one.predicted]
    return {name: _summed(way, sentences, halves=name in ("partial", "ent_type")) for name, way in ways.items()}


def _entities(spans: Sequence[Span]) -> list:
    from nervaluate.entities import Entity

    return [Entity(span.type, span.start, span.end - 1) for span in spans]  # nervaluate's ends are inclusive


def _summed(way, sentences, halves: bool) -> Matches:
    from nervaluate.entities import EvaluationResult

    total = EvaluationResult()
    for gold, predicted in sentences:
        found, _ = way.evaluate(gold, predicted, [])
        for name in ("correct", "incorrect", "partial", "missed", "spurious"):
            setattr(total, name, getattr(total, name) + getattr(found, name))
    total.compute_metrics(partial_or_type=halves)
    counts = (total.correct, total.incorrect, total.partial, total.missed, total.spurious)
    return Matches(*counts, float(total.precision), float(total.recall), float(total.f1))
