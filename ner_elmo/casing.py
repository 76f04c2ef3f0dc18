"""How a token is written, as one of a few classes: what lower-cased word vectors do not tell.

Source: the capitalisation feature of Collobert et al. 2011, with the classes for numbers of Reimers and Gurevych 2017.
"""

from __future__ import annotations

PADDING, OTHER, NUMERIC, HAS_DIGIT, LOWER, UPPER, TITLE, MIXED = range(8)
N_CASINGS = 8


def casing_of(token: str) -> int:
    """The class of a token; 0 is padding.

    Example: `casing_of("Oslo") == TITLE`, `casing_of("iPhone") == MIXED`, `casing_of("1,000") == NUMERIC`.
    """
    n_digits = sum(character.isdigit() for character in token)
    if n_digits:
        return NUMERIC if 2 * n_digits > len(token) else HAS_DIGIT
    if token.islower():
        return LOWER
    if token.isupper():
        return UPPER if len(token) > 1 else TITLE
    if not any(character.isupper() for character in token):
        return OTHER
    return TITLE if token[0].isupper() and not any(character.isupper() for character in token[1:]) else MIXED
