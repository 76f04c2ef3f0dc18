"""Two runs at once, stops on request, too little memory, a clock that jumps."""

import os
import random
import re
import signal
import socket
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import PROJECT
from rich.console import Console
from small_runs import new_run

from biLM.checkpoint import checkpoints
from biLM.errors import EXIT_FAILED, EXIT_INTERRUPTED, EXIT_TERMINATED, EXIT_USER_ERROR, OUT_OF_MEMORY, run_command
from biLM.training import Training
from ner_elmo import experiment
from ner_elmo.config import TrainConfig
from ner_elmo.predictor import Predictor

SAMPLE = PROJECT / "data" / "sample"
FILES = [word for side in ("train", "dev", "test") for word in (f"--{side}", SAMPLE / f"{side}.conll")]
TAGGER = ("train", *FILES, "--elmo", "none", "--hidden-size", 8)


@pytest.fixture
def text(tmp_path):
    rng = random.Random(0)
    lines = (" ".join(f"word{rng.randrange(300)}" for _ in range(rng.randrange(3, 12))) for _ in range(90))
    path = tmp_path / "text.txt"
    path.write_text("\n".join(lines) + "\n")
    return path


def test_two_runs_on_one_output(start, tmp_path):
    output = tmp_path / "out" / "model"
    first = start(tmp_path, "ner_elmo", *TAGGER, "--output", output, "--epochs", 1)
    assert first.wait_for((tmp_path / "out" / ".model.lock").exists), first.said
    other = start(tmp_path / "out", "ner_elmo", *TAGGER, "--output", output, "--overwrite")
    assert other.end() == EXIT_USER_ERROR
    assert other.said == (
        f"ner_elmo train: error: {output}: another process is writing there "
        f"({first.process.pid} on {socket.gethostname()}). Wait for it, or name another place.\n"
    )
    assert first.end() == 0, first.said
    assert Predictor.load(output).tag("Ada Lund left Turin on Monday.") is not None
    (tmp_path / "out" / "ner_elmo.log").unlink()
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["model"]


def test_two_runs_that_go_on_with_one_bilm(start, text, tmp_path):
    shape = ("--preset", "tiny", "--lstm-dim", 8, "--lstm-projection-dim", 4, "--char-cnn-filters", "[[1, 4], [3, 4]]")
    steps = ("--batch-size", 4, "--unroll-steps", 5, "--max-steps", 10**6, "--eval-steps", 1)
    first = start(tmp_path, "biLM", "train", "--train", text, "--out", "run", *shape, *steps)
    assert first.wait_for(lambda: any((tmp_path / "run" / "checkpoints").glob("*.npz"))), first.said
    (tmp_path / "other").mkdir()
    other = start(tmp_path / "other", "biLM", "train", "--resume", tmp_path / "run")
    assert other.end() == EXIT_USER_ERROR
    assert "another process is writing there" in other.said
    first.send(signal.SIGTERM)
    assert first.end() == EXIT_FAILED
    assert "SIGTERM: stopped at step" in first.said


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_tagger_that_is_stopped_keeps_its_best_epoch(start, tmp_path, number):
    output = tmp_path / "model"
    command = start(tmp_path, "ner_elmo", *TAGGER, "--output", output, "--epochs", 1000, "--patience", 1000)
    assert command.wait_for(lambda: re.search(r"^ +2 +\d", command.said, re.MULTILINE)), command.said
    command.send(number)
    assert command.end() == 0, command.said
    assert "interrupted: going on with the best epoch so far" in command.said
    assert Predictor.load(output).tag("Ada Lund left Turin on Monday.") is not None


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, EXIT_INTERRUPTED), (signal.SIGTERM, EXIT_TERMINATED)])
def test_what_is_stopped_before_it_has_anything_leaves_nothing(start, tmp_path, number, status):
    command = start(tmp_path, "biLM", "prepare", SAMPLE / "train.conll", *[SAMPLE / "dev.conll"] * 200, "--out", "out")
    assert command.wait_for(lambda: any(path.suffix == ".partial" for path in tmp_path.iterdir())), command.said
    command.send(number)
    assert command.end() == status
    assert command.said.endswith("biLM prepare: interrupted.\n")
    assert [path.name for path in tmp_path.iterdir()] == ["biLM.log"]


def test_too_little_memory(start, tmp_path):
    """What to lower is said in one line. One array of the network (what four gates make of a long sentence) is larger than
    all that is left: where something small finds no room, a library may end the process before anybody can say why."""
    long = tmp_path / "long.conll"
    long.write_text("Ada B-PER\n" + "word O\n" * 300_000)
    files = ("--train", long, "--dev", SAMPLE / "dev.conll", "--test", SAMPLE / "test.conll")
    words = ("train", *files, "--elmo", "none", "--hidden-size", 1024, "--output", "model")
    command = start(tmp_path, "ner_elmo", *words, limit=3400 * 2**20)
    assert command.end() == EXIT_FAILED, command.said
    assert command.said.strip().splitlines()[-1] == f"ner_elmo train: error: {OUT_OF_MEMORY}"
    assert {path.name for path in tmp_path.iterdir()} == {"long.conll", "ner_elmo.log"}


def test_an_array_that_finds_no_room(capsys):
    assert run_command("ner_elmo predict", lambda: np.empty(2**46, np.uint8)) == EXIT_FAILED
    assert capsys.readouterr().err == f"ner_elmo predict: error: {OUT_OF_MEMORY}\n"


def test_a_clock_that_jumps(tmp_path):
    """What is newest is told by its number, never by the times of files; only what the cache drops first depends on them."""
    run = new_run(tmp_path, max_steps=3, eval_steps=1)
    run.go_on()
    older, newer = checkpoints(run.directory / "checkpoints")
    os.utime(older, (2e9, 2e9))
    os.utime(newer, (0, 0))
    assert Training(run.directory).step == 3


def test_seeds_that_are_done_outlive_a_later_one(monkeypatch):
    score = SimpleNamespace(strict=SimpleNamespace(f1=0.4))

    def run(config, material, console):
        if config.seed == 3:
            raise KeyboardInterrupt
        return SimpleNamespace(dev_f1=0.9 / config.seed, evaluation=score, trained=SimpleNamespace(interrupted=False))

    monkeypatch.setattr(experiment, "run", run)
    best, results = experiment.run_seeds(TrainConfig(seed=1, seeds=4), None, Console(quiet=True))
    assert ([result.name for result in results], best.dev_f1) == (["seed 1", "seed 2"], 0.9)  # the best, not the last
    with pytest.raises(KeyboardInterrupt):
        experiment.run_seeds(TrainConfig(seed=3, seeds=2), None, Console(quiet=True))
