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
from ner_elmo.casing import N_CASINGS, casing_of
from ner_elmo.config import TrainConfig
from ner_elmo.gazetteers import Gazetteers
from ner_elmo.tagger import TOKEN_CHARACTERS
from ner_elmo.word_vectors import WordVectors

Tokens = Sequence[str]
Inputs = dict[str, Any]
UNKNOWN_WORD = 1  # 0 is padding


class Words:
    """The words that a tagger has vectors of, lower-cased; its character vectors tell the case."""

    def __init__(self, words: Sequence[str]):
        self.words = list(words)
        self.id_of = {word: number for number, word in enumerate(self.words, UNKNOWN_WORD + 1)}

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
    """What a tagger reads: a biLM (None: no ELMo), words (None: no learned vectors), and what else it was given.

    fine_tuned: the biLM runs inside the tagger; otherwise its activations are an input. word_vectors: from a file. casing:
    a learned vector of how a token is written. gazetteers: lists of names.
    """

    bilm: BiLM | None
    words: Words | None
    fine_tuned: bool = False
    word_vectors: WordVectors | None = None
    casing: bool = False
    gazetteers: Gazetteers | None = None

    @classmethod
    def of(
        cls,
        config: TrainConfig,
        sentences: Sequence[Tokens],
        bilm: BiLM | None = None,
        word_vectors: WordVectors | None = None,
        gazetteers: Gazetteers | None = None,
    ) -> Features:
        """What a configuration wants read, with the words of the training sentences."""
        words = Words.of(sentences) if config.token_vectors else None
        return cls(bilm, words, config.train_bilm, word_vectors, config.casing, gazetteers)

    @cached_property
    def table(self) -> TokenTable:
        """The frozen biLM's vectors of the tokens met so far."""
        assert self.bilm is not None
        return self.bilm.token_table()

    @property
    def sizes(self) -> dict[str, Any]:
        """What `build_tagger` must know: width and layers of the biLM, rows of the word table, widths of the rest."""
        shape = {"width": self.bilm.width, "n_layers": self.bilm.n_layers} if self.bilm is not None else {}
        return shape | {
            "n_words": len(self.words or ()),
            "n_casings": N_CASINGS if self.casing else 0,
            "word_vectors_width": self.word_vectors.width if self.word_vectors else 0,
            "gazetteers_width": self.gazetteers.width if self.gazetteers else 0,
        }

    def batch(self, sentences: Sequence[Tokens]) -> Inputs:
        """The inputs of one batch (see `Prepared`)."""
        return Prepared(self, sentences).batch(range(len(sentences)))


class Ragged:
    """Sequences of numbers, or of rows of numbers, of different lengths, one after another; batches are padded with 0."""

    def __init__(self, flat: np.ndarray, lengths: np.ndarray):
        self.flat, self.lengths = flat, lengths
        self.starts = np.cumsum(self.lengths) - self.lengths

    def batch(self, positions: Sequence[int]) -> np.ndarray:
        """Shape: (B, T, ...)."""
        chosen = np.asarray(positions, np.int64)
        mask = mask_of(self.lengths[chosen])
        places = np.arange(mask.shape[1]) + self.starts[chosen][:, None]
        batch = np.zeros((*mask.shape, *self.flat.shape[1:]), self.flat.dtype)
        batch[mask] = self.flat[places[mask]]
        return batch


class Prepared:
    """Sentences as a tagger reads them: what takes Python for each token is done here, once; batches are cut by NumPy.

    activations: positions -> (B, L+1, T, D), from a cache; None: a frozen biLM computes them for each batch.
    rows_multiple_of: rows of `rows["characters"]` are filled up to a multiple of it (see `ner_elmo.devices`).
    """

    def __init__(
        self,
        features: Features,
        sentences: Sequence[Tokens],
        activations: Callable[[Sequence[int]], np.ndarray] | None = None,
        rows_multiple_of: int = 1,
    ):
        self.features, self.sentences, self.activations = features, sentences, activations
        self.rows_multiple_of = rows_multiple_of
        self._embedded: dict[int, np.ndarray] = {}  # (L+1, T, D) of the sentences of a part
        self.lengths = np.array([len(sentence) for sentence in sentences], np.int64)
        self.has_tokens = features.words is not None or features.word_vectors is not None or features.casing
        if self.has_tokens:
            self._prepare_tokens()
        if features.gazetteers is not None:
            none = np.empty((0, features.gazetteers.width), np.float32)
            found = [features.gazetteers.features(sentence) for sentence in sentences]
            self.gazetteers = Ragged(np.concatenate([none, *found]), self.lengths)

    def _prepare_tokens(self) -> None:
        """Numbers the distinct tokens, and makes what the tagger reads of each."""
        row_of = numbered(token for sentence in self.sentences for token in sentence)
        tokens = list(row_of)[2:]  # without the marks
        flat = np.array([row_of[token] for sentence in self.sentences for token in sentence], np.int32)
        self.rows = Ragged(flat, self.lengths)
        self.of_token: dict[str, np.ndarray] = {}  # by name: (U, ...), the rows of the marks first
        if (words := self.features.words) is not None:
            self.of_token["words"] = _after_marks(np.array([words.id_of_token(token) for token in tokens], np.int32))
            characters = CharacterInput(TOKEN_CHARACTERS.max_characters_per_token, TOKEN_CHARACTERS.widest)
            self.of_token["characters"] = characters(tokens, shape_step())
            self.widths = (self.of_token["characters"] != PADDING).sum(axis=1)  # rising: `numbered` sorts by length
            self.widths[:N_FIXED_ROWS] = 0
        if self.features.casing:
            self.of_token["casing"] = _after_marks(np.array([casing_of(token) for token in tokens], np.int32))
        if (vectors := self.features.word_vectors) is not None:
            self.of_token["vectors"] = _after_marks(vectors.vectors(tokens))

    def parts(self) -> Iterator[np.ndarray]:
        """Positions of the sentences that hold a token, in parts; where a frozen biLM computes the activations, those of a
        part, by rising length, are computed together and are there for its batches until the next part."""
        bilm, real = self.features.bilm, np.flatnonzero(self.lengths)
        if bilm is None or self.features.fine_tuned or self.activations is not None:
            yield real
            return
        sentences = [self.sentences[position] for position in real.tolist()]
        for chosen, activations in bilm.embed_in_batches(sentences, table=self.features.table):
            part = real[chosen]
            self._embedded = dict(zip(part.tolist(), activations, strict=True))
            yield part
        self._embedded = {}

    def batch(self, positions: Sequence[int]) -> Inputs:
        """`mask` (B, T) bool; `activations` (B, L+1, T, D), or `rows`, the input of a biLM that is fine-tuned; `tokens`, the
        input of `TokenEmbedding`; `gazetteers` (B, T, 4 * types)."""
        inputs: Inputs = {"mask": mask_of(self.lengths[np.asarray(positions, np.int64)])}
        bilm = self.features.bilm
        if bilm is not None and self.features.fine_tuned:
            inputs["rows"] = bilm.encode([self.sentences[position] for position in positions], self.rows_multiple_of)
        elif self.activations is not None:
            inputs["activations"] = self.activations(positions)
        elif self._embedded:
            inputs["activations"] = self._padded(positions, inputs["mask"].shape[1])
        elif bilm is not None:
            sentences = [self.sentences[position] for position in positions]
            inputs["activations"] = bilm.embed_batch(sentences, self.features.table)
        if self.has_tokens:
            inputs["tokens"] = self._tokens(positions)
        if self.features.gazetteers is not None:
            inputs["gazetteers"] = self.gazetteers.batch(positions)
        return inputs

    def _padded(self, positions: Sequence[int], n_tokens: int) -> np.ndarray:
        """The activations of sentences of a part, or empty ones. Shape: (B, L+1, T, D)."""
        n_layers, _, width = next(iter(self._embedded.values())).shape
        batch = np.zeros((len(positions), n_layers, n_tokens, width), np.float32)
        for row, position in enumerate(positions):
            if length := self.lengths[position]:
                batch[row, :, :length] = self._embedded[position][:, :length]
        return batch

    def _tokens(self, positions: Sequence[int]) -> Inputs:
        """`token_index` (B, T), and of the distinct tokens what `TokenEmbedding` reads: `characters` (U, C'), `words` (U,),
        `casing` (U,), `vectors` (U, W)."""
        rows, token_index = np.unique(self.rows.batch(positions), return_inverse=True)
        padding = few_counts(len(rows)) - len(rows)
        inputs: Inputs = {"token_index": token_index.reshape(len(positions), -1).astype(np.int32)}
        for name, values in self.of_token.items():
            chosen = values[rows]
            if name == "characters":
                width = round_up(int(self.widths[rows].max(initial=0)) + TOKEN_CHARACTERS.widest, shape_step())
                chosen = chosen[:, :width]
            inputs[name] = np.pad(chosen, [(0, padding), *[(0, 0)] * (chosen.ndim - 1)])
        return inputs


def _after_marks(values: np.ndarray) -> np.ndarray:
    """Rows of the tokens, with rows of 0 for the three that stand for no token and the marks."""
    return np.concatenate([np.zeros((N_FIXED_ROWS, *values.shape[1:]), values.dtype), values])


def mask_of(lengths: np.ndarray) -> np.ndarray:
    """True at real tokens of sentences of these lengths (B,). Shape: (B, T) bool, T as `BiLM.encode` makes it, less 2."""
    n_tokens = round_up(int(lengths.max(initial=0)) + 2, shape_step()) - 2
    return np.arange(n_tokens) < lengths[:, None]


def shuffled_batches(
    lengths: Sequence[int] | np.ndarray, batch_size: int, rng: np.random.Generator, batch_tokens: int | None = None
) -> list[np.ndarray]:
    """Positions of each batch of one epoch: batches of sentences of like length, in random order.

    Lengths are blurred a little, so that the same sentences do not meet in every epoch. With `batch_tokens` a batch holds
    as many sentences as fit into so many tokens, padding included, and one at least.
    """
    lengths = np.asarray(lengths)
    blurred = lengths * rng.uniform(0.8, 1.2, len(lengths)) + rng.uniform(0, 2, len(lengths))
    order = np.argsort(blurred, kind="stable")
    if batch_tokens is None:
        starts = list(range(0, len(order), batch_size))
    else:
        starts, longest = [0], 0
        for place, length in enumerate(lengths[order].tolist()):
            longest = max(longest, length)
            if place > starts[-1] and longest * (place + 1 - starts[-1]) > batch_tokens:
                starts.append(place)
                longest = length
    batches = [order[start:end] for start, end in zip(starts, [*starts[1:], len(order)], strict=True)]
    return [batches[number] for number in rng.permutation(len(batches))]
