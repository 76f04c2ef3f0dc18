"""Sentences -> the inputs of a `Tagger`: what it reads of a sentence is decided here and nowhere else."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from biLM import BiLM
from biLM.characters import N_FIXED_ROWS, CharacterInput, deduplicate, round_up
from ner_elmo.tagger import TOKEN_CHARACTERS

Tokens = Sequence[str]
Inputs = dict[str, Any]
UNKNOWN_WORD = 1  # 0 is padding


class Words:
    """The words that a tagger has vectors of, lower-cased; its character vectors tell the case."""

    def __init__(self, words: Sequence[str]):
        self.words = list(words)
        self.id_of = {word: number for number, word in enumerate(self.words, UNKNOWN_WORD + 1)}
        self.characters = CharacterInput(TOKEN_CHARACTERS.max_characters_per_token, TOKEN_CHARACTERS.widest)

    @classmethod
    def of(cls, sentences: Sequence[Tokens]) -> Words:
        """The words of the training sentences, in alphabetical order."""
        return cls(sorted({token.lower() for sentence in sentences for token in sentence}))

    def __len__(self) -> int:
        """Rows of the word table: padding and unknown words come first."""
        return len(self.words) + 2

    def encode(self, sentences: Sequence[Tokens]) -> Inputs:
        """`characters` (U, C') and `words` (U,) of the distinct tokens, `token_index` (B, T)."""
        tokens, token_index = deduplicate(sentences, shape_step())
        words = [0] * N_FIXED_ROWS + [self.id_of.get(token.lower(), UNKNOWN_WORD) for token in tokens]
        padding = -len(words) % (16 * shape_step()) if shape_step() > 1 else 0
        mask = mask_of(lengths_of(sentences))
        return {
            "characters": np.pad(self.characters(tokens, shape_step()), [(0, padding), (0, 0)]),
            "words": np.pad(np.array(words, np.int32), [(0, padding)]),
            "token_index": np.where(mask, token_index[:, 1:-1], 0).astype(np.int32),
        }


@dataclass(frozen=True)
class Features:
    """What a tagger reads: a biLM (None: no ELMo), words (None: no learned vectors), or both.

    fine_tuned: the biLM runs inside the tagger; otherwise its activations are an input.
    """

    bilm: BiLM | None
    words: Words | None
    fine_tuned: bool = False

    @property
    def sizes(self) -> dict[str, Any]:
        """What `build_tagger` must know: width and layers of the biLM, rows of the word table."""
        shape = {"width": self.bilm.width, "n_layers": self.bilm.n_layers} if self.bilm is not None else {}
        return shape | {"n_words": len(self.words or ())}

    def batch(self, sentences: Sequence[Tokens], activations: np.ndarray | None = None) -> Inputs:
        """The inputs of a batch: `mask` (B, T) bool; `activations` (B, L+1, T, D), taken as given or else computed, or
        `rows`, the input of the biLM; `tokens`, the input of the learned vectors."""
        inputs: Inputs = {"mask": mask_of(lengths_of(sentences))}
        if self.bilm is not None and self.fine_tuned:
            inputs["rows"] = self.bilm.encode(sentences)
        elif self.bilm is not None:
            if activations is None:
                activations = self.bilm.predict_on_batch(self.bilm.encode(sentences))["activations"]
            inputs["activations"] = activations
        if self.words is not None:
            inputs["tokens"] = self.words.encode(sentences)
        return inputs


def shape_step() -> int:
    """What lengths are rounded up to: JAX compiles every new shape."""
    return 16 if keras.backend.backend() == "jax" else 1


def lengths_of(sentences: Sequence[Tokens]) -> np.ndarray:
    return np.array([len(sentence) for sentence in sentences])


def mask_of(lengths: np.ndarray) -> np.ndarray:
    """True at real tokens of sentences of these lengths (B,). Shape: (B, T) bool, T as `BiLM.encode` makes it, less 2."""
    n_tokens = round_up(int(lengths.max(initial=0)) + 2, shape_step()) - 2
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
