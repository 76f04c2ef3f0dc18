"""Annotated files of every format -> sentences with entity spans."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from biLM.errors import InputError
from biLM.text import Tokenizer
from ner_elmo.alignment import Sentence, align, require_sound, sentences_of
from ner_elmo.entities import SCHEMES
from ner_elmo.formats.document import Finding
from ner_elmo.formats.source import Source
from ner_elmo.formats.table import AUTO, documents_of

__all__ = ["FileRead", "Sentence", "read_sentences", "types_of"]


@dataclass(frozen=True)
class FileRead:
    """What a file was: its format, scheme and columns in words, its sentences, and what did not fit as it stood."""

    path: Path
    format: str
    found: str
    n_sentences: int
    findings: tuple[Finding, ...] = ()

    def __str__(self) -> str:
        kinds = Counter(finding.kind for finding in self.findings)
        changed = ", ".join(f"{count:,} {kind}" for kind, count in kinds.items())
        more = f"; {changed} (python -m ner_elmo check {self.path} tells each)" if changed else ""
        sentences = f"{self.n_sentences:,} sentence{'s' if self.n_sentences != 1 else ''}"
        return f"{self.path}: {f'{self.format} {self.found}'.strip()}, {sentences}{more}"


def read_sentences(
    paths: str | Path | Iterable[str | Path],
    scheme: str = "auto",
    lang: str = "en",
    format: str = AUTO,
    columns: tuple[int, ...] | None = None,
    text_field: str | None = None,
    report: Callable[[FileRead], None] = lambda read: None,
) -> list[Sentence]:
    """Reads annotated files: columns, JSON of several tools, spaCy's formats, CSV, saved datasets; packed ones, too.

    Raw text is split into tokens and sentences; spans off the tokens' borders grow to the tokens they touch (`align`).

    Arguments:
        scheme: "IOB1" (read leniently), "IOB2", "BIOES" (BILOU is the same) or "auto": what each file obeys.
        lang: of the tokenizer, for raw text.
        format: a name of `formats.table.FORMATS`, or "auto": by name and content of each file.
        columns: where token and tag stand in CoNLL files, from 1, or from the end (-1); found when not given.
        text_field: the key or column of the text, where it has no usual name.
        report: called once a file is read.

    Raises: InputError, with file and line, for a line of one column, a tag that is none, a sequence that its scheme
        forbids, mixed schemes, offsets that cannot be right, broken JSON, text that is not UTF-8, and a file without a
        sentence.

    Example: `read_sentences("data/sample/train.conll")[0].tokens`.
    """
    if scheme not in SCHEMES:
        raise InputError(f"the tag scheme must be one of {', '.join(SCHEMES)}. Received: {scheme!r}.")
    paths = [paths] if isinstance(paths, str | Path) else list(paths)
    tokenizer = Tokenizer(lang)
    found: list[Sentence] = []
    for path in paths:
        source = Source(Path(path), scheme, columns, text_field)
        before = len(found)
        name, sentences = _sentences(source, format, tokenizer)
        found.extend(sentences)
        if len(found) == before:
            raise InputError(f"{path}: must hold at least one sentence. Received: none.")
        report(FileRead(source.path, name, source.found, len(found) - before, tuple(source.findings)))
    return found


def _sentences(source: Source, format: str, tokenizer: Tokenizer) -> tuple[str, Iterator[Sentence]]:
    name, documents = documents_of(source, format)

    def sentences() -> Iterator[Sentence]:
        for document in documents:
            require_sound(document)
            yield from sentences_of(align(document, tokenizer, source.findings.append))

    return name, sentences()


def types_of(sentences: Sequence[Sentence]) -> list[str]:
    """Entity types, sorted."""
    return sorted({span.type for sentence in sentences for span in sentence.spans})
