"""A file on its way in: its lines, its JSON records, and what is found out while it is read."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from biLM.corpus import decoded, open_bytes
from biLM.errors import InputError
from ner_elmo.formats.document import Finding

CHUNK_BYTES = 2**18
MAX_ARRAY_CHARACTERS = 2**29
_LINES = (".jsonl", ".ndjson")
_PACKED = (".gz", ".xz")
TEXT_KEYS = ("text", "data", "sentence", "content")
_WRAPPERS = ("annotations", "examples", "data")


@dataclass
class Source:
    """A file, how it shall be read, and, once its documents were taken, what was found.

    scheme: of tags, "auto" to detect it. columns: where token and tag stand in a line, from 1, or from the end (-1).
    text_field: the key or column of the text, where there are several. found: the scheme and the columns, in words.
    passed_over: the kinds of things that the file holds and no `Document` does. text_only: the text is to be tagged, so
    that texts which nobody annotated count, too, and labels are not looked at.
    """

    path: Path
    scheme: str = "auto"
    columns: tuple[int, ...] | None = None
    text_field: str | None = None
    text_only: bool = False
    found: str = ""
    passed_over: set[str] = field(default_factory=set)
    findings: list[Finding] = field(default_factory=list)

    def note(self, kind: str, where: str, text: str, action: str) -> None:
        self.findings.append(Finding(kind, where, text, action))


def suffix_of(path: Path) -> str:
    """The file name's ending in lower case, with .gz and .xz taken off."""
    name = path.name.lower()
    for packed in _PACKED:
        name = name.removesuffix(packed)
    return Path(name).suffix


def raw_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Line numbers and lines of a UTF-8 file, with their ends and without a byte-order mark."""
    for number, chunk in _chunks(path):
        yield from enumerate(_with_ends(chunk), number)


def lines(path: Path) -> Iterator[tuple[int, str]]:
    """Line numbers and lines; \\n, \\r\\n and \\r end a line."""
    more = 0  # lines that ended with \r alone
    for number, chunk in _chunks(path):
        if "\r" in chunk:
            chunk = chunk.replace("\r\n", "\n")
            alone = chunk.count("\r")
            chunk = chunk.replace("\r", "\n")
        else:
            alone = 0
        yield from enumerate(chunk.removesuffix("\n").split("\n"), number + more)
        more += alone


def _chunks(path: Path) -> Iterator[tuple[int, str]]:
    """Whole lines of a quarter of a megabyte, decoded at once, and the number of the first."""
    number = 1
    with open_bytes(path) as stream:
        while raw_lines := stream.readlines(CHUNK_BYTES):
            try:
                chunk = b"".join(raw_lines).decode("utf-8")
            except UnicodeDecodeError:
                deque(decoded(raw_lines, str(path), number), 0)  # finds the line, and raises
                raise
            yield number, chunk.removeprefix("\ufeff") if number == 1 else chunk
            number += len(raw_lines)


def _with_ends(chunk: str) -> Iterator[str]:
    """Lines with their ends; only \\n ends one, as in the file's bytes."""
    *before, last = chunk.split("\n")
    yield from (line + "\n" for line in before)
    if last:
        yield last


def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object. Raises ValueError where a key stands twice: one of the two would be lost silently."""
    found = dict(pairs)
    if len(found) != len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"the key {next(key for key in keys if keys.count(key) > 1)[:40]!r} stands twice in one object")
    return found


def parsed(text: str) -> Any:
    """The value of a JSON text. Raises ValueError, or RecursionError for one that is nested too deeply."""
    return json.loads(text, object_pairs_hook=unique)


def records(path: Path, passed_over: set[str] | None = None) -> Iterator[tuple[str, Any]]:
    """Place and value of each record: a line of JSON Lines, or an item of the one array that the file holds.

    Lines are read one by one; an array has to be held whole. An object that wraps the array (`{"annotations": [...]}`)
    is opened, and `passed_over` told what else is in it. Raises InputError, with file and line, for what is no JSON.
    """
    passed_over = set() if passed_over is None else passed_over
    filled = ((number, line) for number, line in lines(path) if line.strip())
    number, line = next(filled, (0, ""))
    if not line:
        return
    try:
        value = parsed(line)
    except (ValueError, RecursionError):
        if suffix_of(path) not in _LINES:  # an array or object over several lines
            where, value = f"{path}:", _whole(path)
        else:
            where, value = f"{path}:{number}", json_value(line, f"{path}:{number}")
    else:
        where = f"{path}:{number}"
    yield from _records_of(value, where, passed_over)
    if where != f"{path}:":
        for number, line in filled:
            yield from _records_of(json_value(line, f"{path}:{number}"), f"{path}:{number}", passed_over)


def _records_of(value: Any, where: str, passed_over: set[str]) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict) and not any(isinstance(value.get(key), str) for key in TEXT_KEYS):
        inner = next((value[key] for key in _WRAPPERS if isinstance(value.get(key), list)), None)
        if inner is not None and not isinstance(value.get("data"), dict):  # Label Studio's tasks have annotations, too
            if len(value) > 1:
                passed_over.add("what stands beside the array of records")
            value = [item for item in inner if item is not None]
    if not is_array(value):
        yield where.removesuffix(":"), value
        return
    for number, item in enumerate(value, 1):
        yield f"{where.removesuffix(':')}: item {number}", item


def json_value(text: str, where: str) -> Any:
    """The value of a JSON text. Raises InputError that begins with `where`."""
    try:
        return parsed(text)
    except (ValueError, RecursionError) as error:  # numbers of too many digits are ValueErrors, too
        raise InputError(f"{where}: expected JSON, got {text.strip()[:40]!r}: {_why(error, text)}.") from None


def is_array(value: Any) -> bool:
    """Whether a value holds records, and is none itself, as spaCy's `[text, {"entities": ...}]` is."""
    return isinstance(value, list) and not (len(value) == 2 and isinstance(value[0], str))


def _whole(path: Path) -> Any:
    held: list[str] = []
    n_characters = 0
    for _, line in lines(path):
        held.append(line)
        n_characters += len(line) + 1
        if n_characters > MAX_ARRAY_CHARACTERS:
            raise InputError(
                f"{path}: a JSON array must hold {MAX_ARRAY_CHARACTERS:,} characters at most, unpacked, for it is read as a "
                "whole. Write JSON Lines, a record a line."
            )
    text = "\n".join(held)
    try:
        return parsed(text)
    except json.JSONDecodeError as error:
        near = text[max(0, error.pos - 20) : error.pos + 20]
        raise InputError(f"{path}:{error.lineno}: expected JSON, got {near!r}: {_why(error, text)}.") from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: expected JSON: {error}.") from None


def _why(error: Exception, text: str) -> str:
    if isinstance(error, json.JSONDecodeError):
        cut = error.pos >= len(text.rstrip()) or error.msg.startswith("Unterminated string")
        return f"{error.msg} at column {error.colno}" + (", the file or line ends in the middle" if cut else "")
    return str(error)
