"""Model directories, damaged or harmful: one line names the file, before memory is filled or an answer is given."""

import json
import shutil

import h5py
import numpy as np
import pytest

from biLM import InputError
from biLM.trained import load_softmax
from ner_elmo.confidence import Confidence
from ner_elmo.config import TrainConfig
from ner_elmo.gazetteers import Gazetteers
from ner_elmo.predictor import Predictor
from ner_elmo.word_vectors import WordVectors


@pytest.fixture
def model(small_model, tmp_path):
    return shutil.copytree(small_model, tmp_path / "model")


def configured(model, **changes):
    description = json.loads((model / "model.json").read_text())
    (model / "model.json").write_text(json.dumps(description | {"config": description["config"] | changes}))


def test_the_weights_of_a_trained_tagger_are_no_more_than_weights(model):
    with h5py.File(model / "tagger.weights.h5") as file:
        assert "head" in file and "optimizer" not in file


@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", ["emitter/vars/1", "head/vars/0"])
def test_tagger_weights_that_are_not_finite(model, name, number):
    with h5py.File(model / "tagger.weights.h5", "a") as file:
        array = file[name][()]
        array.flat[0] = number
        file[name][...] = array
    with pytest.raises(InputError, match=f"tagger.weights.h5: {name} holds numbers that are not finite"):
        Predictor.load(model)


def test_tagger_weights_that_are_finite_in_float64_alone(model):
    with h5py.File(model / "tagger.weights.h5", "a") as file:
        array = file["emitter/vars/1"][()].astype(np.float64)
        del file["emitter/vars/1"]
        file["emitter/vars/1"] = np.where(array == array.max(), 1e300, array)
    with pytest.raises(InputError, match="emitter/vars/1 holds numbers that are not finite"):
        Predictor.load(model)


@pytest.mark.parametrize("name", ["W", "b"])
def test_a_softmax_that_is_not_finite(tmp_path, name):
    arrays = {"W": np.zeros((7, 3), np.float32), "b": np.zeros(7, np.float32)}
    arrays[name].flat[2] = np.nan
    with h5py.File(tmp_path / "softmax.hdf5", "w") as file:
        file["W"], file["b"] = arrays["W"], arrays["b"]
    with pytest.raises(InputError, match=f"softmax.hdf5: {name} holds numbers that are not finite"):
        load_softmax(tmp_path / "softmax.hdf5", (7, 3), tmp_path / "weights.hdf5")


def test_word_vectors_that_are_not_finite(tmp_path):
    table = np.ones((3, 2), np.float16)
    WordVectors(["a", "b", "c"], table).write(tmp_path)
    assert WordVectors.of_directory(tmp_path).width == 2
    table[1, 0] = np.inf
    WordVectors(["a", "b", "c"], table).write(tmp_path)
    with pytest.raises(InputError, match=r"word_vectors.npy: holds numbers that are not finite \(row 2, of 'b'\)"):
        WordVectors.of_directory(tmp_path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ('"slope": NaN', "slope holds a number that is not finite"),
        ('"intercept": Infinity', "intercept holds a number that is not finite"),
        ('"dev": [[NaN, 1]]', "dev holds a number that is not finite"),
        ('"dev": [[0.5, Infinity]]', "OverflowError"),
        ('"n_gold": Infinity', "OverflowError"),
    ],
)
def test_a_calibration_that_is_not_finite(tmp_path, changes, message):
    sound = '"slope": 1, "intercept": 0, "dev": [[0.5, 1]], "n_gold": 1'
    (tmp_path / "confidence.json").write_text(f"{{{sound}}}")
    assert Confidence.read(tmp_path).n_gold == 1
    (tmp_path / "confidence.json").write_text(f"{{{sound}, {changes}}}")
    with pytest.raises(InputError, match=f"confidence.json: is damaged: .*{message}"):
        Confidence.read(tmp_path)


@pytest.mark.parametrize("changes", [{"hidden_size": 16384}, {"n_blocks": 64}, {"word_dim": 16384}])
def test_a_shape_that_its_weights_cannot_have_is_not_built(model, monkeypatch, changes):
    monkeypatch.setattr("ner_elmo.bundle.build_tagger", lambda *args, **sizes: pytest.fail("was built"))
    configured(model, **changes)
    with pytest.raises(InputError, match=r"tagger.weights.h5: does not fit model.json: .* numbers or more. Received: "):
        Predictor.load(model)


@pytest.mark.parametrize("name", ["hidden_size", "n_blocks", "word_dim"])
def test_a_shape_without_end_is_refused(name):
    with pytest.raises(InputError, match=f"{name} must be at most"):
        TrainConfig(**{name: 200_000})


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.txt", b"PER\n", "x.txt: gazetteers must be called 0.txt, 1.txt and so on"),
        ("1.txt", b"", "1.txt: must begin with a type of its own. Received: ''"),
        ("1.txt", b"PER\nAda\n", "1.txt: must begin with a type of its own. Received: 'PER'"),
        ("1.txt", b"LOC\n\xff\n", "1.txt: must be UTF-8 text"),
    ],
)
def test_damaged_gazetteers(tmp_path, name, content, message):
    Gazetteers({"PER": [("Ada", "Lund")]}).write(tmp_path)
    assert Gazetteers.of_directory(tmp_path).names == {"PER": {("Ada", "Lund")}}
    (tmp_path / "gazetteers" / name).write_bytes(content)
    with pytest.raises(InputError, match=message):
        Gazetteers.of_directory(tmp_path)


def test_words_that_are_not_utf8(model, tmp_path):
    (model / "words.txt").write_bytes(b"Ada\n\xff\n")
    with pytest.raises(InputError, match="words.txt: must be UTF-8 text"):
        Predictor.load(model)
    WordVectors(["a"], np.ones((1, 2), np.float16)).write(tmp_path)
    (tmp_path / "word_vectors.txt").write_bytes(b"\xff\n")
    with pytest.raises(InputError, match="word_vectors.txt: must be UTF-8 text"):
        WordVectors.of_directory(tmp_path)
