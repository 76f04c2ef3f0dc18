"""What several tests share: files of random biLMs, and where the research copies are."""

import json
from pathlib import Path

import h5py
import oracle
import pytest

PROJECT = Path(__file__).resolve().parent.parent
SHARED = PROJECT.parent / "shared"


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


SENTENCES = [
    ["The", "harbour", "at", "Ålesund", "froze", "."],
    ["Stop", "!"],
    ["x"],
    ["A", "very" * 30, "long", "token", "and", "an", "emoji", "😀", "here", "."],
    ["The", "the", "The", "harbour", "."],
]
