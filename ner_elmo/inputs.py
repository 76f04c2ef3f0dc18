"""What `predict.py` reads: lines of text, rows of CSV and JSON Lines, directories, and the annotation formats."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from biLM.corpus import BoundedReader, count_lines, decoded, open_bytes
from biLM.errors import InputError
from biLM.prepare import find_sources
from biLM.text import TextSentence, require_characters
from ner_elmo.formats import comma
from ner_elmo.formats.document import Borders
from ner_elmo.formats.source import Source, json_value, suffix_of
from ner_elmo.formats.spans_json import text_key_of
from ner_elmo.formats.table import AUTO, FORMATS, documents_of

TEXT, ROWS = "text", "rows"
STYLES = ("text", "jsonl", "conll", "csv", "html", "doccano", "labelstudio")  # here, so that --help needs no Keras
INPUTS = (AUTO, TEXT, ROWS, *FORMATS)
COMMA, JSON_LINES = (".csv", ".tsv"), (".jsonl", ".ndjson")
ANNOTATED = (".conll", ".bio", ".iob", ".json", ".spacy", ".arrow")


@dataclass(frozen=True)
class Item:
    """A text to tag. sentences: its tokens, where the file gives them; row: the row that it comes from, with the text;
    line: of its file where it begins, from 1, where that is known."""

    text: str
    sentences: tuple[Borders, ...] | None = None
    row: Mapping[str, Any] | None = None
    line: int | None = None

    def __len__(self) -> int:
        return len(self.text)

    def given_sentences(self) -> list[TextSentence] | None:
        """The sentences as the file gives them; None where they have to be found."""
        if self.sentences is None:
            return None
        return [
            TextSentence(tuple(self.text[a:b] for a, b in row), tuple(a for a, _ in row), tuple(b for _, b in row))
            for row in self.sentences
            if row
        ]


def read_items(paths: Sequence[str], field: str | None = None, form: str = AUTO) -> Iterator[Item]:
    """Texts of files and of all files below directories, packed or not; of standard input without paths.

    Arguments:
        field: key or column of the text in rows.
        form: "text" (a line is a text), "rows" (JSON Lines, or CSV by the file's name), the name of an annotation format,
            or "auto", which goes by the file's name: .jsonl and .csv hold rows, .conll, .json and .spacy annotations.

    Texts that nobody annotated, or whose annotation was rejected, are there, too.
    A file that is not there is told at once, what is wrong in one when it is its turn.
    """
    return _items(list(_files(paths)), field, form)


def _items(paths: Sequence[str], field: str | None, form: str) -> Iterator[Item]:
    for path in paths:
        kind = _kind(path) if form == AUTO else form
        if kind == TEXT:
            yield from map(Item, read_lines(path))
        elif kind == ROWS:
            if suffix_of(Path(path)) in COMMA:
                yield from csv_items(comma.rows(Path(path)), path, field)
            else:
                yield from json_items(read_lines(path), "standard input" if path == "-" else path, field)
        elif path == "-":
            raise InputError(f"--from {kind} reads files. Received: standard input. Name a FILE.")
        else:
            source = Source(Path(path), text_field=field, text_only=True)
            for document in documents_of(source, AUTO if form == AUTO else form)[1]:
                require_characters(document.text, document.where)
                row = {"text": "", **document.fields} | {"text": document.text} if document.fields else None
                yield Item(document.text, document.sentences, row)


def count_items(paths: Sequence[str], form: str = AUTO) -> int | None:
    """About how many texts `read_items` will give, to say how long that takes: of JSON Lines empty lines count, too.

    None where that cannot be known before they are read: of standard input, pipes, annotated files, and broken ones.
    """
    try:
        counts = [_count(path, _kind(path) if form == AUTO else form) for path in _files(paths)]
    except InputError:  # told when it is its turn
        return None
    known = [count for count in counts if count is not None]
    return sum(known) if len(known) == len(counts) else None


def _count(path: str, kind: str) -> int | None:
    if kind not in (TEXT, ROWS) or not Path(path).is_file():
        return None
    if kind == ROWS and suffix_of(Path(path)) in COMMA:
        return sum(1 for _ in comma.rows(Path(path))) - 1
    return count_lines(Path(path))


def _files(paths: Sequence[str]) -> Iterator[str]:
    """Files in order; a saved dataset is one."""
    for path in paths or ["-"]:
        if path != "-" and not Path(path).exists():
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        if (Path(path) / "state.json").is_file():
            yield path
        else:
            yield from find_sources([path])


def _kind(path: str) -> str:
    if Path(path).is_dir():
        return "datasets"
    suffix = suffix_of(Path(path))
    return ROWS if suffix in COMMA + JSON_LINES else AUTO if suffix in ANNOTATED else TEXT


def read_lines(path: str) -> Iterator[str]:
    """Lines of a UTF-8 file, or of standard input ("-"); without line ends and byte-order marks."""
    with BoundedReader(sys.stdin.buffer, "standard input") if path == "-" else open_bytes(path) as stream:
        yield from map(without_end, decoded(stream, "standard input" if path == "-" else path))


def without_end(line: str) -> str:
    """Only \\n and \\r\\n end a line, so that each line of the file gives one result."""
    return line.removesuffix("\n").removesuffix("\r")


def json_items(lines: Iterable[str], name: str, field: str | None, first: int = 1) -> Iterator[Item]:
    """The texts of objects, one a line; empty lines are passed over."""
    for number, line in enumerate(lines, first):
        if not line.strip():
            continue
        where = f"{name}:{number}"
        row = json_value(line, where)
        if not isinstance(row, dict):
            raise InputError(f"{where}: must be an object with a text. Received: {line[:40]!r}.")
        yield row_item(row, name, number, field)


def csv_items(rows: Iterator[tuple[int, list[str]]], name: str, field: str | None) -> Iterator[Item]:
    """The texts of rows with their line numbers, the row of names first."""
    _, names = next(rows, (0, []))
    names = comma.own_names(names, name)
    for number, cells in rows:
        comma.require_width(cells, names, f"{name}:{number}")
        yield row_item(dict(zip(names, cells, strict=True)), name, number, field)


def row_item(row: Mapping[str, Any], name: str, number: int, field: str | None) -> Item:
    """The text of a row. name, number: its file and line. Raises InputError where it has none."""
    where = f"{name}:{number}"
    text = row[text_key_of(row, where, field)]
    require_characters(text, where)
    return Item(text, None, row, number)
