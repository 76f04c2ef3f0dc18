"""Processes that are killed without warning, again and again, leave nothing half-written behind, and the next run works.

FAULTS kills of each command, one where it is not set: `FAULTS=100 pytest tests/reliability/test_kills.py`.
"""

import json
import os
import random
import time
from pathlib import Path

import numpy as np
import pytest
from conftest import PROJECT

from biLM import load_bilm
from biLM.checkpoint import checkpoints
from ner_elmo.cache import Cache
from ner_elmo.predictor import Predictor
from ner_elmo.readers import read_sentences

FAULTS = int(os.environ.get("FAULTS", "1"))
SAMPLE = PROJECT / "data" / "sample"
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def annotated(tmp_path_factory):
    """Sixty sentences of the sample."""
    path = tmp_path_factory.mktemp("annotated") / "few.conll"
    path.write_text("\n\n".join((SAMPLE / "train.conll").read_text().split("\n\n")[:60]) + "\n")
    return path


def hidden(folder: Path) -> list[Path]:
    """What is neither a model nor a lock: leftovers."""
    return [path for path in folder.iterdir() if path.name.startswith(".") and path.suffix != ".lock"]


def test_training_a_tagger(start, annotated, small_weights, tmp_path):
    """The model's directory always holds one model or another as a whole, also when it is replaced."""
    rng, output, cache = random.Random(1), tmp_path / "out" / "model", tmp_path / "cache"
    files = [word for side in ("train", "dev", "test") for word in (f"--{side}", annotated)]
    arguments = ("train", *files, "--elmo", small_weights, "--epochs", 1, "--hidden-size", 8, "--batch-size", 60,
                 "--output", output, "--cache-dir", cache, "--overwrite")  # fmt: skip
    command = start(tmp_path, "ner_elmo", *arguments)
    begin = time.monotonic()
    assert command.end() == 0, command.said
    whole = time.monotonic() - begin
    kills = in_writing = 0
    while kills < FAULTS:
        command = start(tmp_path, "ner_elmo", *arguments, "--learning-rate", 0.001 * (kills + 1))
        if kills % 2:  # at any time, and while the model is written
            time.sleep(rng.uniform(0, whole))
        else:
            command.wait_for(lambda: any(path.suffix == ".partial" for path in hidden(output.parent)))
            time.sleep(rng.uniform(0, 0.05))
        if not command.kill():
            continue
        kills += 1
        left = hidden(output.parent)
        in_writing += bool(left)
        if not output.exists():  # between two renamings
            assert any(path.name == f".{output.name}.replaced" for path in left)
            continue
        assert Predictor.load(output).tag("Ada Lund left Turin on Monday.") is not None
        json.loads((output / "scores.json").read_text())
        assert (output / "history.csv").read_text().count("\n") == 2
    assert in_writing
    command = start(tmp_path, "ner_elmo", *arguments)
    assert command.end() == 0, command.said
    assert not hidden(output.parent)
    assert not list(output.rglob(".*"))


def test_training_a_bilm(start, tmp_path):
    """What was killed goes on and ends as if it never had been."""
    from test_resume import assert_equal_runs

    rng = random.Random(2)
    words = [f"word{k}" for k in range(300)]
    lines = [" ".join(rng.choices(words, k=rng.randrange(3, 12))) for _ in range(90)]
    (tmp_path / "text.txt").write_text("\n".join(lines[:60]) + "\n")
    (tmp_path / "heldout.txt").write_text("\n".join(lines[60:]) + "\n")
    n_steps = max(20, 3 * FAULTS)
    begin = lambda out: (  # noqa: E731
        "train", "--train", "text.txt", "--heldout", "heldout.txt", "--preset", "tiny", "--lstm-dim", 8,
        "--lstm-projection-dim", 4, "--char-cnn-filters", "[[1, 4], [3, 4]]", "--batch-size", 4, "--unroll-steps", 5,
        "--n-negative-samples-batch", 50, "--max-steps", n_steps, "--eval-steps", 1, "--seed", 5, "--out", out,
    )  # fmt: skip
    command = start(tmp_path, "biLM", *begin("whole"))
    assert command.end() == 0, command.said
    run, kills = tmp_path / "run", 0
    while True:
        resumed = (run / "training.json").exists()
        command = start(tmp_path, "biLM", *(("train", "--resume", "run") if resumed else begin("run")))
        before = checkpoints(run / "checkpoints")[-1:]
        if kills >= FAULTS:
            break
        if kills % 2:
            time.sleep(rng.uniform(0, 3))
        else:
            command.wait_for(lambda before=before: checkpoints(run / "checkpoints")[-1:] != before)
            time.sleep(rng.uniform(0, 0.2))
        killed = command.kill()
        kills += killed
        assert killed, f"ended after {kills} kills: {command.said}"
    assert command.end() == 0, command.said
    assert not list(run.rglob(".*.partial"))
    assert_equal_runs(run, tmp_path / "whole")


def test_building_the_cache(start, annotated, tmp_path):
    """Whatever is in the cache after a kill is what a run without one computes, and later runs find it."""
    rng, folder = random.Random(3), tmp_path / "cache"
    sentences = [sentence.tokens for sentence in read_sentences([str(SAMPLE / "train.conll")])]
    bilm = load_bilm(str(PROJECT / "data" / "bilm"))
    whole = Cache(tmp_path / "whole", 10**10).activations(bilm, sentences)
    Cache(folder, 10**10).activations(bilm, sentences[:200])  # what an earlier run has left
    (earlier,) = (path for path in folder.glob("*/*") if path.is_dir())
    arguments = ("train", "--train", SAMPLE / "train.conll", "--dev", annotated, "--test", annotated, "--cache-dir", folder)
    for kills in range(FAULTS):
        command = start(tmp_path, "ner_elmo", *arguments, "--output", tmp_path / "out" / str(kills))
        command.wait_for(lambda: any(folder.glob("*/*.partial")))
        time.sleep(rng.uniform(0, 1.5))
        command.kill()
        assert_cached(folder, bilm, sentences, whole, at_least=200)
        for segment in [path for path in folder.glob("*/*") if path.is_dir() and path != earlier]:
            for path in segment.iterdir():
                path.unlink()
            segment.rmdir()
    command = start(tmp_path, "ner_elmo", *arguments, "--epochs", 1, "--output", tmp_path / "out" / "last")
    assert command.end() == 0, command.said
    assert not list(folder.rglob("*.partial"))
    assert_cached(folder, bilm, sentences, whole, at_least=len(sentences))
    n_rows = sum(len(np.load(path)) for path in folder.rglob("sentences.npy"))
    assert n_rows == len(set(sentences))  # the last run found what was there, and added the rest


def assert_cached(folder: Path, bilm, sentences, whole, at_least: int) -> None:
    """So many sentences are found, with the activations of a run that was not killed."""
    found = Cache(folder, 0).activations(bilm, sentences)  # adds nothing
    assert found.found.added == 0 and found.found.hits >= at_least
    for own, expected in zip(found.slices, whole.slices, strict=True):
        if own is not None:
            np.testing.assert_allclose(own.astype("f4"), expected.astype("f4"), atol=2e-3, rtol=2e-3)


def test_writing_a_file(start, tmp_path):
    """A converted file and prepared text are whole, or not there, or what they were before."""
    rng = random.Random(4)
    text = tmp_path / "text.txt"
    text.write_text("Ada Lund left Turin on Monday. Nobody spoke.\n" * 20_000)
    outputs = {
        "copy.jsonl": ("ner_elmo", "convert", SAMPLE / "train.conll", "copy.jsonl"),
        "prepared": ("biLM", "prepare", text, "--out", "prepared", "--heldout-fraction", 0),
    }
    for name, arguments in outputs.items():
        out = tmp_path / name
        for kill in range(FAULTS):
            command = start(tmp_path, *arguments)
            command.wait_for(lambda name=name: any(name in path.name for path in hidden(tmp_path)))
            time.sleep(rng.uniform(0, 0.3 if kill % 2 else 0.02))
            if not command.kill():
                assert out.exists(), command.said
            if name == "copy.jsonl" and out.exists():
                assert len(out.read_text().splitlines()) == len(read_sentences([str(SAMPLE / "train.conll")]))
            if name == "prepared" and out.exists():
                assert (out / "report.json").exists()
                for path in [*out.rglob("*")][::-1]:
                    path.unlink() if path.is_file() else path.rmdir()
        command = start(tmp_path, *arguments)
        assert command.end() == 0, command.said
        assert not hidden(tmp_path)
