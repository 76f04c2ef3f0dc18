"""`csv`, a token a row as in the Kaggle corpora, and `csv-spans`, a text a row with its spans in another column.

Parted by commas, semicolons or tabs; the first row names the columns.
"""

from __future__ import annotations

import ast
import csv
import io
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from biLM.errors import InputError
from ner_elmo.formats.document import Document
from ner_elmo.formats.source import Source, raw_lines
from ner_elmo.formats.spans_json import SPAN_KEYS, marks_of, shown
from ner_elmo.formats.tagged import Block, documents_of, tag_of, tokens_and_tags

TOKEN_NAMES = ("word", "token", "words", "tokens")
TAG_NAMES = ("tag", "ner", "ner_tag", "ner_tags", "label", "labels", "tags", "entity")
SENTENCE_NAMES = ("sentence #", "sentence_id", "sentence_idx", "sent_id", "sentence", "id")
_TOKEN_COLUMNS = TOKEN_NAMES + TAG_NAMES + SENTENCE_NAMES
TEXT_NAMES = ("text", "sentence", "content")
MAX_FIELD = 2**27  # characters: a quote that nobody closes must not fill the memory with the rest of the file


def rows(path: Path, empty: bool = False) -> Iterator[tuple[int, list[str]]]:
    """Line numbers and cells of the rows of a file, the row of names first. empty: those without content are there, too."""
    return rows_of((line for _, line in raw_lines(path)), str(path), empty)


def rows_of(lines: Iterator[str], name: str, empty: bool = False) -> Iterator[tuple[int, list[str]]]:
    """The same of a file's lines with their ends. name: the file, for messages."""
    csv.field_size_limit(MAX_FIELD)  # the module's limit, for all readers: its default of 128 KB would refuse long texts
    begin: list[str] = []
    for line in lines:
        begin.append(line)
        if line.strip():
            break
    separator = max(",;\t", key=(begin or [""])[-1].count)
    reader = csv.reader(chain(begin, lines), delimiter=separator, strict=True)
    number = 1
    try:
        for cells in reader:
            if empty or any(cells):
                yield number, cells
            number = reader.line_num + 1
    except csv.Error as error:
        raise InputError(f"{name}:{number}: no CSV: {error}. Is a quote not closed?") from None


def header(path: Path) -> list[str]:
    """The names of the columns, as they stand there."""
    return next(rows(path), (0, []))[1]


def own_names(names: Sequence[str], name: str) -> list[str]:
    """The columns' names; those without one (behind trailing commas, say) are called by their place.

    name: the file. Raises InputError where two columns are called alike: one of the two would be lost silently.
    """
    own = [text if text.strip() else f"column {place}" for place, text in enumerate(names, 1)]
    column, count = Counter(own or [""]).most_common(1)[0]
    if count > 1:
        says = f"{column[:60]!r} {count} times"
        raise InputError(f"{name}:1: each column must have a name of its own. Received: {says}. Rename or remove one.")
    return own


def require_width(cells: Sequence[str], names: Sequence[str], where: str) -> None:
    """Raises InputError, with file and line, for a row that has not a cell for each column."""
    if len(cells) != len(names):
        raise InputError(f"{where}: expected {len(names)} cells, got {len(cells)}.")


def place_of(names: Sequence[str], wanted: Iterable[str]) -> int | None:
    """Where the first of the wanted names stands; case and blanks around do not matter."""
    plain = [name.strip().lower() for name in names]
    return next((plain.index(name) for name in wanted if name in plain), None)


def is_tokens(names: Sequence[str]) -> bool:
    return place_of(names, TOKEN_NAMES) is not None and place_of(names, TAG_NAMES) is not None


def is_texts(names: Sequence[str], text_field: str | None = None) -> bool:
    text = place_of(names, [text_field.lower()] if text_field else TEXT_NAMES)
    return text is not None and place_of(names, (*SPAN_KEYS, *TAG_NAMES)) is not None


def read_tokens(source: Source) -> Iterator[Document]:
    """Documents of one sentence each: rows of the same sentence id, or, where there are no ids, up to an empty row."""
    names = header(source.path)
    if names and not is_tokens(names):
        raise _unknown(source.path, names, TOKEN_NAMES, TAG_NAMES)
    own_names([name for name in names if name.strip().lower() in _TOKEN_COLUMNS], str(source.path))
    if len(names) > sum(place_of(names, wanted) is not None for wanted in (TOKEN_NAMES, TAG_NAMES, SENTENCE_NAMES)):
        source.passed_over.add("columns other than sentence, token and tag")
    return documents_of(lambda: _blocks(source.path), source)


def _blocks(path: Path) -> Iterator[Block]:
    everything = rows(path, empty=True)
    names = next((cells for _, cells in everything if any(cells)), [])
    token_at, tag_at, sentence_at = (place_of(names, wanted) for wanted in (TOKEN_NAMES, TAG_NAMES, SENTENCE_NAMES))
    first, current = 0, ""
    tokens: list[str] = []
    tags: list[str] = []
    for number, cells in everything:
        if not any(cells):
            if tokens and sentence_at is None:
                yield Block(f"{path}:{first}", tokens, tags)
                tokens, tags = [], []
            continue
        require_width(cells, names, f"{path}:{number}")
        sentence = cells[sentence_at].strip() if sentence_at is not None else ""
        if tokens and sentence and sentence != current:
            yield Block(f"{path}:{first}", tokens, tags)
            tokens, tags = [], []
        current = sentence or current
        first = first if tokens else number
        tokens.append(cells[token_at or 0])
        tags.append(tag_of(cells[tag_at or 0].strip(), f"{path}:{number}"))
    if tokens:
        yield Block(f"{path}:{first}", tokens, tags)


def read_texts(source: Source) -> Iterator[Document]:
    """Documents of raw text with spans, or, where the cell holds a list of tags, of the tokens between blanks."""
    names = header(source.path)
    if not names:
        return iter(())
    if not is_texts(names, source.text_field):
        raise _unknown(source.path, names, [source.text_field] if source.text_field else TEXT_NAMES, SPAN_KEYS)
    names = own_names(names, str(source.path))
    return _texts(source, names)


def _texts(source: Source, names: Sequence[str]) -> Iterator[Document]:
    text_at = place_of(names, [source.text_field.lower()] if source.text_field else TEXT_NAMES)
    spans_at = place_of(names, (*SPAN_KEYS, *TAG_NAMES))
    assert text_at is not None and spans_at is not None
    everything = rows(source.path)
    next(everything)
    for number, cells in everything:
        where = f"{source.path}:{number}"
        require_width(cells, names, where)
        items = _list(cells[spans_at], where)
        fields = {
            name: cell for n, (name, cell) in enumerate(zip(names, cells, strict=True)) if n not in (text_at, spans_at)
        }
        if items and all(isinstance(item, str) for item in items):
            yield from _tagged(Block(where, cells[text_at].split(), [tag_of(tag, where) for tag in items], fields), source)
        else:
            marks = tuple(mark for item in items for mark in marks_of(item, where, source))
            yield Document(cells[text_at], marks, None, where, fields)


def _tagged(block: Block, source: Source) -> Iterator[Document]:
    if len(block.tokens) != len(block.tags):
        raise InputError(f"{block.where}: {len(block.tokens)} tokens between blanks, but {len(block.tags)} tags.")
    found = source.found  # of one text the scheme says little
    yield from documents_of(lambda: [block], source)
    source.found = found


def _list(cell: str, where: str) -> list[Any]:
    """The list in a cell, written in JSON or, as pandas writes it, in Python."""
    if not cell.strip():
        return []
    try:
        value = json.loads(cell)
    except (ValueError, RecursionError):
        try:
            value = ast.literal_eval(cell)
        except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
            value = None
    if not isinstance(value, list | tuple):
        raise InputError(f'{where}: spans must be a list such as [[0, 8, "PER"]]. Received: {cell[:80]!r}.')
    return list(value)


def _unknown(path: Path, names: Sequence[str], *wanted: Iterable[str]) -> InputError:
    needs = " and ".join("one of " + ", ".join(group) for group in wanted)
    return InputError(f"{path}:1: the first row must name {needs}. Received: {shown(names)}.")


def render_tokens(documents: Iterable[Document]) -> Iterator[str]:
    """`Sentence #`, `Word` and `Tag` (IOB2); the sentence's number stands in each of its rows."""
    yield csv_line(["Sentence #", "Word", "Tag"])
    sentences = (pair for document in documents for pair in tokens_and_tags(document))
    for number, (tokens, tags) in enumerate(sentences, 1):
        yield "".join(csv_line([number, token, tag]) for token, tag in zip(tokens, tags, strict=True))


def render_texts(documents: Iterable[Document]) -> Iterator[str]:
    """`text` and `label`, the spans as JSON: `[[start, end, type], ...]`."""
    yield csv_line(["text", "label"])
    for document in documents:
        label = [[mark.start, mark.end, mark.type] for mark in document.marks]
        yield csv_line([document.text, json.dumps(label, ensure_ascii=False)])


def csv_line(cells: Iterable[Any]) -> str:
    """A row, quoted where it must be."""
    line = io.StringIO()
    csv.writer(line, lineterminator="\r\n").writerow(cells)  # both characters are quoted, then
    return line.getvalue().removesuffix("\r\n") + "\n"
