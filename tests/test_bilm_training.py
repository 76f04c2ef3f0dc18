"""Corpus, sampled softmax, perplexity, training and dump."""

import gzip
import json
import sys

import h5py
import keras
import numpy as np
import oracle
import pytest

from biLM import BiLM, BiLMOptions, InputError, load_bilm
from biLM.__main__ import main
from biLM.corpus import find_files, packed_batches, read_sentences, shuffled_sentences
from biLM.language_model import LanguageModel
from biLM.perplexity import perplexity
from biLM.softmax import Softmax, draw_candidates
from biLM.training import load_language_model
from biLM.vocabulary import Vocabulary

TEXT = [line.split() for line in """
The ferry left the small harbour at dawn .
Two gulls followed it as far as the lighthouse .
Nobody on board spoke until the coast was gone .
At noon the captain read the weather report aloud .
Rain , wind and more rain !
The cook had made soup from whatever the gulls had left .
""".strip().splitlines()]  # fmt: skip


def test_rows_hold_the_sentences_in_order_and_both_directions_the_same_ones():
    vocabulary = Vocabulary.count(TEXT)
    rows = {0: ([], []), 1: ([], [])}
    for batch in packed_batches(iter(TEXT * 3), vocabulary, batch_size=2, unroll_steps=4):
        inputs = ["", "<S>", "</S>", *batch.tokens]
        assert batch.token_index.shape == batch.targets.shape == (2, 2, 4)
        for row in (0, 1):
            for direction in (0, 1):
                tokens = [inputs[k] for k in batch.token_index[direction, row]]
                targets = [vocabulary.words[k] for k in batch.targets[direction, row]]
                rows[row][direction].extend(zip(tokens, targets, strict=True))
    for row in (0, 1):
        forward, backward = rows[row]
        for pairs, begin, end in ((forward, "<S>", "</S>"), (backward, "</S>", "<S>")):
            assert pairs[0][0] == begin
            assert end not in [token for token, _ in pairs]  # never an input of this direction
            for (_, target), (token, _) in zip(pairs, pairs[1:], strict=False):
                assert token == (begin if target == end else target)
    first = next(iter(TEXT))
    assert [token for token, _ in rows[0][0]][1 : len(first) + 1] == first
    assert [token for token, _ in rows[0][1]][1 : len(first) + 1] == first[::-1]


def test_shards_are_shuffled_by_seed_and_lose_nothing(tmp_path):
    (tmp_path / "a.txt").write_text("a b\n\nc\n")
    with gzip.open(tmp_path / "b.txt.gz", "wt") as file:
        file.write("d\ne f\n")
    paths = find_files([str(tmp_path / "*")])
    expected = sorted(read_sentences(paths))
    assert expected == [["a", "b"], ["c"], ["d"], ["e", "f"]]
    one = list(shuffled_sentences(paths, seed=1, n_epochs=2))
    assert one == list(shuffled_sentences(paths, seed=1, n_epochs=2))
    assert sorted(one[:4]) == sorted(one[4:]) == expected
    assert any(list(shuffled_sentences(paths, seed=s, n_epochs=1)) != one[:4] for s in range(2, 6))


def test_shards_that_cannot_be_read(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        find_files([str(tmp_path / "*.gz")])
    (tmp_path / "latin.txt").write_bytes("café".encode("latin-1"))
    with pytest.raises(InputError, match="latin.txt: must be UTF-8"):
        list(read_sentences([tmp_path / "latin.txt"]))
    (tmp_path / "cut.gz").write_bytes(gzip.compress(b"a b c\n" * 1000)[:-20])
    with pytest.raises(InputError, match="cut.gz: a damaged archive"):
        list(read_sentences([tmp_path / "cut.gz"]))
    (tmp_path / "empty.txt").write_text("\n")
    with pytest.raises(InputError, match="no sentence in the training text"):
        next(shuffled_sentences([tmp_path / "empty.txt"], 0))


def test_candidates_are_distinct_and_as_frequent_as_their_expected_count():
    rng = np.random.default_rng(0)
    n_words, n_draws = 50, 3000
    counts, expected = np.zeros(n_words), np.zeros(n_words)
    p = np.log((np.arange(n_words) + 2) / (np.arange(n_words) + 1)) / np.log(n_words + 1)
    for _ in range(n_draws):
        ids, n_tries = draw_candidates(rng, n_words, 10)
        assert len(set(ids.tolist())) == 10
        counts[ids] += 1
        expected += -np.expm1(n_tries * np.log1p(-p))
    np.testing.assert_allclose(counts / n_draws, expected / n_draws, atol=0.05)


def softmax_with(n_words: int, width: int) -> Softmax:
    rng = np.random.default_rng(0)
    softmax = Softmax(n_words, width)
    softmax.build()
    softmax.kernel.assign(rng.normal(size=(n_words, width)))
    softmax.bias.assign(rng.normal(size=n_words))
    return softmax


def test_softmax_full_and_sampled_equal_their_definition():
    softmax = softmax_with(20, 4)
    w, b = np.asarray(softmax.kernel), np.asarray(softmax.bias)
    hidden = np.random.default_rng(1).normal(size=(3, 4)).astype(np.float32)
    targets = np.array([2, 7, 19], np.int32)
    logits = hidden @ w.T + b
    full = np.log(np.exp(logits).sum(1)) - logits[np.arange(3), targets]
    np.testing.assert_allclose(np.asarray(softmax(hidden, targets)), full, atol=1e-5)
    candidates, n_tries = np.array([0, 7, 3, 11], np.int32), np.float32(6)
    p = np.log((np.arange(20) + 2) / (np.arange(20) + 1)) / np.log(21)
    corrected = logits - np.log(-np.expm1(n_tries * np.log1p(-p)))
    for row, target in enumerate(targets):
        others = [corrected[row, c] for c in candidates if c != target]
        expected = np.log(np.exp([corrected[row, target], *others]).sum()) - corrected[row, target]
        found = np.asarray(softmax(hidden, targets, candidates, n_tries))[row]
        assert found == pytest.approx(expected, abs=1e-5)


def language_model(vocabulary: Vocabulary, **changes) -> LanguageModel:
    keras.utils.set_random_seed(0)
    raw = oracle.random_options(**changes) | {"n_tokens_vocab": len(vocabulary), "dropout": 0.0}
    options = BiLMOptions.from_dict(raw)
    return LanguageModel(BiLM(options, vocabulary), softmax_with(len(vocabulary), options.lstm.projection_dim))


def test_perplexity_equals_the_oracle_whatever_the_batch(tmp_path):
    vocabulary = Vocabulary.count(TEXT[:4])  # two sentences hold unknown words
    model = language_model(vocabulary)
    from biLM import save_bilm

    save_bilm(model.bilm, tmp_path)
    with h5py.File(tmp_path / "weights.hdf5") as file:
        weights = {}
        file.visititems(lambda name, x: weights.__setitem__(name, x[()]) if isinstance(x, h5py.Dataset) else None)
    options = json.loads((tmp_path / "options.json").read_text())
    w, b = np.asarray(model.softmax.kernel), np.asarray(model.softmax.bias)
    nats = [[], []]
    for sentence in TEXT:
        marked = ["<S>", *sentence, "</S>"]
        for d, order in enumerate((marked, marked[::-1])):
            direction = oracle.Direction(d, weights, options)
            for token, target in zip(order, order[1:], strict=False):
                h = direction.step(oracle.token_vector(token, weights, options))[-1]
                logits = w @ h + b
                nats[d].append(np.log(np.exp(logits).sum()) - logits[vocabulary.encode([target])[0]])
    for batch_size in (1, 3, 128):
        found = perplexity(model, vocabulary, TEXT, batch_size)
        assert found.forward == pytest.approx(np.exp(np.mean(nats[0])), rel=1e-5)
        assert found.backward == pytest.approx(np.exp(np.mean(nats[1])), rel=1e-5)
        assert found.both == pytest.approx(np.exp(np.mean(nats)), rel=1e-5)
        assert found.predictions == sum(len(s) + 1 for s in TEXT)
        assert found.coverage == 1
    unknown = [token not in vocabulary.id_of for s in TEXT for token in s]
    assert found.oov_rate == pytest.approx(np.mean(unknown))


def test_perplexity_of_nothing_is_refused():
    vocabulary = Vocabulary.count(TEXT)
    with pytest.raises(InputError, match="at least one sentence"):
        perplexity(language_model(vocabulary), vocabulary, [])


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A biLM trained by the command on six sentences, over and over."""
    folder = tmp_path_factory.mktemp("train")
    (folder / "text.txt").write_text("\n".join(" ".join(s) for s in TEXT) + "\n")
    command = [
        "biLM", "train", "--train", str(folder / "text.txt"), "--heldout", str(folder / "text.txt"), "--out",
        str(folder / "out"), "--preset", "tiny", "--lstm-dim", "32", "--lstm-projection-dim", "16", "--char-cnn-filters",
        "[[1, 8], [3, 8]]", "--batch-size", "4", "--unroll-steps", "5", "--max-steps", "250", "--optimizer", "adam",
        "--learning-rate", "0.01", "--n-negative-samples-batch", "20", "--dropout", "0", "--seed", "3",
    ]  # fmt: skip
    run(command)
    return folder


def run(command: list[str]) -> None:
    before, sys.argv = sys.argv, command
    try:
        with pytest.raises(SystemExit) as caught:
            main()
    finally:
        sys.argv = before
    assert caught.value.code == 0


def test_training_learns_the_text_and_leaves_every_file(trained):
    model, vocabulary = load_language_model(trained / "out")
    assert perplexity(model, vocabulary, TEXT).both < 3.0  # 34 words: untrained it is above 30
    assert {path.name for path in (trained / "out").iterdir()} >= {
        "options.json", "weights.hdf5", "vocab.txt", "softmax.hdf5", "history.csv",
    }  # fmt: skip
    options = json.loads((trained / "out" / "options.json").read_text())
    assert options["char_cnn"]["n_characters"] == 261
    assert options["n_train_tokens"] == sum(len(s) + 1 for s in TEXT)
    assert options["unroll_steps"] == 5
    assert (trained / "out" / "history.csv").read_text().startswith("step,tokens,loss,tokens_per_second\n")


def test_perplexity_command_prints_one_json_line(trained, capsys):
    run(["biLM", "perplexity", str(trained / "out"), str(trained / "text.txt"), "--json", "--batch-size", "2"])
    found = json.loads(capsys.readouterr().out)
    assert set(found) == {"forward", "backward", "both", "bits_per_character", "oov_rate", "predictions", "coverage"}
    assert found["oov_rate"] == 0


@pytest.mark.parametrize("layers", ["all", "top", "average"])
def test_dump_holds_what_embed_gives(trained, tmp_path, layers):
    lines = ["The ferry left .", "", "Two gulls / and soup", "The ferry left ."]
    (tmp_path / "text.txt").write_text("\n".join(lines) + "\n")
    run(["biLM", "dump", str(trained / "out"), str(tmp_path / "text.txt"), str(tmp_path / "o.hdf5"), "--layers", layers])
    bilm = load_bilm(trained / "out")
    with h5py.File(tmp_path / "o.hdf5") as file:
        assert set(file) == {"0", "2", "3", "sentence_to_index"}
        for key in ("0", "2", "3"):
            expected = bilm.embed([lines[int(key)].split()])[0]
            expected = {"all": expected, "top": expected[-1], "average": expected.mean(axis=0)}[layers]
            np.testing.assert_allclose(file[key][()], expected, atol=1e-5)
        index = json.loads(file["sentence_to_index"][0])
    assert index == {lines[0]: "3", lines[2]: "2"}


def test_too_little_text_and_unknown_options_are_said(trained, tmp_path, capsys):
    before, sys.argv = sys.argv, ["biLM", "train", "--train", str(trained / "text.txt"), "--out", str(tmp_path / "o")]
    try:
        with pytest.raises(SystemExit) as caught:
            main()
    finally:
        sys.argv = before
    assert caught.value.code == 2
    assert "must hold at least one batch, batch_size * unroll_steps = 2560 positions" in capsys.readouterr().err
    assert not (tmp_path / "o").exists()
