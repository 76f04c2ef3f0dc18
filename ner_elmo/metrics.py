"""Entity-level precision, recall and F1, computed by seqeval, each number with its mode.

strict: an entity counts when type and both borders are right (seqeval's strict mode on IOB2). lenient: conlleval's way of
reading tags, which also accepts ill-formed sequences; for the well-formed tags written here both agree.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace

from biLM.errors import InputError
from ner_elmo.entities import Span, tags_of

MICRO = None  # beside the types' names, which may be any text


@dataclass(frozen=True)
class Score:
    """precision, recall, f1 in [0, 1]; support: how many gold entities."""

    precision: float
    recall: float
    f1: float
    support: int


@dataclass(frozen=True)
class Evaluation:
    """Micro averages of both modes, and each type's scores in strict mode. `signature` says what was computed."""

    strict: Score
    lenient: Score
    types: dict[str, tuple[Score, Score]]
    signature: str


@dataclass(frozen=True)
class RunScore:
    """Strict micro F1 of one of several runs on dev and test; sentences: that it was trained on, where runs differ in it."""

    name: str
    dev_f1: float
    test_f1: float
    sentences: int | None = None


def evaluate(gold: Sequence[Sequence[Span]], predicted: Sequence[Sequence[Span]], lengths: Sequence[int]) -> Evaluation:
    """Scores predicted spans against gold spans, sentence by sentence; `lengths` are the sentences' tokens.

    A type that occurs on one side only is scored too, with 0. Without gold entities recall is 0 by convention.
    """
    from importlib.metadata import version

    if not len(gold) == len(predicted) == len(lengths):
        raise InputError(f"as many predictions as sentences. Received: {len(gold)}, {len(predicted)}, {len(lengths)}.")
    strict = _scores(gold, predicted, lengths, mode="strict")
    lenient = _scores(gold, predicted, lengths, mode=None)
    return Evaluation(
        strict=strict[MICRO],
        lenient=lenient[MICRO],
        types={kind: (strict[kind], lenient[kind]) for kind in strict if kind is not None},
        signature=f"entity micro F1, strict IOB2 (seqeval {version('seqeval')}); lenient: conlleval rules",
    )


def strict_score(gold: Sequence[Sequence[Span]], predicted: Sequence[Sequence[Span]], lengths: Sequence[int]) -> Score:
    """The strict micro average alone."""
    return _scores(gold, predicted, lengths, mode="strict")[MICRO]


def _scores(gold, predicted, lengths, mode) -> dict[str | None, Score]:
    from seqeval.metrics import classification_report
    from seqeval.scheme import IOB2

    zero = Score(0.0, 0.0, 0.0, sum(map(len, gold)))
    if not any(gold) and not any(predicted):
        return {MICRO: zero}
    kinds = sorted({span.type for side in (gold, predicted) for spans in side for span in spans})
    names = {kind: f"T{number}" for number, kind in enumerate(kinds)}  # seqeval strips hyphens, and has names of its own
    renamed = [[[replace(span, type=names[span.type]) for span in spans] for spans in side] for side in (gold, predicted)]
    rows = [[tags_of(spans, n, "IOB2") for spans, n in zip(side, lengths, strict=True)] for side in renamed]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # seqeval warns of each 0 / 0, which is defined as 0 here
        report = classification_report(*rows, output_dict=True, zero_division=0, mode=mode, scheme=IOB2 if mode else None)
    return {
        kind: Score(float(row["precision"]), float(row["recall"]), float(row["f1-score"]), int(row["support"]))
        for kind, row in [(MICRO, report["micro avg"]), *((kind, report[names[kind]]) for kind in kinds)]
    }
