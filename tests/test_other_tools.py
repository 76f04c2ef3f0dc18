"""Weights trained here open in simple_elmo, with equal activations. Needs a Python that has it, in SIMPLE_ELMO_PYTHON."""

import os
import subprocess
import sys

import numpy as np
import pytest
from conftest import PROJECT

from biLM import load_bilm

PYTHON = os.environ.get("SIMPLE_ELMO_PYTHON")
SENTENCES = [line.split() for line in ("The ferry left at dawn .", "Nobody spoke .", "Two gulls followed it for an hour .")]
SCRIPT = """
import sys
import numpy as np
from simple_elmo import ElmoModel
model = ElmoModel()
model.load(sys.argv[1], max_batch_size=3)
np.save(sys.argv[2], model.get_elmo_vectors([line.split() for line in sys.argv[3:]], layers="all"))
"""


@pytest.mark.skipif(PYTHON is None, reason="SIMPLE_ELMO_PYTHON names no Python with simple-elmo and tf-keras")
def test_weights_trained_here_open_in_simple_elmo(tmp_path):
    lines = [" ".join(sentence) for sentence in SENTENCES]
    (tmp_path / "text.txt").write_text("\n".join(lines * 20) + "\n")
    command = [
        sys.executable, "-m", "biLM", "train", "--train", str(tmp_path / "text.txt"), "--out", str(tmp_path / "run"),
        "--preset", "tiny", "--lstm-dim", "32", "--lstm-projection-dim", "16", "--batch-size", "4", "--max-steps", "30",
    ]  # fmt: skip
    subprocess.run(command, cwd=PROJECT, check=True, capture_output=True)
    weights = tmp_path / "for-simple-elmo"
    weights.mkdir()  # a directory with the vocabulary of a run is a training run to simple_elmo
    for name in ("options.json", "weights.hdf5"):
        (weights / name).write_bytes((tmp_path / "run" / name).read_bytes())
    environment = os.environ | {"TF_USE_LEGACY_KERAS": "1"}
    command = [PYTHON, "-c", SCRIPT, str(weights), str(tmp_path / "vectors.npy"), *lines]
    subprocess.run(command, check=True, capture_output=True, env=environment)
    theirs = np.load(tmp_path / "vectors.npy")
    bilm = load_bilm(weights, stateful=True)
    bilm.reset_states()
    bilm.embed(SENTENCES, batch_size=3)  # simple_elmo warms up with the first batch
    for vectors, row in zip(bilm.embed(SENTENCES, batch_size=3), theirs, strict=True):
        np.testing.assert_allclose(row[:, : vectors.shape[1]], vectors, atol=1e-5)
