"""`NerTagger`: a trained model, ready to tag: text -> tokens -> activations -> emissions -> entities."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from threading import Lock

import numpy as np

from biLM import BiLM
from biLM.batching import batches_by_length, filled
from biLM.text import TextSentence, Tokenizer, split_tokens
from ner_elmo.batching import Features, Prepared, Tokens
from ner_elmo.bundle import load_model
from ner_elmo.decoding import Scores, decode
from ner_elmo.entities import Entity, Span
from ner_elmo.tagger import Tagger

LINES_AT_ONCE = 1024  # of a stream: enough to sort sentences by length, few enough to stay small
CHARACTERS_AT_ONCE = 2**18  # or fewer lines, when they are long
Tagged = tuple[TextSentence, list[tuple[Span, float]]]
Batch = tuple[list[int], np.ndarray, np.ndarray]  # positions of sentences, their lengths (B,), emissions (B, T, K)


class NerTagger:
    """Tags text and tokenised sentences. The result for a sentence depends on the sentence alone. Threads may share one.

    Arguments:
        tagger, features: the network and what it reads.
        tokenizer: splits raw text.

    Example: `NerTagger.load("models/sample").tag("Text with names.")`.
    """

    def __init__(self, tagger: Tagger, features: Features, tokenizer: Tokenizer | None = None, batch_size: int = 32):
        self.tagger, self.features, self.batch_size = tagger, features, batch_size
        self.tokenizer = tokenizer or Tokenizer()
        self.tag_set = tagger.head.tag_set
        self.scores = Scores(*tagger.head.scores())
        self._network = Lock()  # on JAX Keras hands a model's own state to each call: two calls at once would lose it

    @classmethod
    def load(cls, directory: str | Path, elmo: str | Path | BiLM | None = None) -> NerTagger:
        """Loads a model directory; `elmo` puts another biLM of the same width in the place of its own."""
        tagger, features, config = load_model(Path(directory), elmo)
        return cls(tagger, features, Tokenizer(config.lang))

    def tag(self, text: str) -> list[Entity]:
        """Entities of a text of any length, in order, with offsets into it."""
        return next(self.tag_lines([text]))[1]

    def tag_lines(self, texts: Iterable[str], tokenized: bool = False) -> Iterator[tuple[str, list[Entity]]]:
        """Yields each text with its entities, in order, reading one chunk (1,024 texts at most) ahead.

        tokenized: tokens are what stands between blanks, and a text is one sentence.
        """
        for text, sentences in self._tagged(texts, tokenized):
            yield text, [entity for sentence, spans in sentences for entity in entities_of(text, sentence, spans)]

    def tag_tokens(self, texts: Iterable[str], tokenized: bool = False) -> Iterator[tuple[TextSentence, list[Span]]]:
        """Yields each sentence of the texts with its spans over tokens, in order."""
        for _, sentences in self._tagged(texts, tokenized):
            for sentence, spans in sentences:
                yield sentence, [span for span, _ in spans]

    def _tagged(self, texts: Iterable[str], tokenized: bool) -> Iterator[tuple[str, list[Tagged]]]:
        """The network works on one chunk of texts while the next is read and split and the one before is written."""
        waiting: deque[tuple[list[str], list[list[TextSentence]], Future]] = deque()
        with ThreadPoolExecutor(1) as network:
            for chunk in _chunks(texts):
                split = [[split_tokens(text)] if tokenized else self.tokenizer.sentences(text) for text in chunk]
                tokens = [sentence.tokens for sentences in split for sentence in sentences]
                waiting.append((chunk, split, network.submit(self._emissions, tokens)))
                if len(waiting) > 1:
                    yield from self._finished(*waiting.popleft())
            while waiting:
                yield from self._finished(*waiting.popleft())

    def _finished(
        self, chunk: list[str], split: list[list[TextSentence]], emissions: Future
    ) -> Iterator[tuple[str, list[Tagged]]]:
        found = iter(self._decode(emissions.result()))
        for text, sentences in zip(chunk, split, strict=True):
            yield text, [(sentence, next(found)) for sentence in sentences]

    def tag_sentences(self, sentences: Sequence[Tokens]) -> list[list[tuple[Span, float]]]:
        """Spans of tokenised sentences, each with its probability."""
        return self._decode(self._emissions(sentences))

    def _emissions(self, sentences: Sequence[Tokens]) -> list[Batch]:
        """What the network says of the sentences, in batches of like length."""
        inputs = Prepared(self.features, [*sentences, ()])  # an empty one, to fill batches up with
        batches = []
        for positions in batches_by_length(inputs.lengths[:-1], self.batch_size):
            with self._network:
                emissions = self.tagger.predict_on_batch(inputs.batch(filled(positions, len(sentences))))
            batches.append((positions, inputs.lengths[positions], emissions[: len(positions)]))
        return batches

    def _decode(self, batches: Sequence[Batch]) -> list[list[tuple[Span, float]]]:
        result: dict[int, list[tuple[Span, float]]] = {}
        for positions, lengths, emissions in batches:
            result |= zip(positions, decode(emissions, lengths, self.scores, self.tag_set), strict=True)
        return [result[position] for position in range(len(result))]


def _chunks(texts: Iterable[str]) -> Iterator[list[str]]:
    chunk: list[str] = []
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
    """Spans over the tokens of a sentence -> entities with offsets into its whole text."""
    entities = []
    for span, probability in spans:
        start, end = sentence.starts[span.start], sentence.ends[span.end - 1]
        entities.append(Entity(span.type, start, end, text[start:end], probability))
    return entities
