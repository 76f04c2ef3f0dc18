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
_LAYERS = ("TAG", "POS", "MORPH", "LEMMA", "DEP")
_DAMAGED = (ValueError, LookupError, TypeError, ArithmeticError)  # what spaCy raises where the file makes no sense

if TYPE_CHECKING:
    from spacy.tokens import Doc


def read(source: Source) -> Iterator[Document]:
    """A document a Doc: `doc.ents`, or the only span group where there are none. Other annotations are passed over."""
    for number, doc in enumerate(_docs(source.path), 1):
        where = f"{source.path}: text {number}"
        groups = [(name, list(group)) for name, group in doc.spans.items() if len(group)]
        spans = list(doc.ents)
        if groups and not spans and len(groups) == 1:
            spans = groups[0][1]
        elif groups:
            source.note("span groups", where, ", ".join(name for name, _ in groups), "only doc.ents were read")
        layers = [layer for layer in _LAYERS if doc.has_annotation(layer)]
        source.passed_over.update([*layers, "CATS"] if doc.cats else layers)
        marks = tuple(Mark(span.start_char, span.end_char, span.label_) for span in spans)
        yield Document(doc.text, marks, _sentences(doc), where)


def _docs(path: Path) -> Iterator[Doc]:
    from spacy.vocab import Vocab

    docs, number = _stored(path).get_docs(Vocab()), 0
    while True:
        try:
            doc = next(docs, None)
        except _DAMAGED as error:
            raise InputError(f"{path}: text {number + 1}: a damaged .spacy file: {_why(error)}. Write it again.") from error
        if doc is None:
            return
        number += 1
        yield doc


def _why(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())


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
    except _DAMAGED as error:
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
    """A Doc with the document's tokens, and tokens of whatever stands between them but one blank."""
    from spacy.tokens import Doc

    words, spaces, starts = _words(document)
    begins = {sentence[0][0] for sentence in document.sentences or () if sentence}
    doc = Doc(vocab, words, spaces, sent_starts=[n == 0 or start in begins for n, start in enumerate(starts)])
    spans = []
    for mark in document.marks:
        span = doc.char_span(mark.start, mark.end, mark.type)
        if span is None:
            says = f"[{mark.start}, {mark.end}, {mark.type!r}]"
            raise InputError(f"{document.where}: a span must lie on the borders of tokens. Received: {says}.")
        spans.append(span)
    doc.set_ents(spans)
    return doc


def _words(document: Document) -> tuple[list[str], list[bool], list[int]]:
    """Words that make up the whole text, whether a blank follows each, and where each begins."""
    text, position = document.text, 0
    words: list[str] = []
    spaces: list[bool] = []
    starts: list[int] = []
    for start, end in _covering(document):
        if words and text[position : position + 1] == " ":
            spaces[-1], position = True, position + 1
        for word in (text[position:start], text[start:end]):
            if word:
                words.append(word)
                spaces.append(False)
                starts.append(position)
                position += len(word)
    return words, spaces, starts


def _covering(document: Document) -> Iterator[tuple[int, int]]:
    """Borders of the tokens, of what else stands between them, and of nothing at the text's end."""
    position, end = 0, len(document.text)
    for border in chain(chain.from_iterable(document.sentences or ()), [(end, end)]):
        between = without_blanks(document.text, [(position, border[0])])
        yield from (part for part in between if not document.text[slice(*part)].isspace())
        yield border
        position = border[1]
