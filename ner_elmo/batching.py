"""Sentences -> the inputs of a `Tagger`: what it reads of a sentence is decided here and nowhere else."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from biLM import BiLM
from biLM.batching import few_counts, shape_step
from biLM.characters import N_FIXED_ROWS, PADDING, CharacterInput, numbered, round_up
from biLM.token_table import TokenTable
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

    def id_of_token(self, token: str) -> int:
        return self.id_of.get(token.lower(), UNKNOWN_WORD)

    @classmethod
    def of(cls, sentences: Sequence[Tokens]) -> Words:
        """The words of the training sentences, in alphabetical order."""
        return cls(sorted({token.lower() for sentence in sentences for token in sentence}))

    def __len__(self) -> int:
        """Rows of the word table: padding and unknown words come first."""
        return len(self.words) + 2


@dataclass(frozen=True)
class Features:
    """What a tagger reads: a biLM (None: no ELMo), words (None: no learned vectors), or both.

    fine_tuned: the biLM runs inside the tagger; otherwise its activations are an input.
    """

    bilm: BiLM | None
    words: Words | None
    fine_tuned: bool = False

    @cached_property
    def table(self) -> TokenTable:
        """The frozen biLM's vectors of the tokens met so far."""
        assert self.bilm is not None
        return self.bilm.token_table()

    @property
    def sizes(self) -> dict[str, Any]:
        """What `build_tagger` must know: width and layers of the biLM, rows of the word table."""
        shape = {"width": self.bilm.width, "n_layers": self.bilm.n_layers} if self.bilm is not None else {}
        return shape | {"n_words": len(self.words or ())}

    def batch(self, sentences: Sequence[Tokens]) -> Inputs:
        """The inputs of one batch (see `Prepared`)."""
        return Prepared(self, sentences).batch(range(len(sentences)))


class Ragged:
    """Sequences of numbers of different lengths, one after another; batches of them are padded with 0."""

    def __init__(self, flat: np.ndarray, lengths: np.ndarray):
        self.flat, self.lengths = flat, lengths
        self.starts = np.cumsum(self.lengths) - self.lengths

    def batch(self, positions: Sequence[int]) -> np.ndarray:
        """Shape: (B, T)."""
        chosen = np.asarray(positions, np.int64)
        mask = mask_of(self.lengths[chosen])
        places = np.arange(mask.shape[1]) + self.starts[chosen][:, None]
        return np.where(mask, self.flat[np.where(mask, places, 0)] if len(self.flat) else 0, 0)


class Prepared:
    """Sentences as a tagger reads them: what takes Python for each token is done here, once; batches are cut by NumPy.

    activations: positions -> (B, L+1, T, D), from a cache; None: a frozen biLM computes them for each batch.
    """

    def __init__(
        self,
        features: Features,
        sentences: Sequence[Tokens],
        activations: Callable[[Sequence[int]], np.ndarray] | None = None,
    ):
        self.features, self.sentences, self.activations = features, sentences, activations
        self.lengths = np.array([len(sentence) for sentence in sentences], np.int64)
        if features.words is not None:
            row_of = numbered(token for sentence in sentences for token in sentence)
            tokens = list(row_of)[2:]  # without the marks
            self.characters = features.words.characters(tokens, shape_step())
            self.words = np.array([0] * N_FIXED_ROWS + [features.words.id_of_token(token) for token in tokens], np.int32)
            flat = np.array([row_of[token] for sentence in sentences for token in sentence], np.int32)
            self.rows = Ragged(flat, self.lengths)
            self.widths = (self.characters != PADDING).sum(axis=1)  # rising: `numbered` sorts by length
            self.widths[:N_FIXED_ROWS] = 0

    def batch(self, positions: Sequence[int]) -> Inputs:
        """`mask` (B, T) bool; `activations` (B, L+1, T, D), or `rows`, the input of a biLM that is fine-tuned; `tokens`, the
        input of the learned vectors."""
        inputs: Inputs = {"mask": mask_of(self.lengths[np.asarray(positions, np.int64)])}
        bilm = self.features.bilm
        if bilm is not None and self.features.fine_tuned:
            inputs["rows"] = bilm.encode([self.sentences[position] for position in positions])
        elif self.activations is not None:
            inputs["activations"] = self.activations(positions)
        elif bilm is not None:
            sentences = [self.sentences[position] for position in positions]
            inputs["activations"] = bilm.embed_batch(sentences, self.features.table)
        if self.features.words is not None:
            inputs["tokens"] = self._tokens(positions)
        return inputs

    def _tokens(self, positions: Sequence[int]) -> Inputs:
        """`characters` (U, C') and `words` (U,) of the distinct tokens, `token_index` (B, T)."""
        rows, token_index = np.unique(self.rows.batch(positions), return_inverse=True)
        padding = few_counts(len(rows)) - len(rows)
        width = round_up(int(self.widths[rows].max()) + TOKEN_CHARACTERS.widest, shape_step())
        return {
            "characters": np.pad(self.characters[rows, :width], [(0, padding), (0, 0)]),
            "words": np.pad(self.words[rows], (0, padding)),
            "token_index": token_index.reshape(len(positions), -1).astype(np.int32),
        }


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
