"""Going on from weights that are there: with our softmax, with another vocabulary, without a softmax."""

import json

import numpy as np
import oracle
import pytest
from conftest import write_bilm

from biLM import BiLMOptions, InputError, load_bilm
from biLM.__main__ import parser
from biLM.errors import run_command
from biLM.perplexity import perplexity
from biLM.run import Text, start_run
from biLM.trained import load_language_model
from biLM.training import Training
from biLM.training_options import TrainingOptions
from biLM.tuning import carry_rows, start_tuning
from biLM.vocabulary import Vocabulary

OLD = [line.split() for line in ("the boat left the pier .", "a gull left the boat .", "the pier fell .")]
NEW = [line.split() for line in ("the nurse left the ward .", "a nurse fell .", "the ward slept .")]
SETTINGS = {"batch_size": 2, "unroll_steps": 4, "n_negative_samples_batch": 6, "optimizer": "adam", "learning_rate": 0.02}


def text_file(path, sentences):
    path.write_text("".join(" ".join(sentence) + "\n" for sentence in sentences))
    return path


@pytest.fixture(scope="module", params=["characters", "words"])
def old(request, tmp_path_factory):
    """A trained biLM with its softmax."""
    folder = tmp_path_factory.mktemp("old")
    raw = oracle.random_options() | {"dropout": 0.0}
    if request.param == "words":
        raw = {key: value for key, value in raw.items() if key != "char_cnn"} | {"n_tokens_vocab": 1}
    paths = [text_file(folder / "old.txt", OLD)]
    start_run(BiLMOptions.from_dict(raw), TrainingOptions(max_steps=60, **SETTINGS), Text(paths), folder / "run")
    Training(folder / "run").go_on()
    return folder / "run"


def tune(source, tmp_path, sentences=NEW, vocabulary=None, **settings):
    path, heldout = (text_file(tmp_path / name, sentences) for name in ("new.txt", "heldout.txt"))
    options = TrainingOptions(**SETTINGS | {"max_steps": 40} | settings)
    return start_tuning(source, options, Text([path], [heldout], vocabulary), tmp_path / "tuned")


def test_the_same_vocabulary_begins_where_the_old_run_ended(old, tmp_path):
    model, softmax, vocabulary = load_language_model(old)
    run, carried = tune(old, tmp_path, OLD, vocabulary)
    assert (carried.shared, carried.new) == (len(vocabulary), 0)
    before = run.evaluate()
    assert before.both == pytest.approx(perplexity(model, softmax, vocabulary, OLD).both, rel=1e-4)


def test_shared_words_keep_their_rows_and_new_ones_begin_as_unknown(old, tmp_path):
    _, softmax, vocabulary = load_language_model(old)
    run, carried = tune(old, tmp_path)
    shared = [word for word in run.vocabulary.words if word in vocabulary.id_of]
    new = [word for word in run.vocabulary.words if word not in vocabulary.id_of]
    assert {"nurse", "ward", "slept"} == set(new)
    assert (carried.shared, carried.new) == (len(shared), 3)
    for words, row, share in ((shared, lambda w: vocabulary.id_of[w], 0.0), (new, lambda w: 2, np.log(3))):
        for word in words:
            here = run.vocabulary.id_of[word]
            np.testing.assert_array_equal(run.softmax.kernel[here], softmax.kernel[row(word)])
            assert run.softmax.bias[here] == pytest.approx(softmax.bias[row(word)] - share, abs=1e-6)
    before = run.evaluate().both
    run.go_on()
    model, softmax, vocabulary = load_language_model(tmp_path / "tuned")
    assert perplexity(model, softmax, vocabulary, NEW).both < before / 2


def test_frozen_parts_stay(old, tmp_path):
    run, _ = tune(old, tmp_path, freeze=("characters",))
    run.go_on()
    before, after = load_bilm(old), load_bilm(tmp_path / "tuned")
    moved = [
        not np.array_equal(np.asarray(a), np.asarray(b))
        for a, b in zip(before.directions[0].weights, after.directions[0].weights, strict=True)
    ]
    assert any(moved)
    if before.options.char_cnn:
        for a, b in zip(before.encoder.weights, after.encoder.weights, strict=True):
            np.testing.assert_array_equal(np.asarray(a), np.asarray(b))
    else:
        for word in ("the", "boat", "."):
            if word in after.vocabulary.id_of:
                a, b = (np.asarray(m.encoder.embedding)[m.vocabulary.id_of[word]] for m in (before, after))
                np.testing.assert_array_equal(a, b)


def test_the_warm_up_moves_the_softmax_alone(eager, old, tmp_path):
    run, _ = tune(old, tmp_path, warmup_steps=3)
    bilm, softmax = [np.array(w) for w in run.model.bilm.weights], run.softmax.kernel.copy()
    weights = run.model.bilm.trainable_weights
    for _ in range(3):
        run.take_step()
    for before, after in zip(bilm, run.model.bilm.weights, strict=True):
        np.testing.assert_array_equal(before, np.asarray(after))
    assert not np.array_equal(softmax, run.softmax.kernel)
    before = [np.array(w) for w in weights]
    run.take_step()
    assert all(not np.array_equal(a, np.asarray(b)) for a, b in zip(before, weights, strict=True))


def test_published_weights_have_no_softmax(tmp_path):
    options = oracle.random_options()
    weights = write_bilm(tmp_path / "published", options, oracle.random_weights(options), "elmo_x_")
    run, carried = tune(weights, tmp_path, warmup_steps=20)
    assert (carried.shared, carried.new) == (0, 0)
    run.go_on()
    rows = (tmp_path / "tuned" / "history.csv").read_text().splitlines()[1:]
    assert [row.split(",")[0] for row in rows] == ["20", "40"]
    perplexities = [float(row.split(",")[6]) for row in rows]
    assert perplexities[1] < perplexities[0]


def test_a_tuning_run_that_was_cut_off_at_once_is_refused(old, tmp_path):
    run, _ = tune(old, tmp_path)
    for path in (run.directory / "checkpoints").iterdir():
        path.unlink()
    with pytest.raises(InputError, match="was cut off before its first checkpoint"):
        Training(tmp_path / "tuned")


def test_a_word_id_bilm_needs_its_vocabulary(old, tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    for name in ("options.json", "weights.hdf5"):
        (source / name).write_bytes((old / name).read_bytes())
    if json.loads((source / "options.json").read_text()).get("char_cnn"):
        _, carried = tune(source, tmp_path)
        assert carried.shared == 0
    else:
        with pytest.raises(InputError, match=r"vocab.txt: no such file. A word-id biLM is tuned with the vocabulary"):
            tune(source, tmp_path)
        assert not (tmp_path / "tuned").exists()


def test_carried_rows():
    new = np.zeros((3, 2))
    carry_rows(np.arange(8.0).reshape(4, 2), new, np.array([3, -1, 0]))
    np.testing.assert_array_equal(new, [[6, 7], [4, 5], [0, 1]])


def test_the_command(old, tmp_path, capsys):
    path, heldout = (text_file(tmp_path / name, NEW) for name in ("new.txt", "heldout.txt"))
    command = [
        "tune", str(old), "--train", str(path), "--heldout", str(heldout), "--out",
        str(tmp_path / "tuned"), "--max-steps", "30", "--batch-size", "2", "--unroll-steps", "4", "--learning-rate", "0.02",
        "--warmup-steps", "0", "--freeze", "characters",
    ]  # fmt: skip
    args = parser().parse_args(command)
    assert run_command("biLM tune", lambda: args.run(args)) == 0
    out, err = capsys.readouterr()
    assert "words keep their softmax rows, 3 are new" in err
    lines = dict(line.split() for line in out.splitlines() if len(line.split()) == 2)
    assert float(lines["both"]) < float(lines["before"])
    assert json.loads((tmp_path / "tuned" / "training.json").read_text())["training"]["freeze"] == ["characters"]
    assert Vocabulary.read(tmp_path / "tuned" / "vocab.txt").words[3] == "."
