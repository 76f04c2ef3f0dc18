"""`Predictor`: a trained model, ready to tag: text -> tokens -> activations -> emissions -> entities."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence, Sized
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import TypeVar

import numpy as np

from biLM import BiLM
from biLM.batching import batches_by_length, filled
from biLM.progress import Report, silent
from biLM.text import TextSentence, Tokenizer, split_tokens
from ner_elmo.batching import Features, Prepared, Tokens
from ner_elmo.bundle import load_model
from ner_elmo.confidence import AS_IT_IS, Confidence
from ner_elmo.decoding import Scores, decode, forward_backward, n_best, span_probability
from ner_elmo.entities import Entity, Span
from ner_elmo.tagger import Tagger

LINES_AT_ONCE = 1024  # of a stream: enough to sort sentences by length, few enough to stay small
CHARACTERS_AT_ONCE = 2**18  # or fewer lines, when they are long
Tagged = tuple[TextSentence, list[tuple[Span, float]]]
T = TypeVar("T", bound=Sized)
Batch = tuple[list[int], np.ndarray, np.ndarray]  # positions of sentences, their lengths (B,), emissions (B, T, K)


@dataclass(frozen=True)
class Tagging:
    """One way to tag a sentence, and its probability under the CRF among all ways; offsets are into the whole text."""

    probability: float
    entities: list[Entity]


class Predictor:
    """Tags text and tokenised sentences. The result for a sentence depends on the sentence alone. Threads may share one.

    Arguments:
        tagger, features: the network and what it reads.
        tokenizer: splits raw text.
        confidence: turns the CRF's probabilities into confidences.
        n_rows: sentences that the network reads at once.

    Example: `Predictor.load("models/sample").tag("Text with names.")`.
    """

    def __init__(
        self,
        tagger: Tagger,
        features: Features,
        tokenizer: Tokenizer | None = None,
        confidence: Confidence = AS_IT_IS,
        n_rows: int = 32,
    ):
        self.tagger, self.features, self.n_rows = tagger, features, n_rows
        self.tokenizer, self.confidence = tokenizer or Tokenizer(), confidence
        self.tag_set = tagger.head.tag_set
        self.scores = Scores(*tagger.head.scores())
        self._network = Lock()  # on JAX Keras hands a model's own state to each call: two calls at once would lose it

    @classmethod
    def load(cls, directory: str | Path, elmo: str | Path | BiLM | None = None) -> Predictor:
        """Loads a model directory; `elmo` puts another biLM of the same width in the place of its own."""
        tagger, features, config = load_model(Path(directory), elmo)
        return cls(tagger, features, Tokenizer(config.lang), confidence=Confidence.read(Path(directory)))

    def tag(self, text: str) -> list[Entity]:
        """Entities of a text of any length, in order, with offsets into it."""
        return next(self.tag_lines([text]))[1]

    def tag_lines(self, texts: Iterable[str], tokenized: bool = False) -> Iterator[tuple[str, list[Entity]]]:
        """Yields each text with its entities, in order, reading one chunk (1,024 texts at most) ahead.

        tokenized: tokens are what stands between blanks, and a text is one sentence.
        """
        split = (lambda text: [split_tokens(text)]) if tokenized else self.tokenizer.sentences
        for text, sentences in self.tag_items(texts, split):
            yield text, [entity for sentence, spans in sentences for entity in entities_of(text, sentence, spans)]

    def tag_items(self, items: Iterable[T], split: Callable[[T], list[TextSentence]]) -> Iterator[tuple[T, list[Tagged]]]:
        """Yields each item with its sentences and their spans, in order; `split` makes the sentences of an item.

        The network works on one chunk of items while the next is read and split and the one before is written. The
        length of an item is that of its text, in characters.
        """
        waiting: deque[tuple[list[T], list[list[TextSentence]], Future]] = deque()
        with ThreadPoolExecutor(1) as network:
            for chunk in _chunks(items):
                sentences = [split(item) for item in chunk]
                tokens = [sentence.tokens for row in sentences for sentence in row]
                waiting.append((chunk, sentences, network.submit(self.emissions, tokens)))
                if len(waiting) > 1:
                    yield from self._finished(*waiting.popleft())
            while waiting:
                yield from self._finished(*waiting.popleft())

    def _finished(
        self, chunk: list[T], split: list[list[TextSentence]], emissions: Future
    ) -> Iterator[tuple[T, list[Tagged]]]:
        found = iter(self.decode(emissions.result(), sum(map(len, split))))
        for item, sentences in zip(chunk, split, strict=True):
            yield item, [(sentence, next(found)) for sentence in sentences]

    def tag_sentences(self, sentences: Sequence[Tokens], report: Report = silent) -> list[list[tuple[Span, float]]]:
        """Spans of tokenised sentences, each with its confidence. report: (sentences read by the network, in all)."""
        return self.decode(self.emissions(sentences, report), len(sentences))

    def emissions(self, sentences: Sequence[Tokens], report: Report = silent) -> list[Batch]:
        """What the network says of the sentences that hold a token, in batches of like length. report: as above."""
        done = 0
        inputs = Prepared(self.features, [*sentences, ()])  # an empty one, to fill batches up with
        batches = []
        with self._network:
            for part in inputs.parts():
                for chosen in batches_by_length(inputs.lengths[part], self.n_rows):
                    positions = part[chosen].tolist()
                    emissions = self.tagger.predict_on_batch(inputs.batch(filled(positions, len(sentences))))
                    batches.append((positions, inputs.lengths[positions], emissions[: len(positions)]))
                    done += len(positions)
                    report(done, len(sentences))
        return batches

    def decode(self, batches: Sequence[Batch], n_sentences: int) -> list[list[tuple[Span, float]]]:
        """The spans of `n_sentences` sentences in what `emissions` gave for them, in their order."""
        result: dict[int, list[tuple[Span, float]]] = {}
        for positions, lengths, emissions in batches:
            result |= zip(positions, decode(emissions, lengths, self.scores, self.tag_set), strict=True)
        ordered = (result.get(position, []) for position in range(n_sentences))
        return [[(span, self.confidence(probability)) for span, probability in spans] for spans in ordered]

    def n_best(self, text: str, n: int, sentences: Sequence[TextSentence] | None = None) -> list[list[Tagging]]:
        """For each sentence of a text its `n` most probable taggings, the best first. sentences: where they are known."""
        sentences = self.tokenizer.sentences(text) if sentences is None else sentences
        found: list[list[Tagging]] = [[] for _ in sentences]
        for positions, lengths, emissions in self.emissions([sentence.tokens for sentence in sentences]):
            for position, lattice, row in zip(
                positions, forward_backward(emissions, lengths, self.scores), emissions, strict=True
            ):
                sentence = sentences[position]
                row = row[: len(sentence.tokens)]
                for score, tags in n_best(row, self.scores, n):
                    spans = [
                        (span, self.confidence(span_probability(span, row, lattice, self.scores, self.tag_set)))
                        for span in self.tag_set.decode(tags)
                    ]
                    probability = float(np.exp(min(0.0, score - lattice.log_z)))
                    found[position].append(Tagging(probability, entities_of(text, sentence, spans)))
        return found


def _chunks(texts: Iterable[T]) -> Iterator[list[T]]:
    chunk: list[T] = []
    n_characters = 0
    for text in texts:
        chunk.append(text)
        n_characters += len(text)
        if len(chunk) == LINES_AT_ONCE or n_characters >= CHARACTERS_AT_ONCE:
            yield chunk
            chunk, n_characters = [], 0
    if chunk:
        yield chunk


def entities_of(text: str, sentence: TextSentence, spans: Sequence[tuple[Span, float]]) -> list[Entity]:
    """The spans of a sentence as entities of the text that it is from."""
    entities = []
    for span, probability in spans:
        start, end = sentence.starts[span.start], sentence.ends[span.end - 1]
        entities.append(Entity(span.type, start, end, text[start:end], probability))
    return entities
