"""What annotated files hold: sentences, tokens, entities of each type, and how much of it training never saw."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ner_elmo.entities import Span
from ner_elmo.readers import Sentence

_PLACE = re.compile(r"(:\d+)?(: (item|row|text) \d+)?(, (paragraph|character) \d+)*$")  # in a file, behind its path


@dataclass(frozen=True)
class FileSummary:
    """One file of one role ("train", "dev" or "test").

    sha256: of the file, None where it is not one file. unseen_tokens, unseen_entities: the share of its tokens, and of its
    entities by their tokens, that occur nowhere in the training files; None for those, and where they are gone.
    """

    role: str
    path: str
    sha256: str | None
    sentences: int
    tokens: int
    entities: dict[str, int]
    unseen_tokens: float | None = None
    unseen_entities: float | None = None


@dataclass(frozen=True)
class Seen:
    """The tokens and the entities, as tuples of tokens, of training sentences."""

    tokens: frozenset[str]
    entities: frozenset[tuple[str, ...]]

    @classmethod
    def of(cls, sentences: Iterable[Sentence]) -> Seen:
        sentences = list(sentences)
        tokens = frozenset(token for sentence in sentences for token in sentence.tokens)
        return cls(tokens, frozenset(entity for sentence in sentences for entity in _entities(sentence)))

    def has_entity(self, sentence: Sentence, span: Span) -> bool:
        """Whether an entity of training has the tokens of a span."""
        return _tokens_of(sentence, span) in self.entities


def summarise(role: str, sentences: Sequence[Sentence], seen: Seen | None = None) -> tuple[FileSummary, ...]:
    """A summary for each file that the sentences come from, in their order."""
    of_file: dict[str, list[Sentence]] = {}
    for sentence in sentences:
        of_file.setdefault(_PLACE.sub("", sentence.where), []).append(sentence)
    return tuple(_summary(role, path, here, seen) for path, here in of_file.items())


def _summary(role: str, path: str, sentences: Sequence[Sentence], seen: Seen | None) -> FileSummary:
    tokens = [token for sentence in sentences for token in sentence.tokens]
    counts = Counter(span.type for sentence in sentences for span in sentence.spans)
    unseen: tuple[float | None, float | None] = (None, None)
    if seen is not None:
        entities = [entity for sentence in sentences for entity in _entities(sentence)]
        unseen = _share_outside(tokens, seen.tokens), _share_outside(entities, seen.entities)
    return FileSummary(role, path, sha256_of(path), len(sentences), len(tokens), dict(sorted(counts.items())), *unseen)


def _entities(sentence: Sentence) -> list[tuple[str, ...]]:
    return [_tokens_of(sentence, span) for span in sentence.spans]


def _tokens_of(sentence: Sentence, span: Span) -> tuple[str, ...]:
    return tuple(sentence.tokens[span.start : span.end])


def _share_outside(things: Sequence, known: frozenset) -> float:
    return sum(thing not in known for thing in things) / max(1, len(things))


def sha256_of(path: str | Path) -> str | None:
    """The hash of a file's bytes, None where there is no such file."""
    if not Path(path).is_file():
        return None
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
