"""Entities for the eye: a page that opens without a network, and colours at a terminal."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from html import escape

from rich.text import Text

from ner_elmo.entities import Entity

_COLOURS = ("#ffd8a8", "#a5d8ff", "#b2f2bb", "#eebefa", "#ffc9c9", "#99e9f2", "#ffec99", "#d0bfff", "#c3fae8", "#fcc2d7")
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f]")  # must not steer a terminal, and are nothing in a page
_HEAD = """<!DOCTYPE html>
<html>
<head>
<meta charset="utf-8">
<title>Entities</title>
<style>
body { max-width: 60rem; margin: 2rem auto; padding: 0 1rem; font: 16px/1.5 system-ui, sans-serif; color: #222; }
.entities { white-space: pre-wrap; overflow-wrap: anywhere; padding: 0.5rem 0; border-bottom: 1px solid #ddd; }
mark { padding: 0.15em 0.35em; border-radius: 0.35em; }
mark small { font-weight: bold; margin-left: 0.35em; }
</style>
</head>
<body>
"""
_ENTITY = '<mark class="entity" style="background: {bg}" title="confidence {confidence}">{text}<small>{label}</small></mark>'


def colours_of(types: Sequence[str]) -> dict[str, str]:
    """A colour for each type, always the same for the same types."""
    return {kind: _COLOURS[number % len(_COLOURS)] for number, kind in enumerate(sorted(types))}


def html(texts: Iterable[tuple[str, Sequence[Entity]]], types: Sequence[str]) -> Iterator[str]:
    """A page with every text and its entities marked (displaCy); what looks like markup is shown as text."""
    from spacy import displacy

    colours = {escape(kind): colour for kind, colour in colours_of(types).items()}
    options = {"colors": colours, "template": _ENTITY}
    yield _HEAD
    for text, entities in texts:
        rows = [
            {"start": e.start, "end": e.end, "label": escape(e.type), "params": {"confidence": f"{e.confidence:.2f}"}}
            for e in entities
        ]
        page = {"text": _CONTROL.sub("\ufffd", text.replace("\r", " ")), "ents": rows}
        yield displacy.render([page], style="ent", manual=True, jupyter=False, options=options) + "\n"
    yield "</body>\n</html>\n"


def coloured(text: str, entities: Sequence[Entity], types: Sequence[str]) -> Text:
    """A text for a terminal, entities on their type's colour, type and confidence behind each."""
    colours = colours_of(types)
    text = _CONTROL.sub("\ufffd", text)
    found, position = Text(), 0
    for entity in entities:
        found.append(text[position : entity.start])
        found.append(text[entity.start : entity.end], style=f"black on {colours[entity.type]}")
        found.append(f" {entity.type} {entity.confidence:.2f}", style=f"bold {colours[entity.type]}")
        position = entity.end
    return found.append(text[position:])
