"""Gold and predicted entities, paired where they overlap: the confusion of types, and the worst mistakes in context.

A pair is one gold and one predicted entity that share a token: the one with most tokens in common, exact matches first. What
finds no partner is missed (gold) or spurious (predicted).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest

from ner_elmo.entities import Span
from ner_elmo.reporting.judged import Judged

CONTEXT = 12  # tokens shown on each side of a mistake


@dataclass(frozen=True)
class Pair:
    """A gold and a predicted entity of one sentence that overlap; None where there is no such partner.

    confidence: the probability that the model gives its own reading: the predicted entity, or, where there is none, that no
    token of the gold entity belongs to an entity.
    """

    gold: Span | None
    predicted: Span | None
    confidence: float

    @property
    def kind(self) -> str:
        """ "right", "missed", "spurious", "type", "borders" or "type and borders": what is wrong."""
        if self.gold is None or self.predicted is None:
            return "missed" if self.predicted is None else "spurious"
        wrong_borders = (self.gold.start, self.gold.end) != (self.predicted.start, self.predicted.end)
        wrong = ["type"] * (self.gold.type != self.predicted.type) + ["borders"] * wrong_borders
        return " and ".join(wrong) or "right"


@dataclass(frozen=True)
class Mistake:
    """A mistake in its context: `tokens` of the sentence around it; the spans count from the first of them.

    where: file:line of the sentence. cut_left, cut_right: whether the sentence goes on there.
    """

    kind: str
    where: str
    tokens: tuple[str, ...]
    gold: Span | None
    predicted: Span | None
    confidence: float
    cut_left: bool = False
    cut_right: bool = False


@dataclass(frozen=True)
class Confusion:
    """How many pairs there are of each gold type (row) and predicted type (column).

    The last column counts missed gold entities, the last row spurious predictions. The diagonal includes wrong borders.
    """

    types: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]


def pairs(one: Judged) -> Iterator[Pair]:
    """All gold and predicted entities of a sentence, each once."""
    confidence_of = dict(zip(one.predicted, one.confidences, strict=True))
    free_gold, free_predicted = set(one.gold), set(one.predicted)
    overlaps = [(_closeness(gold, span), gold, span) for gold in one.gold for span in one.predicted]
    for closeness, gold, span in sorted(overlaps, key=lambda found: (-found[0], found[1:])):
        if closeness > 0 and gold in free_gold and span in free_predicted:
            free_gold.remove(gold)
            free_predicted.remove(span)
            yield Pair(gold, span, confidence_of[span])
    for gold, outside in zip(one.gold, one.outside, strict=True):
        if gold in free_gold:
            yield Pair(gold, None, outside)
    for span in sorted(free_predicted):
        yield Pair(None, span, confidence_of[span])


def _closeness(gold: Span, span: Span) -> float:
    """Tokens in common over tokens of both, in [0, 1]; equal types break ties."""
    common = min(gold.end, span.end) - max(gold.start, span.start)
    both = max(gold.end, span.end) - min(gold.start, span.start)
    return common / both + 1e-6 * (gold.type == span.type) if common > 0 else 0.0


def confusion(judged: Sequence[Judged]) -> Confusion:
    """Counts of all pairs, types in alphabetical order."""
    found = [pair for one in judged for pair in pairs(one)]
    types = sorted({span.type for pair in found for span in (pair.gold, pair.predicted) if span})
    counts = Counter((pair.gold and pair.gold.type, pair.predicted and pair.predicted.type) for pair in found)
    ends = [*types, None]
    return Confusion(tuple(types), tuple(tuple(counts[row, column] for column in ends) for row in ends))


def mistakes(judged: Sequence[Judged]) -> list[Mistake]:
    """All mistakes, those of which the model is surest first."""
    found = [(pair, one) for one in judged for pair in pairs(one) if pair.kind != "right"]
    found.sort(key=lambda item: -item[0].confidence)  # stable: ties stay in the order of the file
    return [_in_context(pair, one) for pair, one in found]


def worst(found: Sequence[Mistake], n: int) -> list[Mistake]:
    """The n worst mistakes, the surest first: as many missed as spurious and wrong ones, as far as there are so many.

    Most tokens are outside of entities, so a model is surer of what it misses than of what it finds: in one list of all,
    missed entities would leave no room for the others.
    """
    kinds = [[m for m in found if m.kind == kind] for kind in ("missed", "spurious")]
    kinds.append([m for m in found if m.kind not in ("missed", "spurious")])
    in_turn = [mistake for rank in zip_longest(*kinds) for mistake in rank if mistake is not None]
    return sorted(in_turn[:n], key=lambda mistake: -mistake.confidence)


def _in_context(pair: Pair, one: Judged) -> Mistake:
    spans = [span for span in (pair.gold, pair.predicted) if span]
    tokens = one.sentence.tokens
    start = max(0, min(span.start for span in spans) - CONTEXT)
    end = min(len(tokens), max(span.end for span in spans) + CONTEXT)
    gold, predicted = (
        span and Span(span.type, span.start - start, span.end - start) for span in (pair.gold, pair.predicted)
    )
    where, shown = one.sentence.where, tokens[start:end]
    return Mistake(pair.kind, where, shown, gold, predicted, pair.confidence, start > 0, end < len(tokens))
