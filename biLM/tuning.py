"""Going on from weights that are there: on new text, with a new vocabulary.

The network is the old one. Softmax rows (and embedding rows of word-id input) of words that both vocabularies hold are
carried over; a new word begins as `<UNK>`, which it was until now, with an equal share of its probability:
`W = W[<UNK>]`, `b = b[<UNK>] - log(number of new words)`. Without a softmax file the softmax begins at random, and the
first `warmup_steps` train it alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from biLM.distribution import ALONE, Placement
from biLM.errors import InputError
from biLM.options import BiLMOptions
from biLM.progress import Report
from biLM.run import start_run
from biLM.trained import load_softmax
from biLM.training import Training
from biLM.training_options import TrainingOptions
from biLM.vocabulary import UNKNOWN_ID, Vocabulary
from biLM.weights import find_options, load_bilm


@dataclass(frozen=True)
class Carried:
    """Words of the new vocabulary whose softmax rows were carried over, and words that are new; both 0 without a softmax
    file, when all rows begin at random."""

    shared: int
    new: int


def start_tuning(
    weights: Path,
    training: TrainingOptions,
    paths: Sequence[Path],
    heldout: Sequence[Path],
    out: Path,
    vocabulary: Vocabulary | None = None,
    vocabulary_size: int | None = None,
    dropout: float | None = None,
    placement: Placement = ALONE,
    report: Report = lambda done, total: None,
) -> tuple[Training, Carried]:
    """Makes a run that begins with the weights of another one, or with published ones.

    Arguments:
        weights: weights.hdf5 or its directory; softmax.hdf5 and vocab.txt beside it are used where they are.
        The others are those of `start_run`.
    """
    weights = weights / "weights.hdf5" if weights.is_dir() else weights
    if not weights.is_file():
        raise InputError(f"{weights}: no such weights file.")
    beside = weights.with_name("vocab.txt"), weights.with_name("softmax.hdf5")
    old_vocabulary = Vocabulary.read(beside[0]) if beside[0].is_file() else None
    options = BiLMOptions.read(find_options(weights))
    bilm = load_bilm(weights, options, old_vocabulary)
    if dropout is not None:
        options = BiLMOptions.from_dict(options.to_dict() | {"dropout": dropout})
    start_run(
        options, training, paths, heldout, out, vocabulary, vocabulary_size, report, tuned_from=str(weights.resolve())
    )  # fmt: skip
    run = Training(out, begin=True, placement=placement)
    kept = {id(run.model.bilm.encoder.embedding)} if not options.char_cnn else set()
    for new, old in zip(run.model.bilm.variables, bilm.variables, strict=True):
        if id(new) not in kept and "seed_generator" not in new.path:
            new.assign(old)
    carried = Carried(0, 0)
    if old_vocabulary and beside[1].is_file():
        source = np.array([old_vocabulary.id_of.get(word, -1) for word in run.vocabulary.words])
        softmax = load_softmax(beside[1], (len(old_vocabulary), options.lstm.projection_dim))
        n_new = int((source < 0).sum())
        carry_rows(softmax.kernel, run.softmax.kernel, source)
        carry_rows(softmax.bias, run.softmax.bias, source)
        run.softmax.bias[source < 0] -= np.float32(np.log(max(1, n_new)))
        carried = Carried(len(source) - n_new, n_new)
    if not options.char_cnn:
        if old_vocabulary is None:
            raise InputError(f"{beside[0]}: no such file. A word-id biLM is tuned with the vocabulary it was trained with.")
        source = np.array([old_vocabulary.id_of.get(word, -1) for word in run.vocabulary.words])
        carry_rows(np.asarray(bilm.encoder.embedding), run.words, source)
    run.save_checkpoint()
    return run, carried


def carry_rows(old: np.ndarray, new: np.ndarray, source: np.ndarray) -> None:
    """`new[k] = old[source[k]]`, in place; where source is -1, the row of `<UNK>`."""
    new[...] = old[np.where(source < 0, UNKNOWN_ID, source)]
