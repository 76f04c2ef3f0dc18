"""A training run that was killed, stopped or found its disk full goes on as if nothing had happened."""

import json
import os
import random
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import oracle
import pytest
from small_runs import new_run as new_small_run

from biLM import InputError
from biLM.__main__ import parser
from biLM.checkpoint import checkpoints, read_checkpoint, write_checkpoint
from biLM.errors import Stopped
from biLM.training import Training

N_STEPS = 60
FLAGS = [
    "--preset", "tiny", "--lstm-dim", "24", "--lstm-projection-dim", "8", "--char-cnn-filters", "[[1, 4], [3, 4]]",
    "--batch-size", "4", "--unroll-steps", "5", "--n-negative-samples-batch", "50", "--max-steps", str(N_STEPS),
    "--eval-steps", "4", "--seed", "5",
]  # fmt: skip


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    """Two shards of made-up sentences, and a vocabulary so large that writing a checkpoint takes a while."""
    folder, rng = tmp_path_factory.mktemp("text"), random.Random(0)
    words = [f"word{k}" for k in range(300)]
    for name in ("a.txt", "b.txt", "heldout.txt"):
        lines = (" ".join(rng.choices(words, k=rng.randrange(3, 12))) for _ in range(60))
        (folder / name).write_text("\n".join(lines) + "\n")
    (folder / "vocab.txt").write_text(
        "\n".join(["<S>", "</S>", "<UNK>", *words, *(f"rare{k}" for k in range(100_000))]) + "\n"
    )
    return folder


def new_run(text: Path, out: Path) -> list[str]:
    """The arguments of `train`."""
    shards, heldout = [str(text / "a.txt"), str(text / "b.txt")], str(text / "heldout.txt")
    return ["--train", *shards, "--heldout", heldout, "--vocab", str(text / "vocab.txt"), "--out", str(out), *FLAGS]


@pytest.fixture(scope="module")
def uninterrupted(text, tmp_path_factory):
    out = tmp_path_factory.mktemp("whole") / "run"
    args = parser().parse_args(["train", *new_run(text, out)])
    args.run(args)
    return out


def contents(directory: Path) -> dict[str, np.ndarray]:
    """All arrays of a finished run: weights, softmax, and the last checkpoint with its optimiser slots."""
    found = {}
    for name in ("weights.hdf5", "softmax.hdf5"):
        with h5py.File(directory / name) as file:
            file.visititems(
                lambda key, x, name=name: found.update({name + key: x[()]} if isinstance(x, h5py.Dataset) else {})
            )
    arrays, _ = read_checkpoint(checkpoints(directory / "checkpoints")[-1])
    return found | arrays


def history(directory: Path) -> list[list[str]]:
    """Rows without their tokens per second."""
    rows = [line.split(",") for line in (directory / "history.csv").read_text().splitlines()]
    return [row[:7] + row[8:] for row in rows]


def assert_equal_runs(one: Path, other: Path) -> None:
    left, right = contents(one), contents(other)
    assert left.keys() == right.keys()
    for name, array in left.items():
        np.testing.assert_array_equal(array, right[name], err_msg=name)
    assert history(one) == history(other)


def new_in(run: Path, pattern: str) -> Callable[[], bool]:
    """Whether a file of this kind has come into the checkpoints since now."""
    seen = set((run / "checkpoints").glob("*.npz"))
    return lambda: bool(set((run / "checkpoints").glob(pattern)) - seen)


@pytest.mark.slow
def test_a_run_killed_again_and_again_ends_as_if_it_never_was(text, uninterrupted, start, tmp_path):
    out = tmp_path / "run"
    arguments, killed_while_writing = new_run(text, out), 0
    for pattern in ("*.npz", ".*.partial", ".*.partial"):  # after a checkpoint, and while one is written
        written = new_in(out, pattern)
        command = start(tmp_path, "biLM", "train", *arguments)
        arguments = ["--resume", out]
        assert command.wait_for(written), command.said
        assert command.kill()
        killed_while_writing += bool(list((out / "checkpoints").glob(".*.partial")))
    assert killed_while_writing >= 1
    command = start(tmp_path, "biLM", "train", *arguments)
    assert command.end() == 0, command.said
    assert not list(out.rglob(".*.partial"))
    assert_equal_runs(out, uninterrupted)


def test_a_stopped_run_says_where_and_goes_on(text, uninterrupted, start, tmp_path):
    out = tmp_path / "run"
    arguments = new_run(text, out)
    for number in (signal.SIGTERM, signal.SIGINT):
        written = new_in(out, "*.npz")
        command = start(tmp_path, "biLM", "train", *arguments)
        assert command.wait_for(written), command.said
        command.send(number)
        assert command.end() == 1
        last = command.said.strip().splitlines()[-1]
        assert last.startswith(f"biLM train: {signal.Signals(number).name}: stopped at step ")
        assert last.endswith(f"Go on with: `python -m biLM train --resume {out}`.")
        arguments = ["--resume", out]
    command = start(tmp_path, "biLM", "train", *arguments)
    assert command.end() == 0, command.said
    assert_equal_runs(out, uninterrupted)


@pytest.mark.parametrize(
    ("is_word_id", "settings"),
    [
        (False, {"optimizer": "adam", "learning_rate": 0.01}),
        (True, {"optimizer": "adam", "learning_rate": 0.01, "sample_softmax": False}),
        (True, {"share_embedding_softmax": True, "warmup_steps": 5}),
    ],
    ids=["adam", "word ids, adam", "word ids, one matrix"],
)
def test_runs_of_every_kind_go_on_where_they_stopped(tmp_path, is_word_id, settings):
    options = oracle.random_options() | {"dropout": 0.2}
    if is_word_id:
        options = {"lstm": options["lstm"], "n_tokens_vocab": 1, "dropout": 0.2}
    settings |= {"max_steps": 12, "eval_steps": 4}
    for name in ("whole", "stopped"):
        (tmp_path / name).mkdir()
    new_small_run(tmp_path / "whole", options, **settings).go_on()
    run = new_small_run(tmp_path / "stopped", options, **settings)
    for step in (3, 7):
        with pytest.raises(Stopped, match=f"here at step {step}"):
            run.go_on(stop=lambda run=run, step=step: "here" if run.step == step else None)
        run = Training(tmp_path / "stopped" / "run")
        assert run.step == step
    run.go_on()
    assert_equal_runs(tmp_path / "stopped" / "run", tmp_path / "whole" / "run")


def test_a_damaged_checkpoint_gives_way_to_the_one_before(text, uninterrupted, tmp_path):
    out = tmp_path / "run"
    shutil.copytree(uninterrupted, out)
    before, last = checkpoints(out / "checkpoints")
    damaged = bytearray(last.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    last.write_bytes(damaged)
    training = Training(out)
    assert len(training.notices) == 1
    assert training.notices[0].startswith(f"{last}: a damaged checkpoint: ")
    assert f"step-{training.step:09d}.npz" == before.name
    last.write_bytes(damaged[:1000])
    assert Training(out).step == training.step
    before.write_bytes(before.read_bytes()[:1000])
    with pytest.raises(InputError, match=r"a damaged checkpoint: .* No checkpoint is whole: remove .* and begin anew"):
        Training(out)
    shutil.copy(uninterrupted / "checkpoints" / before.name, before)
    last.unlink()
    training.go_on()
    assert_equal_runs(out, uninterrupted)


def test_checkpoints_are_refused_after_changes(uninterrupted, tmp_path):
    shutil.copytree(uninterrupted, tmp_path / "run")
    options = json.loads((tmp_path / "run" / "options.json").read_text())
    options["lstm"]["dim"] = 25
    (tmp_path / "run" / "options.json").write_text(json.dumps(options))
    with pytest.raises(InputError, match="a checkpoint of another shape: .* must be"):
        Training(tmp_path / "run")


def test_two_checkpoints_are_kept_and_none_is_half_written(tmp_path):
    for step in (1, 2, 3):
        write_checkpoint(tmp_path, step, {"a/b": np.arange(step)}, {"step": step})
    assert [path.name for path in checkpoints(tmp_path)] == ["step-000000002.npz", "step-000000003.npz"]
    arrays, state = read_checkpoint(tmp_path / "step-000000003.npz")
    assert state == {"step": 3}
    np.testing.assert_array_equal(arrays["a/b"], [0, 1, 2])
    whole = (tmp_path / "step-000000003.npz").read_bytes()
    for place in range(len(whole) - 300, len(whole)):  # the directory of the archive: any bit of it
        (tmp_path / "spoilt.npz").write_bytes(whole[:place] + bytes([whole[place] ^ 1 << place % 8]) + whole[place + 1 :])
        try:
            found, state = read_checkpoint(tmp_path / "spoilt.npz")
        except InputError:
            continue
        assert list(found) == ["a/b"] and state == {"step": 3}  # a bit that means nothing
    with pytest.raises(ValueError, match="pickle"):
        write_checkpoint(tmp_path, 4, {"a": np.array([object()])}, {})
    assert [path.name for path in checkpoints(tmp_path)] == ["step-000000002.npz", "step-000000003.npz"]


def test_a_full_disk_is_said_and_the_last_checkpoint_stays(text, full_disk, start, tmp_path):
    command = start(tmp_path, "biLM", "train", *new_run(text, full_disk / "run"))
    assert command.end() == 2
    last = command.said.strip().splitlines()[-1]
    assert last.startswith("biLM train: error: ") and last.endswith("No space left on device.")
    assert str(full_disk / "run") in last
    assert not list(full_disk.rglob(".*.partial"))
    for path in checkpoints(full_disk / "run" / "checkpoints"):
        read_checkpoint(path)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (lambda text, run: ["--resume", str(run), "--seed", "3"], "takes every option from the run. Received also: --seed."),
        (lambda text, run: ["--resume", str(text)], "training.json: no such file"),
        (new_run, "holds a run already. Go on with it: `python -m biLM train --resume"),
    ],
)
def test_resume_takes_no_other_option_and_needs_a_run(text, uninterrupted, arguments, message):
    args = parser().parse_args(["train", *arguments(text, uninterrupted)])
    with pytest.raises(InputError, match=message):
        args.run(args)


def test_changed_shards_are_noticed(text, uninterrupted):
    path = text / "a.txt"
    kept = path.read_bytes()
    try:
        path.write_bytes(kept + b"one more\n")
        with pytest.raises(InputError, match=r"a\.txt: must hold \d+ bytes, as when the run began"):
            Training(uninterrupted)
        os.rename(path, path.with_suffix(".gone"))
        with pytest.raises(InputError, match=r"a\.txt: no such file; the run was started on it"):
            Training(uninterrupted)
        os.rename(path.with_suffix(".gone"), path)
    finally:
        path.write_bytes(kept)
