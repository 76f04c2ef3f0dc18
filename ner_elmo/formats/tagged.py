"""Sentences of tokens and tags, whatever file they come from: the scheme is found first, then the tags become marks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from biLM.errors import InputError
from ner_elmo.entities import Span, detect_scheme, spans_of, split_tag, tags_of
from ner_elmo.formats.document import Document, from_tokens
from ner_elmo.formats.source import Source

HELD_BYTES = 2**25


class Block(NamedTuple):
    """A tagged sentence. where: file:line of its first token."""

    where: str
    tokens: Sequence[str]
    tags: Sequence[str]
    fields: Mapping[str, Any] | None = None


def tag_of(text: str, where: str) -> str:
    """The text, if it is a tag. Raises InputError that begins with `where`."""
    try:
        split_tag(text)
    except InputError as error:
        raise InputError(f"{where}: {error}.") from None
    return text


def documents_of(blocks: Callable[[], Iterable[Block]], source: Source) -> Iterator[Document]:
    """Documents of the blocks. The scheme is found by a look at all tags: small files are held, others read twice."""
    if source.text_only:
        yield from (from_tokens(block.tokens, (), block.where, block.fields) for block in blocks())
        return
    if source.scheme == "auto" and source.path.is_file() and source.path.stat().st_size <= HELD_BYTES:
        held = list(blocks())
        blocks = lambda: held  # noqa: E731
    scheme = _scheme(blocks, source) if source.scheme == "auto" else source.scheme
    spelled = " (spelled BILOU)" if scheme == "BIOES" and _says_bilou(blocks) else ""
    source.found = f"{scheme}{spelled} {source.found}".strip()
    for block in blocks():
        try:
            spans = spans_of(block.tags, scheme)
        except InputError as error:
            raise InputError(f"{block.where}: {error}.") from None
        yield from_tokens(block.tokens, spans, block.where, block.fields)


def _scheme(blocks: Callable[[], Iterable[Block]], source: Source) -> str:
    try:
        return detect_scheme(block.tags for block in blocks())
    except InputError as error:
        if str(error).startswith(str(source.path)):
            raise
        raise InputError(f"{source.path}: {error} (--tag-scheme IOB1).") from None


def _says_bilou(blocks: Callable[[], Iterable[Block]]) -> bool:
    """Whether the first entity of one token, or the first end of a longer one, has the letter of BILOU."""
    ends = (tag[0] for block in blocks() for tag in block.tags if tag[0] in "ESLU")
    return next(ends, "E") in "LU"


def tokens_and_tags(document: Document) -> Iterator[tuple[list[str], list[str]]]:
    """Tokens and IOB2 tags of each sentence of a document whose marks lie on the borders of its tokens."""
    for borders, spans in spans_over_tokens(document):
        yield [document.text[a:b] for a, b in borders], tags_of(spans, len(borders), "IOB2")


def spans_over_tokens(document: Document) -> Iterator[tuple[tuple[tuple[int, int], ...], tuple[Span, ...]]]:
    """Each sentence's token borders and spans, for a document whose marks lie on the borders of its tokens."""
    marks, position = document.marks, 0  # both in order
    for borders in document.sentences or ():
        begin = position
        while position < len(marks) and borders and marks[position].start < borders[-1][1]:
            position += 1
        if begin == position:
            yield borders, ()
            continue
        first = {start: number for number, (start, _) in enumerate(borders)}
        last = {end: number for number, (_, end) in enumerate(borders, 1)}
        yield borders, tuple(Span(mark.type, first[mark.start], last[mark.end]) for mark in marks[begin:position])
