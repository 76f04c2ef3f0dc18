"""Held-out perplexity with the full softmax, over every prediction of every sentence.

A sentence of N tokens holds N + 1 predictions in each direction; none is left out and none depends on the batch, because
each sentence starts from the biLM's initial state.

    perplexity = exp(mean cross-entropy in nats)
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np

from biLM.batching import batches_by_length
from biLM.characters import BEGIN_TOKEN, END_TOKEN
from biLM.errors import InputError
from biLM.language_model import LanguageModel
from biLM.softmax import Softmax, full_cross_entropy
from biLM.token_table import TokenTable
from biLM.vocabulary import UNKNOWN_ID, Vocabulary

SENTENCES_AT_ONCE = 4096  # sorted by length among themselves; memory depends on this and not on the text
_NO_TARGET = -1


@dataclass(frozen=True)
class Perplexity:
    """forward, backward, both: perplexities (both: over the predictions of both directions). bits_per_character counts
    the tokens' characters and one blank after each token. oov_rate: the share of tokens that the vocabulary lacks, which
    the perplexity counts as one word `<UNK>`. predictions: in each direction. coverage: the share of the text's
    predictions that entered, always 1."""

    forward: float
    backward: float | None
    both: float
    bits_per_character: float
    oov_rate: float
    predictions: int
    coverage: float


def perplexity(
    model: LanguageModel, softmax: Softmax, vocabulary: Vocabulary, sentences: Iterable[Sequence[str]], batch_size: int = 64
) -> Perplexity:
    """Perplexity of tokenised sentences. Raises InputError when there are none. Holds a few thousand of them at a time."""
    nats, predictions = np.zeros(model.bilm.options.n_directions), 0
    due = n_tokens = n_unknown = n_characters = 0
    stream, table = iter(sentences), model.bilm.token_table()
    while block := list(islice(stream, SENTENCES_AT_ONCE)):
        lengths = list(map(len, block))
        for positions in batches_by_length(lengths, batch_size):
            found = _cross_entropy(model, softmax, vocabulary, [block[position] for position in positions], table)
            nats += found.sum(axis=1)
            predictions += found.shape[1]
        ids = vocabulary.encode(token for sentence in block for token in sentence)
        due += sum(lengths) + len(lengths)
        n_tokens, n_unknown = n_tokens + len(ids), n_unknown + int((ids == UNKNOWN_ID).sum())
        n_characters += sum(len(token) + 1 for sentence in block for token in sentence)
    if not due:
        raise InputError("perplexity needs at least one sentence. Received: none.")
    values = np.exp(nats / predictions)
    return Perplexity(
        forward=float(values[0]),
        backward=float(values[1]) if len(values) == 2 else None,
        both=float(np.exp(nats.mean() / predictions)),
        bits_per_character=float(nats.mean() / math.log(2) / max(1, n_characters)),
        oov_rate=n_unknown / max(1, n_tokens),
        predictions=predictions,
        coverage=predictions / due,
    )


def _cross_entropy(
    model: LanguageModel,
    softmax: Softmax,
    vocabulary: Vocabulary,
    sentences: Sequence[Sequence[str]],
    table: TokenTable,
) -> np.ndarray:
    """Nats of every prediction. Shape: (D, predictions)."""
    inputs, targets = _inputs(model, vocabulary, sentences, table)
    hidden = model.predict_on_batch(inputs)  # (B, D, S, P)
    real = targets[:, 0] != _NO_TARGET  # (B, S), the same in both directions
    n_directions = model.bilm.options.n_directions
    flat = np.concatenate([hidden[:, d][real] for d in range(n_directions)])
    wanted = np.concatenate([targets[:, d][real] for d in range(n_directions)])
    return full_cross_entropy(flat, wanted, softmax).reshape(n_directions, -1)


def _inputs(
    model: LanguageModel, vocabulary: Vocabulary, sentences: Sequence[Sequence[str]], table: TokenTable
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Each sentence in a row of its own, in both reading orders; the last mark is a target but no input."""
    inputs = model.bilm.look_up(sentences, table)
    forward = inputs["token_index"]
    shape = (forward.shape[0], 2, forward.shape[1] - 1)
    token_index, targets = np.zeros(shape, np.int32), np.full(shape, _NO_TARGET, np.int32)
    for row, sentence in enumerate(sentences):
        n = len(sentence) + 1
        ids = vocabulary.encode([BEGIN_TOKEN, *sentence, END_TOKEN])
        rows = forward[row, : n + 1]
        for direction in (0, 1):
            token_index[row, direction, :n], targets[row, direction, :n] = rows[:-1], ids[1:]
            rows, ids = rows[::-1], ids[::-1]
    return {"vectors": inputs["vectors"], "token_index": token_index}, targets
