"""`spacy`: spaCy's `.spacy` files (DocBin), its training format since version 3."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from biLM.corpus import open_bytes
from biLM.errors import InputError
from ner_elmo.formats.document import Document, Mark, without_blanks
from ner_elmo.formats.source import Source

MAX_BYTES = 2**30  # unpacked

if TYPE_CHECKING:
    from spacy.tokens import Doc


def read(source: Source) -> Iterator[Document]:
    """A document a Doc: `doc.ents`, or the only span group where there are none. Other annotations are passed over."""
    from spacy.vocab import Vocab

    for number, doc in enumerate(_stored(source.path).get_docs(Vocab()), 1):
        where = f"{source.path}: text {number}"
        groups = [(name, list(group)) for name, group in doc.spans.items() if len(group)]
        spans = list(doc.ents)
        if groups and not spans and len(groups) == 1:
            spans = groups[0][1]
        elif groups:
            source.note("span groups", where, ", ".join(name for name, _ in groups), "only doc.ents were read")
        marks = tuple(Mark(span.start_char, span.end_char, span.label_) for span in spans)
        yield Document(doc.text, marks, _sentences(doc), where)


def _stored(path: Path) -> Any:
    from spacy.tokens import DocBin

    with open_bytes(path) as file:
        raw = file.read(MAX_BYTES)
    try:
        unpacked = len(zlib.decompressobj().decompress(raw, MAX_BYTES + 1))
    except zlib.error as error:
        raise InputError(f"{path}: is no .spacy file (DocBin), or a damaged one.") from error
    if unpacked > MAX_BYTES:
        raise InputError(f"{path}: must hold {MAX_BYTES:,} bytes at most, unpacked, for it is read as a whole. Split it.")
    try:
        return DocBin(store_user_data=False).from_bytes(raw)
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: is no .spacy file (DocBin), or a damaged one.") from error


def _sentences(doc: Doc) -> tuple[tuple[tuple[int, int], ...], ...]:
    parts: Iterable[Any] = doc.sents if doc.has_annotation("SENT_START") else [doc]
    return tuple(without_blanks(doc.text, [(t.idx, t.idx + len(t)) for t in part]) for part in parts)


def pack(documents: Iterable[Document]) -> bytes:
    """All documents as one DocBin; they are packed in memory."""
    from spacy.tokens import DocBin
    from spacy.vocab import Vocab

    stored, vocab = DocBin(attrs=["ENT_IOB", "ENT_TYPE", "SENT_START"]), Vocab()
    for document in documents:
        stored.add(_doc(document, vocab))
    return stored.to_bytes()


def _doc(document: Document, vocab: Any) -> Doc:
    """A Doc with the document's tokens, and tokens of the blanks between them where they are not one blank each."""
    from spacy.tokens import Doc
    from spacy.util import get_words_and_spaces

    borders = list(chain.from_iterable(document.sentences or ()))
    words, spaces = get_words_and_spaces([document.text[a:b] for a, b in borders], document.text)
    begins = {sentence[0][0] for sentence in document.sentences or () if sentence}
    positions, position = [], 0
    for word, space in zip(words, spaces, strict=True):
        positions.append(position)
        position += len(word) + bool(space)
    doc = Doc(vocab, words, spaces, sent_starts=[n == 0 or start in begins for n, start in enumerate(positions)])
    doc.set_ents([span for mark in document.marks if (span := doc.char_span(mark.start, mark.end, mark.type))])
    return doc
