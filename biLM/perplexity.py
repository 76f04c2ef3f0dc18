"""Held-out perplexity with the full softmax, over every prediction of every sentence.

A sentence of N tokens holds N + 1 predictions in each direction; none is left out and none depends on the batch, because
each sentence starts from the biLM's initial state.

    perplexity = exp(mean cross-entropy in nats)
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from biLM.characters import BEGIN_TOKEN, END_TOKEN
from biLM.errors import InputError
from biLM.language_model import NO_TARGET, LanguageModel
from biLM.model import batches_by_length
from biLM.progress import Report
from biLM.vocabulary import UNKNOWN_ID, Vocabulary

_LOGITS_AT_ONCE = 2**26  # 256 MiB of float32


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
    model: LanguageModel,
    vocabulary: Vocabulary,
    sentences: Sequence[Sequence[str]],
    batch_size: int = 64,
    report: Report = lambda done, total: None,
) -> Perplexity:
    """Perplexity of tokenised sentences. Raises InputError when there are none. `report`: (predictions done, in all)."""
    if not sentences:
        raise InputError("perplexity needs at least one sentence. Received: none.")
    lengths = [len(sentence) for sentence in sentences]
    nats = np.zeros(model.bilm.options.n_directions)
    counted = 0
    for positions in batches_by_length(lengths, batch_size, _LOGITS_AT_ONCE // len(vocabulary) // len(nats)):
        outputs = model.predict_on_batch(_inputs(model, vocabulary, [sentences[position] for position in positions]))
        nats += outputs["nats"].astype(float) * float(outputs["count"])
        counted += int(outputs["count"])
        report(counted, sum(lengths) + len(lengths))
    ids = vocabulary.encode(token for sentence in sentences for token in sentence)
    characters = sum(len(token) + 1 for sentence in sentences for token in sentence)
    values = np.exp(nats / counted)
    return Perplexity(
        forward=float(values[0]),
        backward=float(values[1]) if len(values) == 2 else None,
        both=float(np.exp(nats.mean() / counted)),
        bits_per_character=float(nats.mean() / math.log(2) / max(1, characters)),
        oov_rate=float((ids == UNKNOWN_ID).mean()) if len(ids) else 0.0,
        predictions=counted,
        coverage=counted / (sum(lengths) + len(lengths)),
    )


def _inputs(model: LanguageModel, vocabulary: Vocabulary, sentences: Sequence[Sequence[str]]) -> dict[str, np.ndarray]:
    """Each sentence in a row of its own, in both reading orders; the last mark is a target but no input."""
    inputs = model.bilm.encode(sentences)
    forward = inputs["token_index"]
    shape = (2, forward.shape[0], forward.shape[1] - 1)
    token_index, targets = np.zeros(shape, np.int32), np.full(shape, NO_TARGET, np.int32)
    for row, sentence in enumerate(sentences):
        n = len(sentence) + 1
        ids = vocabulary.encode([BEGIN_TOKEN, *sentence, END_TOKEN])
        rows = forward[row, : n + 1]
        for direction in (0, 1):
            token_index[direction, row, :n], targets[direction, row, :n] = rows[:-1], ids[1:]
            rows, ids = rows[::-1], ids[::-1]
    return {"characters": inputs["characters"], "token_index": token_index, "targets": targets}
