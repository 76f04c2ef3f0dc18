"""Golden activations of the reference implementation, by its own procedure: state carried, three rows."""

import json

import h5py
import numpy as np
import pytest

from biLM import load_bilm


@pytest.fixture(scope="module")
def golden(shared):
    folder = shared / "fixtures" / "bilm_tf"
    sentences = json.loads((folder / "lm_embeddings_sentences.json").read_text())
    layers = []
    for number in range(3):
        with h5py.File(folder / f"lm_embeddings_{number}.hdf5") as file:
            layers.append([np.concatenate(file[str(i)][()][:2], axis=-1) for i in range(10)])
    return folder, sentences, layers


def test_stateful_activations_equal_the_reference(golden):
    folder, sentences, expected = golden
    bilm = load_bilm(folder / "lm_weights.hdf5", options=folder / "options.json", stateful=True)
    for i in range(10):
        found = bilm.embed([sentences[k][i].split() for k in range(3)], batch_size=3)
        for k in range(3):
            np.testing.assert_allclose(found[k][2], expected[k][i], atol=1e-6)


@pytest.mark.parametrize(("mode", "limit"), [("warm", 1e-6), ("zero", 0.01)])
def test_stateless_activations_are_near_the_reference(golden, mode, limit):
    folder, sentences, expected = golden
    bilm = load_bilm(folder / "lm_weights.hdf5", options=folder / "options.json", initial_state=mode)
    distances = []
    for k in range(3):
        for found, wanted in zip(bilm.embed([s.split() for s in sentences[k]])[1:], expected[k][1:], strict=True):
            a, b = found[2], wanted
            distances.append(1 - (a * b).sum(-1) / np.linalg.norm(a, axis=-1) / np.linalg.norm(b, axis=-1))
    assert np.concatenate(distances).mean() < limit
