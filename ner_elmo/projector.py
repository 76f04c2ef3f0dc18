"""Tokens' vectors in context, as a tagger's mix or one layer gives them, with entity types to colour them by."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from keras import ops

from biLM import InputError
from biLM.exploration import require_layer, snippet
from ner_elmo.entities import OUTSIDE, Span
from ner_elmo.predictor import Predictor
from ner_elmo.readers import Sentence

COLUMNS = ("token", "type", "predicted", "context", "where")
Place = tuple[int, int]  # number of a sentence, and of a token in it


def choose(sentences: Sequence[Sentence], limit: int, seed: int = 0) -> list[Place]:
    """At most `limit` tokens of each entity type, and as many outside of entities, drawn at random; in order."""
    of_type: dict[str, list[Place]] = {}
    for number, sentence in enumerate(sentences):
        for position, kind in enumerate(types_of_tokens(sentence.spans, len(sentence.tokens))):
            of_type.setdefault(kind, []).append((number, position))
    rng = np.random.default_rng(seed)
    drawn = (places[k] for places in of_type.values() for k in rng.permutation(len(places))[:limit])
    return sorted(drawn)


def types_of_tokens(spans: Sequence[Span], n_tokens: int) -> list[str]:
    """The entity type of each token, "O" outside."""
    types = [OUTSIDE] * n_tokens
    for span in spans:
        types[span.start : span.end] = [span.type] * (span.end - span.start)
    return types


def token_vectors(
    tagger: Predictor, sentences: Sequence[Sentence], places: Sequence[Place], layer: int | None = None
) -> tuple[list[tuple[str, ...]], np.ndarray]:
    """A row of `COLUMNS` and the vector (D,) of each token. layer: of the biLM; None: the tagger's learned mix.

    Raises InputError for a tagger without a biLM, and for a layer that it lacks.
    """
    bilm, mix = tagger.features.bilm, tagger.tagger.elmo
    if bilm is None or mix is None:
        raise InputError("the projector shows vectors of a biLM. Received: a model trained with --elmo none.")
    if layer is not None:
        require_layer(bilm, layer)
    numbers = sorted({number for number, _ in places})
    tokens = [sentences[number].tokens for number in numbers]
    vectors: dict[int, np.ndarray] = {}  # (T, D) of each sentence
    for positions, batch in bilm.embed_in_batches(tokens, table=bilm.token_table()):
        for position, row in zip(positions, batch, strict=True):
            vectors[numbers[position]] = ops.convert_to_numpy(mix(row[None]))[0] if layer is None else row[layer]
    predicted = dict(zip(numbers, tagger.tag_sentences(tokens), strict=True))
    rows = [_row(sentences[number], position, predicted[number]) for number, position in places]
    return rows, np.stack([vectors[number][position] for number, position in places])


def _row(sentence: Sentence, position: int, predicted: Sequence[tuple[Span, float]]) -> tuple[str, ...]:
    tokens = sentence.tokens
    gold, found = (types_of_tokens(spans, len(tokens)) for spans in (sentence.spans, [span for span, _ in predicted]))
    return tokens[position], gold[position], found[position], snippet(tokens, position), sentence.where
