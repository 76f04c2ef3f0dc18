"""Several devices and several real processes on the loopback interface give the run of one. Needs the JAX backend."""

import json
import random
import signal
import socket
import subprocess
import sys
import time

import keras
import numpy as np
import pytest
from conftest import PROJECT

from biLM import InputError
from biLM.__main__ import parser
from biLM.checkpoint import checkpoints
from biLM.distribution import Placement, connect
from biLM.errors import run_command
from biLM.group import Group, backend_name

needs_jax = pytest.mark.skipif(
    keras.backend.backend() != "jax", reason="training over several devices works on the JAX backend (KERAS_BACKEND=jax)"
)
FLAGS = [
    "--preset", "tiny", "--lstm-dim", "24", "--lstm-projection-dim", "8", "--char-cnn-filters", "[[1, 4], [3, 4]]",
    "--batch-size", "8", "--unroll-steps", "5", "--n-negative-samples-batch", "51", "--eval-steps", "5",
    "--optimizer", "adam", "--learning-rate", "0.02", "--dropout", "0.1",
]  # fmt: skip


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    folder, rng = tmp_path_factory.mktemp("text"), random.Random(0)
    words = [f"word{k}" for k in range(120)]
    for name in ("train.txt", "heldout.txt"):
        lines = (" ".join(rng.choices(words, k=rng.randrange(3, 12))) for _ in range(100))
        (folder / name).write_text("\n".join(lines) + "\n")
    return folder


def launch(text, out, *more: str) -> subprocess.Popen:
    arguments = ["--train", str(text / "train.txt"), "--heldout", str(text / "heldout.txt"), "--out", str(out), *FLAGS]
    if "--resume" in more:
        arguments = []
    command = [sys.executable, "-m", "biLM", "train", *arguments, *more]
    return subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def free_address() -> str:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{found.getsockname()[1]}"


def pair(text, out, *more: str) -> list[subprocess.Popen]:
    shared = ["--coordinator", free_address(), "--process-count", "2", *more]
    return [launch(text, out, *shared, "--process-index", str(index)) for index in (0, 1)]


def ends(*processes: subprocess.Popen) -> list[tuple[int, str, str]]:
    found = [process.communicate(timeout=600) for process in processes]
    return [(process.returncode, *texts) for process, texts in zip(processes, found, strict=True)]


def heldout(directory) -> np.ndarray:
    rows = (directory / "history.csv").read_text().splitlines()[1:]
    return np.array([[float(value) for value in row.split(",")[3:7]] for row in rows])


@needs_jax
@pytest.mark.slow
def test_two_devices_and_two_processes_take_the_steps_of_one(text, tmp_path):
    for name, processes in (
        ("one", [launch(text, tmp_path / "one", "--max-steps", "20")]),
        ("devices", [launch(text, tmp_path / "devices", "--max-steps", "20", "--devices", "2")]),
        ("processes", pair(text, tmp_path / "processes", "--max-steps", "20")),
    ):
        for code, _, err in ends(*processes):
            assert code == 0, f"{name}: {err}"
    expected = heldout(tmp_path / "one")
    assert expected.shape == (4, 4)
    for name in ("devices", "processes"):
        np.testing.assert_allclose(heldout(tmp_path / name), expected, rtol=1e-3)
        assert json.loads((tmp_path / name / "training.json").read_text())["n_steps"] == 20


@needs_jax
@pytest.mark.slow
def test_a_killed_process_ends_the_others_and_the_run_goes_on(text, tmp_path):
    """The second of two, and then, in the run that goes on, the first."""
    run, last = tmp_path / "run", 0
    more = ("--max-steps", "400")
    for killed in (1, 0):
        processes = pair(text, run, *more)
        while last_step(run) < last + 10:
            assert processes[killed].poll() is None, processes[killed].communicate()[1]
            time.sleep(0.05)
        processes[killed].send_signal(signal.SIGKILL)
        results = ends(*processes)
        code, _, err = results[1 - killed]
        assert code == 1
        lines = [line for line in err.splitlines() if line.startswith("biLM train: error: ")]
        assert len(lines) == 1
        assert "another process is gone" in lines[0]
        assert lines[0].endswith(f"Start all of them again with: --resume {run}")
        last, more = last_step(run), ("--resume", str(run))
        assert last < 400


def last_step(run) -> int:
    """That of the last checkpoint; 0 where there is none yet."""
    found = checkpoints(run / "checkpoints")
    return int(found[-1].stem.split("-")[1]) if found else 0


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ((None, None, 2, 0), "need --coordinator HOST:PORT"),
        ((None, "127.0.0.1:1", 2, 2), "--process-index must be from 0 to 1. Received: 2"),
        ((None, "127.0.0.1", 2, 1), "--coordinator must be HOST:PORT. Received: '127.0.0.1'"),
        ((0, None), "--devices must be at least 1. Received: 0"),
    ],
)
def test_settings_that_contradict(settings, message):
    with pytest.raises(InputError, match=message):
        Group(*settings)


@pytest.mark.skipif(keras.backend.backend() == "jax", reason="is about the other backends")
def test_the_backend_is_named():
    with pytest.raises(InputError, match="needs the JAX backend. Received: tensorflow. Set .* KERAS_BACKEND=jax"):
        connect(Group(2))


def test_devices_that_do_not_divide_the_batch_are_told_before_a_run_is_made(text, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    args = parser().parse_args(
        ["train", "--train", str(text / "train.txt"), "--out", str(tmp_path / "run"), "--devices", "3"]
    )
    assert run_command("biLM train", lambda: args.run(args)) == 2
    assert "batch_size must be a multiple of the 3 devices. Received: 128." in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_the_backend_is_found_as_keras_finds_it(tmp_path, monkeypatch):
    monkeypatch.delenv("KERAS_BACKEND", raising=False)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    assert backend_name() == "tensorflow"
    (tmp_path / "keras.json").write_text('{"backend": "jax"}')
    assert backend_name() == "jax"
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    assert backend_name() == "torch"


def test_rows_are_cut_among_processes_and_lose_nothing():
    placements = [Placement(index, 3, 6) for index in range(3)]
    batch = {"a": np.arange(12), "b": np.arange(24).reshape(12, 2)}
    parts = [placement.own_part(batch) for placement in placements]
    for name, tensor in batch.items():
        np.testing.assert_array_equal(np.concatenate([part[name] for part in parts]), tensor)
    assert [placements[0].padding(size) for size in (5, 6, 7)] == [1, 0, 5]
    with pytest.raises(InputError, match="batch_size must be a multiple of the 6 devices. Received: 8"):
        placements[0].check(8)
