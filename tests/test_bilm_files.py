"""options.json, weights.hdf5 and vocab.txt: what is kept, and what is said of files that cannot be used."""

import json

import h5py
import numpy as np
import oracle
import pytest
from conftest import SENTENCES, vocabulary_of, write_bilm

from biLM import BiLMOptions, InputError, load_bilm, save_bilm
from biLM.presets import PRESETS
from biLM.vocabulary import SPECIAL_TOKENS, Vocabulary
from biLM.weights import rename_table


def test_options_keep_unknown_keys(tmp_path):
    raw = oracle.random_options(reverse=True, n_train_tokens=768648884)
    raw["lstm"]["projection_after_highway"] = True
    raw["char_cnn"]["odd"] = [1]
    raw["char_cnn"]["embedding"]["trainable"] = False
    (tmp_path / "options.json").write_text(json.dumps(raw))
    options = BiLMOptions.read(tmp_path / "options.json")
    options.write(tmp_path / "again.json")
    again = json.loads((tmp_path / "again.json").read_text())
    assert again["reverse"] is True
    assert again["n_train_tokens"] == 768648884
    assert again["lstm"]["projection_after_highway"] is True
    assert again["char_cnn"]["odd"] == [1]
    assert again["char_cnn"]["embedding"] == raw["char_cnn"]["embedding"]
    assert again["char_cnn"]["n_characters"] == 262
    assert BiLMOptions.read(tmp_path / "again.json") == options


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"lstm__dim": -1}, r"lstm.dim must be a whole number from 1 to 65536. Received: -1"),
        ({"lstm__dim": None}, r"lstm must hold dim. Received"),
        ({"char_cnn__activation": "elu"}, r"char_cnn.activation must be 'relu' or 'tanh'. Received: 'elu'"),
        ({"char_cnn__filters": [[1, 0]]}, r"char_cnn.filters must be pairs"),
        ({"char_cnn__n_characters": 300}, r"char_cnn.n_characters must be 261 or 262"),
        ({"char_cnn__max_characters_per_token": 3}, r"at least the widest filter \(4\). Received: 3"),
        ({"lstm": 7}, r"the key 'lstm' must hold an object. Received: 7"),
        ({"dropout": 1.0}, r"dropout must be at least 0 and below 1"),
    ],
)
def test_impossible_options_are_named(changes, message, tmp_path):
    (tmp_path / "options.json").write_text(json.dumps(oracle.random_options(**changes)))
    with pytest.raises(InputError, match=message) as caught:
        BiLMOptions.read(tmp_path / "options.json")
    assert str(caught.value).startswith(str(tmp_path / "options.json"))


def test_all_mismatches_in_one_message(tmp_path):
    options = oracle.random_options()
    weights = oracle.random_weights(options)
    del weights["CNN/b_cnn_0"]
    weights["CNN/W_cnn_1"] = weights["CNN/W_cnn_1"][..., :-1]
    weights["extra"] = np.zeros(3, np.float32)
    path = write_bilm(tmp_path, options, weights)
    with pytest.raises(InputError) as caught:
        load_bilm(path)
    message = str(caught.value)
    assert "CNN/b_cnn_0 (3,) is missing" in message
    assert "CNN/W_cnn_1 is (1, 2, 4, 3), options give (1, 2, 4, 4)" in message
    assert "extra (3,) is not part of such a model" in message
    assert "\n" not in message


def test_files_that_cannot_be_read(tmp_path, small_weights):
    with pytest.raises(InputError, match="nowhere.hdf5: no such weights file"):
        load_bilm(tmp_path / "nowhere.hdf5")
    truncated = tmp_path / "weights.hdf5"
    truncated.write_bytes(small_weights.read_bytes()[:3000])
    with pytest.raises(InputError, match="no options file"):
        load_bilm(truncated)
    (tmp_path / "options.json").write_text("{")
    with pytest.raises(InputError, match="options.json: not a JSON file"):
        load_bilm(truncated)
    (tmp_path / "options.json").write_text("[]")
    with pytest.raises(InputError, match="must hold a JSON object"):
        load_bilm(truncated)
    with pytest.raises(InputError, match="not an HDF5 file, or a damaged one"):
        load_bilm(truncated, options=small_weights.with_name("options.json"))


def test_numbers_that_are_none(tmp_path):
    options = oracle.random_options()
    weights = oracle.random_weights(options)
    weights["CNN/b_cnn_0"][1] = np.nan
    with pytest.raises(InputError, match="CNN/b_cnn_0 holds numbers that are not finite"):
        load_bilm(write_bilm(tmp_path, options, weights))
    weights["CNN/b_cnn_0"] = np.zeros(3, np.int32)
    with pytest.raises(InputError, match="CNN/b_cnn_0 must hold floats, not int32"):
        load_bilm(write_bilm(tmp_path, options, weights))


def test_unknown_state_mode_is_refused(small_weights):
    with pytest.raises(InputError, match="`initial_state` must be 'warm' or 'zero'. Received: 'cold'"):
        load_bilm(small_weights, initial_state="cold")


def test_the_warm_state_travels_with_the_file_and_other_readers_pass_over_it(small_weights, tmp_path):
    bilm = load_bilm(small_weights)
    bilm.initial_states[0][0][0].assign(np.full(5, 0.25, np.float32))  # a state that no warm-up gives
    path = save_bilm(bilm, tmp_path)
    again = load_bilm(path)
    np.testing.assert_array_equal(again.embed(SENTENCES[:1])[0], bilm.embed(SENTENCES[:1])[0])
    with h5py.File(path) as file:
        assert [name for name in file if name == "initial_state"]
    zero = load_bilm(path, initial_state="zero")
    assert not np.asarray(zero.initial_states[0][0][0]).any()


def test_vocabulary_files(tmp_path):
    text = [["b", "a", "b"], ["c", "a", "b", "<UNK>"]]
    vocabulary = vocabulary_of(text)
    assert vocabulary.words == ["<S>", "</S>", "<UNK>", "b", "a", "c"]
    assert vocabulary_of(text, max_size=5).words[3:] == ["b", "a"]
    assert vocabulary_of(text, min_count=2).words[3:] == ["b", "a"]
    vocabulary.write(tmp_path / "vocab.txt")
    assert Vocabulary.read(tmp_path / "vocab.txt").words == vocabulary.words
    assert vocabulary.encode(["a", "zzz"]).tolist() == [4, 2]
    (tmp_path / "bad.txt").write_text("a\nb\n")
    with pytest.raises(InputError, match=r"bad.txt: a vocabulary must begin with \('<S>', '</S>', '<UNK>'\)"):
        Vocabulary.read(tmp_path / "bad.txt")
    (tmp_path / "twice.txt").write_text("<S>\n</S>\n<UNK>\na\na\n")
    with pytest.raises(InputError, match="each word once. Received twice or more: 'a'"):
        Vocabulary.read(tmp_path / "twice.txt")


def test_word_models_ask_for_their_vocabulary(tmp_path):
    options = oracle.random_options()
    del options["char_cnn"]
    path = write_bilm(tmp_path, options, oracle.random_weights(options, n_words=6))
    with pytest.raises(InputError, match="needs the vocabulary it was trained with"):
        load_bilm(path, initial_state="zero").embed([["a"]])
    words = Vocabulary([*SPECIAL_TOKENS, "a", "b", "c"])
    assert load_bilm(path, vocabulary=words).embed([["a"]])[0].shape[0] == 3
    with pytest.raises(InputError, match="its vocabulary must hold 6 words, one for each row. Received: 5"):
        load_bilm(path, vocabulary=Vocabulary(words.words[:5]))


@pytest.mark.parametrize(
    ("name", "dim", "projection_dim", "n_highway", "widths", "n_parameters"),
    [
        ("tiny", 512, 128, 1, 5, 3.0e6),
        ("small", 1024, 128, 1, 7, 13.6e6),
        ("medium", 2048, 256, 1, 7, 28.0e6),
        ("original", 4096, 512, 2, 7, 93.6e6),
    ],
)
def test_presets_are_the_published_shapes_and_a_tiny_one(name, dim, projection_dim, n_highway, widths, n_parameters):
    options = BiLMOptions.from_dict(PRESETS[name])
    assert (options.lstm.dim, options.lstm.projection_dim, options.lstm.n_layers) == (dim, projection_dim, 2)
    assert (options.lstm.cell_clip, options.lstm.proj_clip, options.lstm.use_skip_connections) == (3, 3, True)
    counts = [32, 32, 64, 128, 256, 512, 1024][:widths]
    assert [tuple(pair) for pair in options.char_cnn.filters] == list(enumerate(counts, 1))
    assert (options.char_cnn.n_highway, options.char_cnn.activation) == (n_highway, "relu")
    assert (options.char_cnn.embedding_dim, options.char_cnn.max_characters_per_token) == (16, 50)
    held = sum(np.prod(row.shape) for row in rename_table(options))
    assert held == pytest.approx(n_parameters, abs=0.05e6)
