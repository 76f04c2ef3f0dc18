"""Activations of whole files, in the HDF5 layout of `allennlp elmo` and bilm-tf's `dump_bilm_embeddings`.

One dataset a sentence, float32, its name the sentence's line number counted from 0: (L+1, T, D) for all layers, (T, D)
for one. Names are never sentences, which may hold a "/"; empty lines count, and have no dataset, so that names stay line
numbers. `sentence_to_index` holds a JSON object from sentence to name, unless it is switched off; of equal sentences,
whose vectors are equal too, it names the last.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import h5py
import numpy as np

from biLM.corpus import count_lines, open_text
from biLM.errors import InputError
from biLM.hdf5 import new_hdf5
from biLM.model import BiLM
from biLM.progress import Report, silent
from biLM.vocabulary import Vocabulary

LINES_AT_ONCE = 4096  # sorted by length among themselves; beside the index, memory depends on this and not on the file
LAYERS = ("all", "top", "average", "mix")


@dataclass(frozen=True)
class Mix:
    """A scalar mix: `gamma * sum_k weights_k * layer_k`; the weights as they are, no softmax."""

    weights: tuple[float, ...]
    gamma: float = 1.0


def dump(
    bilm: BiLM,
    source: str | Path,
    target: str | Path,
    layers: str = "all",
    mix: Mix | None = None,
    batch_size: int | None = None,
    sentence_to_index: bool = True,
    report: Report = silent,
) -> int:
    """Writes the activations of a tokenised text file, a sentence a line; returns how many sentences it held.

    `report`: (lines done, in all). The target appears whole, or not at all.
    """
    if layers not in LAYERS:
        raise InputError(f"layers must be one of {', '.join(LAYERS)}. Received: {layers!r}.")
    if (layers == "mix") != (mix is not None) or (mix and len(mix.weights) != bilm.n_layers):
        received = f"{len(mix.weights)} weights, layers {layers!r}" if mix else "none"
        raise InputError(f"a mix needs {bilm.n_layers} weights, one a layer, with layers 'mix'. Received: {received}.")
    index: dict[str, str] = {}
    n_sentences = 0
    n_lines, table = count_lines(Path(source)), bilm.token_table()
    whole_batches = max(1, LINES_AT_ONCE // (batch_size or 64)) * (batch_size or 64)  # a carried state goes from row to row
    with new_hdf5(target) as file:
        for chunk in _chunks(source, whole_batches):
            sentences = [line.split() for _, line in chunk]
            for positions, batch in bilm.embed_in_batches(sentences, batch_size, table):
                for position, activations in zip(positions, batch, strict=True):
                    own = activations[:, : len(sentences[position])]
                    file.create_dataset(str(chunk[position][0]), data=_select(own, layers, mix))
            index |= {line: str(number) for number, line in chunk}
            n_sentences += len(chunk)
            report(chunk[-1][0] + 1, n_lines)
        report(n_lines, n_lines)
        if sentence_to_index:
            text = np.array([json.dumps(index)], dtype=object)
            file.create_dataset("sentence_to_index", data=text, dtype=h5py.string_dtype())
    return n_sentences


def dump_tokens(bilm: BiLM, vocabulary: Vocabulary, target: str | Path, report: Report = silent) -> None:
    """Writes `embedding` (V, P) float32: the context-free vectors of a vocabulary's words, in its order, layer 0.

    With it a biLM runs on word ids where all words are known. Source: bilm-tf's `dump_token_embeddings`.
    """
    table = np.empty((len(vocabulary), bilm.options.lstm.projection_dim), np.float32)
    for start in range(0, len(vocabulary), LINES_AT_ONCE):
        words = vocabulary.words[start : start + LINES_AT_ONCE]
        table[start : start + len(words)] = bilm.token_vectors(words)
        report(start + len(words), len(vocabulary))
    with new_hdf5(target) as file:
        file["embedding"] = table


def _chunks(source: str | Path, size: int) -> Iterator[list[tuple[int, str]]]:
    """Lines that hold a token, with their numbers from 0, so many at a time."""
    with open_text(source) as lines:
        real = ((number, line.rstrip("\r\n")) for number, line in enumerate(lines) if line.strip())
        while chunk := list(islice(real, size)):
            yield chunk


def _select(activations: np.ndarray, layers: str, mix: Mix | None) -> np.ndarray:
    if mix is not None:
        return np.einsum("k,ktd->td", np.float32(mix.gamma) * np.array(mix.weights, np.float32), activations)
    if layers == "top":
        return activations[-1]
    return activations.mean(axis=0) if layers == "average" else activations
