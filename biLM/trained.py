"""What training leaves behind: options.json, weights.hdf5, vocab.txt and, for going on and for perplexity, softmax.hdf5."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from biLM.corpus import count_lines, read_sentences
from biLM.errors import InputError
from biLM.hdf5 import finite, new_hdf5, numbers, open_hdf5
from biLM.language_model import LanguageModel
from biLM.model import BiLM
from biLM.options import BiLMOptions
from biLM.perplexity import Perplexity, perplexity
from biLM.progress import Report, silent
from biLM.softmax import Softmax
from biLM.vocabulary import SPECIAL_TOKENS, Vocabulary
from biLM.weights import find_options, load_bilm, save_bilm

_STEPS = np.float32(2**5)  # of a fraction in [0.5, 1) of the softmax's W in float16: 5 significant bits
_ROWS_AT_ONCE = 4096


def save(bilm: BiLM, softmax: Softmax, directory: Path, dtype: str = "float32") -> None:
    """Writes the biLM and, in softmax.hdf5, `W` (V, P), `b` (V,) and the SHA-256 of the weights that they belong to.

    With float16 W keeps 5 significant bits, which pack to a quarter of float32's size.
    """
    save_softmax(softmax, directory / "softmax.hdf5", save_bilm(bilm, directory, dtype), dtype)


def save_softmax(softmax: Softmax, path: Path, weights: Path, dtype: str = "float32") -> None:
    """Writes the softmax that belongs to the weights of a file; see `save`."""
    with new_hdf5(path) as file:
        file["b"], file["weights_sha256"] = softmax.bias, _sha256(weights)
        if dtype == "float32":
            file["W"] = softmax.kernel
            return
        chunk = (min(_ROWS_AT_ONCE, len(softmax.kernel)), softmax.kernel.shape[1])
        kernel = file.create_dataset("W", softmax.kernel.shape, dtype, chunks=chunk, compression="gzip", shuffle=True)
        for begin in range(0, len(kernel), _ROWS_AT_ONCE):
            fraction, exponent = np.frexp(softmax.kernel[begin : begin + _ROWS_AT_ONCE])
            kernel[begin : begin + _ROWS_AT_ONCE] = np.ldexp(np.round(fraction * _STEPS) / _STEPS, exponent)


def load_language_model(directory: Path, initial_state: str = "warm") -> tuple[LanguageModel, Softmax, Vocabulary]:
    """What `train` left behind, ready for `perplexity`. initial_state: see `BiLM`."""
    vocabulary, softmax = _predicted(directory, "Perplexity needs")
    bilm = load_bilm(directory, vocabulary=vocabulary, initial_state=initial_state)
    return LanguageModel(bilm), softmax, vocabulary


def output_vectors(directory: Path) -> tuple[list[str], np.ndarray]:
    """Words of the vocabulary, most frequent first, and what the model expects where each may stand: its row of the softmax.

    Shape: (V - 3, P), float32; the special tokens are left out. Source: Press and Wolf 2017, who measure such output
    vectors as word vectors.
    """
    vocabulary, softmax = _predicted(directory, "Word vectors need")
    return vocabulary.words[len(SPECIAL_TOKENS) :], softmax.kernel[len(SPECIAL_TOKENS) :]


def _predicted(directory: Path, who_needs: str) -> tuple[Vocabulary, Softmax]:
    """What the model in a directory predicts."""
    words, rows = directory / "vocab.txt", directory / "softmax.hdf5"
    for needed in (words, rows):
        if not needed.is_file():
            raise InputError(
                f"{needed}: no such file. {who_needs} the vocabulary and softmax that `python -m biLM train` leaves there."
            )
    vocabulary, options = Vocabulary.read(words), BiLMOptions.read(find_options(directory / "weights.hdf5"))
    return vocabulary, load_softmax(rows, (len(vocabulary), options.lstm.projection_dim), directory / "weights.hdf5")


def load_softmax(path: Path, shape: tuple[int, int], weights: Path) -> Softmax:
    """Reads softmax.hdf5. Raises InputError where its W is not of the shape (V, P), a number is not finite, or it was saved
    with other weights: training replaces two files, and may be killed between them."""
    with open_hdf5(path) as datasets:
        found = {name: datasets[name] for name in ("W", "b") if name in datasets}
        if [dataset.shape for dataset in found.values()] != [shape, shape[:1]]:
            received = ", ".join(f"{name} {dataset.shape}" for name, dataset in found.items()) or "neither"
            raise InputError(f"{path}: must hold W {shape} and b {shape[:1]} for this vocabulary. Received: {received}.")
        kernel, bias = (finite(path, name, numbers(path, name, dataset)) for name, dataset in found.items())
        of = datasets.get("weights_sha256")
        if of is not None and not np.array_equal(numbers(path, "weights_sha256", of), _sha256(weights)):
            raise InputError(
                f"{path}: was saved with other weights than {weights}. Where training was cut off between the two, go on: "
                f"`python -m biLM train --resume {path.parent}`."
            )
    return Softmax(kernel, bias)


def _sha256(path: Path) -> np.ndarray:
    """Of a file. Shape: (32,), uint8."""
    with open(path, "rb") as file:
        return np.frombuffer(hashlib.file_digest(file, "sha256").digest(), np.uint8)


def heldout_perplexity(
    directory: Path,
    paths: Sequence[Path],
    batch_size: int = 64,
    initial_state: str = "warm",
    report: Report = silent,
) -> Perplexity:
    """Perplexity of shards under the model in a directory."""
    model, softmax, vocabulary = load_language_model(directory, initial_state)
    return perplexity(model, softmax, vocabulary, watched(paths, report), batch_size)


def watched(paths: Sequence[Path], report: Report) -> Iterator[list[str]]:
    """Sentences of shards; `report`: (lines read, in all)."""
    total = sum(count_lines(path) for path in paths)
    for number, sentence in enumerate(read_sentences(paths), 1):
        report(number, total)
        yield sentence
