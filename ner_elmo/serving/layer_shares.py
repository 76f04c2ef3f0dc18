"""How much each layer of the biLM has in the vector of a token."""

from __future__ import annotations

import numpy as np

from ner_elmo.batching import Tokens
from ner_elmo.predictor import Predictor


def mixed_layers(tagger: Predictor) -> list[tuple[int, float]]:
    """Number and weight of each layer in the learned mix, softmax(w); empty for a tagger without a biLM."""
    mix = tagger.tagger.elmo
    return [] if mix is None else list(zip(mix.chosen, mix.learned()[0], strict=True))


def layer_shares(tagger: Predictor, sentence: Tokens) -> np.ndarray:
    """`w_k |h_k| / sum_j w_j |h_j|` of each token: weights are the same everywhere, the lengths of h are its own.

    Needs a tagger with a biLM. Layers are normalised first where its mix does so. Shape: (T, layers of the mix).
    """
    numbers, weights = zip(*mixed_layers(tagger), strict=True)
    activations = tagger.features.bilm.embed_batch([sentence], tagger.features.table)  # type: ignore[union-attr]
    layers = activations[0][list(numbers), : len(sentence)].astype(np.float64)
    if tagger.tagger.elmo.layer_norm:
        layers = (layers - layers.mean(axis=(1, 2), keepdims=True)) / layers.std(axis=(1, 2), keepdims=True)
    parts = np.linalg.norm(layers, axis=2).T * np.array(weights)  # (T, layers)
    return parts / np.maximum(parts.sum(axis=1, keepdims=True), np.finfo(np.float64).tiny)
