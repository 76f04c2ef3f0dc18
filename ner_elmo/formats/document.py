"""`Document`: an annotated text, the one form that readers make and writers take.

Offsets are in characters (Unicode code points), half-open, as everywhere in the project.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ner_elmo.entities import Span

Borders = tuple[tuple[int, int], ...]  # start and end of each token of a sentence, in the text
_ODD = re.compile(r"[\t\r\n]")
_PARTS = re.compile(r"[^ \t\r\n]+")


@dataclass(frozen=True, order=True)
class Mark:
    """A labelled stretch of text, as a file gives it: it may lie off the tokens' borders, overlap others, or be wrong.

    said: what stands there in the file's own words, where the file says so.
    """

    start: int
    end: int
    type: str
    said: str | None = field(default=None, compare=False)


@dataclass(frozen=True)
class Document:
    """A text and its marks.

    sentences: the borders of the tokens of each sentence; None: raw text, to be split yet. Blanks belong to no token.
    where: file:line, for messages. fields: what else the file says of this text.
    """

    text: str
    marks: tuple[Mark, ...] = ()
    sentences: tuple[Borders, ...] | None = None
    where: str = ""
    fields: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Finding:
    """Something that a person should know of: what kind, where, the text it is about, and what was done."""

    kind: str
    where: str
    text: str
    action: str


def from_tokens(
    tokens: Sequence[str], spans: Iterable[Span], where: str, fields: Mapping[str, Any] | None = None
) -> Document:
    """A sentence of given tokens as a document: its text is the tokens, with a blank between them."""
    text, position, borders = " ".join(tokens), 0, []
    for token in tokens:
        borders.append((position, position + len(token)))
        position += len(token) + 1
    marks = tuple(Mark(borders[span.start][0], borders[span.end - 1][1], span.type) for span in spans)
    plain = text.count(" ") == len(tokens) - 1 and "" not in tokens and not _ODD.search(text)
    return Document(text, marks, (tuple(borders) if plain else without_blanks(text, borders),), where, fields or {})


def without_blanks(text: str, borders: Sequence[tuple[int, int]]) -> Borders:
    """The same tokens cut at blanks and line ends, which no format of one token a line could hold; they belong to none."""
    return tuple(match.span() for a, b in borders for match in _PARTS.finditer(text, a, b))
