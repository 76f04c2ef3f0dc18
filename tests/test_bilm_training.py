"""Training runs: every kind of model, what they leave behind, the commands."""

import json
import shutil
import sys

import numpy as np
import oracle
import pytest
from conftest import vocabulary_of
from small_runs import TEXT, new_run

from biLM import InputError
from biLM.__main__ import main
from biLM.perplexity import perplexity
from biLM.softmax import Softmax
from biLM.trained import load_language_model, load_softmax, save_softmax
from biLM.vocabulary import Vocabulary

WORDS = {"lstm": oracle.random_options()["lstm"], "n_tokens_vocab": 1}


@pytest.mark.parametrize(
    ("options", "settings"),
    [
        (WORDS, {}),
        (WORDS, {"share_embedding_softmax": True}),
        (WORDS | {"bidirectional": False}, {"n_negative_samples_batch": 10_000}),
        (oracle.random_options() | {"bidirectional": False}, {}),
        (oracle.random_options(), {"sample_softmax": False}),
        (oracle.random_options(), {"compute_dtype": "bfloat16"}),
    ],
    ids=[
        "words",
        "words, one matrix",
        "words, forward only, full softmax",
        "characters, forward only",
        "full softmax",
        "bfloat16",
    ],
)
def test_every_kind_of_model_learns_and_is_read_back(tmp_path, options, settings):
    small = {"max_steps": 300, "eval_steps": 300, "batch_size": 4, "n_negative_samples_batch": 16}
    settings = small | {"optimizer": "adam", "learning_rate": 0.02} | settings
    run = new_run(tmp_path, options | {"dropout": 0.0}, **settings)
    untrained = {variable.path: np.array(variable) for variable in run.model.trainable_variables}
    run.go_on()
    is_sampled = settings["n_negative_samples_batch"] < 34 and settings.get("sample_softmax", True)
    assert json.loads((tmp_path / "run" / "options.json").read_text())["sample_softmax"] is is_sampled
    for variable in run.model.trainable_variables:
        assert not np.array_equal(np.array(variable), untrained[variable.path]), variable.path
    model, softmax, vocabulary = load_language_model(tmp_path / "run")
    found = perplexity(model, softmax, vocabulary, TEXT)
    assert found.both < 12  # 34 words: untrained it is above 30
    assert (found.backward is None) == (options.get("bidirectional") is False)
    assert found == perplexity(run.reader, run.softmax, run.vocabulary, TEXT)
    assert {variable.dtype for variable in run.model.trainable_variables} == {"float32"}
    if settings.get("share_embedding_softmax"):
        np.testing.assert_array_equal(np.asarray(model.bilm.encoder.embedding), softmax.kernel)
    vectors = model.bilm.embed([TEXT[0], ["unheard-of"]])
    assert vectors[0].shape == (3, len(TEXT[0]), model.bilm.width)


def test_one_matrix_for_input_and_softmax_needs_word_ids(tmp_path):
    with pytest.raises(InputError, match="share_embedding_softmax needs word-id input"):
        new_run(tmp_path, share_embedding_softmax=True)


def test_an_unsorted_vocabulary_is_refused(tmp_path):
    ranked = vocabulary_of(TEXT).words[3:]
    unsorted = Vocabulary(["<S>", "</S>", "<UNK>", *reversed(ranked)])
    with pytest.raises(InputError, match="must be sorted by falling count, .* words from .*biLM vocab"):
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
    for name in ("text.txt", "heldout.txt"):
        (folder / name).write_text("\n".join(" ".join(s) for s in TEXT) + "\n")
    command = [
        "biLM", "train", "--train", str(folder / "text.txt"), "--heldout", str(folder / "heldout.txt"), "--out",
        str(folder / "out"), "--preset", "tiny", "--lstm-dim", "32", "--lstm-projection-dim", "16", "--char-cnn-filters",
        "[[1, 8], [3, 8]]", "--batch-size", "4", "--unroll-steps", "5", "--max-steps", "250", "--optimizer", "adam",
        "--learning-rate", "0.01", "--n-negative-samples-batch", "20", "--dropout", "0", "--seed", "3",
    ]  # fmt: skip
    run(command)
    return folder


def run(command: list[str], code: int = 0) -> None:
    before, sys.argv = sys.argv, command
    try:
        with pytest.raises(SystemExit) as caught:
            main()
    finally:
        sys.argv = before
    assert caught.value.code == code


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
    history = [line.split(",") for line in (trained / "out" / "history.csv").read_text().splitlines()]
    assert history[0] == [
        "step", "epoch", "tokens", "loss", "heldout_forward", "heldout_backward", "heldout_both", "tokens_per_second",
        "learning_rate",
    ]  # fmt: skip
    last = dict(zip(history[0], map(float, history[-1]), strict=True))
    assert (last["step"], last["tokens"]) == (250, 250 * 4 * 5)
    assert last["epoch"] == 250 * 4 * 5 // options["n_train_tokens"]
    assert last["heldout_both"] == pytest.approx((last["heldout_forward"] * last["heldout_backward"]) ** 0.5, rel=1e-5)


def test_more_negatives_than_words_are_the_full_softmax_and_it_is_said(trained, tmp_path, capsys):
    text, small = ["--train", str(trained / "text.txt")], ["--batch-size", "2", "--unroll-steps", "4", "--max-steps", "1"]
    shape = ["--preset", "tiny", "--lstm-dim", "8", "--lstm-projection-dim", "4"]
    run(["biLM", "train", *text, *small, *shape, "--out", str(tmp_path / "o")])
    n_words = len((tmp_path / "o" / "vocab.txt").read_text().splitlines())
    assert f"the softmax is full: the vocabulary holds {n_words} words" in capsys.readouterr().err
    assert json.loads((tmp_path / "o" / "options.json").read_text())["sample_softmax"] is False


def test_a_softmax_that_belongs_to_other_weights_is_refused(trained, tmp_path):
    shutil.copytree(trained / "out", tmp_path / "out")
    weights = tmp_path / "out" / "weights.hdf5"
    weights.write_bytes(weights.read_bytes() + b"a later state")
    with pytest.raises(InputError, match=r"softmax.hdf5: was saved with other weights than .*biLM train --resume .*out`"):
        load_language_model(tmp_path / "out")


def test_with_float16_the_softmax_keeps_five_bits(tmp_path):
    softmax, path, weights = Softmax.initial(5000, 16, 1), tmp_path / "softmax.hdf5", tmp_path / "weights.hdf5"
    weights.write_bytes(b"weights")
    softmax.kernel[7] = 0
    sizes = []
    for dtype in ("float32", "float16"):
        save_softmax(softmax, path, weights, dtype)
        found = load_softmax(path, (5000, 16), weights)
        sizes.append(path.stat().st_size)
    assert (np.abs(found.kernel - softmax.kernel) <= np.abs(softmax.kernel) / 32).all()
    np.testing.assert_array_equal(found.bias, softmax.bias)
    assert sizes[1] < 0.35 * sizes[0]


def test_perplexity_command_prints_one_json_line(trained, capsys):
    run(["biLM", "perplexity", str(trained / "out"), str(trained / "text.txt"), "--json", "--batch-size", "2"])
    found = json.loads(capsys.readouterr().out)
    assert set(found) == {"forward", "backward", "both", "bits_per_character", "oov_rate", "predictions", "coverage"}
    assert found["oov_rate"] == 0


CONTRADICTIONS = {
    "--warmup-steps 9 --max-steps 9": "warmup_steps must be below the 9 steps of this run",
    "--patience 2": "patience waits for a better held-out perplexity. Add --heldout, and",
    "--vocab VOCAB --vocab-size 9": "give --vocab or --vocab-size, not both",
    "--no-char-cnn --char-cnn-n-highway 1": "--no-char-cnn leaves no use for --char-cnn-n-highway",
    "--vocab-size 3": "a vocabulary must hold more than its 3 special tokens. Received: 3.",
}


def test_too_little_text_and_unknown_options_are_said(trained, tmp_path, capsys):
    run(["biLM", "train", "--train", str(trained / "text.txt"), "--out", str(tmp_path / "o")], code=2)
    assert "must hold at least one batch, batch_size * unroll_steps = 2560 positions" in capsys.readouterr().err
    assert not (tmp_path / "o").exists()
    for option in (("--seed", "-1"), ("--heldout-sentences", "-1"), ("--warmup-steps", "-1")):
        run(["biLM", "train", "--train", str(trained / "text.txt"), "--out", str(tmp_path / "o"), *option], code=2)
        assert f"{option[0][2:].replace('-', '_')} must be " in capsys.readouterr().err
    text, small = ["--train", str(trained / "text.txt")], ["--batch-size", "2", "--unroll-steps", "4"]
    for options, message in CONTRADICTIONS.items():
        given = [word.replace("VOCAB", str(trained / "out" / "vocab.txt")) for word in options.split()]
        run(["biLM", "train", *text, "--out", str(tmp_path / "o"), *small, *given], code=2)
        assert message in capsys.readouterr().err
        assert not (tmp_path / "o").exists()
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "weights.hdf5").write_text("somebody's")
    run(["biLM", "train", *text, "--out", str(tmp_path / "theirs"), *small], code=2)
    assert (
        "weights.hdf5 is there already, and no run says what it is. Remove it, or name another --out."
        in capsys.readouterr().err
    )
    assert [path.name for path in (tmp_path / "theirs").iterdir()] == ["weights.hdf5"]
    for option in (("--dropout", "0"), ("--no-tensorboard",), ("--no-char-cnn",)):
        run(["biLM", "train", "--resume", str(trained / "out"), *option], code=2)
        assert "--resume takes every option from the run. Received also: --" in capsys.readouterr().err
