"""Raw text -> sentences of tokens with character offsets: spaCy's rule-based tokenizer and sentence splitter.

Neither needs a download. Training data should be tokenised in a like manner; pre-split text skips this module.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from biLM.errors import InputError

LONG_RUN = 256  # characters without a blank among them
STRINGS_KEPT = 50_000  # spaCy remembers every word that it has seen; beyond these it starts afresh
_SIGNS = re.compile(r"[^\w\s]")
_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True)
class TextSentence:
    """Tokens of one sentence, and where each begins and ends in the whole text: `text[starts[i]:ends[i]] == tokens[i]`."""

    tokens: tuple[str, ...]
    starts: tuple[int, ...]
    ends: tuple[int, ...]


class Tokenizer:
    """Splits text. Blanks belong to no token; every other character belongs to exactly one.

    Arguments:
        lang: a language code of spaCy, such as "en", "de" or "xx" (any language).
    """

    def __init__(self, lang: str = "en"):
        self.lang = lang

    def sentences(self, text: str) -> list[TextSentence]:
        """Sentences of a text of any length; a text of blanks only has none."""
        result = []
        pipeline = _pipeline(self.lang)
        if len(pipeline.vocab.strings) > STRINGS_KEPT:
            _pipeline.cache_clear()
            pipeline = _pipeline(self.lang)
        for sentence in pipeline(text).sents:
            tokens = [token for token in sentence if not token.is_space]
            if tokens:
                starts = tuple(token.idx for token in tokens)
                ends = tuple(token.idx + len(token) for token in tokens)
                result.append(TextSentence(tuple(token.text for token in tokens), starts, ends))
        return result


@lru_cache
def _pipeline(lang: str):
    import spacy  # a second to import: only where raw text is read

    try:
        pipeline = spacy.blank(lang)
    except ImportError as error:
        raise InputError(f"no tokenizer for the language {lang!r}: {' '.join(str(error).split())}") from error
    _spare(pipeline.tokenizer)
    pipeline.max_length = 2**31  # the limit guards parsers, which are not used here
    pipeline.add_pipe("sentencizer")
    return pipeline


def _spare(tokenizer: Any) -> None:
    """Leaves long runs that are made of signs whole. spaCy takes one sign after another off a run and looks at all of the
    rest each time: a line of 100,000 brackets would take it minutes."""
    if not hasattr(tokenizer, "token_match"):  # of a language that is split in another way
        return
    usual = tokenizer.token_match

    def is_whole(run: str) -> bool:
        return (len(run) > LONG_RUN and 3 * len(_SIGNS.findall(run)) > len(run)) or bool(usual and usual(run))

    tokenizer.token_match = is_whole


def require_characters(text: str, where: str) -> None:
    """Raises InputError for halves of surrogate pairs, which JSON can hold and UTF-8 cannot."""
    if half := _SURROGATE.search(text):
        raise InputError(f"{where}: the text holds half a surrogate pair, {half[0]!r}, which is no character.")


def split_tokens(text: str) -> TextSentence:
    """Pre-split text: tokens are what stands between blanks."""
    tokens, starts, ends = [], [], []
    position = 0
    for token in text.split():
        position = text.index(token, position)
        tokens.append(token)
        starts.append(position)
        position += len(token)
        ends.append(position)
    return TextSentence(tuple(tokens), tuple(starts), tuple(ends))
