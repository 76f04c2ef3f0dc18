"""What a person should know of annotated files before training on them, and a clean copy.

A clean copy has spans on token borders and none over another, no control and no zero-width characters and no empty text.
Repeated sentences, contradicting labels and sentences shared by several sides are told, and left as they are: they
may be right, and which of them are wrong only a person knows.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from biLM.errors import InputError
from biLM.text import Tokenizer
from ner_elmo.alignment import Sentence, align, sentences_of
from ner_elmo.cleaning import tell_invisible, with_characters_only, without_invisible
from ner_elmo.formats.document import Document, Finding
from ner_elmo.formats.source import Source
from ner_elmo.formats.spans_json import shown
from ner_elmo.formats.table import AUTO, FORMATS, documents_of, write

CHARACTER_LIMIT = 50  # bytes of a token that a biLM reads, its two marks included
RARE = 5  # fewer entities of a type than these can hardly be learned
TRAIN = "train"
_SHOWN = 80  # characters of a sentence


@dataclass(frozen=True)
class Repeated:
    """A sentence that stands at two places: where, where first, and its text."""

    where: str
    first: str
    text: str


@dataclass
class FileCheck:
    """What one file holds. found: scheme and columns; entities: how many of each type; fixed: the clean copy."""

    path: str
    side: str
    format: str = ""
    found: str = ""
    texts: int = 0
    sentences: int = 0
    tokens: int = 0
    entities: dict[str, int] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    fixed: str | None = None


@dataclass
class Check:
    """What all files hold together.

    repeated: sentences that a side has twice; contradicting: the same tokens with other labels than at first; shared:
    sentences of several sides, which makes scores look better than they are. rare: types with few entities in training
    (in all, where no side is named train). unlearnable: types that training lacks, by side.
    """

    files: list[FileCheck] = field(default_factory=list)
    repeated: list[Repeated] = field(default_factory=list)
    contradicting: list[Repeated] = field(default_factory=list)
    shared: list[Repeated] = field(default_factory=list)
    rare: dict[str, int] = field(default_factory=dict)
    unlearnable: dict[str, list[str]] = field(default_factory=dict)


@dataclass
class _Seen:
    """Where a sentence stood first, with which labels, and the sides that have it."""

    where: str
    labels: int
    sides: set[str]


class Checker:
    """Checks files, side by side, as they are read; of each sentence a hash is kept.

    Arguments:
        lang: of the tokenizer, for raw text. scheme, columns, text_field, format: as in `read_sentences`.
    """

    def __init__(
        self,
        lang: str = "en",
        scheme: str = "auto",
        format: str = AUTO,
        columns: tuple[int, ...] | None = None,
        text_field: str | None = None,
    ):
        self.tokenizer, self.format = Tokenizer(lang), format
        self.how = {"scheme": scheme, "columns": columns, "text_field": text_field}
        self.found = Check()
        self._seen: dict[bytes, _Seen] = {}

    def file(self, path: Path, side: str, fix: Path | None = None) -> FileCheck:
        """Checks one file; `fix` names the clean copy, which has the same format."""
        source = Source(path, **self.how)  # type: ignore[arg-type]
        checked = FileCheck(str(path), side, findings=source.findings)
        checked.format, documents = documents_of(source, self.format)
        fixed = self._documents(documents, source, checked, fix is not None)
        if fix is None:
            for _ in fixed:
                pass
        else:
            write(fixed, fix, checked.format)
            checked.fixed = str(fix)
            if source.passed_over:
                left_out = ", ".join(sorted(source.passed_over))
                checked.findings.append(Finding("passed over", str(path), left_out, "not in the clean copy"))
        checked.found = source.found
        if not checked.texts:
            raise InputError(f"{path}: must hold at least one sentence. Received: none.")
        self.found.files.append(checked)
        return checked

    def _documents(self, documents: Iterator[Document], source: Source, checked: FileCheck, fix: bool) -> Iterator[Document]:
        """The clean documents, each counted."""
        tell = checked.findings.append
        for document in documents:
            checked.texts += 1
            source.passed_over.update(f"the field {shown([name])}" for name in FORMATS[checked.format].lost(document.fields))
            document = with_characters_only(document, tell)
            if tell_invisible(document, tell, "removed" if fix else "left in; --fix removes it") and fix:
                document = without_invisible(document)
            clean = align(document, self.tokenizer, tell)
            sentences = list(sentences_of(clean))
            if not sentences:
                tell(Finding("empty text", document.where, repr(document.text[:_SHOWN]), "left out"))
                continue
            for sentence in sentences:
                self._count(sentence, checked)
            yield clean

    def _count(self, sentence: Sentence, checked: FileCheck) -> None:
        checked.sentences += 1
        checked.tokens += len(sentence.tokens)
        for span in sentence.spans:
            checked.entities[span.type] = checked.entities.get(span.type, 0) + 1
        for token in sentence.tokens:
            if 4 * len(token) > CHARACTER_LIMIT - 2 < len(token.encode("utf-8")):
                n_bytes = len(token.encode("utf-8"))
                says = f"of its {n_bytes} bytes a biLM reads {CHARACTER_LIMIT - 2}"
                checked.findings.append(Finding("long token", sentence.where, repr(token[:_SHOWN]), says))
        self._compare(sentence, checked.side)

    def _compare(self, sentence: Sentence, side: str) -> None:
        text = " ".join(sentence.tokens)
        key = hashlib.blake2b(text.encode("utf-8"), digest_size=16).digest()
        labels = hash(sentence.spans)
        seen = self._seen.setdefault(key, _Seen(sentence.where, labels, set()))
        if seen.sides:
            repeated = Repeated(sentence.where, seen.where, text[:_SHOWN])
            (self.found.repeated if side in seen.sides else self.found.shared).append(repeated)
            if labels != seen.labels:
                self.found.contradicting.append(repeated)
        seen.sides.add(side)

    def finish(self) -> Check:
        """What the files are together."""
        by_side: dict[str, Counter[str]] = {}
        for checked in self.found.files:
            by_side.setdefault(checked.side, Counter()).update(checked.entities)
        learned = by_side[TRAIN] if TRAIN in by_side else sum(by_side.values(), Counter())
        self.found.rare = {kind: count for kind, count in sorted(learned.items()) if count < RARE}
        self.found.unlearnable = {
            side: sorted(set(kinds) - set(learned)) for side, kinds in by_side.items() if set(kinds) - set(learned)
        }
        return self.found


def check_files(sides: Mapping[str, Sequence[Path]], checker: Checker, fixed: Mapping[Path, Path] | None = None) -> Check:
    """Checks the files of all sides; `fixed` names the clean copies.

    Example: `check_files({"train": [Path("train.conll")]}, Checker()).files[0].entities`.
    """
    for side, paths in sides.items():
        for path in paths:
            checker.file(path, side, (fixed or {}).get(path))
    return checker.finish()
