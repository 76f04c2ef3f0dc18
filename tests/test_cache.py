"""The cache of activations: right, shared, bounded, and whole whatever happens to the run that fills it."""

import os
import signal
import subprocess
import sys
import time
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
from conftest import PROJECT, SENTENCES
from rich.console import Console

from biLM import InputError, load_bilm
from biLM.batching import batches_by_length
from ner_elmo import experiment
from ner_elmo.batching import Features, Prepared
from ner_elmo.cache import Cache, fingerprint, key_of
from ner_elmo.config import BUNDLED_BILM, SAMPLE, TrainConfig
from ner_elmo.decoding import viterbi
from ner_elmo.predictor import Predictor
from ner_elmo.readers import read_sentences, types_of
from ner_elmo.training import train_tagger

PLENTY = 10**9


@pytest.fixture(scope="module")
def bilm(small_weights):
    return load_bilm(small_weights)


def close(activations, bilm, sentences):
    """Whether a batch in any order holds what the biLM gives, to float16."""
    order = list(range(len(sentences)))[::-1]
    batch = activations.batch(order)
    assert batch.dtype == np.float16
    for row, position in zip(batch, order, strict=True):
        n = len(sentences[position])
        np.testing.assert_allclose(row[:, :n], bilm.embed([sentences[position]])[0], rtol=1e-3, atol=1e-3)
        assert not row[:, n:].any()
    return True


def test_the_folder_is_for_its_owner_alone(bilm, tmp_path):
    Cache(tmp_path, PLENTY).activations(bilm, SENTENCES)
    assert [folder.stat().st_mode & 0o077 for folder in tmp_path.iterdir()] == [0]


def test_computed_once_and_found_again(bilm, tmp_path):
    first = Cache(tmp_path, PLENTY).activations(bilm, SENTENCES)
    assert (first.found.hits, first.found.added) == (0, 5)
    assert first.found.n_bytes == 2 * sum(map(len, SENTENCES)) * bilm.n_layers * bilm.width
    computed = []
    again = Cache(tmp_path, PLENTY).activations(bilm, SENTENCES, lambda done, total: computed.append(done))
    assert (again.found.hits, again.found.added, computed) == (5, 0, [])
    assert close(first, bilm, SENTENCES) and close(again, bilm, SENTENCES)
    np.testing.assert_array_equal(first.batch([2, 0]), again.batch([2, 0]))


def test_other_files_share_their_sentences_and_repeated_ones_are_kept_once(bilm, tmp_path):
    (tmp_path / "a file of somebody else").touch()
    cache = Cache(tmp_path, PLENTY)
    cache.activations(bilm, SENTENCES[:3])
    mixed = [SENTENCES[1], ["new", "one"], SENTENCES[1], ["new", "one"], SENTENCES[0]]
    found = cache.activations(bilm, mixed)
    assert (found.found.sentences, found.found.hits, found.found.added) == (5, 3, 2)
    assert found.found.n_bytes == 2 * (2 + 2 + 6) * bilm.n_layers * bilm.width
    assert close(found, bilm, mixed)


def test_tokens_that_join_to_the_same_text_are_told_apart(bilm, tmp_path):
    cache = Cache(tmp_path, PLENTY)
    one, two = ["a b", "c"], ["a", "b c"]
    cache.activations(bilm, [one])
    assert cache.activations(bilm, [two]).found.hits == 0


@pytest.mark.parametrize("name", ["activations.npy", "sentences.npy"])
@pytest.mark.parametrize("size", [0, 100, 200])
def test_what_was_cut_off_is_computed_again(bilm, tmp_path, name, size):
    """As a machine that goes down may leave it."""
    Cache(tmp_path, PLENTY).activations(bilm, SENTENCES)
    (path,) = tmp_path.rglob(name)
    os.truncate(path, size)
    again = Cache(tmp_path, PLENTY).activations(bilm, SENTENCES)
    assert (again.found.hits, again.found.added) == (0, 5)
    assert close(again, bilm, SENTENCES)


def test_a_segment_may_go_while_it_is_looked_at(bilm, tmp_path, monkeypatch):
    """Another run, with another biLM, makes room for itself."""
    Cache(tmp_path, PLENTY).activations(bilm, SENTENCES)

    def gone(path):
        raise FileNotFoundError(path)

    monkeypatch.setattr("ner_elmo.cache.os.utime", gone)
    again = Cache(tmp_path, PLENTY).activations(bilm, SENTENCES)
    assert again.found.hits == 5 and close(again, bilm, SENTENCES)


def test_another_bilm_has_a_folder_of_its_own(bilm, small_weights, tmp_path):
    zero, lower = load_bilm(small_weights, initial_state="zero"), load_bilm(small_weights, top_layer=1)
    assert fingerprint(bilm) == fingerprint(load_bilm(small_weights)) != fingerprint(zero)
    assert len({key_of(model) for model in (bilm, zero, lower)}) == 3
    for model in (bilm, zero, lower):
        activations = Cache(tmp_path, PLENTY).activations(model, SENTENCES)
        assert activations.found.hits == 0
        assert close(activations, model, SENTENCES)


def test_what_was_used_longest_ago_makes_room(bilm, tmp_path):
    texts = [[[f"w{k}"] * 50] for k in range(3)]
    size = 50 * 2 * bilm.n_layers * bilm.width + 40 + 512  # activations, index, headers
    cache = Cache(tmp_path, 2 * size)
    for k, text in enumerate(texts[:2]):
        cache.activations(bilm, text)
        segment = next(path for path in tmp_path.rglob("activations.npy") if path.parent.stat().st_mtime > 10**6)
        os.utime(segment.parent, (k, k))
    open_still = cache.activations(bilm, texts[0])  # used again: now text 1 is the oldest
    cache.activations(bilm, texts[2])
    assert cache.activations(bilm, texts[0]).found.hits == 1
    assert cache.activations(bilm, texts[2]).found.hits == 1
    assert close(open_still, bilm, texts[0])
    assert cache.activations(bilm, texts[1]).found.hits == 0
    assert sum(path.stat().st_size for path in tmp_path.rglob("*.npy")) <= 2 * size


@pytest.mark.parametrize("max_bytes", [0, 1100])
def test_what_has_no_room_is_computed_when_it_is_asked_for(bilm, tmp_path, max_bytes):
    activations = Cache(tmp_path, max_bytes).activations(bilm, SENTENCES)
    assert activations.found.added == (0 if max_bytes == 0 else 2)  # 60 bytes a token, 40 a sentence, 512
    assert close(activations, bilm, SENTENCES)


def test_two_runs_at_once(small_weights, tmp_path):
    code = (
        "import sys; from biLM import load_bilm; from ner_elmo.cache import Cache; from pathlib import Path\n"
        "a = Cache(Path(sys.argv[2]), 10**9).activations(load_bilm(sys.argv[1]), [[f'w{k}', 'x'] for k in range(3000)])\n"
        "print(a.found.hits, a.found.added, float(abs(a.batch([0, 2999])).sum()))"
    )
    command = [sys.executable, "-c", code, str(small_weights), str(tmp_path)]
    runs = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=PROJECT) for _ in range(2)]
    said = [run.communicate(timeout=300)[0].split() for run in runs]
    assert all(run.returncode == 0 for run in runs)
    assert sorted(line[:2] for line in said) == [["0", "3000"], ["3000", "0"]]  # the second waited for the first
    assert said[0][2] == said[1][2]


def test_a_killed_run_leaves_nothing_wrong(bilm, small_weights, tmp_path):
    code = (
        "import sys, time; from biLM import load_bilm; from ner_elmo.cache import Cache; from pathlib import Path\n"
        "slow = lambda done, total: (print('begun', flush=True), time.sleep(60))\n"
        "Cache(Path(sys.argv[2]), 10**9).activations(load_bilm(sys.argv[1]), [['a', 'b'], ['c']], slow)"
    )
    run = subprocess.Popen(
        [sys.executable, "-c", code, str(small_weights), str(tmp_path)], stdout=subprocess.PIPE, cwd=PROJECT
    )
    assert run.stdout and run.stdout.readline() == b"begun\n"
    run.send_signal(signal.SIGKILL)
    run.communicate()
    assert list(tmp_path.rglob("*.partial"))
    begin = time.monotonic()
    activations = Cache(tmp_path, PLENTY).activations(bilm, [["a", "b"], ["c"]])
    assert time.monotonic() - begin < 50  # the lock of the killed run is gone with it
    assert activations.found.hits == 0
    assert close(activations, bilm, [["a", "b"], ["c"]])
    assert not list(tmp_path.rglob("*.partial"))


@pytest.mark.parametrize("full_disk", ["64k"], indirect=True)
def test_a_full_disk_is_said_and_leaves_nothing(bilm, full_disk):
    with pytest.raises(OSError, match="No space left") as raised:
        Cache(full_disk, PLENTY).activations(bilm, [[f"w{k}"] * 30 for k in range(200)])
    assert Path(raised.value.filename).is_relative_to(full_disk)
    assert not list(full_disk.rglob("*.npy"))


def test_numbers_that_float16_cannot_hold_are_refused(small_weights, tmp_path):
    bilm = load_bilm(small_weights)
    bilm.encoder.projection_bias.assign(np.full(5, 1e6, np.float32))
    with pytest.raises(InputError, match="too large for the float16 cache"):
        Cache(tmp_path, PLENTY).activations(bilm, [("a",)])
    assert not list(tmp_path.rglob("*.npy"))


def test_training_with_the_cache_and_without_it(small_weights, tmp_path):
    train = read_sentences([SAMPLE / "train.conll"])[:20]
    losses = []
    for cached in (True, False):
        said, place = StringIO(), tmp_path / str(cached)
        config = TrainConfig(
            elmo=str(small_weights), cache=cached, cache_dir=str(place), epochs=2, hidden_size=8, word_dim=4, dropout=0.0
        )
        console = Console(file=said, width=200)
        for found in (20, 40):  # dev finds what train has added
            material = experiment.gather(config, train, train, train, console)
            if cached:
                assert f"activations: {found} of 40 sentences from the cache, {40 - found} added" in said.getvalue()
        assert (material.activations is not None, place.exists()) == (cached, cached)
        trained, _ = experiment.fit(config, material, console)
        losses.append([epoch.loss for epoch in trained.epochs])
    np.testing.assert_allclose(*losses, rtol=1e-3)


@pytest.fixture(scope="module")
def sample_tagger(tmp_path_factory):
    """A tagger on the bundled biLM, trained on the sample for four epochs."""
    bilm, train = load_bilm(BUNDLED_BILM), read_sentences([SAMPLE / "train.conll"])
    activations = Cache(tmp_path_factory.mktemp("cache"), PLENTY).activations(bilm, [s.tokens for s in train])
    config = TrainConfig(epochs=4, hidden_size=64, learning_rate=0.003)
    features = Features.of(config, [s.tokens for s in train], bilm)
    trained = train_tagger(config, types_of(train), train, train[:50], features, (activations, activations))
    return Predictor(trained.tagger, trained.features)


def tags(tagger, sentences, dtype):
    """The tags of all tokens, from activations of a kind."""
    compute = Prepared(tagger.features, sentences)
    inputs = Prepared(tagger.features, sentences, lambda p: compute.batch(p)["activations"].astype(dtype))
    found = np.full(sum(map(len, sentences)), "", dtype=object)
    starts = np.cumsum(inputs.lengths) - inputs.lengths
    for positions in batches_by_length(inputs.lengths, 32):
        emissions = tagger.tagger.predict_on_batch(inputs.batch(positions))
        ids = viterbi(emissions, inputs.lengths[positions], tagger.scores)
        for position, row in zip(positions, ids, strict=True):
            n = inputs.lengths[position]
            found[starts[position] : starts[position] + n] = row[:n]
    return found


@pytest.mark.parametrize("name", ["the sample", "conll2003_en"])
def test_float16_changes_two_tags_in_ten_thousand_at_most(sample_tagger, request, name):
    files = [SAMPLE / f"{side}.conll" for side in ("train", "dev", "test")]
    if name == "conll2003_en":
        files = [request.getfixturevalue("shared") / "data" / name / "dev.txt"]
    sentences = [sentence.tokens for sentence in read_sentences(files)]
    exact, rounded = (tags(sample_tagger, sentences, dtype) for dtype in (np.float32, np.float16))
    assert (exact != 0).mean() > 0.02  # it does find entities
    assert (exact != rounded).sum() <= 2e-4 * len(exact)
