"""`jsonl`, `json` and `doccano`: a text and its spans in one object, a line each or in an array.

Read alike: spans under `entities`, `spans`, `labels`, `label` or `annotations`, each `[start, end, label]` or an object;
spaCy's pairs `[text, {"entities": [...]}]` too.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from biLM.errors import InputError
from ner_elmo.formats.document import Document, Mark
from ner_elmo.formats.source import TEXT_KEYS, Source, records

_ESCAPED = re.compile("[\x85\u2028\u2029\ud800-\udfff]")  # other line ends, and halves of surrogate pairs, which UTF-8 lacks
SPAN_KEYS = ("entities", "spans", "labels", "label", "annotations", "ents")
_START_KEYS = ("start", "start_offset", "startOffset", "begin", "start_char")
_END_KEYS = ("end", "end_offset", "endOffset", "end_char")
_LABEL_KEYS = ("label", "type", "labels", "entity", "tag", "entity_type", "entity_group")
_READ = {*_START_KEYS, *_END_KEYS, *_LABEL_KEYS, "text", "token_start", "token_end"}  # tokens are found by characters


def read(source: Source) -> Iterator[Document]:
    """Documents of raw text."""
    for where, record in records(source.path, source.passed_over):
        yield document_of(record, where, source)


def document_of(record: Any, where: str, source: Source) -> Document:
    if is_pair(record):
        record = {"text": record[0], **record[1]}
    if not isinstance(record, dict):
        raise InputError(f"{where}: must be an object with a text and its spans. Received: {short(record)}.")
    text_key = text_key_of(record, where, source.text_field)
    key = next((key for key in SPAN_KEYS if isinstance(record.get(key), list)), None)
    if key is None and not source.text_only:
        raise InputError(
            f"{where}: must hold a list of spans under {', '.join(SPAN_KEYS)}. Received the keys: {shown(record)}."
        )
    spans = [] if source.text_only else record[key]
    marks = tuple(mark for item in spans for mark in marks_of(item, where, source))
    fields = {name: value for name, value in record.items() if name not in (text_key, key)}
    return Document(record[text_key], marks, None, where, fields)


def is_pair(record: Any) -> bool:
    """Whether a record is `[text, {"entities": ...}]`."""
    pair = isinstance(record, list) and len(record) == 2
    return pair and isinstance(record[0], str) and isinstance(record[1], dict)


def text_key_of(record: Mapping[str, Any], where: str, text_field: str | None = None) -> str:
    """The key under which a record has its text."""
    keys = (text_field,) if text_field else TEXT_KEYS
    for key in keys:
        if isinstance(record.get(key), str):
            return key
    if wrong := next((key for key in keys if key in record), None):
        raise InputError(f"{where}: {wrong!r} must be text. Received: {short(record[wrong])}.")
    raise InputError(
        f"{where}: must hold the text under {' or '.join(keys)}. Received the keys: {shown(record)}. Name it: --field."
    )


def list_of(record: Mapping[str, Any], key: str, where: str) -> list[Any]:
    """The list under a key, empty where there is none."""
    value = record.get(key) or []
    if not isinstance(value, list):
        raise InputError(f"{where}: {key!r} must be a list. Received: {short(value)}.")
    return value


def marks_of(item: Any, where: str, source: Source) -> Iterator[Mark]:
    """The marks of one span: one for each of its labels. What else the span holds is passed over, which `source` notes."""
    if len(item) > 3 if isinstance(item, list | tuple) else isinstance(item, dict) and not _READ.issuperset(item):
        source.passed_over.add("what spans hold besides start, end, label and text")
    if isinstance(item, dict):
        start, end, labels = (_first(item, keys) for keys in (_START_KEYS, _END_KEYS, _LABEL_KEYS))
        said = item.get("text")
    elif isinstance(item, list | tuple) and len(item) >= 3:
        start, end, labels = item[:3]
        said = None
    else:
        start = end = labels = said = None
    labels = labels if isinstance(labels, list) else [labels]
    if not (_is_offset(start) and _is_offset(end) and labels and all(map(_is_label, labels))):
        raise InputError(f"{where}: a span must be [start, end, label] or hold these keys. Received: {short(item)}.")
    for label in labels:
        yield Mark(start, end, str(label), said if isinstance(said, str) else None)


def _first(item: Mapping[str, Any], keys: Iterable[str]) -> Any:
    return next((item[key] for key in keys if key in item), None)


def _is_offset(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_label(value: Any) -> bool:
    """Labels are text; old exports have their numbers."""
    return (isinstance(value, str) and value.strip() != "") or _is_offset(value)


def short(value: Any) -> str:
    """The beginning of a value, on one line: as JSON, or as Python where JSON cannot say it."""
    try:
        return json.dumps(value, ensure_ascii=False, default=str)[:80]
    except TypeError:  # keys that are tuples
        return repr(value)[:80]


def shown(names: Iterable[Any]) -> str:
    """Names of keys or columns on one line: what would end it is escaped, and long ones are cut."""
    return ", ".join(repr(str(name)[:60])[1:-1] for name in names)[:200]


def render_lines(documents: Iterable[Document]) -> Iterator[str]:
    """`{"text": ..., "entities": [{"type", "start", "end", "text"}]}` a line, as `predict.py` writes it."""
    for document in documents:
        yield json_line(_row(document))


def render_array(documents: Iterable[Document]) -> Iterator[str]:
    """The same rows in one array."""
    return array_of(_row(document) for document in documents)


def render_doccano(documents: Iterable[Document]) -> Iterator[str]:
    """`{"text": ..., "label": [[start, end, type], ...]}` a line: what doccano imports and exports."""
    for document in documents:
        label = [[mark.start, mark.end, mark.type] for mark in document.marks]
        yield json_line({"text": document.text, "label": label} | _others(document, "label"))


def _row(document: Document) -> dict[str, Any]:
    entities = [
        {"type": mark.type, "start": mark.start, "end": mark.end, "text": document.text[mark.start : mark.end]}
        for mark in document.marks
    ]
    return {"text": document.text, "entities": entities} | _others(document, "entities")


def _others(document: Document, *taken: str) -> dict[str, Any]:
    return {name: value for name, value in document.fields.items() if name not in ("text", *taken)}


def json_line(value: Any) -> str:
    """A line of JSON Lines that is one line for every reader: what some take for a line end is escaped."""
    return _as_json(value) + "\n"


def _as_json(value: Any) -> str:
    return _ESCAPED.sub(lambda match: f"\\u{ord(match[0]):04x}", json.dumps(value, ensure_ascii=False))


def array_of(rows: Iterable[Any]) -> Iterator[str]:
    """A JSON array, a row a line, written as its rows come."""
    before = "[\n"
    for row in rows:
        yield before + _as_json(row)
        before = ",\n"
    yield "[]\n" if before == "[\n" else "\n]\n"
