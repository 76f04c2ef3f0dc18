"""Activations of whole files, in the HDF5 layout of `allennlp elmo` and bilm-tf's `dump_bilm_embeddings`.

One dataset a sentence, float32, its name the sentence's line number counted from 0 (empty lines count, and have no
dataset): (L+1, T, D) for all layers, (T, D) for "top" and "average". `sentence_to_index` holds a JSON object from
sentence to name, unless it is switched off; of equal sentences it names the last.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path

import h5py
import numpy as np

from biLM.corpus import open_text
from biLM.errors import InputError
from biLM.model import BiLM

LINES_AT_ONCE = 4096  # sorted by length among themselves; memory depends on this and not on the file
LAYERS = ("all", "top", "average")


def dump(
    bilm: BiLM,
    source: str | Path,
    target: str | Path,
    layers: str = "all",
    batch_size: int = 64,
    sentence_to_index: bool = True,
    report: Callable[[int], None] = lambda lines: None,
) -> int:
    """Writes the activations of a tokenised text file, a sentence a line; returns how many sentences it held.

    `report(lines done)` is called now and then. The target appears whole, or not at all.
    """
    if layers not in LAYERS:
        raise InputError(f"layers must be one of {', '.join(LAYERS)}. Received: {layers!r}.")
    target = Path(target)
    partial = target.with_name(f".{target.name}.{os.getpid()}.partial")
    index: dict[str, str] = {}
    n_sentences = done = 0
    try:
        with h5py.File(partial, "w") as file:
            for chunk in _chunks(source):
                sentences = [line.split() for line in chunk]
                for number, activations in _embedded(bilm, sentences, batch_size):
                    file.create_dataset(str(done + number), data=_select(activations, layers))
                    n_sentences += 1
                for number, line in enumerate(chunk):
                    if sentences[number]:
                        index[line] = str(done + number)
                done += len(chunk)
                report(done)
            if sentence_to_index:
                text = np.array([json.dumps(index)], dtype=object)
                file.create_dataset("sentence_to_index", data=text, dtype=h5py.string_dtype())
        os.replace(partial, target)
    finally:
        partial.unlink(missing_ok=True)
    return n_sentences


def _chunks(source: str | Path) -> Iterator[list[str]]:
    with open_text(source) as lines:
        stripped = (line.rstrip("\n") for line in lines)
        while chunk := list(islice(stripped, LINES_AT_ONCE)):
            yield chunk


def _embedded(bilm: BiLM, sentences: Sequence[Sequence[str]], batch_size: int) -> Iterator[tuple[int, np.ndarray]]:
    real = [number for number, sentence in enumerate(sentences) if sentence]
    for positions, batch in bilm.embed_in_batches([sentences[number] for number in real], batch_size):
        for row, position in enumerate(positions):
            number = real[position]
            yield number, batch[row, :, : len(sentences[number])]


def _select(activations: np.ndarray, layers: str) -> np.ndarray:
    if layers == "top":
        return activations[-1]
    return activations.mean(axis=0) if layers == "average" else activations
