"""Mistakes of people who train a biLM: each is told before anything is computed, and nothing that was there is lost."""

import gzip
import json
import os
import random

import h5py
import numpy as np
import oracle
import pytest
from conftest import write_bilm
from small_runs import TEXT, TINY_SHAPE, new_run

from biLM import BiLMOptions, InputError, load_bilm, save_bilm
from biLM.commands_training import tuning_options
from biLM.corpus import read_sentences
from biLM.embed import dump
from biLM.files import check_free, read_object, whole_directory, whole_file, write_object
from biLM.run import Text, start_run
from biLM.training_options import TrainingOptions
from biLM.tuning import start_tuning
from biLM.vocabulary import SPECIAL_TOKENS, Vocabulary

SMALL = {"batch_size": 2, "unroll_steps": 3, "max_steps": 3, "n_negative_samples_batch": 8}


@pytest.fixture
def options():
    return BiLMOptions.from_dict(oracle.random_options(**TINY_SHAPE) | {"dropout": 0.0})


@pytest.fixture
def shards(tmp_path):
    """Text to train on and to hold out."""
    for name in ("train.txt", "heldout.txt"):
        (tmp_path / name).write_text("".join(" ".join(sentence) + "\n" for sentence in TEXT))
    return tmp_path / "train.txt", tmp_path / "heldout.txt"


def begin(options, train, heldout, out, vocabulary=None, **settings) -> None:
    start_run(options, TrainingOptions(**SMALL | settings), Text(train, heldout, vocabulary), out)


def test_held_out_text_is_held_out(options, shards, tmp_path):
    train, heldout = shards
    (tmp_path / "again.txt").symlink_to(heldout)
    with pytest.raises(InputError, match=r"heldout.txt: is held out and trained on. Name it in --heldout alone"):
        begin(options, [train, tmp_path / "again.txt"], [heldout], tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("content", [b"", b"\n \n"])
def test_empty_held_out_text(options, shards, tmp_path, content):
    shards[1].write_bytes(content)
    with pytest.raises(InputError, match=r"heldout.txt: must hold a sentence at least. .* Leave it out of --heldout"):
        begin(options, shards[:1], shards[1:], tmp_path / "run")


def test_patience_needs_something_to_wait_for(options, shards, tmp_path):
    with pytest.raises(InputError, match="patience waits for a better held-out perplexity"):
        begin(options, shards[:1], shards[1:], tmp_path / "run", patience=2, heldout_sentences=0)


def test_checkpoints_of_another_run(options, shards, tmp_path):
    """A run that goes on from them would not be the one that was asked for."""
    (tmp_path / "run" / "checkpoints").mkdir(parents=True)
    with pytest.raises(InputError, match="checkpoints is there already, and no run says what it is"):
        begin(options, shards[:1], shards[1:], tmp_path / "run")


@pytest.mark.parametrize(("n_words", "seed"), [(2000, seed) for seed in range(20)])
def test_a_shuffled_vocabulary_is_refused(options, tmp_path, n_words, seed):
    """Whatever the order; one of another text, whose rare words are in another order, is not."""
    rng, words = random.Random(seed), [f"w{k}" for k in range(n_words)]
    weights = [1 / (k + 1) for k in range(n_words)]
    lines = (" ".join(rng.choices(words, weights, k=10)) for _ in range(1000))
    (tmp_path / "t.txt").write_text("\n".join(lines) + "\n")
    near = sorted(words, key=lambda word: (int(word[1:]) + 1) * rng.uniform(0.5, 2))
    begin(options, [tmp_path / "t.txt"], [], tmp_path / "run", Vocabulary([*SPECIAL_TOKENS, *near]))
    rng.shuffle(words)
    with pytest.raises(InputError, match="must be sorted by falling count"):
        begin(options, [tmp_path / "t.txt"], [], tmp_path / "other", Vocabulary([*SPECIAL_TOKENS, *words]))


def test_each_optimizer_has_a_rate_of_its_own(options, shards, tmp_path):
    assert (TrainingOptions().rate, TrainingOptions(optimizer="adam").rate) == (0.2, 0.002)
    assert TrainingOptions(optimizer="adam", learning_rate=0.01).rate == 0.01
    assert (tuning_options({}).rate, tuning_options({"optimizer": "adagrad"}).rate) == (0.0005, 0.2)
    assert tuning_options({"optimizer": "adagrad", "learning_rate": 0.1}).rate == 0.1
    begin(options, shards[:1], shards[1:], tmp_path / "run", optimizer="adam")
    assert json.loads((tmp_path / "run" / "options.json").read_text())["learning_rate"] == 0.002


def test_an_archive_that_was_damaged_on_its_way(tmp_path):
    packed = bytearray(gzip.compress(os.urandom(2**16).hex().encode()))
    packed[len(packed) // 2] ^= 255
    (tmp_path / "t.txt.gz").write_bytes(packed)
    with pytest.raises(InputError, match="t.txt.gz: a damaged archive: "):
        list(read_sentences([tmp_path / "t.txt.gz"]))


def test_names_that_are_not_utf8(options, shards, tmp_path):
    odd = tmp_path / os.fsdecode(b"caf\xe9.txt")
    shards[0].rename(odd)
    begin(options, [odd], shards[1:], tmp_path / "run")
    assert read_object(tmp_path / "run" / "training.json")["train"] == [str(odd)]
    write_object(tmp_path / "o.json", {"Łódź": 1})
    assert "Łódź" in (tmp_path / "o.json").read_text(encoding="utf-8")


def test_weights_of_one_direction_that_do_not_say_so(shards, tmp_path):
    """`bidirectional` is a key of ours: other tools leave it out."""
    raw = oracle.random_options(**TINY_SHAPE) | {"dropout": 0.0, "bidirectional": False}
    (tmp_path / "old").mkdir()
    old = new_run(tmp_path / "old", raw)
    old.go_on()
    says = json.loads((old.directory / "options.json").read_text())
    del says["bidirectional"]
    (old.directory / "options.json").write_text(json.dumps(says))
    run, _ = start_tuning(old.directory, TrainingOptions(**SMALL), Text(shards[:1], shards[1:]), tmp_path / "tuned")
    assert run.model.bilm.options.bidirectional is False


def test_no_clipping_is_not_a_limit_of_zero(tmp_path):
    """Other tools clip to whatever number stands there."""
    options = oracle.random_options(lstm__cell_clip=0, lstm__proj_clip=0)
    bilm = load_bilm(write_bilm(tmp_path / "a", options, oracle.random_weights(options)))
    save_bilm(bilm, tmp_path / "b")
    saved = json.loads((tmp_path / "b" / "options.json").read_text())["lstm"]
    assert not {"cell_clip", "proj_clip"} & saved.keys()
    sentences = [["A", "b"]]
    np.testing.assert_array_equal(load_bilm(tmp_path / "b").embed(sentences)[0], bilm.embed(sentences)[0])


def test_a_carried_state_does_not_depend_on_how_a_file_is_read(small_weights, tmp_path, monkeypatch):
    monkeypatch.setattr("biLM.embed.LINES_AT_ONCE", 8)
    lines = ["A b", "", "c", "d e f", "g", " ", "h i", "j", "k", "l m", "n", "o p q", "r", "s"]
    (tmp_path / "t.txt").write_text("\n".join(lines) + "\n")
    sentences = [line.split() for line in lines if line.strip()]
    expected = load_bilm(small_weights, stateful=True).embed(sentences, batch_size=3)
    assert dump(load_bilm(small_weights, stateful=True), tmp_path / "t.txt", tmp_path / "o.hdf5", batch_size=3) == 12
    with h5py.File(tmp_path / "o.hdf5") as file:
        for number, own in zip((n for n, line in enumerate(lines) if line.strip()), expected, strict=True):
            np.testing.assert_allclose(file[str(number)][()], own, atol=1e-6)


# -- places to write to ----------------------------------------------------------------------------------------------------


def test_a_link_to_a_directory_stays_a_link(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with whole_directory(tmp_path / "link") as partial:
        (partial / "x").write_text("1")
    assert (tmp_path / "link").is_symlink() and (tmp_path / "real" / "x").read_text() == "1"
    (tmp_path / "a").write_text("old")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    with whole_file(tmp_path / "b") as partial:
        partial.write_text("new")
    assert (tmp_path / "b").is_symlink() and (tmp_path / "a").read_text() == "new"


def test_places_that_nothing_can_take(tmp_path, monkeypatch, full_disk):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    for directory, what in ((full_disk, "a mount point"), (tmp_path / "here", "the working directory")):
        with pytest.raises(InputError, match=f"is {what}, whose place nothing can take"):
            check_free(directory)
    for place in ("/dev/null", tmp_path):
        with pytest.raises(InputError, match="must be a file. Received: a directory or a device"), whole_file(place):
            pass
