"""`conll`: a token a line, columns parted by tabs or blanks, an empty line after each sentence."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from pathlib import Path

from biLM.errors import InputError
from ner_elmo.entities import split_tag
from ner_elmo.formats.document import Document
from ner_elmo.formats.source import Source, lines
from ner_elmo.formats.tagged import Block, documents_of, tag_of, tokens_and_tags

DOCUMENT_MARK = "-DOCSTART-"
LOOKED_AT = 1000  # lines, to find the columns
MAX_LINE = 2**20  # characters of a line, which is one token and what is said of it
_BLANKS = re.compile(r"[ \t]+")
_TABS = re.compile(r"\t")
_BLANK = re.compile(r"\s")


@lru_cache(4096)
def is_tag(text: str) -> bool:
    try:
        split_tag(text)
    except InputError:
        return False
    return True


@dataclass(frozen=True)
class Layout:
    """How lines part, and which columns, from 0 or from the end (-1), hold token and tag."""

    separator: re.Pattern[str] = _BLANKS
    token: int = 0
    tag: int = -1
    width: int = 2  # the fewest columns of the first lines

    @property
    def least(self) -> int:
        """How many columns a line must have."""
        return max(2, *(place + 1 if place >= 0 else -place for place in (self.token, self.tag)))

    def __str__(self) -> str:
        token, tag = ("last column" if place == -1 else f"column {place + (place >= 0)}" for place in (self.token, self.tag))
        return "" if (self.token, self.tag) == (0, -1) else f"(token: {token}, tag: {tag})"


def read(source: Source) -> Iterator[Document]:
    """Documents of one sentence each. -DOCSTART- lines and comments (`# id = 7`) are passed over, other columns too."""
    layout = _layout(source)
    source.found = str(layout)
    if layout.width > 2:
        source.passed_over.add("columns other than token and tag")
    return documents_of(lambda: _blocks(source, layout), source)


def render(documents: Iterable[Document]) -> Iterator[str]:
    """A token, a blank and its IOB2 tag a line."""
    for document in documents:
        for tokens, tags in tokens_and_tags(document):
            yield sentence_of(tokens, tags)


def sentence_of(tokens: Sequence[str], tags: Sequence[str]) -> str:
    """Its lines, and an empty one. Raises InputError for a type with a blank, of which a column would hold the beginning."""
    if odd := next((tag for tag in tags if _BLANK.search(tag)), None):
        raise InputError(f"the conll format has no room for a blank in a type. Received: {odd[2:]!r}. Write another format.")
    return "".join(f"{token} {tag}\n" for token, tag in zip(tokens, tags, strict=True)) + "\n"


def _blocks(source: Source, layout: Layout) -> Iterator[Block]:
    path = source.path
    split, least, token_at, tag_at = layout.separator.split, layout.least, layout.token, layout.tag
    first, tokens, tags = 0, [], []  # type: int, list[str], list[str]
    for number, line in _short_lines(path):
        line = line.strip(" \t")
        columns = split(line) if line else []
        if not columns or columns[0] == DOCUMENT_MARK or (line[0] == "#" and _is_comment(columns, layout)):
            if columns:
                source.passed_over.add(f"{DOCUMENT_MARK} lines" if columns[0] == DOCUMENT_MARK else "comments")
            if tokens:
                yield Block(f"{path}:{first}", tokens, tags)
                tokens, tags = [], []
            continue
        if len(columns) < least:
            raise InputError(f"{path}:{number}: expected {least} columns or more, got {len(columns)}: {line[:80]!r}.")
        first = first if tokens else number
        tokens.append(columns[token_at])
        tag = columns[tag_at]
        if not is_tag(tag):
            tag_of(tag, f"{path}:{number}")
        tags.append(tag)
    if tokens:
        yield Block(f"{path}:{first}", tokens, tags)


def _short_lines(path: Path) -> Iterator[tuple[int, str]]:
    for number, line in lines(path):
        if len(line) > MAX_LINE:
            raise InputError(f"{path}:{number}: expected a token and its tag, got a line of {len(line):,} characters.")
        yield number, line


def _layout(source: Source) -> Layout:
    """The columns that were asked for, or else those that the first lines show."""
    filled = (line for line in (line.strip(" \t") for _, line in _short_lines(source.path)) if line)
    sample = [line for line in islice(filled, LOOKED_AT) if not line.startswith(DOCUMENT_MARK)]
    separator = _TABS if sample and all("\t" in line for line in sample if line[0] != "#") else _BLANKS
    rows = [columns for columns in map(separator.split, sample) if not _is_hash(columns) or is_tag(columns[-1])]
    width = min(map(len, rows), default=0)
    if source.columns:
        if 0 in source.columns:
            raise InputError(f"columns count from 1, or from the end (-1). Received: {', '.join(map(str, source.columns))}.")
        token, tag = (place - 1 if place > 0 else place for place in source.columns)
    else:
        token, tag = _token_and_tag(rows, width)
    return Layout(separator, token, tag, width)


def _token_and_tag(rows: Sequence[Sequence[str]], width: int) -> tuple[int, int]:
    """The last column that holds nothing but tags, and the first that is neither it nor line numbers."""
    if width < 2 or all(is_tag(row[-1]) for row in rows):
        tag = -1
    else:
        tag = next((place for place in reversed(range(width)) if all(is_tag(row[place]) for row in rows)), -1)
    if tag == 0:
        return 1, 0
    return (1 if width > 2 and tag != 1 and _counts([row[0] for row in rows]) else 0), tag


def _counts(column: Sequence[str]) -> bool:
    """Whether a column numbers the tokens of each sentence."""
    numbers = [int(cell) if cell.isdecimal() else -2 for cell in column]
    return len(numbers) > 1 and all(b in (a + 1, 0, 1) for a, b in zip([-1, *numbers], numbers, strict=False))


def _is_comment(columns: Sequence[str], layout: Layout) -> bool:
    """Whether a line that begins with `#` is one such as `# id = 7`, and not the token `#` with its tag."""
    if not _is_hash(columns):
        return False
    has_tag = len(columns) >= layout.least and is_tag(columns[layout.tag])
    return not has_tag and (len(columns) != 2 or layout.width > 2)


def _is_hash(columns: Sequence[str]) -> bool:
    return columns[0] == "#" or columns[0].startswith("# ")
