"""Packed batches -> what one training step takes: tensors, and the rows of the large matrices that it touches."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from biLM.corpus import Batch
from biLM.distribution import Placement
from biLM.model import BiLM
from biLM.softmax import draw_candidates, log_expected_count
from biLM.training_options import TrainingOptions

_NEVER = 1e30  # the correction of a candidate that only fills up: its logit is -1e30


@dataclass(frozen=True)
class StepInputs:
    """tensors: see `LanguageModel`. softmax_rows, word_rows: the vocabulary ids, rising, whose rows the step needs in the
    softmax and, with word-id input, in the embedding (empty where that is the softmax)."""

    tensors: dict[str, Any]
    softmax_rows: np.ndarray
    word_rows: np.ndarray


class TrainingInputs:
    """Makes `StepInputs` of batches. What is random depends on the seed and the number of the step alone.

    `placement` says which rows of the tensors are this process's own.
    """

    def __init__(self, bilm: BiLM, training: TrainingOptions, n_tokens_vocab: int, placement: Placement):
        self.bilm, self.training, self.n_tokens_vocab, self.placement = bilm, training, n_tokens_vocab, placement
        self.n_candidates = training.n_candidates(n_tokens_vocab)
        self.has_characters = bilm.options.char_cnn is not None
        n_positions = training.batch_size * training.unroll_steps * bilm.options.n_directions
        shared = training.share_embedding_softmax
        n_candidates = self.n_candidates * bilm.options.n_directions
        self.n_softmax_rows = min(n_tokens_vocab, n_candidates + n_positions * (2 if shared else 1))
        self.n_word_rows = 0 if self.has_characters or shared else min(n_tokens_vocab, n_positions)

    def __call__(self, batch: Batch, step: int) -> StepInputs:
        rng = np.random.default_rng([self.training.seed, 1, step])
        n_directions = self.bilm.options.n_directions
        token_index, targets = batch.token_index[:, :n_directions], batch.targets[:, :n_directions]
        candidates, candidate_correction, target_correction = self._candidates(rng, targets)
        hits = [np.isin(targets[:, d], candidates[:, d]) for d in range(n_directions)]
        keep = (rng.random(self.training.batch_size) >= self.training.reset_probability).astype(np.float32)
        learn = np.full(self.training.batch_size, step >= self.training.warmup_steps, np.float32)
        tensors: dict[str, Any] = {"target_correction": target_correction, "keep": keep, "learn": learn}
        used, word_rows = [targets.ravel(), candidates.ravel()], np.empty(0, np.int64)
        encoded = self.bilm.encode_tokens(batch.tokens, token_index, self.placement.n_devices)
        ids = token_index
        if self.has_characters:
            tensors |= encoded
        else:
            ids = encoded["characters"][token_index] - 1
            if self.n_word_rows:
                word_rows = np.unique(ids)
                tensors["token_index"] = _places(word_rows, ids)
            else:
                used.append(ids.ravel())
        rows = np.unique(np.concatenate(used))
        if "token_index" not in tensors:
            tensors["token_index"] = _places(rows, ids)
        missing = ((0, self.placement.padding(len(candidates))), (0, 0))
        tensors |= {
            "targets": _places(rows, targets),
            "hits": np.stack(hits, axis=1).astype(np.float32),
            "candidates": np.pad(_places(rows, candidates), missing),
            "candidate_correction": np.pad(candidate_correction, missing, constant_values=_NEVER),
        }
        return StepInputs(self.placement.own_part(tensors), rows, word_rows)

    def _candidates(self, rng: np.random.Generator, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Each direction's own candidates (S', D) with their corrections, and those of the targets (B, D, S); all words,
        uncorrected, where that many are asked."""
        n_words, n_directions = self.n_tokens_vocab, targets.shape[1]
        if self.n_candidates == n_words:
            candidates = np.tile(np.arange(n_words, dtype=np.int32)[:, None], n_directions)
            return candidates, np.zeros(candidates.shape, np.float32), np.zeros(targets.shape, np.float32)
        draws = [draw_candidates(rng, n_words, self.n_candidates) for _ in range(n_directions)]
        of_candidates = [log_expected_count(ids, n_words, n_tries) for ids, n_tries in draws]
        of_targets = [log_expected_count(targets[:, d], n_words, n_tries) for d, (_, n_tries) in enumerate(draws)]
        return np.stack([ids for ids, _ in draws], axis=1), np.stack(of_candidates, axis=1), np.stack(of_targets, axis=1)


def _places(rows: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """Which row stands for each id."""
    return np.searchsorted(rows, ids).astype(np.int32)
