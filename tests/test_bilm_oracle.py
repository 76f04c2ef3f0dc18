"""Every option variant against the NumPy oracle, through files: load, run, save, load again."""

import h5py
import numpy as np
import oracle
import pytest
from conftest import SENTENCES, write_bilm

from biLM import load_bilm, save_bilm

VARIANTS = {
    "published": {},
    "no skip connections": {"lstm__use_skip_connections": False},
    "skip connections absent": {"lstm__use_skip_connections": None},
    "no projection": {"lstm__projection_dim": 12},
    "no highway": {"char_cnn__n_highway": 0},
    "highway absent": {"char_cnn__n_highway": None},
    "no clips": {"lstm__cell_clip": 0, "lstm__proj_clip": None},
    "tight clips": {"lstm__cell_clip": 0.3, "lstm__proj_clip": 0.2},
    "no CNN projection": {"lstm__projection_dim": 13},
    "1 layer": {"lstm__n_layers": 1},
    "layers absent": {"lstm__n_layers": None},
    "3 layers": {"lstm__n_layers": 3},
    "4 layers": {"lstm__n_layers": 4},
    "tanh": {"char_cnn__activation": "tanh"},
    "261": {"char_cnn__n_characters": 261},
    "10 characters": {"char_cnn__max_characters_per_token": 10},
    "25 characters": {"char_cnn__max_characters_per_token": 25},
}


@pytest.mark.parametrize("changes", VARIANTS.values(), ids=VARIANTS.keys())
def test_variant_equals_oracle_and_survives_a_round_trip(changes, tmp_path):
    options = oracle.random_options(**changes)
    weights = oracle.random_weights(options)
    path = write_bilm(tmp_path, options, weights)
    bilm = load_bilm(path, initial_state="zero")
    found = bilm.embed(SENTENCES, batch_size=3)
    for sentence, activations in zip(SENTENCES, found, strict=True):
        expected = oracle.BiLMOracle(weights, options).embed(sentence)
        assert activations.dtype == np.float32
        np.testing.assert_allclose(activations, expected, atol=1e-5)
    again = load_bilm(save_bilm(bilm, tmp_path / "saved"), initial_state="zero")
    for before, after in zip(found, again.embed(SENTENCES, batch_size=3), strict=True):
        np.testing.assert_array_equal(before, after)


def test_forward_only(tmp_path):
    options = oracle.random_options()
    weights = oracle.random_weights(options, directions=(0,))
    bilm = load_bilm(write_bilm(tmp_path, options, weights), initial_state="zero")
    assert bilm.width == 5
    expected = oracle.BiLMOracle(weights, options).embed(SENTENCES[0])
    np.testing.assert_allclose(bilm.embed(SENTENCES[:1])[0], expected, atol=1e-5)


def test_word_input(tmp_path):
    options = oracle.random_options()
    del options["char_cnn"]
    vocabulary = ["<S>", "</S>", "<UNK>", "The", "harbour", "."]
    weights = oracle.random_weights(options, n_words=len(vocabulary))
    path = write_bilm(tmp_path, options, weights)
    (tmp_path / "vocab.txt").write_text("\n".join(vocabulary) + "\n")
    bilm = load_bilm(path, initial_state="zero")
    for sentence, activations in zip(SENTENCES, bilm.embed(SENTENCES), strict=True):
        expected = oracle.BiLMOracle(weights, options, vocabulary).embed(sentence)
        np.testing.assert_allclose(activations, expected, atol=1e-5)
    again = load_bilm(save_bilm(bilm, tmp_path / "saved"), initial_state="zero")
    np.testing.assert_array_equal(again.embed(SENTENCES)[0], bilm.embed(SENTENCES)[0])


def test_stateful_carries_state_row_by_row(small_weights):
    options, weights = oracle.random_options(), oracle.random_weights(oracle.random_options())
    bilm = load_bilm(small_weights, stateful=True)
    rows = [oracle.BiLMOracle(weights, options) for _ in range(3)]
    for batch in (SENTENCES[:3], SENTENCES[2:4], SENTENCES[1:4]):
        found = bilm.embed(batch, batch_size=3)
        for row, sentence in enumerate(batch):
            np.testing.assert_allclose(found[row], rows[row].embed(sentence), atol=1e-5)
    bilm.reset_states()
    fresh = oracle.BiLMOracle(weights, options).embed(SENTENCES[0])
    np.testing.assert_allclose(bilm.embed(SENTENCES[:1])[0], fresh, atol=1e-5)


def test_warm_state_is_that_of_the_oracle(small_weights):
    options, weights = oracle.random_options(), oracle.random_weights(oracle.random_options())
    bilm = load_bilm(small_weights)
    expected = oracle.BiLMOracle(weights, options)
    expected.warm_up()
    np.testing.assert_allclose(bilm.embed(SENTENCES[:1])[0], expected.embed(SENTENCES[0]), atol=1e-5)


def test_names_of_published_files_and_of_one_layer_models(tmp_path):
    options = oracle.random_options(lstm__n_layers=1)
    weights = oracle.random_weights(options)
    renamed = {name.replace("MultiRNNCell/Cell0/", ""): array for name, array in weights.items()}
    path = write_bilm(tmp_path, options, renamed, prefix="elmo_1x12_5_")
    bilm = load_bilm(path, initial_state="zero")
    expected = oracle.BiLMOracle(weights, options).embed(SENTENCES[0])
    np.testing.assert_allclose(bilm.embed(SENTENCES[:1])[0], expected, atol=1e-5)
    with h5py.File(save_bilm(bilm, tmp_path / "saved")) as file:
        assert "RNN_0/RNN/MultiRNNCell/Cell0/LSTMCell/W_0" in file  # the standard name


def test_262_rows_of_characters_are_read(tmp_path):
    options = oracle.random_options()
    weights = oracle.random_weights(options)
    expected = oracle.BiLMOracle(weights, options).embed(SENTENCES[0])
    padded = weights | {"char_embed": np.pad(weights["char_embed"], [(0, 1), (0, 0)])}
    bilm = load_bilm(write_bilm(tmp_path, options, padded), initial_state="zero")
    np.testing.assert_allclose(bilm.embed(SENTENCES[:1])[0], expected, atol=1e-5)


def test_float16_files_hold_half_and_compute_float32(small_weights, tmp_path):
    bilm = load_bilm(small_weights)
    path = save_bilm(bilm, tmp_path, dtype="float16")
    again = load_bilm(path)
    assert again.embed(SENTENCES[:1])[0].dtype == np.float32
    np.testing.assert_allclose(again.embed(SENTENCES[:1])[0], bilm.embed(SENTENCES[:1])[0], atol=0.02)
