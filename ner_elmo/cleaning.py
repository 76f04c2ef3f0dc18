"""Characters that nobody sees and that split or spoil tokens: found, and taken out with every offset put right.

Joiners, variation selectors and marks of writing direction are no such characters: in emoji and in many scripts they
carry meaning.
"""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_left
from collections.abc import Callable
from dataclasses import replace

from ner_elmo.formats.document import Document, Finding, Mark, without_blanks

_INVISIBLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u00ad\u200b\u2060\ufeff]")
_SURROGATES = re.compile("[\ud800-\udfff]")
REPLACEMENT = "\ufffd"
_AROUND = 12  # characters of the text to show on either side


def with_characters_only(document: Document, tell: Callable[[Finding], None]) -> Document:
    """The document with U+FFFD for halves of surrogate pairs, which are no characters and cannot be written."""
    for text in (document.text, *(mark.type for mark in document.marks)):
        for match in _SURROGATES.finditer(text):
            tell(Finding("half a character", document.where, repr(match[0]), "replaced by U+FFFD"))
    text = _SURROGATES.sub(REPLACEMENT, document.text)
    marks = tuple(replace(mark, type=_SURROGATES.sub(REPLACEMENT, mark.type)) for mark in document.marks)
    return document if (text, marks) == (document.text, document.marks) else replace(document, text=text, marks=marks)


def tell_invisible(document: Document, tell: Callable[[Finding], None], action: str) -> bool:
    """Tells each control and zero-width character; whether there was one."""
    found = False
    for match in _INVISIBLE.finditer(document.text):
        found = True
        name = unicodedata.name(match[0], "control character")
        near = document.text[max(0, match.start() - _AROUND) : match.end() + _AROUND]
        tell(Finding("invisible character", document.where, f"U+{ord(match[0]):04X} {name} in {near!r}", action))
    return found


def without_invisible(document: Document) -> Document:
    """The document without control and zero-width characters; marks and tokens stay on the same letters."""
    removed = [match.start() for match in _INVISIBLE.finditer(document.text)]
    text = _INVISIBLE.sub("", document.text)

    def moved(offset: int) -> int:
        return offset - bisect_left(removed, offset)

    def clean(mark: Mark) -> Mark:
        said = None if mark.said is None else _INVISIBLE.sub("", mark.said)
        return replace(mark, start=moved(mark.start), end=moved(mark.end), said=said)

    sentences = None
    if document.sentences is not None:
        sentences = tuple(without_blanks(text, [(moved(a), moved(b)) for a, b in row]) for row in document.sentences)
    return replace(document, text=text, marks=tuple(map(clean, document.marks)), sentences=sentences)
