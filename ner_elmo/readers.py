"""Annotated files -> sentences with entity spans. For now one format: columns, token first, tag last."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from biLM.errors import InputError
from ner_elmo.entities import SCHEMES, Span, detect_scheme, spans_of, split_tag

DOCUMENT_MARK = "-DOCSTART-"
_BLANKS = re.compile(r"[ \t]+")


@dataclass(frozen=True)
class Sentence:
    """Tokens and their entities; `where` is file:line of the first token."""

    tokens: tuple[str, ...]
    spans: tuple[Span, ...] = ()
    where: str = ""


def read_sentences(paths: str | Path | Iterable[str | Path], scheme: str = "auto") -> list[Sentence]:
    """Reads CoNLL files: a token a line, columns split by blanks or tabs, an empty line after each sentence.

    Further columns are passed over, and so are -DOCSTART- lines. UTF-8, with or without a byte-order mark; any line ends.

    Arguments:
        scheme: "IOB1" (read leniently), "IOB2", "BIOES" (BILOU is the same) or "auto": what each file obeys.

    Raises: InputError, with file and line, for a line of one column, a tag that is none, a sequence that its scheme
        forbids, mixed schemes, text that is not UTF-8, and a file without a sentence.

    Example: `read_sentences("data/sample/train.conll")[0].tokens`.
    """
    if scheme not in SCHEMES:
        raise InputError(f"the tag scheme must be one of {', '.join(SCHEMES)}. Received: {scheme!r}.")
    paths = [paths] if isinstance(paths, str | Path) else list(paths)
    return [sentence for path in paths for sentence in _read_file(Path(path), scheme)]


def _read_file(path: Path, scheme: str) -> list[Sentence]:
    blocks = list(_blocks(path))
    if not blocks:
        raise InputError(f"{path}: must hold at least one sentence. Received: none.")
    if scheme == "auto":
        try:
            scheme = detect_scheme(tags for _, _, tags in blocks)
        except InputError as error:
            raise InputError(f"{path}: {error} (--tag-scheme IOB1).") from None
    sentences = []
    for line, tokens, tags in blocks:
        try:
            spans = spans_of(tags, scheme)
        except InputError as error:
            raise InputError(f"{path}:{line}: {error}.") from None
        sentences.append(Sentence(tuple(tokens), spans, f"{path}:{line}"))
    return sentences


def _blocks(path: Path) -> Iterator[tuple[int, list[str], list[str]]]:
    """Line number of the first token, tokens and tags of each sentence."""
    first = 0
    tokens: list[str] = []
    tags: list[str] = []
    for number, line in enumerate([*_lines(path), ""], 1):
        columns = _BLANKS.split(line.strip(" \t\r\n")) if line.strip(" \t\r\n") else []
        if not columns or columns[0] == DOCUMENT_MARK:
            if tokens:
                yield first, tokens, tags
            tokens, tags = [], []
            continue
        if len(columns) < 2:
            raise InputError(f"{path}:{number}: expected 2 columns or more, got 1: {columns[0][:80]!r}.")
        try:
            split_tag(columns[-1])
        except InputError as error:
            raise InputError(f"{path}:{number}: {error}.") from None
        first = first if tokens else number
        tokens.append(columns[0])
        tags.append(columns[-1])


def _lines(path: Path) -> list[str]:
    raw = path.read_bytes()
    try:
        return raw.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n").split("\n")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise InputError(
            f"{path}:{line}: must be UTF-8. Received the byte {raw[error.start]:#04x}; convert it with "
            "`iconv -f LATIN1 -t UTF-8`."
        ) from None


def types_of(sentences: Sequence[Sentence]) -> list[str]:
    """Entity types, sorted."""
    return sorted({span.type for sentence in sentences for span in sentence.spans})
