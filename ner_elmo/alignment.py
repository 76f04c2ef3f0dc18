"""Marks of a text -> spans over its tokens. Nothing is lost silently: what does not fit is told as a `Finding`.

A mark that begins or ends inside a token grows to the tokens that it touches. Of marks that share a token the longest
stays, and the first of equally long ones. A sentence border inside a mark is removed.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import pairwise

from biLM.errors import InputError
from biLM.text import Tokenizer, require_characters
from ner_elmo.entities import Span
from ner_elmo.formats.document import Borders, Document, Finding, Mark
from ner_elmo.formats.tagged import spans_over_tokens

Note = Callable[[str, str, str], None]  # kind, text, action
_SHOWN = 60  # characters of a text that a finding is about


@dataclass(frozen=True)
class Sentence:
    """Tokens and their entities; `where` is file:line of the first token."""

    tokens: tuple[str, ...]
    spans: tuple[Span, ...] = ()
    where: str = ""


def require_sound(document: Document) -> None:
    """Raises InputError, with file and line, for offsets that cannot be right and for text that is no Unicode."""
    require_characters(document.text, document.where)
    for mark in document.marks:
        require_characters(mark.type, document.where)
        if fault := _fault(document.text, mark):
            says = f"[{mark.start}, {mark.end}, {mark.type!r}]"
            raise InputError(
                f"{document.where}: {fault}. Received: {says}.{_hint(document.text, mark)} "
                "`python -m ner_elmo check FILE --fix OUT` mends what it can."
            )


def _fault(text: str, mark: Mark) -> str:
    """What is wrong with a mark's offsets; empty when they can be right."""
    if not 0 <= mark.start <= len(text) or not 0 <= mark.end <= len(text):
        return f"offsets must lie in the text, which has {len(text)} characters"
    if mark.end <= mark.start:
        return "a span must end after its start"
    if mark.said is not None and not _same(text[mark.start : mark.end], mark.said):
        there = text[mark.start : mark.end]
        return f"offsets must fit the span's text {mark.said[:_SHOWN]!r}, but {there[:_SHOWN]!r} stands there"
    return ""


def _same(there: str, said: str) -> bool:
    """Equal but for blanks, which tools change."""
    return there == said or "".join(there.split()) == "".join(said.split())


def _hint(text: str, mark: Mark) -> str:
    for unit, encoding, width in _UNITS:
        n_units = len(text.encode(encoding)) // width
        if n_units != len(text) and mark.end <= n_units and (mark.said is None or _counted_in(text, mark, encoding, width)):
            return f" Offsets must count characters; are these {unit}?"
    return ""


_UNITS = (("UTF-16 units", "utf-16-le", 2), ("bytes", "utf-8", 1))


def _counted_in(text: str, mark: Mark, encoding: str, width: int) -> Mark | None:
    """The mark in characters, if its offsets count units of this encoding and its own text says so."""
    if mark.said is None or not 0 <= mark.start < mark.end:
        return None
    raw = text.encode(encoding, "surrogatepass")
    start = len(raw[: mark.start * width].decode(encoding, "ignore"))
    found = replace(mark, start=start, end=len(raw[: mark.end * width].decode(encoding, "ignore")))
    return None if _fault(text, found) else found


def align(document: Document, tokenizer: Tokenizer, tell: Callable[[Finding], None]) -> Document:
    """The same text with its sentences split into tokens, and marks on their borders, in order, none over another.

    Whatever changes is told. A document that fits already is given back as it is.
    """

    def note(kind: str, text: str, action: str) -> None:
        tell(Finding(kind, document.where, text, action))

    text = document.text
    sentences = document.sentences
    if sentences is None:
        sentences = tuple(tuple(zip(sentence.starts, sentence.ends, strict=True)) for sentence in tokenizer.sentences(text))
    tokens = [border for sentence in sentences for border in sentence]
    starts, ends = [start for start, _ in tokens], [end for _, end in tokens]
    marks = [snapped for mark in document.marks if (snapped := _snapped(text, mark, starts, ends, note)) is not None]
    marks = _apart(text, marks, note)
    return replace(document, marks=tuple(marks), sentences=_joined(sentences, marks))


def shown(text: str, mark: Mark) -> str:
    """A mark in words: its type and its text."""
    return f"{mark.type} {text[mark.start : mark.end][:_SHOWN]!r}"


def _snapped(text: str, mark: Mark, starts: list[int], ends: list[int], note: Note) -> Mark | None:
    """The mark on the borders of the tokens that it touches; None where there are none."""
    mended = _mended(text, mark, note)
    if mended is None:
        return None
    mark = _trimmed(text, mended, note)
    first, last = bisect_right(ends, mark.start), bisect_left(starts, mark.end) - 1
    if first > last or mark.start >= mark.end:
        note("no token", shown(text, mended), "dropped: no token stands there")
        return None
    start, end = starts[first], ends[last]
    if (start, end) == (mark.start, mark.end):
        return mark
    note("off token borders", shown(text, mark), f"grown to {text[start:end]!r}")
    return replace(mark, start=start, end=end)


def _mended(text: str, mark: Mark, note: Note) -> Mark | None:
    """A mark with offsets that can be right, if there are any."""
    fault = _fault(text, mark)
    if not fault:
        return mark
    for unit, encoding, width in _UNITS:
        if found := _counted_in(text, mark, encoding, width):
            note("wrong offsets", shown(text, found), f"they counted {unit}, and were converted")
            return found
    if mark.said and text.count(mark.said) == 1:
        start = text.index(mark.said)
        found = replace(mark, start=start, end=start + len(mark.said))
        note("wrong offsets", shown(text, found), "moved to the only place where its text stands")
        return found
    note("wrong offsets", f"{mark.type} [{mark.start}, {mark.end}]", f"dropped: {fault}")
    return None


def _trimmed(text: str, mark: Mark, note: Note) -> Mark:
    inside = text[mark.start : mark.end]
    bare = inside.strip()
    if bare == inside or not bare:
        return mark
    start = mark.start + inside.index(bare)
    trimmed = replace(mark, start=start, end=start + len(bare))
    note("blanks at the borders", shown(text, mark), "trimmed")
    return trimmed


def _apart(text: str, marks: list[Mark], note: Note) -> list[Mark]:
    """Marks in order, without those that share tokens with a longer one."""
    marks = sorted(marks)
    if all(before.end <= after.start for before, after in pairwise(marks)):
        return marks
    kept: list[Mark] = []
    for mark in sorted(marks, key=lambda mark: (mark.start - mark.end, mark.start)):
        place = bisect_left(kept, mark)
        beside = [kept[n] for n in (place - 1, place) if 0 <= n < len(kept)]
        over = next((other for other in beside if other.start < mark.end and mark.start < other.end), None)
        if over is None:
            kept.insert(place, mark)
        elif over == mark:
            note("repeated span", shown(text, mark), "written once")
        else:
            inside = over.start <= mark.start and mark.end <= over.end
            note("nested" if inside else "overlap", shown(text, mark), f"dropped: {shown(text, over)} stays")
    return kept


def _joined(sentences: tuple[Borders, ...], marks: list[Mark]) -> tuple[Borders, ...]:
    """Sentences, without the borders that marks cross."""
    if len(sentences) < 2 or not marks:
        return sentences
    joined: list[Borders] = []
    position = 0
    for sentence in sentences:
        begin = sentence[0][0] if sentence else 0
        while position < len(marks) and marks[position].end <= begin:
            position += 1
        if joined and sentence and position < len(marks) and marks[position].start < begin:
            joined[-1] += sentence
        else:
            joined.append(sentence)
    return tuple(joined)


def sentences_of(document: Document) -> Iterator[Sentence]:
    """The sentences of an aligned document; those without a token are passed over."""
    for number, (borders, spans) in enumerate(spans_over_tokens(document)):
        if borders:
            where = document.where if number == 0 else f"{document.where}, character {borders[0][0]}"
            yield Sentence(tuple(document.text[a:b] for a, b in borders), spans, where)
