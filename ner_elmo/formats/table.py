"""The table of formats, how a file's format is found, and how a file is written."""

from __future__ import annotations

import gzip
import json
import lzma
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from biLM.errors import InputError, nearest
from biLM.files import whole_directory, whole_file
from ner_elmo.formats import columns, comma, labelstudio, prodigy, spacy_binary, spacy_json, spans_json, token_rows
from ner_elmo.formats.document import Document
from ner_elmo.formats.source import Source, lines, records, suffix_of

AUTO = "auto"


@dataclass(frozen=True)
class Format:
    """A way to write annotated text down.

    read: documents of a source. render: documents -> pieces of a text file; pack: -> the bytes of a file; save: -> a
    directory; one of the three is there. over_tokens: documents must be split into tokens, and marks lie on their
    borders. keeps_fields: other fields of a text are written, too, but those of the names `taken`.
    """

    read: Callable[[Source], Iterator[Document]]
    render: Callable[[Iterable[Document]], Iterator[str]] | None = None
    pack: Callable[[Iterable[Document]], bytes] | None = None
    save: Callable[[Iterable[Document], Path], None] | None = None
    over_tokens: bool = False
    keeps_fields: bool = False
    taken: tuple[str, ...] = ("text",)

    def lost(self, fields: Iterable[str]) -> list[str]:
        """The fields that are not written."""
        return [name for name in fields if not self.keeps_fields or name in self.taken]


FORMATS = {
    "conll": Format(columns.read, columns.render, over_tokens=True),
    "jsonl": Format(spans_json.read, spans_json.render_lines, keeps_fields=True, taken=("text", "entities")),
    "json": Format(spans_json.read, spans_json.render_array, keeps_fields=True, taken=("text", "entities")),
    "doccano": Format(spans_json.read, spans_json.render_doccano, keeps_fields=True, taken=("text", "label")),
    "labelstudio": Format(labelstudio.read, labelstudio.render, keeps_fields=True),
    "prodigy": Format(prodigy.read, prodigy.render, over_tokens=True, keeps_fields=True, taken=prodigy.READ),
    "spacy": Format(spacy_binary.read, pack=spacy_binary.pack, over_tokens=True),
    "spacy-json": Format(spacy_json.read, spacy_json.render, over_tokens=True),
    "csv": Format(comma.read_tokens, comma.render_tokens, over_tokens=True),
    "csv-spans": Format(comma.read_texts, comma.render_texts),
    "jsonl-tokens": Format(token_rows.read_lines, token_rows.render_lines, over_tokens=True),
    "datasets": Format(token_rows.read_directory, save=token_rows.save_directory, over_tokens=True),
}
_BY_SUFFIX = {
    ".conll": "conll", ".bio": "conll", ".iob": "conll", ".txt": "conll", ".tsv": "conll", ".jsonl": "jsonl",
    ".ndjson": "jsonl", ".json": "json", ".spacy": "spacy", ".csv": "csv", ".arrow": "datasets",
}  # fmt: skip
_JSON = (".json", ".jsonl", ".ndjson")
_SAVED = ("state.json", "dataset_info.json", "dataset_dict.json")


def named(name: str) -> Format:
    """The format of this name."""
    if name not in FORMATS:
        raise InputError(f"no format {name!r}.{nearest(name, list(FORMATS))} There are: {', '.join(FORMATS)}.")
    return FORMATS[name]


def format_of(path: Path, text_field: str | None = None) -> str:
    """The format of a file, by its name and what it begins with. Raises InputError, with file, where neither tells."""
    if path.is_dir():
        if any((path / name).is_file() for name in _SAVED):
            return "datasets"
        raise InputError(f"{path}: is a directory, and no saved dataset. Name the files.")
    suffix = suffix_of(path)
    if suffix in (".spacy", ".arrow"):
        return _BY_SUFFIX[suffix]
    first = next((line for _, line in lines(path) if line.strip()), "")
    if suffix in _JSON or (suffix not in (".csv", ".tsv") and _begins_json(first)):
        return _json_format(path)
    if suffix in (".csv", ".tsv") and first:
        names = comma.header(path)
        if comma.is_tokens(names):
            return "csv"
        if comma.is_texts(names, text_field):
            return "csv-spans"
    return "csv" if suffix == ".csv" else "conll"


def format_to_write(path: Path) -> str:
    """The format that a new file's name asks for."""
    suffix = suffix_of(path)
    if suffix not in _BY_SUFFIX or suffix == ".arrow":
        raise InputError(f"{path}: the name tells no format; name one with --to: {', '.join(FORMATS)}.")
    return _BY_SUFFIX[suffix]


def _begins_json(line: str) -> bool:
    """Whether a line of a file of any name is JSON: columns may begin with a bracket, too."""
    try:
        return isinstance(json.loads(line), dict | list)
    except (ValueError, RecursionError):
        return line.strip() in ("[", "{", "[{")


def _json_format(path: Path) -> str:
    _, record = next(records(path), ("", None))
    if token_rows.is_row(record):
        return "jsonl-tokens"
    if isinstance(record, dict):
        if "paragraphs" in record:
            return "spacy-json"
        if isinstance(record.get("data"), dict):
            return "labelstudio"
        if "_input_hash" in record or "answer" in record or _has_tokens(record):
            return "prodigy"
        if suffix_of(path) != ".json" and any(isinstance(record.get(key), list) for key in ("label", "labels")):
            return "doccano"
    return "json" if suffix_of(path) == ".json" else "jsonl"


def _has_tokens(record: dict[str, Any]) -> bool:
    tokens = record.get("tokens")
    return "text" in record and isinstance(tokens, list) and all(isinstance(token, dict) for token in tokens)


def documents_of(source: Source, name: str = AUTO) -> tuple[str, Iterator[Document]]:
    """The name of a source's format and its documents, as they come."""
    name = format_of(source.path, source.text_field) if name == AUTO else name
    return name, named(name).read(source)


def write(documents: Iterable[Document], path: Path, name: str) -> None:
    """Writes a file, packed where its name ends in .gz or .xz, or a directory; it is whole, or not there."""
    form = named(name)
    if form.save is not None:
        _write_directory(form.save, documents, path)
        return
    with whole_file(path) as partial, _create(partial, path.suffix.lower()) as file:
        if form.pack is not None:
            file.write(form.pack(documents))
        else:
            assert form.render is not None
            file.writelines(piece.encode("utf-8") for piece in form.render(documents))


@contextmanager
def _create(partial: Path, suffix: str) -> Iterator[Any]:
    """A file, without a time in its header where it is packed: the same documents give the same bytes."""
    with open(partial, "wb") as raw:
        if suffix == ".gz":
            with gzip.GzipFile(fileobj=raw, filename="", mode="wb", mtime=0) as file:
                yield file
        elif suffix == ".xz":
            with lzma.LZMAFile(raw, "wb") as file:
                yield file
        else:
            yield raw


def _write_directory(save: Callable[[Iterable[Document], Path], None], documents: Iterable[Document], path: Path) -> None:
    with whole_directory(path) as partial:
        save(documents, partial)
