"""`nlp.add_pipe("ner_elmo", config={"model": DIR})`: a model directory as a component of a spaCy pipeline.

spaCy finds the factory by the entry point `spacy_factories` of pyproject.toml.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator
from functools import cached_property
from pathlib import Path

from spacy.language import Language
from spacy.pipeline import Sentencizer
from spacy.tokens import Doc, Span
from spacy.util import filter_spans

from biLM.errors import InputError
from biLM.startup import start_keras
from biLM.text import TextSentence

CONFIDENCE = "confidence"


@Language.factory("ner_elmo", default_config={"min_confidence": 0.0}, assigns=["doc.ents"], retokenizes=False)
def make(nlp: Language, name: str, model: str, min_confidence: float) -> Component:
    """model: a model directory. min_confidence: entities below it are left out."""
    return Component(Path(model), min_confidence)


class Component:
    """Adds entities to `doc.ents`, each with `entity._.confidence`. Tokens are the document's own; sentences too where it
    has them, else spaCy's rule-based splitter finds them and leaves no mark. Entities that are there already stay.

    The model is loaded when it is first needed. `nlp.to_disk` copies it into the pipeline's directory.
    """

    def __init__(self, model: Path, min_confidence: float = 0.0):
        if not 0 <= min_confidence <= 1:
            raise InputError(f"min_confidence must be from 0 to 1. Received: {min_confidence}.")
        self.model, self.min_confidence = model, min_confidence
        self.sentencizer = Sentencizer()
        if not Span.has_extension(CONFIDENCE):
            Span.set_extension(CONFIDENCE, default=None)

    @cached_property
    def tagger(self):
        start_keras()
        from ner_elmo.predictor import Predictor

        return Predictor.load(self.model)

    def __call__(self, doc: Doc) -> Doc:
        return next(self.pipe([doc]))

    def pipe(self, stream: Iterable[Doc], batch_size: int = 128) -> Iterator[Doc]:
        """Documents with their entities, in order; a chunk of them is read ahead, whatever `batch_size` says."""
        for doc, sentences in self.tagger.tag_items(stream, self._sentences):
            spans = [
                self._span(doc, sentence.starts[span.start], sentence.ends[span.end - 1], span.type, confidence)
                for sentence, found in sentences
                for span, confidence in found
                if confidence >= self.min_confidence
            ]
            doc.ents = filter_spans([*doc.ents, *(span for span in spans if not _taken(span))])
            yield doc

    def to_disk(self, path: str | Path, *, exclude: Iterable[str] = ()) -> None:
        shutil.copytree(self.model, path, dirs_exist_ok=True)

    def from_disk(self, path: str | Path, *, exclude: Iterable[str] = ()) -> Component:
        self.model = Path(path)
        vars(self).pop("tagger", None)
        return self

    def _sentences(self, doc: Doc) -> list[TextSentence]:
        if doc.has_annotation("SENT_START"):
            starts = [token.is_sent_start is True for token in doc]
        else:
            starts = self.sentencizer.predict([doc])[0]
        rows: list[list] = []
        for token, start in zip(doc, starts, strict=True):
            if start or not rows:
                rows.append([])
            if not token.is_space:
                rows[-1].append(token)
        return [
            TextSentence(tuple(t.text for t in row), tuple(t.idx for t in row), tuple(t.idx + len(t) for t in row))
            for row in rows
            if row
        ]

    @staticmethod
    def _span(doc: Doc, start: int, end: int, kind: str, confidence: float) -> Span:
        span = doc.char_span(start, end, label=kind)
        assert span is not None  # its borders are those of tokens
        span._.set(CONFIDENCE, confidence)
        return span


def _taken(span: Span) -> bool:
    """Whether a token of the span belongs to an entity already."""
    return any(token.ent_type for token in span)
