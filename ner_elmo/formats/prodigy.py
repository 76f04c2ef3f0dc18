"""`prodigy`: Prodigy's JSON Lines: text, tokens, spans.

Examples that were rejected or ignored are left out and noted, unless they are to be tagged.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from typing import Any

from biLM.errors import InputError
from ner_elmo.formats.document import Borders, Document, without_blanks
from ner_elmo.formats.source import Source, records
from ner_elmo.formats.spans_json import json_line, list_of, marks_of, short, text_key_of

READ = ("text", "tokens", "spans")
_OF_TOKENS = {"text", "start", "end", "id", "ws"}


def read(source: Source) -> Iterator[Document]:
    """Documents of one sentence each where the file has tokens, else of raw text."""
    for where, record in records(source.path, source.passed_over):
        if not isinstance(record, dict):
            raise InputError(f"{where}: must be an object with text and spans.")
        text = record[text_key_of(record, where, source.text_field or "text")]
        answer = record.get("answer", "accept")
        if answer != "accept" and not source.text_only:
            source.note(f"answer {answer}", where, text[:80], "the example was left out")
            continue
        spans = [] if source.text_only else list_of(record, "spans", where)
        marks = tuple(mark for item in spans for mark in marks_of(item, where, source))
        sentences = (_borders(record, text, where, source),) if record.get("tokens") else None
        fields = {name: value for name, value in record.items() if name not in READ}
        yield Document(text, marks, sentences, where, fields)


def _borders(record: Mapping[str, Any], text: str, where: str, source: Source) -> Borders:
    borders: list[tuple[int, int]] = []
    for token in list_of(record, "tokens", where):
        start, end = (token.get(key) if isinstance(token, dict) else None for key in ("start", "end"))
        if not (isinstance(start, int) and isinstance(end, int) and 0 <= start <= end <= len(text)) or (
            text[start:end] != token.get("text")
        ):
            raise InputError(
                f"{where}: tokens must have start, end and the text that stands there. Received: {short(token)}."
            )
        if borders and start < borders[-1][1]:
            raise InputError(f"{where}: tokens must stand in order, none over another. Received: {short(token)}.")
        borders.append((start, end))
        if not _OF_TOKENS.issuperset(token):
            source.passed_over.add("what tokens hold besides their text and place")
    return without_blanks(text, borders)


def render(documents: Iterable[Document]) -> Iterator[str]:
    """A line a document; `token_end` is the span's last token, as Prodigy counts."""
    for document in documents:
        borders = list(chain.from_iterable(document.sentences or ()))
        first = {start: number for number, (start, _) in enumerate(borders)}
        last = {end: number for number, (_, end) in enumerate(borders)}
        tokens = [
            {"text": document.text[a:b], "start": a, "end": b, "id": n, "ws": document.text[b : b + 1].isspace()}
            for n, (a, b) in enumerate(borders)
        ]
        spans = [
            {"start": m.start, "end": m.end, "token_start": first[m.start], "token_end": last[m.end], "label": m.type}
            for m in document.marks
        ]
        others = {name: value for name, value in document.fields.items() if name not in READ}
        yield json_line({"text": document.text, "tokens": tokens, "spans": spans} | others)
