"""`labelstudio`: Label Studio's JSON export, and tasks that it imports.

Of several annotations of a task the first is read that was not cancelled; tasks that nobody annotated are left out,
unless they are to be tagged. Both are noted.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from biLM.errors import InputError
from ner_elmo.formats.document import Document, Mark
from ner_elmo.formats.source import Source, records
from ner_elmo.formats.spans_json import array_of, list_of, marks_of, shown, text_key_of

_ANNOTATIONS = ("annotations", "completions")  # completions: up to version 0.9
_KEPT = ("id", "meta")
_READ = (*_KEPT, "data", *_ANNOTATIONS)
_OF_REGIONS = {"id", "from_name", "to_name", "type", "value", "origin"}


def read(source: Source) -> Iterator[Document]:
    for where, task in records(source.path, source.passed_over):
        if not isinstance(task, dict) or not isinstance(task.get("data"), dict):
            raise InputError(f"{where}: must be a Label Studio task: an object with `data` and `annotations`.")
        results = [[]] if source.text_only else _results(task, where)
        if not results:
            source.note("no annotation", where, "", "the task was left out")
            continue
        if len(results) > 1:
            source.note("several annotations", where, f"{len(results)} of them", "the first was read")
        key = _text_key(task["data"], where, source.text_field)
        marks = tuple(mark for item in results[0] for mark in _marks(item, task["data"][key], where, source))
        if any(value for name, value in task.items() if name not in _READ):
            source.passed_over.add("what tasks hold besides id, meta, data and annotations")
        fields = {name: task[name] for name in _KEPT if task.get(name)}
        fields |= {name: value for name, value in task["data"].items() if name != key}
        yield Document(task["data"][key], marks, None, where, fields)


def _results(task: Mapping[str, Any], where: str) -> list[Any]:
    """The result lists of a task's annotations; of its predictions when it has never had annotations."""
    key = next((key for key in (*_ANNOTATIONS, "predictions") if key in task), None)
    annotations = task[key] if key and task[key] else []
    if not isinstance(annotations, list) or not all(isinstance(item, dict) for item in annotations):
        raise InputError(f"{where}: {key!r} must be a list of objects.")
    return [list_of(item, "result", where) for item in annotations if not item.get("was_cancelled")]


def _marks(item: Any, text: str, where: str, source: Source) -> Iterator[Mark]:
    """The marks of one region; choices, ratings and relations have none."""
    value = item.get("value") if isinstance(item, dict) else None
    if isinstance(value, dict) and "start" in value and ("labels" in value or "hypertextlabels" in value):
        labels = value.get("labels") or value.get("hypertextlabels")
        offsets = value.get("globalOffsets") or value  # of hypertext, start and end are those of an element
        start, end = (offsets.get(key) if isinstance(offsets, dict) else None for key in ("start", "end"))
        for mark in marks_of({"start": start, "end": end, "label": labels, "text": value.get("text")}, where, source):
            yield replace(mark, said=_said(mark, text))
        if (item.get("from_name", "label"), item.get("to_name", "text")) != ("label", "text"):
            source.passed_over.add("other names of controls than label and text")
        if not _OF_REGIONS.issuperset(item):
            source.passed_over.add("what regions hold besides their labels")
    else:
        kind = item.get("type") if isinstance(item, dict) else None
        source.passed_over.add(f"regions of the type {shown([kind])}" if isinstance(kind, str) else "regions without labels")


def _said(mark: Mark, text: str) -> str | None:
    """The text of a region; Label Studio writes line ends in it as \\n, two characters, which the text may hold itself."""
    there, said = text[mark.start : mark.end], mark.said
    if said is None:
        return None
    if there.replace("\n", "\\n") == said.replace("\n", "\\n"):
        return there
    return said if said in text else said.replace("\\n", "\n")


def _text_key(data: Mapping[str, Any], where: str, text_field: str | None) -> str:
    texts = [name for name, value in data.items() if isinstance(value, str)]
    return texts[0] if len(texts) == 1 and not text_field else text_key_of(data, where, text_field)


def render(documents: Iterable[Document]) -> Iterator[str]:
    """Annotated tasks for a labelling set-up of `<Labels name="label" toName="text"/>` and `<Text name="text"/>`."""
    return array_of(task(document, "annotations", {}) for document in documents)


def task(document: Document, kind: str, details: Mapping[str, Any], scores: Iterable[float] | None = None) -> dict[str, Any]:
    """A task with its regions as `annotations`, or as `predictions`, which people correct. details: beside the result."""
    given = list(scores) if scores is not None else [None] * len(document.marks)
    result = [
        _region(document, number, mark, score)
        for number, (mark, score) in enumerate(zip(document.marks, given, strict=True), 1)
    ]
    data = {name: value for name, value in document.fields.items() if name not in ("text", *_KEPT)}
    kept = {name: document.fields[name] for name in _KEPT if name in document.fields}
    return {**kept, "data": {"text": document.text, **data}, kind: [{**details, "result": result}]}


def _region(document: Document, number: int, mark: Mark, score: float | None) -> dict[str, Any]:
    value = {"start": mark.start, "end": mark.end, "text": document.text[mark.start : mark.end], "labels": [mark.type]}
    region = {"id": f"region-{number}", "from_name": "label", "to_name": "text", "type": "labels", "value": value}
    return region if score is None else {**region, "score": score}
