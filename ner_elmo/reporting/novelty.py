"""Scores of entities that training had, and of those that it had not: does a model recognise names, or remember them?

An entity is known where the training files hold one with the same tokens, whatever its type; else it is new ("seen" and
"unseen" in Augenstein, Derczynski and Bontcheva 2017).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ner_elmo.entities import Span
from ner_elmo.metrics import Evaluation, evaluate
from ner_elmo.reporting.data_summary import Seen
from ner_elmo.reporting.judged import Judged


@dataclass(frozen=True)
class Novelty:
    """Scores of known and of new entities. Recall is of gold entities, precision of predicted ones of that kind."""

    known: Evaluation
    new: Evaluation


def novelty(judged: Sequence[Judged], seen: Seen) -> Novelty:
    """Scores entities apart by whether training had them; a right prediction has the tokens of its gold entity."""

    def scores(known: bool) -> Evaluation:
        def chosen(one: Judged, spans: Sequence[Span]) -> list[Span]:
            return [span for span in spans if seen.has_entity(one.sentence, span) == known]

        gold = [chosen(one, one.gold) for one in judged]
        predicted = [chosen(one, one.predicted) for one in judged]
        return evaluate(gold, predicted, [len(one.sentence.tokens) for one in judged])

    return Novelty(scores(True), scores(False))
