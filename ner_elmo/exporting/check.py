"""What an exported model must give: the spans and probabilities of `Predictor`, on sentences that are hard to read."""

from __future__ import annotations

from collections.abc import Sequence

from ner_elmo.batching import Tokens, Words
from ner_elmo.entities import Span
from ner_elmo.predictor import Predictor

TOLERANCE = 1e-4  # of a probability
HARD: tuple[Tokens, ...] = (
    ("Ada", "Lund", "left", "Oslo", "for", "New", "York", "."), ("x",), ("<S>", "inside", "</S>"), ("same", "same", "SAME"),
    ("ÅLESUND", "İstanbul", "ΟΔΟΣ", "STRASSE", "e\u0301", "😀"), ("very" * 40, "long", "!"), ("A",) * 70,
)  # fmt: skip
FOUND = tuple[str, int, int, float]  # type, start, end, probability


def sample_sentences(words: Words | None) -> list[Tokens]:
    """Hard sentences, and some of the tagger's own words, which are more likely to be entities."""
    own = words.words if words is not None else []
    some = [word.title() if number % 2 else word for number, word in enumerate(own[:: max(1, len(own) // 96)])]
    return [*HARD, *(tuple(some[start : start + 12]) for start in range(0, len(some), 12))]


def check(
    tagger: Predictor, sentences: Sequence[Tokens], found: Sequence[Sequence[FOUND]]
) -> list[list[tuple[Span, float]]]:
    """What the tagger gives for the sentences. Raises RuntimeError where the exported model found something else."""
    expected = tagger.tag_sentences(sentences)
    for sentence, ours, theirs in zip(sentences, expected, found, strict=True):
        wanted = [(span.type, span.start, span.end) for span, _ in ours]
        same = wanted == [(kind, start, end) for kind, start, end, _ in theirs]
        if not same or any(abs(p - q[3]) > TOLERANCE for (_, p), q in zip(ours, theirs, strict=True)):
            raise RuntimeError(f"the exported model finds {theirs} in {' '.join(sentence)!r}, the tagger {ours}")
    return expected
