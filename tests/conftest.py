"""What several tests share: files of random biLMs, and where the research copies are."""

import errno
import ipaddress
import itertools
import json
import os
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import h5py
import numpy as np
import oracle
import pytest

from biLM.vocabulary import Vocabulary
from biLM.word_counts import WordCounts

PROJECT = Path(__file__).resolve().parent.parent
SHARED = PROJECT.parent / "shared"


def loopback_alone(event: str, arguments: tuple) -> None:
    """Lets Python reach this machine alone, whatever a test or a library tries: for it the network is down."""
    if event == "socket.connect" and isinstance(arguments[1], tuple):
        host = arguments[1][0]
    elif event == "socket.getaddrinfo":
        host = arguments[0]
    else:
        return
    if host in (None, "", "localhost", socket.gethostname()):
        return
    with suppress(ValueError):
        if ipaddress.ip_address(host).is_loopback or event == "socket.getaddrinfo":  # no name that a server is asked for
            return
    raise OSError(errno.ENETUNREACH, os.strerror(errno.ENETUNREACH), str(host))


sys.addaudithook(loopback_alone)


@pytest.fixture(scope="session")
def shared():
    """The folder of research copies; tests that need it are skipped without it."""
    if not SHARED.is_dir():
        pytest.skip(f"{SHARED} is not there: reference data cannot be committed")
    return SHARED


def write_bilm(directory: Path, options: dict, weights: dict, prefix: str = "") -> Path:
    """Files as other tools write them; returns the weights' path."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / f"{prefix}options.json").write_text(json.dumps(options))
    with h5py.File(directory / f"{prefix}weights.hdf5", "w") as file:
        for name, array in weights.items():
            file[name] = array
    return directory / f"{prefix}weights.hdf5"


@pytest.fixture(scope="session")
def small_weights(tmp_path_factory):
    """A small random biLM on disk."""
    options = oracle.random_options()
    return write_bilm(tmp_path_factory.mktemp("bilm"), options, oracle.random_weights(options))


@pytest.fixture(scope="session")
def small_model(small_weights, tmp_path_factory):
    """The directory of a tagger that knows its sentences."""
    served = pytest.importorskip("served", reason="needs the extra `serve`", exc_type=ImportError)
    return served.train_small(small_weights, tmp_path_factory.mktemp("served") / "model")


@pytest.fixture(scope="session")
def server(small_model):
    """A server in a process of its own, with the demo page. Whatever it was sent, it ends well and has logged nothing."""
    from served import Process

    server = Process(small_model, "--max-bytes", "50000", "--max-waiting", "64")
    yield server
    assert server.stop(signal.SIGINT) == 0
    assert (server.stdout, len(server.stderr.splitlines())) == ("", 1), server.stderr


@pytest.fixture
def full_disk(request, tmp_path):
    """A file system of few bytes: 12 MB, or as `indirect` parametrisation says."""
    place = tmp_path / "disk"
    place.mkdir()
    options = f"size={getattr(request, 'param', '12m')}"
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place)], capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip(f"cannot mount a small tmpfs here: {mounted.stderr.decode().strip()}")
    yield place
    subprocess.run(["umount", str(place)], check=True)


@pytest.fixture
def start():
    """Starts commands (`loaded_commands.Command`); those that still run when the test ends are killed."""
    from loaded_commands import Command

    started = []
    yield lambda *what, **limits: started.append(Command(*what, **limits)) or started[-1]
    for command in started:
        command.kill()


@pytest.fixture
def eager():
    """TensorFlow without graphs: a few steps on small shapes take less time than tracing them. JAX is as always."""
    import keras

    if keras.backend.backend() != "tensorflow":
        yield
        return
    import tensorflow

    tensorflow.config.run_functions_eagerly(True)
    yield
    tensorflow.config.run_functions_eagerly(False)


def vocabulary_of(sentences, max_size: int | None = None, min_count: int = 1) -> Vocabulary:
    """The words of sentences."""
    with WordCounts() as counts:
        for sentence in sentences:
            counts.add(sentence)
        return counts.vocabulary(max_size, min_count)


SENTENCES = [
    ["The", "harbour", "at", "Ålesund", "froze", "."],
    ["Stop", "!"],
    ["x"],
    ["A", "very" * 30, "long", "token", "and", "an", "emoji", "😀", "here", "."],
    ["The", "the", "The", "harbour", "."],
]


def assert_drawn_apart(weights) -> None:
    """No two matrices come from the same draws, as they do where an initializer of Keras is used twice."""
    drawn = [np.ravel(np.asarray(w, np.float64)) for w in weights if w.ndim > 1]
    drawn = [w for w in drawn if w.size >= 60 and w.std() > 0]
    assert len(drawn) > 5
    for one, other in itertools.combinations(drawn, 2):
        n = min(one.size, other.size)
        assert abs(np.corrcoef(one[:n], other[:n])[0, 1]) < 0.9
