"""Word vectors from files, casing, and lists of names."""

import gzip
import json
import re
import shutil
from hashlib import sha256

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from keras import ops

from biLM import InputError
from ner_elmo import casing
from ner_elmo.config import BUNDLED_BILM, TrainConfig
from ner_elmo.gazetteers import Gazetteers, read_gazetteers
from ner_elmo.tagger import TokenEmbedding
from ner_elmo.word_vectors import WordVectors, read_word_vectors

LINES = "the 1 0 0.5\nOslo 0 1 -2\noslo 0 0 1\nthe 9 9 9\n. . . 3 2 1\n"


@pytest.mark.parametrize("head", ["", "5 3\n"])
@pytest.mark.parametrize("packed", [True, False])
def test_formats_of_vectors(tmp_path, head, packed):
    path = tmp_path / ("v.txt.gz" if packed else "v.txt")
    with (gzip.open if packed else open)(path, "wb") as file:
        file.write((head + LINES).encode())
    found = read_word_vectors(path, 10)
    assert found.words == ["the", "Oslo", "oslo", ". . ."]
    expected = [[0, 1, -2], [0, 0, 1], [1, 0, 0.5], [1, 0, 0.5], [0, 0, 0], [3, 2, 1]]
    np.testing.assert_array_equal(found.vectors(["Oslo", "OSLO", "the", "The", "Turin", ". . ."]), expected)
    assert found.coverage(["The", "Turin"]) == 0.5
    assert read_word_vectors(path, 2).words == ["the", "Oslo"]
    found.write(tmp_path)
    again = WordVectors.of_directory(tmp_path)
    assert again.words == found.words
    np.testing.assert_array_equal(again.table, found.table)


@pytest.mark.parametrize(
    "text, message",
    [
        ("a 1 2\nb 1\n", "v.txt:2: expected a word and 2 numbers up to 65504, got 'b 1'"),
        ("a 1 2\nb 1 x\n", "v.txt:2: expected a word and 2 numbers up to 65504, got 'b 1 x'"),
        ("a 1 nan\n", "v.txt:1: expected a word and 2 numbers"),
        ("a 1 -1e6\n", "v.txt:1: expected a word and 2 numbers up to 65504, got 'a 1 -1e6'"),
        ("a\n", "v.txt:1: expected a word and 1 numbers"),
        ("", "v.txt: must hold a word and its vector a line. Received: none"),
    ],
)
def test_vectors_that_are_none(tmp_path, text, message):
    (tmp_path / "v.txt").write_text(text)
    with pytest.raises(InputError, match=message):
        read_word_vectors(tmp_path / "v.txt", 10)


def test_vectors_of_a_bilm(small_weights, tmp_path):
    """Rows of its softmax, around zero and scaled, those of the special tokens left out; only of the weights beside it."""
    for name in ("options.json", "weights.hdf5"):
        shutil.copy(small_weights.with_name(name), tmp_path)
    with pytest.raises(InputError, match=r"vocab\.txt: no such file\. Word vectors need the"):
        read_word_vectors(tmp_path, 10)
    (tmp_path / "vocab.txt").write_text("<S>\n</S>\n<UNK>\nthe\nOslo\nfar\n")
    with pytest.raises(InputError, match=r"softmax\.hdf5: no such file\. Word vectors need the"):
        read_word_vectors(tmp_path, 10)
    width = json.loads((tmp_path / "options.json").read_text())["lstm"]["projection_dim"]
    kernel = np.random.default_rng(1).standard_normal((6, width), np.float32)
    with h5py.File(tmp_path / "softmax.hdf5", "w") as file:
        file["W"], file["b"] = kernel, np.zeros(6, np.float32)
        file["weights_sha256"] = np.frombuffer(sha256((tmp_path / "weights.hdf5").read_bytes()).digest(), np.uint8)
    found = read_word_vectors(tmp_path, 10)
    assert found.words == ["the", "Oslo", "far"]
    centred = kernel[3:] - kernel[3:].mean(axis=0)
    np.testing.assert_allclose(found.table, 0.4 * centred / centred.std(), atol=2e-3)
    np.testing.assert_array_equal(found.vectors(["OSLO", "The", "turin"]), [*found.table[[1, 0]], np.zeros(width)])
    assert read_word_vectors(tmp_path, 2).words == ["the", "Oslo"]
    (tmp_path / "weights.hdf5").write_bytes(b"others")
    with pytest.raises(InputError, match=r"was saved with other weights than .*weights\.hdf5.*: --word-vectors none"):
        read_word_vectors(tmp_path, 10)


def test_vectors_of_the_bundled_bilm_know_places_from_days():
    found = read_word_vectors(BUNDLED_BILM, 10**6)
    assert (len(found.words), found.width) == (49_997, 128)
    cities, days = (found.vectors(words) for words in (["Paris", "London", "Berlin"], ["Monday", "Friday", "Tuesday"]))
    cities, days = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (cities, days))
    assert min((cities @ cities.T).min(), (days @ days.T).min()) > (cities @ days.T).max()


def test_auto_is_the_softmax_that_lies_beside_the_weights(tmp_path):
    assert TrainConfig().word_vectors_path == str(BUNDLED_BILM)
    assert TrainConfig(elmo=str(BUNDLED_BILM / "weights.hdf5")).word_vectors_path == str(BUNDLED_BILM)
    for changes in ({"word_vectors": "none"}, {"word_vectors": None}, {"elmo": "none"}, {"elmo": "tfhub:google/elmo/3"}):
        assert TrainConfig(**changes).word_vectors_path is None
    for name in ("weights.hdf5", "softmax.hdf5", "other.hdf5"):
        (tmp_path / name).touch()
    assert TrainConfig(elmo=str(tmp_path)).word_vectors_path is None  # a softmax, but no words
    (tmp_path / "vocab.txt").touch()
    assert TrainConfig(elmo=str(tmp_path)).word_vectors_path == str(tmp_path)
    assert TrainConfig(elmo=str(tmp_path / "other.hdf5")).word_vectors_path is None  # of other weights
    assert TrainConfig(elmo=str(tmp_path), word_vectors="v.txt").word_vectors_path == "v.txt"


def test_casing():
    classes = {
        "oslo": casing.LOWER, "Oslo": casing.TITLE, "A": casing.TITLE, "NATO": casing.UPPER, "iPhone": casing.MIXED,
        "McKay": casing.MIXED, "1,000": casing.NUMERIC, "B52x9": casing.NUMERIC, "covid-19": casing.HAS_DIGIT,
        "...": casing.OTHER, "東京": casing.OTHER, "Ålesund": casing.TITLE,
    }  # fmt: skip
    assert {token: casing.casing_of(token) for token in classes} == classes


def test_names_are_found_longest_first_and_in_capitals():
    names = {"LOC": [("New", "York"), ("New", "York", "City"), ("Oslo",)], "ORG": [("York", "City", "FC")]}
    found = Gazetteers(names).features(["OSLO", "and", "New", "York", "City", "FC", ",", "new", "york"])
    loc, org = found[:, :4], found[:, 4:]
    assert np.argwhere(loc).tolist() == [[0, 3], [2, 0], [3, 1], [4, 2]]
    assert np.argwhere(org).tolist() == [[3, 0], [4, 1], [5, 2]]


@given(st.lists(st.sampled_from("abc"), max_size=12), st.lists(st.lists(st.sampled_from("abc"), min_size=1, max_size=3)))
def test_every_part_of_a_found_name_is_marked_once(tokens, names):
    found = Gazetteers({"X": map(tuple, names)}).features(tokens)
    text = "".join("BIES"[row.argmax()] if row.any() else "O" for row in found)
    assert found.sum(axis=1).max(initial=0) <= 1
    assert re.fullmatch("(O|S|BI*E)*", text)
    assert all(tokens[match.start() : match.end()] in names for match in re.finditer("S|BI*E", text))
    singles = {name[0] for name in names if len(name) == 1}
    assert all(tokens[place] not in singles for place, mark in enumerate(text) if mark == "O")


def test_names_from_files(tmp_path):
    (tmp_path / "places.txt").write_text("New York\n\n \t \nSt. John's\n")
    (tmp_path / "more.txt").write_text("Oslo\n")
    found = read_gazetteers([f"LOC={tmp_path}/places.txt", f"LOC={tmp_path}/more.txt"], "en")
    assert found.names["LOC"] == {("New", "York"), ("St.", "John's"), ("St.", "John", "'s"), ("Oslo",)}
    found.write(tmp_path)
    assert Gazetteers.of_directory(tmp_path).names == found.names
    (tmp_path / "empty.txt").write_text("\n  \n")
    for wanted, message in (
        (f"LOC={tmp_path}/empty.txt", "must hold a name a line"),
        ("places", "must be given as TYPE=FILE"),
    ):
        with pytest.raises(InputError, match=message):
            read_gazetteers([wanted], "en")


def test_in_training_some_tokens_are_unknown_to_both_word_tables():
    layer = TokenEmbedding(50, 3, word_vectors_width=2, word_dropout=0.25)
    layer.build()
    index, words = np.arange(2, 42)[None], np.arange(42, dtype=np.int32)
    inputs = {"words": words, "characters": np.ones((42, 8), np.int32), "vectors": np.ones((42, 2), np.float32)}
    table = ops.convert_to_numpy(layer.words.embeddings)
    used, unknown = (ops.convert_to_numpy(layer(index, **inputs, training=training)) for training in (False, True))
    assert np.array_equal(used[0, :, :3], table[2:42]) and np.all(used[0, :, -2:] == 1)
    lost = np.all(unknown[0, :, :3] == table[1], axis=-1)
    assert 2 <= lost.sum() <= 20
    assert np.array_equal(unknown[0, :, -1] == 0, lost) and np.array_equal(unknown[0, :, -2] == 0, lost)
