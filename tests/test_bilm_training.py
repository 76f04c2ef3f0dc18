"""Corpus, sampled softmax, perplexity, training and dump."""

import gzip
import json
import lzma
import sys
from itertools import islice

import h5py
import keras
import numpy as np
import oracle
import pytest

from biLM import BiLM, BiLMOptions, InputError, corpus, load_bilm, save_bilm
from biLM.__main__ import main
from biLM.corpus import PackedBatches, SentenceStream, find_files, read_sentences
from biLM.language_model import LanguageModel
from biLM.perplexity import perplexity
from biLM.run import start_run
from biLM.softmax import SampledSoftmax, Softmax, draw_candidates, full_cross_entropy, log_expected_count
from biLM.trained import load_language_model
from biLM.training import Training
from biLM.training_options import TrainingOptions
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
    for batch in PackedBatches(iter(TEXT * 3), vocabulary, batch_size=2, unroll_steps=4):
        inputs = ["", "<S>", "</S>", *batch.tokens]
        assert batch.token_index.shape == batch.targets.shape == (2, 2, 4)
        for row in (0, 1):
            for direction in (0, 1):
                tokens = [inputs[k] for k in batch.token_index[row, direction]]
                targets = [vocabulary.words[k] for k in batch.targets[row, direction]]
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


@pytest.fixture
def shards(tmp_path, monkeypatch):
    """Three shards, one of them compressed, that are read in several blocks."""
    monkeypatch.setattr(corpus, "BLOCK_BYTES", 100)
    for number, name in enumerate(("a.txt", "b.txt.gz", "c.txt.xz")):
        lines = "".join(f"sentence {number} {k}\n" + "\n" * (k % 3 == 0) for k in range(20 + number))
        with {"txt": open, "gz": gzip.open, "xz": lzma.open}[name.split(".")[-1]](tmp_path / name, "wt") as file:
            file.write(lines)
    return find_files([str(tmp_path / "*")])


def test_shards_are_shuffled_by_seed_and_lose_nothing(shards):
    expected = sorted(read_sentences(shards))
    assert len(expected) == 63
    one = list(islice(SentenceStream(shards, seed=1), 126))
    assert one == list(islice(SentenceStream(shards, seed=1), 126))
    assert sorted(one[:63]) == sorted(one[63:]) == expected
    assert one[:63] != one[63:]
    assert any(list(islice(SentenceStream(shards, seed=s), 63)) != one[:63] for s in range(2, 6))


def test_a_stream_goes_on_from_any_position(shards):
    stream = SentenceStream(shards, seed=1)
    given = [(next(stream), stream.position) for _ in range(140)]
    for number, (_, position) in enumerate(given[:130]):
        again = SentenceStream(shards, 1, position)
        assert list(islice(again, 3)) == [sentence for sentence, _ in given[number + 1 : number + 4]]


def test_batches_go_on_from_their_state(shards):
    vocabulary = Vocabulary.count(read_sentences(shards))
    batches = PackedBatches(SentenceStream(shards, seed=4), vocabulary, batch_size=3, unroll_steps=5)
    for _ in range(7):
        next(batches)
    position, rows = batches.sentences.position, json.loads(json.dumps(batches.rows))
    expected = [next(batches) for _ in range(20)]
    resumed = PackedBatches(SentenceStream(shards, 4, position), vocabulary, 3, 5)
    resumed.rows = rows
    for batch, again in zip(expected, resumed, strict=False):
        assert batch.tokens == again.tokens
        np.testing.assert_array_equal(batch.token_index, again.token_index)
        np.testing.assert_array_equal(batch.targets, again.targets)


def test_shards_that_cannot_be_read(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        find_files([str(tmp_path / "*.gz")])
    (tmp_path / "latin.txt").write_bytes("café".encode("latin-1"))
    with pytest.raises(InputError, match="latin.txt: must be UTF-8"):
        list(read_sentences([tmp_path / "latin.txt"]))
    (tmp_path / "latin2.txt").write_bytes(b"tea\n" + "café\n".encode("latin-1"))
    with pytest.raises(InputError, match="latin2.txt:2: must be UTF-8"):
        next(SentenceStream([tmp_path / "latin2.txt"], 0))
    (tmp_path / "cut.gz").write_bytes(gzip.compress(b"a b c\n" * 1000)[:-20])
    with pytest.raises(InputError, match="cut.gz: a damaged archive"):
        list(read_sentences([tmp_path / "cut.gz"]))
    (tmp_path / "empty.txt").write_text("\n")
    with pytest.raises(InputError, match="no sentence in the training text"):
        next(SentenceStream([tmp_path / "empty.txt"], 0))


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
    return Softmax(rng.normal(size=(n_words, width)).astype(np.float32), rng.normal(size=n_words).astype(np.float32))


def test_softmax_full_and_sampled_equal_their_definition(monkeypatch):
    monkeypatch.setattr("biLM.softmax._POSITIONS_AT_ONCE", 2)
    monkeypatch.setattr("biLM.softmax._WORDS_AT_ONCE", 7)
    softmax = softmax_with(20, 4)
    hidden = np.random.default_rng(1).normal(size=(3, 4)).astype(np.float32)
    targets = np.array([2, 7, 19], np.int32)
    logits = hidden @ softmax.kernel.T + softmax.bias
    full = np.log(np.exp(logits).sum(1)) - logits[np.arange(3), targets]
    np.testing.assert_allclose(full_cross_entropy(hidden, targets, softmax), full, atol=1e-5)
    layer = SampledSoftmax(20, 4)
    layer.kernel.assign(softmax.kernel)
    layer.bias.assign(softmax.bias)
    zero, everything = np.zeros(20, np.float32), np.arange(20, dtype=np.int32)
    np.testing.assert_allclose(np.asarray(layer(hidden, targets, zero[:3], np.ones(3), everything, zero)), full, atol=1e-5)
    candidates, n_tries = np.array([0, 7, 3, 11], np.int32), 6
    corrected = logits - oracle.log_expected_count(np.arange(20), 20, n_tries)
    corrections = [log_expected_count(ids, 20, n_tries) for ids in (targets, candidates)]
    hits = np.array([0.0, 1.0, 0.0], np.float32)  # 7 is a candidate
    found = np.asarray(layer(hidden, targets, corrections[0], hits, candidates, corrections[1]))
    for row, target in enumerate(targets):
        others = [corrected[row, c] for c in candidates if c != target]
        expected = np.log(np.exp([corrected[row, target], *others]).sum()) - corrected[row, target]
        assert found[row] == pytest.approx(expected, abs=1e-5)


def language_model(vocabulary: Vocabulary, **changes) -> LanguageModel:
    keras.utils.set_random_seed(0)
    raw = oracle.random_options(**changes) | {"n_tokens_vocab": len(vocabulary), "dropout": 0.0}
    return LanguageModel(BiLM(BiLMOptions.from_dict(raw), vocabulary))


def weights_of(bilm: BiLM, directory) -> dict[str, np.ndarray]:
    save_bilm(bilm, directory)
    weights = {}
    with h5py.File(directory / "weights.hdf5") as file:
        file.visititems(lambda name, x: weights.__setitem__(name, x[()]) if isinstance(x, h5py.Dataset) else None)
    return {name: array for name, array in weights.items() if not name.startswith("initial_state")}


def test_perplexity_equals_the_oracle_whatever_the_batch(tmp_path, monkeypatch):
    monkeypatch.setattr("biLM.perplexity.SENTENCES_AT_ONCE", 4)
    vocabulary = Vocabulary.count(TEXT[:4])  # two sentences hold unknown words
    model = language_model(vocabulary)
    softmax = softmax_with(len(vocabulary), model.bilm.options.lstm.projection_dim)
    weights = weights_of(model.bilm, tmp_path)
    options = json.loads((tmp_path / "options.json").read_text())
    nats = [[], []]
    for sentence in TEXT:
        marked = ["<S>", *sentence, "</S>"]
        for d, order in enumerate((marked, marked[::-1])):
            direction = oracle.Direction(d, weights, options)
            for token, target in zip(order, order[1:], strict=False):
                h = direction.step(oracle.token_vector(token, weights, options))[-1]
                logits = softmax.kernel @ h + softmax.bias
                nats[d].append(np.log(np.exp(logits).sum()) - logits[vocabulary.encode([target])[0]])
    for batch_size in (1, 3, 128):
        found = perplexity(model, softmax, vocabulary, TEXT, batch_size)
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
        perplexity(language_model(vocabulary), softmax_with(len(vocabulary), 5), vocabulary, [])


TINY_SHAPE = {
    "lstm__dim": 4, "lstm__projection_dim": 3, "char_cnn__filters": [[1, 2], [2, 3]], "char_cnn__n_highway": 1,
    "char_cnn__embedding": {"dim": 3},
}  # fmt: skip


def new_run(directory, options=None, text=TEXT, vocabulary=None, **training) -> Training:
    """A run on a small text."""
    (directory / "text.txt").write_text("".join(" ".join(sentence) + "\n" for sentence in text))
    raw = options or oracle.random_options(**TINY_SHAPE) | {"dropout": 0.0}
    settings = TrainingOptions(
        **{"batch_size": 2, "unroll_steps": 3, "max_steps": 3, "n_negative_samples_batch": 8} | training
    )
    paths = [directory / "text.txt"]
    start_run(BiLMOptions.from_dict(raw), settings, paths, [], directory / "run", vocabulary)
    return Training(directory / "run")


@pytest.mark.parametrize("clip_norm", [0.05, 100.0])
def test_optimiser_steps_equal_the_oracle(tmp_path, clip_norm):
    """Three steps of sampled softmax, corrections, carried state, global-norm clipping and Adagrad."""
    training = new_run(tmp_path, all_clip_norm_val=clip_norm, reset_probability=0.5, seed=3)
    bilm, vocabulary = training.model.bilm, training.vocabulary
    weights = weights_of(bilm, tmp_path / "start")
    weights |= {"softmax/W": training.softmax.kernel.copy(), "softmax/b": training.softmax.bias.copy()}
    options = json.loads((tmp_path / "start" / "options.json").read_text())
    expected = oracle.TrainingOracle(weights, options, 0.2, clip_norm, unroll_steps=3)
    batches = PackedBatches(SentenceStream(training.paths, 3), vocabulary, 2, 3)
    kept = set()
    for step, batch in zip(range(3), batches, strict=False):
        step_inputs = training.inputs(batch, step)
        inputs, touched = step_inputs.tensors, step_inputs.softmax_rows
        candidates, n_tries = draw_candidates(np.random.default_rng([3, 1, step]), len(vocabulary), 8)
        np.testing.assert_array_equal(touched[inputs["candidates"]], candidates)
        names = ["", "<S>", "</S>", *batch.tokens]
        tokens = [[[names[k] for k in row] for row in directions] for directions in batch.token_index]
        moving = {name: np.ones(array.shape, bool) for name, array in weights.items()}
        used = sorted({c for name in names[1:] for c in oracle.character_ids(name, 50)})
        moving["char_embed"] = np.isin(np.arange(261), used)[:, None] & np.ones((1, 3), bool)
        moving["softmax/b"] = np.isin(np.arange(len(vocabulary)), touched)
        moving["softmax/W"] = moving["softmax/b"][:, None] & np.ones((1, 3), bool)
        loss = expected.step(tokens, batch.targets.tolist(), inputs["keep"], candidates.tolist(), n_tries, moving)
        kept |= set(inputs["keep"].tolist())
        assert training.take_step() == pytest.approx(loss, abs=1e-5)
    assert kept == {0.0, 1.0}
    found = weights_of(bilm, tmp_path / "end")
    found |= {"softmax/W": training.softmax.kernel, "softmax/b": training.softmax.bias}
    for name, array in expected.weights.items():
        assert not np.array_equal(array, weights[name]), f"{name} was not trained"
        np.testing.assert_allclose(found[name], array, atol=1e-5, err_msg=name)


WORDS = {"lstm": oracle.random_options()["lstm"], "n_tokens_vocab": 1}


@pytest.mark.parametrize(
    ("options", "settings"),
    [
        (WORDS, {}),
        (WORDS, {"share_embedding_softmax": True}),
        (WORDS | {"bidirectional": False}, {"n_negative_samples_batch": 10_000}),
        (oracle.random_options() | {"bidirectional": False}, {}),
    ],
    ids=["words", "words, one matrix", "words, forward only, full softmax", "characters, forward only"],
)
def test_every_kind_of_model_learns_and_is_read_back(tmp_path, options, settings):
    small = {"max_steps": 300, "eval_steps": 300, "batch_size": 4, "n_negative_samples_batch": 16}
    settings = small | {"optimizer": "adam", "learning_rate": 0.02} | settings
    run = new_run(tmp_path, options | {"dropout": 0.0}, **settings)
    untrained = {variable.path: np.array(variable) for variable in run.model.trainable_variables}
    run.go_on()
    for variable in run.model.trainable_variables:
        assert not np.array_equal(np.array(variable), untrained[variable.path]), variable.path
    model, softmax, vocabulary = load_language_model(tmp_path / "run")
    found = perplexity(model, softmax, vocabulary, TEXT)
    assert found.both < 12  # 34 words: untrained it is above 30
    assert (found.backward is None) == (options.get("bidirectional") is False)
    assert found == perplexity(run.model, run.softmax, run.vocabulary, TEXT)
    if settings.get("share_embedding_softmax"):
        np.testing.assert_array_equal(np.asarray(model.bilm.encoder.embedding), softmax.kernel)
    vectors = model.bilm.embed([TEXT[0], ["unheard-of"]])
    assert vectors[0].shape == (3, len(TEXT[0]), model.bilm.width)


def test_one_matrix_for_input_and_softmax_needs_word_ids(tmp_path):
    with pytest.raises(InputError, match="share_embedding_softmax needs word-id input"):
        new_run(tmp_path, share_embedding_softmax=True)


def test_an_unsorted_vocabulary_is_refused(tmp_path):
    ranked = Vocabulary.count(TEXT).words[3:]
    unsorted = Vocabulary(["<S>", "</S>", "<UNK>", *reversed(ranked)])
    with pytest.raises(InputError, match="must be sorted by falling count, .* half, from .*biLM vocab"):
        new_run(tmp_path, vocabulary=unsorted)
    new_run(tmp_path, vocabulary=unsorted, n_negative_samples_batch=1000)  # the full softmax does not mind


def test_figures_for_tensorboard(tmp_path):
    pytest.importorskip("tensorboard", reason="tensorboard is an extra")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run = new_run(tmp_path, max_steps=4, eval_steps=2, tensorboard=True)
    run.sample = TEXT
    run.go_on()
    rows = [line.split(",") for line in (tmp_path / "run" / "history.csv").read_text().splitlines()]
    events = EventAccumulator(str(tmp_path / "run" / "tensorboard"))
    events.Reload()
    tensors = events.Tensors("heldout_both")
    assert [event.step for event in tensors] == [2, 4]
    shown = [event.tensor_proto.float_val[0] for event in tensors]
    assert shown == pytest.approx([float(row[rows[0].index("heldout_both")]) for row in rows[1:]], rel=1e-4)


def test_training_stops_when_it_gets_no_better(tmp_path):
    run = new_run(tmp_path, max_steps=500, eval_steps=5, patience=2, optimizer="adam", learning_rate=0.05)
    run.sample = [["quite", "another", "text"]]  # what is learned is worth nothing here
    run.go_on()
    rows = [line.split(",") for line in (tmp_path / "run" / "history.csv").read_text().splitlines()[1:]]
    perplexities = [float(row[6]) for row in rows]
    best = perplexities.index(min(perplexities))
    assert run.step < 500
    assert len(rows) == best + 3
    model, softmax, vocabulary = load_language_model(tmp_path / "run")
    assert perplexity(model, softmax, vocabulary, run.sample).both == pytest.approx(min(perplexities), rel=1e-5)


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
    model, softmax, vocabulary = load_language_model(trained / "out")
    assert perplexity(model, softmax, vocabulary, TEXT).both < 3.0  # 34 words: untrained it is above 30
    assert {path.name for path in (trained / "out").iterdir()} >= {
        "options.json", "weights.hdf5", "vocab.txt", "softmax.hdf5", "history.csv", "training.json", "checkpoints",
    }  # fmt: skip
    options = json.loads((trained / "out" / "options.json").read_text())
    assert options["char_cnn"]["n_characters"] == 262  # as other tools want it
    assert options["n_train_tokens"] == sum(len(s) + 1 for s in TEXT)
    assert options["unroll_steps"] == 5
    assert (trained / "out" / "history.csv").read_text().startswith("step,epoch,tokens,loss,")


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
