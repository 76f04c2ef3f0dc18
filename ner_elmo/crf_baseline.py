"""The CRF with hand-made features: what a tagger has to beat on the same files. Trained with sklearn-crfsuite.

Features of a token: its lower-cased form, shape, prefixes and suffixes, what characters it has; of the two tokens on each
side their form and short shape, and of the nearest ones their suffix and characters too.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from importlib.util import find_spec

from biLM.errors import InputError
from ner_elmo.entities import spans_of, tags_of
from ner_elmo.metrics import Score, strict_score
from ner_elmo.readers import Sentence

C1, C2, ITERATIONS = 0.1, 0.05, 100  # weights of the L1 and L2 penalties, steps of L-BFGS
_AFFIXES = (1, 2, 3, 4)


def require_library() -> None:
    """Raises: InputError where sklearn-crfsuite is not installed."""
    if find_spec("sklearn_crfsuite") is None:
        raise InputError("--baseline crf needs sklearn-crfsuite: pip install 'ner-elmo[crf]'.")


def score_baseline(train: Sequence[Sentence], test: Sequence[Sentence]) -> Score:
    """Strict micro score on test of a CRF trained on train."""
    from sklearn_crfsuite import CRF

    model = CRF(c1=C1, c2=C2, max_iterations=ITERATIONS, all_possible_transitions=True)
    tags = [tags_of(sentence.spans, len(sentence.tokens), "BIOES") for sentence in train]
    model.fit([features(sentence.tokens) for sentence in train], tags)
    predicted = model.predict([features(sentence.tokens) for sentence in test])
    spans = [spans_of(_iob1(row), "IOB1") for row in predicted]
    return strict_score([sentence.spans for sentence in test], spans, [len(sentence.tokens) for sentence in test])


def features(tokens: Sequence[str]) -> list[list[str]]:
    """Names of the features that hold, for each token of a sentence."""
    own = [_of_token(token) for token in tokens]
    far = [[f"form={token.lower()}", f"shape={_short_shape(token)}"] for token in tokens]
    near = [
        [*two, *(name for name in names if name.startswith(("suffix3", "is ")))] for two, names in zip(far, own, strict=True)
    ]
    rows = []
    for place, token in enumerate(tokens):
        row = ["bias", *far[place], *own[place]]
        for step, seen in ((-2, far), (-1, near), (1, near), (2, far)):
            there = place + step
            row += [f"{step}:{name}" for name in seen[there]] if 0 <= there < len(tokens) else [f"{step}:none"]
        if place:
            row.append(f"pair={tokens[place - 1].lower()} {token.lower()}")
        rows.append(row)
    return rows


def _of_token(token: str) -> list[str]:
    lower = token.lower()
    found = [f"long shape={_shape(token)}"]
    found += [f"prefix{n}={lower[:n]}" for n in _AFFIXES if len(lower) >= n]
    found += [f"suffix{n}={lower[-n:]}" for n in _AFFIXES if len(lower) >= n]
    holds = {
        "title": token.istitle(), "upper": token.isupper(), "digit": any(map(str.isdigit, token)), "hyphen": "-" in token,
        "symbols": not any(map(str.isalnum, token)), "at": token.startswith("@"), "hash": token.startswith("#"),
        "url": lower.startswith(("http", "www.")),
    }  # fmt: skip
    return found + [f"is {name}" for name, here in holds.items() if here]


def _shape(token: str) -> str:
    """`"McKay-7"` -> `"XxXxx-d"`."""
    return "".join("d" if c.isdigit() else "X" if c.isupper() else "x" if c.islower() else c for c in token)[:12]


def _short_shape(token: str) -> str:
    """The shape with runs made one: `"XxXx-d"`."""
    return re.sub(r"(.)\1+", r"\1", _shape(token))[:8]


def _iob1(tags: Sequence[str]) -> list[str]:
    """BIOES that a model without constraints predicted -> tags to read leniently."""
    return [{"E": "I", "S": "B"}.get(tag[0], tag[0]) + tag[1:] for tag in tags]
