"""The tagger's LSTM computes what Keras' does, and learns what it learns."""

import keras
import numpy as np
import pytest

from ner_elmo.lstm import LSTM


def models(**options):
    """Keras' layer and ours with the same weights, each in a model that takes plain gradient steps."""
    for layer in (keras.layers.LSTM, LSTM):
        keras.utils.set_random_seed(3)
        model = keras.Sequential([keras.Input((None, 5)), keras.layers.Masking(), layer(4, name="lstm", **options)])
        model.compile(keras.optimizers.SGD(0.5), "mean_squared_error")
        yield model


@pytest.mark.parametrize(
    "options",
    [
        {}, {"return_sequences": False}, {"go_backwards": True}, {"unit_forget_bias": False, "unroll": True},
        {"use_bias": False}, {"activation": "softsign", "recurrent_activation": "hard_sigmoid"},
    ],
)  # fmt: skip
def test_outputs_and_steps_are_those_of_keras(options):
    theirs, ours = models(**{"return_sequences": True} | options)
    x = np.random.default_rng(0).normal(size=(3, 6, 5)).astype(np.float32)
    x[1, 4:] = 0  # masked
    y = np.random.default_rng(1).normal(size=theirs(x).shape).astype(np.float32)
    before = [np.array(w) for w in ours.get_weights()]
    for _ in range(3):
        np.testing.assert_allclose(ours.predict_on_batch(x), theirs.predict_on_batch(x), atol=1e-6)
        ours.train_on_batch(x, y), theirs.train_on_batch(x, y)
        for one, other in zip(ours.get_weights(), theirs.get_weights(), strict=True):
            np.testing.assert_allclose(one, other, atol=1e-6)
    assert all(np.abs(after - weight).max() > 1e-3 for weight, after in zip(before, ours.get_weights(), strict=True))


def test_no_step_multiplies_the_input(monkeypatch):
    """What Keras does at every step is the call of its cell."""

    def fail(*args, **kwargs):
        raise AssertionError("a step of Keras' own loop")

    monkeypatch.setattr(keras.layers.LSTMCell, "call", fail)
    layer, x = LSTM(4, return_sequences=True), np.ones((3, 6, 5), np.float32)
    assert layer(x).shape == (3, 6, 4)
    layer.as_keras = True
    with pytest.raises(AssertionError, match="a step of Keras' own loop"):
        layer(x)


def test_dropout_is_not_lost():
    (ours,) = (model for model in models(return_sequences=True, recurrent_dropout=0.5) if type(model.layers[-1]) is LSTM)
    x = np.ones((3, 6, 5), np.float32)
    assert not np.allclose(ours(x, training=True), ours(x))


def test_weights_are_read_from_files_of_the_other(tmp_path):
    theirs, ours = models(return_sequences=True)
    theirs.layers[-1].set_weights([weight + 1 for weight in theirs.layers[-1].get_weights()])
    theirs.save_weights(tmp_path / "model.weights.h5")
    x = np.random.default_rng(0).normal(size=(3, 6, 5)).astype(np.float32)
    ours.load_weights(tmp_path / "model.weights.h5")
    np.testing.assert_allclose(ours(x), theirs(x), atol=1e-6)
