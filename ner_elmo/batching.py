"""Sentences -> the inputs of a `Tagger`: where token vectors come from is decided here and nowhere else.

A source has `batch(sentences)`, tokens in and a dictionary of arrays out, always with `mask` (B, T) bool.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

import keras
import numpy as np

from biLM import BiLM
from biLM.characters import N_FIXED_ROWS, CharacterInput, deduplicate, round_up
from ner_elmo.tagger import TOKEN_CHARACTERS

Tokens = Sequence[str]
Inputs = dict[str, np.ndarray]
UNKNOWN_WORD = 1  # 0 is padding


class Source(Protocol):
    def batch(self, sentences: Sequence[Tokens]) -> Inputs: ...


class ElmoSource:
    """Activations, computed by a frozen biLM: `activations` (B, L+1, T, D) float32."""

    def __init__(self, bilm: BiLM):
        self.bilm = bilm

    def batch(self, sentences: Sequence[Tokens]) -> Inputs:
        outputs = self.bilm.predict_on_batch(self.bilm.encode(sentences))
        return {"activations": outputs["activations"], "mask": outputs["mask"]}


class FineTunedSource:
    """Rows of distinct tokens, for a biLM that is trained inside the tagger."""

    def __init__(self, bilm: BiLM):
        self.bilm = bilm

    def batch(self, sentences: Sequence[Tokens]) -> Inputs:
        inputs = self.bilm.encode(sentences)
        n_tokens = inputs["token_index"].shape[1] - 2
        return inputs | {"mask": mask_of(lengths_of(sentences), n_tokens)}


class WordSource:
    """Word ids and characters of distinct tokens, for a tagger without ELMo."""

    def __init__(self, words: Sequence[str]):
        self.words = list(words)
        self.id_of = {word: number for number, word in enumerate(self.words, UNKNOWN_WORD + 1)}
        self.characters = CharacterInput(TOKEN_CHARACTERS.max_characters_per_token, TOKEN_CHARACTERS.widest)

    @classmethod
    def of(cls, sentences: Sequence[Tokens]) -> WordSource:
        """The words of the training sentences, lower-cased, in alphabetical order; the characters tell the case."""
        return cls(sorted({token.lower() for sentence in sentences for token in sentence}))

    @property
    def n_words(self) -> int:
        return len(self.words) + 2

    def batch(self, sentences: Sequence[Tokens]) -> Inputs:
        tokens, token_index = deduplicate(sentences, shape_step())
        mask = mask_of(lengths_of(sentences), token_index.shape[1] - 2)
        words = [0] * N_FIXED_ROWS + [self.id_of.get(token.lower(), UNKNOWN_WORD) for token in tokens]
        padding = -len(words) % (16 * shape_step()) if shape_step() > 1 else 0
        return {
            "characters": np.pad(self.characters(tokens, shape_step()), [(0, padding), (0, 0)]),
            "words": np.pad(np.array(words, np.int32), [(0, padding)]),
            "token_index": np.where(mask, token_index[:, 1:-1], 0).astype(np.int32),
            "mask": mask,
        }


def shape_step() -> int:
    """What lengths are rounded up to: JAX compiles every new shape."""
    return 16 if keras.backend.backend() == "jax" else 1


def lengths_of(sentences: Sequence[Tokens]) -> np.ndarray:
    return np.array([len(sentence) for sentence in sentences])


def mask_of(lengths: np.ndarray, n_tokens: int | None = None) -> np.ndarray:
    """True at real tokens of sentences of these lengths (B,). Shape: (B, T) bool, T at least 1."""
    if n_tokens is None:
        n_tokens = round_up(max(1, int(lengths.max(initial=0))), shape_step())
    return np.arange(n_tokens) < lengths[:, None]


def shuffled_batches(lengths: Sequence[int], batch_size: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Positions of each batch of one epoch: batches of sentences of like length, in random order.

    Lengths are blurred a little, so that the same sentences do not meet in every epoch.
    """
    blurred = np.asarray(lengths) * rng.uniform(0.8, 1.2, len(lengths)) + rng.uniform(0, 2, len(lengths))
    order = np.argsort(blurred, kind="stable")
    starts = np.arange(0, len(order), batch_size)
    for start in rng.permutation(starts):
        yield order[start : start + batch_size]
