"""`Entity`, tag schemes, and `TagSet`: the tags of a model and which of them may follow which.

Inside the project entities are spans (type, start, end) over tokens, half-open; tags exist only at the edges: IOB1, IOB2
and BIOES (also spelled BILOU) are read, BIOES is what the network predicts.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from biLM.errors import InputError

SCHEMES = ("auto", "IOB1", "IOB2", "BIOES")
OUTSIDE = "O"
MAX_TYPES = 400  # 1,601 tags: decoding a batch compares 82 million pairs a token
_TO_BIOES = {"L": "E", "U": "S", "M": "I", "W": "S"}  # BILOU and BMEWO say the same in other letters


@dataclass(frozen=True, order=True)
class Span:
    """An entity over tokens: `tokens[start:end]`."""

    type: str
    start: int
    end: int


@dataclass(frozen=True)
class Entity:
    """An entity in text: `text == whole_text[start:end]`, offsets in characters (Unicode code points), half-open.

    confidence: the probability, in [0, 1], that exactly this span has exactly this type, under the model.
    """

    type: str
    start: int
    end: int
    text: str
    confidence: float


@lru_cache(4096)
def split_tag(tag: str) -> tuple[str, str]:
    """`"B-PER"` -> `("B", "PER")`, `"O"` -> `("O", "")`. Raises InputError for what is no tag."""
    if tag == OUTSIDE:
        return OUTSIDE, ""
    prefix, dash, kind = tag.partition("-")
    prefix = _TO_BIOES.get(prefix, prefix)
    if not dash or not kind or prefix not in ("B", "I", "E", "S"):
        raise InputError(f"{tag!r} is no tag: a tag is O, or B, I, E or S (L and U in BILOU), a dash and a type")
    return prefix, kind


def detect_scheme(sentences: Iterable[Sequence[str]]) -> str:
    """The scheme that all tags obey: "BIOES" where E or S occurs, "IOB1" where an entity begins with I, else "IOB2".

    Raises InputError when some entities begin with I and others with B where IOB1 would not allow it.
    """
    begins_with_i = begins_with_b = None
    for tags in sentences:
        before = (OUTSIDE, "")
        for tag in tags:
            prefix, kind = split_tag(tag)
            if prefix in ("E", "S"):
                return "BIOES"
            if prefix == "I" and before[1] != kind:
                begins_with_i = begins_with_i or tag
            if prefix == "B" and before[1] != kind:
                begins_with_b = begins_with_b or tag
            before = prefix, kind
    if begins_with_i and begins_with_b:
        raise InputError(
            f"mixed tag schemes: some entities begin with {begins_with_i} (IOB1), others with {begins_with_b} (IOB2). "
            "To read them leniently, name a scheme: IOB1"
        )
    return "IOB1" if begins_with_i else "IOB2"


def spans_of(tags: Sequence[str], scheme: str) -> tuple[Span, ...]:
    """Spans of a tagged sentence.

    "IOB1" is read leniently, as conlleval does: any B, and any I after another type, begins an entity. "IOB2" and "BIOES"
    are read strictly: what breaks their rules raises InputError.
    """
    spans: list[Span] = []
    kind, start = "", 0  # the open entity, if any
    for position, (prefix, tag_kind) in enumerate([*map(split_tag, tags), (OUTSIDE, "")]):
        goes_on = prefix in ("I", "E") and kind == tag_kind and kind != ""
        if prefix in ("I", "E") and not goes_on and scheme != "IOB1":
            raise InputError(f"{tags[position]!r} at token {position + 1} goes on from nothing, {scheme} forbids that")
        if kind and not goes_on:
            if scheme == "BIOES":
                raise InputError(f"the {kind} entity before token {position + 1} has no end tag, BIOES requires one")
            spans.append(Span(kind, start, position))
            kind = ""
        if prefix in ("B", "S") or (prefix in ("I", "E") and not goes_on):
            kind, start = tag_kind, position
        if prefix in ("E", "S"):
            spans.append(Span(kind, start, position + 1))
            kind = ""
    return tuple(spans)


def tags_of(spans: Iterable[Span], n_tokens: int, scheme: str = "BIOES") -> list[str]:
    """Tags of spans, in "IOB2" or "BIOES"."""
    tags = [OUTSIDE] * n_tokens
    for span in spans:
        tags[span.start : span.end] = [f"I-{span.type}"] * (span.end - span.start)
        tags[span.start] = f"B-{span.type}"
        if scheme == "BIOES":
            tags[span.end - 1] = f"E-{span.type}" if span.end - span.start > 1 else f"S-{span.type}"
    return tags


class TagSet:
    """The tags of a model: O, then B-, I-, E- and S- of each type, types in the order given.

    `legal` (K, K), `legal_start` (K,) and `legal_end` (K,) are True where a tag may follow another, begin or end a
    sentence.

    Example: `TagSet(["LOC"]).tags == ["O", "B-LOC", "I-LOC", "E-LOC", "S-LOC"]`.
    """

    def __init__(self, types: Sequence[str]):
        self.types = tuple(types)
        if len(self.types) > MAX_TYPES:
            raise InputError(
                f"a tagger knows {MAX_TYPES} entity types at most, for every tag is compared with every other. "
                f"Received: {len(self.types):,}. Do the files hold something else in the tag's column?"
            )
        self.tags = [OUTSIDE] + [f"{prefix}-{kind}" for kind in self.types for prefix in "BIES"]
        self.id_of = {tag: number for number, tag in enumerate(self.tags)}
        parts = [split_tag(tag) for tag in self.tags]
        opens = np.array([prefix in ("B", "I") for prefix, _ in parts])  # an entity is open after these
        inside = np.array([prefix in ("I", "E") for prefix, _ in parts])  # these need an open entity
        same = np.array([[a == b for _, b in parts] for _, a in parts])
        self.legal = np.where(opens[:, None], inside[None, :] & same, ~inside[None, :])
        self.legal_start, self.legal_end = ~inside, ~opens

    def __len__(self) -> int:
        return len(self.tags)

    def encode(self, spans: Iterable[Span], n_tokens: int) -> np.ndarray:
        """Tag ids of spans, int32 (n_tokens,). Spans of types that the model lacks are left out."""
        known = [span for span in spans if span.type in self.types]
        return np.array([self.id_of[tag] for tag in tags_of(known, n_tokens)], dtype=np.int32)

    def decode(self, ids: Iterable[int]) -> tuple[Span, ...]:
        """Spans of a legal sequence of tag ids."""
        return spans_of([self.tags[number] for number in ids], "BIOES")
