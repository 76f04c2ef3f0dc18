"""A text of six sentences, and training runs on it that take seconds."""

import h5py
import numpy as np
import oracle

from biLM import BiLM, BiLMOptions, save_bilm
from biLM.run import Text, start_run
from biLM.training import Training
from biLM.training_options import TrainingOptions

TEXT = [line.split() for line in """
The ferry left the small harbour at dawn .
Two gulls followed it as far as the lighthouse .
Nobody on board spoke until the coast was gone .
At noon the captain read the weather report aloud .
Rain , wind and more rain !
The cook had made soup from whatever the gulls had left .
""".strip().splitlines()]  # fmt: skip


def weights_of(bilm: BiLM, directory) -> dict[str, np.ndarray]:
    save_bilm(bilm, directory)
    weights = {}
    with h5py.File(directory / "weights.hdf5") as file:
        file.visititems(lambda name, x: weights.__setitem__(name, x[()]) if isinstance(x, h5py.Dataset) else None)
    return {name: array for name, array in weights.items() if not name.startswith("initial_state")}


TINY_SHAPE = {
    "lstm__dim": 4, "lstm__projection_dim": 3, "char_cnn__filters": [[1, 2], [2, 3]], "char_cnn__n_highway": 1,
    "char_cnn__embedding": {"dim": 3},
}  # fmt: skip


def new_run(directory, options=None, text=TEXT, vocabulary=None, **training) -> Training:
    """A run on a small text."""
    (directory / "text.txt").write_text("".join(" ".join(sentence) + "\n" for sentence in text))
    raw = options or oracle.random_options(**TINY_SHAPE) | {"dropout": 0.0}
    settings = TrainingOptions(
        **{"batch_size": 2, "unroll_steps": 3, "max_steps": 3, "n_negative_samples_batch": 8} | training
    )
    paths = [directory / "text.txt"]
    (directory / "heldout.txt").write_text((directory / "text.txt").read_text())
    heldout = [directory / "heldout.txt"] if settings.patience else ()
    start_run(BiLMOptions.from_dict(raw), settings, Text(paths, heldout, vocabulary), directory / "run")
    return Training(directory / "run")
