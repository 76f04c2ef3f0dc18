"""Going on from weights that are there: on new text, with a new vocabulary.

The network is the old one. Softmax rows (and embedding rows of word-id input) of words that both vocabularies hold are
carried over; a new word begins as `<UNK>`, which it was until now, with an equal share of its probability:
`W = W[<UNK>]`, `b = b[<UNK>] - log(number of new words)`. Without a softmax file the softmax begins at random, and the
first `warmup_steps` train it alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from biLM.errors import InputError
from biLM.model import BiLM
from biLM.options import BiLMOptions
from biLM.progress import Report, silent
from biLM.run import Text, start_run
from biLM.softmax import Softmax
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
    text: Text,
    out: Path,
    dropout: float | None = None,
    report: Report = silent,
) -> tuple[Training, Carried]:
    """Makes a run that begins with the weights of another one, or with published ones.

    Arguments:
        weights: weights.hdf5 or its directory; softmax.hdf5 and vocab.txt beside it are used where they are.
        dropout: that of the weights' options when None.
        The others are those of `start_run`.
    """
    weights = weights / "weights.hdf5" if weights.is_dir() else weights
    if not weights.is_file():
        raise InputError(f"{weights}: no such weights file.")
    words, rows = weights.with_name("vocab.txt"), weights.with_name("softmax.hdf5")
    options = BiLMOptions.read(find_options(weights))
    old_vocabulary = Vocabulary.read(words) if words.is_file() else None
    if old_vocabulary is None and not options.char_cnn:
        raise InputError(f"{words}: no such file. A word-id biLM is tuned with the vocabulary that it was trained with.")
    old = load_bilm(weights, options, old_vocabulary)
    options = old.options  # which says one direction where the file knew no better
    softmax = None
    if old_vocabulary and rows.is_file():
        softmax = load_softmax(rows, (len(old_vocabulary), options.lstm.projection_dim), weights)
    if dropout is not None:
        options = BiLMOptions.from_dict(options.to_dict() | {"dropout": dropout})
    start_run(options, training, text, out, report, tuned_from=str(weights.resolve()))
    run = Training(out, begin=True)
    _carry_network(old, run.model.bilm)
    carried = Carried(0, 0)
    if old_vocabulary:
        source = np.array([old_vocabulary.id_of.get(word, -1) for word in run.vocabulary.words])
        if softmax:
            carried = _carry_softmax(softmax, run.softmax, source)
        if not options.char_cnn:
            carry_rows(np.asarray(old.encoder.embedding), run.words, source)
    run.save_checkpoint()
    return run, carried


def _carry_network(old: BiLM, new: BiLM) -> None:
    """All variables but the rows of word ids, and the seeds of dropout."""
    rows = None if new.options.char_cnn else new.encoder.embedding
    for variable, value in zip(new.variables, old.variables, strict=True):
        if variable is not rows and "seed_generator" not in variable.path:
            variable.assign(value)


def _carry_softmax(old: Softmax, new: Softmax, source: np.ndarray) -> Carried:
    is_new = source < 0
    carry_rows(old.kernel, new.kernel, source)
    carry_rows(old.bias, new.bias, source)
    new.bias[is_new] -= np.float32(np.log(max(1, is_new.sum())))
    return Carried(int((~is_new).sum()), int(is_new.sum()))


def carry_rows(old: np.ndarray, new: np.ndarray, source: np.ndarray) -> None:
    """`new[k] = old[source[k]]`, in place; where source is -1, the row of `<UNK>`."""
    new[...] = old[np.where(source < 0, UNKNOWN_ID, source)]
