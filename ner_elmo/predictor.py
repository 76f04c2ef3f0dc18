"""`NerTagger`: a trained model, ready to tag: text -> tokens -> activations -> emissions -> entities."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path

from biLM import BiLM
from biLM.model import TOKENS_PER_SENTENCE, batches_by_length
from biLM.text import TextSentence, Tokenizer, split_tokens
from ner_elmo.batching import Features, Tokens
from ner_elmo.bundle import load_model
from ner_elmo.decoding import Scores, decode
from ner_elmo.entities import Entity, Span
from ner_elmo.tagger import Tagger

LINES_AT_ONCE = 256  # of a stream: enough to sort sentences by length, few enough to stay small


class NerTagger:
    """Tags text and tokenised sentences. The result for a sentence depends on the sentence alone.

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

    @classmethod
    def load(cls, directory: str | Path, elmo: str | Path | BiLM | None = None) -> NerTagger:
        """Loads a model directory; `elmo` puts another biLM of the same width in the place of its own."""
        tagger, features, config = load_model(Path(directory), elmo)
        return cls(tagger, features, Tokenizer(config.lang))

    def tag(self, text: str) -> list[Entity]:
        """Entities of a text of any length, in order, with offsets into it."""
        return next(self.tag_lines([text]))[1]

    def tag_lines(self, texts: Iterable[str], tokenized: bool = False) -> Iterator[tuple[str, list[Entity]]]:
        """Yields each text with its entities, in order, reading no more than a few hundred texts ahead.

        tokenized: tokens are what stands between blanks, and a text is one sentence.
        """
        for text, sentences in self._tagged(texts, tokenized):
            yield text, [entity for sentence, spans in sentences for entity in _entities(text, sentence, spans)]

    def tag_tokens(self, texts: Iterable[str], tokenized: bool = False) -> Iterator[tuple[TextSentence, list[Span]]]:
        """Yields each sentence of the texts with its spans over tokens, in order."""
        for _, sentences in self._tagged(texts, tokenized):
            for sentence, spans in sentences:
                yield sentence, [span for span, _ in spans]

    def _tagged(self, texts: Iterable[str], tokenized: bool):
        texts = iter(texts)
        while chunk := list(islice(texts, LINES_AT_ONCE)):
            split = [[split_tokens(text)] if tokenized else self.tokenizer.sentences(text) for text in chunk]
            found = iter(self.tag_sentences([sentence.tokens for sentences in split for sentence in sentences]))
            for text, sentences in zip(chunk, split, strict=True):
                yield text, [(sentence, next(found)) for sentence in sentences]

    def tag_sentences(self, sentences: Sequence[Tokens]) -> list[list[tuple[Span, float]]]:
        """Spans of tokenised sentences, each with its probability."""
        result: list[list[tuple[Span, float]]] = [[] for _ in sentences]
        real = [position for position, sentence in enumerate(sentences) if len(sentence)]
        lengths = [len(sentences[position]) for position in real]
        for batch in batches_by_length(lengths, self.batch_size, self.batch_size * TOKENS_PER_SENTENCE):
            positions = [real[number] for number in batch]
            inputs = self.features.batch([sentences[position] for position in positions])
            emissions = self.tagger.predict_on_batch(inputs)
            decoded = decode(emissions, [lengths[number] for number in batch], self.scores, self.tag_set)
            for position, spans in zip(positions, decoded, strict=True):
                result[position] = spans
        return result


def _entities(text: str, sentence: TextSentence, spans: Sequence[tuple[Span, float]]) -> list[Entity]:
    entities = []
    for span, probability in spans:
        start, end = sentence.starts[span.start], sentence.ends[span.end - 1]
        entities.append(Entity(span.type, start, end, text[start:end], probability))
    return entities
