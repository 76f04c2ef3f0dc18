"""`spacy-json`: spaCy's JSON training format: documents of paragraphs of sentences of tokens, with BILUO tags."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from typing import Any

from biLM.errors import InputError
from ner_elmo.entities import spans_of, tags_of
from ner_elmo.formats.document import Document, Mark, without_blanks
from ner_elmo.formats.source import Source, records
from ner_elmo.formats.spans_json import array_of, list_of, marks_of
from ner_elmo.formats.tagged import spans_over_tokens

_TO_BILUO = {"E": "L", "S": "U"}
_OF_TOKENS = ("id", "orth", "space", "ner")
_KNOWN = ("cats", "links", "tag", "pos", "morph", "lemma", "head", "dep", "sentiment")
_UNKNOWN = ("-", "", None)  # spaCy's marks of tokens that nobody annotated


def read(source: Source) -> Iterator[Document]:
    """A document a paragraph."""
    for where, record in records(source.path, source.passed_over):
        paragraphs = record.get("paragraphs") if isinstance(record, dict) else None
        if not isinstance(paragraphs, list):
            raise InputError(f"{where}: must be an object with `paragraphs`, as in spaCy's JSON training format.")
        for number, paragraph in enumerate(paragraphs, 1):
            place = where if len(paragraphs) == 1 else f"{where}, paragraph {number}"
            yield _document(paragraph, place, source)


def _document(paragraph: Any, where: str, source: Source) -> Document:
    sentences = paragraph.get("sentences") if isinstance(paragraph, dict) else None
    if not isinstance(sentences, list) or not all(isinstance(s, dict) and _are_tokens(s.get("tokens")) for s in sentences):
        raise InputError(f"{where}: a paragraph must have `sentences` of `tokens`, `orth` and `space` being text.")
    if not isinstance(paragraph.get("raw") or "", str):
        raise InputError(f"{where}: `raw` must be text. Received: {type(paragraph['raw']).__name__}.")
    tokens = [[token["orth"] for token in sentence["tokens"]] for sentence in sentences]
    text = paragraph.get("raw") or "".join(
        token["orth"] + token.get("space", " ") for sentence in sentences for token in sentence["tokens"]
    )
    borders = _borders(text, tokens, where)
    entities = list_of(paragraph, "entities", where)
    marks = [mark for item in entities for mark in marks_of(item, where, source)] or _marks(sentences, borders, where)
    others = [key for key, value in paragraph.items() if value and key not in ("raw", "sentences", "entities")]
    of_tokens = (key for sentence in sentences for token in sentence["tokens"] for key in token if key not in _OF_TOKENS)
    source.passed_over.update(map(_named, chain(others, of_tokens)))
    return Document(text, tuple(marks), tuple(without_blanks(text, row) for row in borders), where)


def _named(key: str) -> str:
    return key if key in _KNOWN else "keys that spaCy does not have"


def _are_tokens(tokens: Any) -> bool:
    return isinstance(tokens, list) and all(
        isinstance(t, dict) and isinstance(t.get("orth"), str) and isinstance(t.get("space", ""), str) for t in tokens
    )


def _borders(text: str, sentences: Iterable[Iterable[str]], where: str) -> list[list[tuple[int, int]]]:
    position, found = 0, []
    for tokens in sentences:
        row = []
        for token in tokens:
            start = text.find(token, position)
            if start < 0:
                raise InputError(f"{where}: the token {token[:40]!r} is not in `raw` after character {position}.")
            position = start + len(token)
            row.append((start, position))
        found.append(row)
    return found


def _marks(sentences: Iterable[Mapping[str, Any]], borders: Iterable[list[tuple[int, int]]], where: str) -> list[Mark]:
    marks = []
    for sentence, row in zip(sentences, borders, strict=True):
        tags = ["O" if token.get("ner") in _UNKNOWN else token["ner"] for token in sentence["tokens"]]
        try:
            spans = spans_of(tags, "BIOES")
        except (InputError, TypeError, AttributeError) as error:
            raise InputError(f"{where}: {error}.") from None
        marks += [Mark(row[span.start][0], row[span.end - 1][1], span.type) for span in spans]
    return marks


def render(documents: Iterable[Document]) -> Iterator[str]:
    return array_of({"id": number, "paragraphs": [_paragraph(document)]} for number, document in enumerate(documents))


def _paragraph(document: Document) -> dict[str, Any]:
    sentences, number, text = [], 0, document.text
    for borders, spans in spans_over_tokens(document):
        tokens = []
        for (start, end), tag in zip(borders, tags_of(spans, len(borders)), strict=True):
            ner = _TO_BILUO.get(tag[0], tag[0]) + tag[1:]
            space = " " if text[end : end + 1] == " " else ""
            tokens.append({"id": number, "orth": text[start:end], "space": space, "ner": ner})
            number += 1
        sentences.append({"tokens": tokens, "brackets": []})
    entities = [[mark.start, mark.end, mark.type] for mark in document.marks]
    return {"raw": text, "sentences": sentences, "cats": [], "entities": entities, "links": []}
