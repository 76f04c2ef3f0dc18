"""Activations of a frozen biLM, computed once and read in every epoch and every later run.

A cache file holds the activations of all tokens of a set of sentences, float16, (N, L+1, D), memory-mapped. Its name is a
hash of the biLM (weights, options, starting state) and of the tokens, so a file is either right or not there.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np

from biLM import BiLM, InputError
from biLM.progress import Report
from ner_elmo.batching import Tokens, mask_of

FLOAT16_LIMIT = 65504.0


class Activations:
    """Activations of sentences on disk or in memory.

    Arguments:
        array: (N, L+1, D) float16, the tokens of all sentences one after another.
        lengths: tokens of each sentence.
    """

    def __init__(self, array: np.ndarray, lengths: Sequence[int]):
        self.array, self.lengths = array, np.asarray(lengths)
        self.starts = np.cumsum(self.lengths) - self.lengths

    def batch(self, positions: Sequence[int]) -> np.ndarray:
        """Activations of some of the sentences. Shape: (B, L+1, T, D), float16, zero in the padding."""
        mask = mask_of(self.lengths[positions])
        result = np.zeros((*mask.shape, *self.array.shape[1:]), np.float16)  # (B, T, L+1, D)
        for row, position in enumerate(positions):
            start, length = self.starts[position], self.lengths[position]
            result[row, :length] = self.array[start : start + length]
        return result.transpose(0, 2, 1, 3)


def compute_activations(
    bilm: BiLM,
    sentences: Sequence[Tokens],
    directory: Path | None = None,
    report: Report = lambda done, total: None,
) -> Activations:
    """Activations of sentences, from the cache directory where they are there already; None keeps them in memory.

    `report(tokens done, tokens in all)` is called after each batch.
    """
    lengths = [len(sentence) for sentence in sentences]
    shape = (sum(lengths), bilm.n_layers, bilm.width)
    if directory is None:
        array = np.empty(shape, np.float16)
        _fill(array, bilm, sentences, report)
        return Activations(array, lengths)
    path = directory / f"{_key(bilm, sentences)}.npy"
    if not path.is_file():
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        partial = path.with_name(f".{path.stem}.{os.getpid()}.partial")
        try:
            array = np.lib.format.open_memmap(partial, mode="w+", dtype=np.float16, shape=shape)
            _fill(array, bilm, sentences, report)
            array.flush()
            del array
            os.replace(partial, path)
        finally:
            partial.unlink(missing_ok=True)
    return Activations(np.load(path, mmap_mode="r"), lengths)


def fingerprint(bilm: BiLM) -> str:
    """A hash of everything that activations depend on: weights, starting state and options."""
    digest = hashlib.sha256(json.dumps(bilm.options.to_dict(), sort_keys=True).encode())
    for variable in bilm.variables:
        if "seed" not in variable.path:  # dropout's random state
            digest.update(np.ascontiguousarray(keras.ops.convert_to_numpy(variable)).tobytes())
    return digest.hexdigest()


def default_directory() -> Path:
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(root) / "ner-elmo"


def _key(bilm: BiLM, sentences: Sequence[Tokens]) -> str:
    digest = hashlib.sha256(fingerprint(bilm).encode())
    for sentence in sentences:
        digest.update("\t".join(sentence).encode("utf-8", "surrogatepass") + b"\n")
    return digest.hexdigest()[:40]


def _fill(array: np.ndarray, bilm: BiLM, sentences: Sequence[Tokens], report: Report) -> None:
    starts = np.cumsum([0, *map(len, sentences)])
    done = 0
    for positions, batch in bilm.embed_in_batches(sentences):
        if not np.isfinite(batch).all() or np.abs(batch).max(initial=0.0) > FLOAT16_LIMIT:
            raise InputError("the biLM's activations are too large for the float16 cache. Are these its weights?")
        for row, position in enumerate(positions):
            length = len(sentences[position])
            array[starts[position] : starts[position] + length] = batch[row, :, :length].transpose(1, 0, 2)
            done += length
        report(done, len(array))
