"""`Judged`: an annotated sentence beside what a model says of it; what scores and reports are made from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from biLM.progress import Report, silent
from ner_elmo.decoding import forward_backward, span_probability, viterbi
from ner_elmo.entities import Span
from ner_elmo.marginals import outside_probability
from ner_elmo.metrics import Evaluation, evaluate
from ner_elmo.readers import Sentence

if TYPE_CHECKING:
    from ner_elmo.predictor import Predictor


@dataclass(frozen=True)
class Judged:
    """A sentence with its gold spans, and a model's.

    confidences: of each predicted span, how sure the model is that exactly this span has exactly this type.
    outside: of each gold span, the probability that none of its tokens belongs to an entity.
    """

    sentence: Sentence
    predicted: tuple[Span, ...] = ()
    confidences: tuple[float, ...] = ()
    outside: tuple[float, ...] = ()

    @property
    def gold(self) -> tuple[Span, ...]:
        return self.sentence.spans


def judge(tagger: Predictor, sentences: Sequence[Sentence], report: Report = silent) -> list[Judged]:
    """What a model says of annotated sentences, in their order. The network runs once over each; report: (read, in all)."""
    scores, tag_set = tagger.scores, tagger.tag_set
    result: dict[int, Judged] = {}
    for positions, lengths, emissions in tagger.emissions([sentence.tokens for sentence in sentences], report):
        counts = lengths.clip(1)
        best, lattices = viterbi(emissions, counts, scores), forward_backward(emissions, counts, scores)
        for row, position in enumerate(positions):
            sentence, here = sentences[position], (emissions[row], lattices[row], scores, tag_set)
            spans = tag_set.decode(best[row, : lengths[row]])
            confidences = tuple(tagger.confidence(span_probability(span, *here)) for span in spans)
            outside = tuple(outside_probability(span, *here) for span in sentence.spans)
            result[position] = Judged(sentence, spans, confidences, outside)
    return [result[position] for position in range(len(sentences))]


def evaluation_of(judged: Sequence[Judged]) -> Evaluation:
    """Entity-level scores of what was judged."""
    lengths = [len(one.sentence.tokens) for one in judged]
    return evaluate([one.gold for one in judged], [one.predicted for one in judged], lengths)
