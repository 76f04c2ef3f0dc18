"""Texts in, results out: what `predict.py` writes. Everything but the ranking is a stream.

text[start:end] is an entity's text, in every style that has offsets.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from types import MappingProxyType
from typing import Any, TextIO

from rich.console import Console

from biLM.text import TextSentence, split_tokens
from ner_elmo.confidence import Threshold
from ner_elmo.entities import Entity, Span, tags_of
from ner_elmo.formats import columns, labelstudio
from ner_elmo.formats.comma import csv_line
from ner_elmo.formats.document import Document, Mark
from ner_elmo.formats.spans_json import array_of
from ner_elmo.formats.spans_json import json_line as one_line
from ner_elmo.inputs import STYLES, Item
from ner_elmo.pages import coloured, html
from ner_elmo.predictor import Predictor, Tagging, entities_of

GIVEN = "entities_given"  # where a row's own `entities` go
VERSION = "ner-elmo"


@dataclass(frozen=True)
class Result:
    """A text with its entities. number: of the text in the input, from 1. dropped: entities that were left out. doubt: one
    less the lowest confidence among all entities found, also those; 0 without an entity. n_best: of each sentence the most
    probable taggings, where they were asked for."""

    item: Item
    number: int
    entities: Sequence[Entity]
    sentences: Sequence[tuple[TextSentence, Sequence[Span]]]
    doubt: float
    dropped: int = 0
    n_best: Sequence[Sequence[Tagging]] = ()


def results(
    tagger: Predictor, items: Iterable[Item], tokenized: bool = False, min_confidence: float = 0.0, n_best: int = 0
) -> Iterator[Result]:
    """Tags items in order. tokenized: tokens of raw text are what stands between blanks. Entities of less confidence are
    left out. n_best: how many taggings of each sentence to list; the network runs once more for them, text by text."""

    def split(item: Item) -> list[TextSentence]:
        given = item.given_sentences()
        if given is not None:
            return given
        return [split_tokens(item.text)] if tokenized else tagger.tokenizer.sentences(item.text)

    for number, (item, sentences) in enumerate(tagger.tag_items(items, split), 1):
        kept = [(sentence, [pair for pair in spans if pair[1] >= min_confidence]) for sentence, spans in sentences]
        entities = [entity for sentence, spans in kept for entity in entities_of(item.text, sentence, spans)]
        lowest = min((confidence for _, spans in sentences for _, confidence in spans), default=1.0)
        without = [(sentence, [span for span, _ in spans]) for sentence, spans in kept]
        dropped = sum(len(spans) for _, spans in sentences) - len(entities)
        taggings = tagger.n_best(item.text, n_best, [sentence for sentence, _ in sentences]) if n_best else ()
        yield Result(item, number, entities, without, 1 - lowest, dropped, taggings)


def counted(found: Iterable[Result], threshold: Threshold, wanted: float, lowest: float) -> Iterator[Result]:
    """Passes results on, and says on stderr at the end what a wanted precision kept and dropped.

    lowest: the confidence below which entities were dropped, that of the threshold or a higher one.
    """
    kept = dropped = 0
    for result in found:
        kept, dropped = kept + len(result.entities), dropped + result.dropped
        yield result
    kept_and_not = f"kept {kept:,} entities of confidence {lowest:.3f} and more, dropped {dropped:,}"
    on_dev = f"precision {threshold.precision:.4f} and recall {threshold.recall:.4f}"
    print(f"precision {wanted:g}: {kept_and_not}; on dev {threshold.confidence:.3f} and more had {on_dev}", file=sys.stderr)


def ranked(found: Iterable[Result]) -> list[Result]:
    """The most doubtful first, all of them held in memory; equal ones in the order of the input."""
    return sorted(found, key=lambda result: -result.doubt)


def write(found: Iterable[Result], style: str, types: Sequence[str]) -> Iterator[str]:
    """Results ready to print, in one of `STYLES`. types: all that the tagger knows."""
    return _STYLES[style](found, types)


def put(found: Iterable[Result], style: str, types: Sequence[str], stream: TextIO) -> None:
    """Writes results as they come; "text" is coloured where the stream is a terminal."""
    if style == "text" and stream.isatty():
        console = Console(file=stream, highlight=False, markup=False)
        for result in found:
            console.print(coloured(result.item.text, result.entities, types), soft_wrap=True)
    else:
        for piece in write(found, style, types):
            stream.write(piece)
    stream.flush()


def _text(found: Iterable[Result], types: Sequence[str]) -> Iterator[str]:
    for result in found:
        yield marked(result.item.text, result.entities) + "\n"


def _jsonl(found: Iterable[Result], types: Sequence[str]) -> Iterator[str]:
    for result in found:
        more = {"sentences": list(_taggings(result))} if result.n_best else {}
        yield json_line(result.item.text, result.entities, result.item.row, more) + "\n"


def _taggings(result: Result) -> Iterator[dict[str, Any]]:
    for (sentence, _), taggings in zip(result.sentences, result.n_best, strict=True):
        if not sentence.tokens:  # an empty line of tokens between blanks
            continue
        rows = [
            {"probability": round(one.probability, 4), "entities": [_row(entity) for entity in one.entities]}
            for one in taggings
        ]
        yield {"start": sentence.starts[0], "end": sentence.ends[-1], "n_best": rows}


def _row(entity: Entity) -> dict[str, Any]:
    return asdict(entity) | {"confidence": round(entity.confidence, 4)}


def json_line(
    text: str,
    entities: Sequence[Entity],
    row: Mapping[str, Any] | None = None,
    more: Mapping[str, Any] = MappingProxyType({}),
) -> str:
    """`{"text": ..., "entities": [{"type", "start", "end", "text", "confidence"}]}`, or a given row with `entities`."""
    rows = [_row(entity) for entity in entities]
    given = {GIVEN: row["entities"]} if row and "entities" in row else {}
    return one_line({**(row or {"text": text}), **given, "entities": rows, **more}).removesuffix("\n")


def marked(text: str, entities: Sequence[Entity]) -> str:
    parts, position = [], 0
    for entity in entities:
        parts += [text[position : entity.start], f"[{entity.text}]({entity.type} {entity.confidence:.2f})"]
        position = entity.end
    return "".join([*parts, text[position:]])


def _conll(found: Iterable[Result], types: Sequence[str]) -> Iterator[str]:
    for result in found:
        for sentence, spans in result.sentences:
            yield columns.sentence_of(sentence.tokens, tags_of(spans, len(sentence.tokens), "IOB2"))


def _csv(found: Iterable[Result], types: Sequence[str]) -> Iterator[str]:
    """An entity a row; `number` is that of its text."""
    yield csv_line(["number", "start", "end", "type", "text", "confidence"])
    for result in found:
        for entity in result.entities:
            place = (result.number, entity.start, entity.end)
            yield csv_line([*place, entity.type, entity.text, round(entity.confidence, 4)])


def _doccano(found: Iterable[Result], types: Sequence[str]) -> Iterator[str]:
    """Lines that doccano imports, to be corrected there."""
    for result in found:
        label = [[entity.start, entity.end, entity.type] for entity in result.entities]
        others = {key: value for key, value in (result.item.row or {}).items() if key not in ("text", "label")}
        yield one_line({"text": result.item.text, "label": label} | others)


def _labelstudio(found: Iterable[Result], types: Sequence[str]) -> Iterator[str]:
    """Tasks with predictions, which Label Studio shows and people correct; their score is the lowest confidence."""
    return array_of(_task(result) for result in found)


def _task(result: Result) -> dict[str, Any]:
    marks = tuple(Mark(entity.start, entity.end, entity.type) for entity in result.entities)
    document = Document(result.item.text, marks, fields=result.item.row or {})
    details = {"model_version": VERSION, "score": round(1 - result.doubt, 4)}
    scores = [round(entity.confidence, 4) for entity in result.entities]
    return labelstudio.task(document, "predictions", details, scores)


def _html(found: Iterable[Result], types: Sequence[str]) -> Iterator[str]:
    return html(((result.item.text, result.entities) for result in found), types)


_STYLES: dict[str, Callable[[Iterable[Result], Sequence[str]], Iterator[str]]] = dict(
    zip(STYLES, (_text, _jsonl, _conll, _csv, _html, _doccano, _labelstudio), strict=True)
)
