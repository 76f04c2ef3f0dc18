"""Lines of text in, tagged lines out: what `predict.py` reads and writes."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict

from biLM.errors import InputError
from biLM.text import TextSentence
from ner_elmo.entities import Entity, Span, tags_of
from ner_elmo.predictor import NerTagger


def read_lines(paths: Sequence[str]) -> Iterator[str]:
    """Lines of UTF-8 files, or of standard input without paths; without line ends and byte-order marks.

    Only \\n and \\r\\n end a line, so that each line of the file gives one result.
    """
    for path in paths or ["-"]:
        stream = sys.stdin.buffer if path == "-" else open(path, "rb")  # noqa: SIM115
        with stream:
            for number, raw in enumerate(stream, 1):
                try:
                    line = raw.decode("utf-8-sig" if number == 1 else "utf-8")
                except UnicodeDecodeError as error:
                    where = "standard input" if path == "-" else path
                    raise InputError(
                        f"{where}:{number}: must be UTF-8. Received the byte {raw[error.start]:#04x}; convert it with "
                        "`iconv -f LATIN1 -t UTF-8`."
                    ) from None
                yield line.removesuffix("\n").removesuffix("\r")


def write(tagger: NerTagger, lines: Iterable[str], style: str, tokenized: bool = False) -> Iterator[str]:
    """Results ready to print: "text" marks entities as `[Ada](PER 0.98)`, "jsonl" has one object a line, "conll" has a
    token and its IOB2 tag a line and an empty line after each sentence."""
    if style == "conll":
        for sentence, spans in tagger.tag_tokens(lines, tokenized):
            yield conll(sentence, spans)
        return
    for text, entities in tagger.tag_lines(lines, tokenized):
        yield (marked(text, entities) if style == "text" else json_line(text, entities)) + "\n"


def json_line(text: str, entities: Sequence[Entity]) -> str:
    """`{"text": ..., "entities": [{"type", "start", "end", "text", "confidence"}]}`."""
    rows = [asdict(entity) | {"confidence": round(entity.confidence, 4)} for entity in entities]
    return json.dumps({"text": text, "entities": rows}, ensure_ascii=False)


def marked(text: str, entities: Sequence[Entity]) -> str:
    parts, position = [], 0
    for entity in entities:
        parts += [text[position : entity.start], f"[{entity.text}]({entity.type} {entity.confidence:.2f})"]
        position = entity.end
    return "".join([*parts, text[position:]])


def conll(sentence: TextSentence, spans: Sequence[Span]) -> str:
    tags = tags_of(spans, len(sentence.tokens), "IOB2")
    return "".join(f"{token} {tag}\n" for token, tag in zip(sentence.tokens, tags, strict=True)) + "\n"
