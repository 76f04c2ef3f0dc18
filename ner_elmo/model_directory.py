"""Where models are: checks before any work, what model.json says, and which model was trained last. Needs no Keras."""

from __future__ import annotations

import csv
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from biLM.errors import InputError
from biLM.files import alone, read_object, restore, whole_file, write_object
from ner_elmo.metrics import Evaluation

FORMAT = 1
DESCRIPTION = "model.json"
SCORES, RUNS, HISTORY = "scores.json", "runs.json", "history.csv"


def _is_names(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(one, str) and one for one in value) and len(value) == len(set(value))


def _is_bilm(value: Any) -> bool:
    whole = isinstance(value, dict) and all(isinstance(value.get(key), int) for key in ("width", "n_layers"))
    return value is None or (whole and isinstance(value.get("path", ""), str))


_KEYS: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "types": ("a list of different names", _is_names),
    "config": ("an object of options", lambda value: isinstance(value, dict)),
    "bilm": ("an object with the biLM's width and n_layers", _is_bilm),
    "versions": ("an object", lambda value: isinstance(value, dict)),
}


@contextmanager
def claim(directory: Path, overwrite: bool) -> Iterator[None]:
    """Holds a directory that a model shall be written to for this process alone.

    Raises: InputError, before any work, where it cannot be written, holds something already, or another process holds it.
    """
    parent = directory.absolute().parent
    try:
        parent.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=parent).close()
    except OSError as error:
        raise InputError(f"{directory}: cannot be written ({error.strerror}). Name another.") from error
    with alone(directory):
        restore(directory)
        _check_free(directory, overwrite)
        yield


def _check_free(directory: Path, overwrite: bool) -> None:
    if directory.exists() and not directory.is_dir():
        raise InputError(f"{directory}: must be a directory. Received: a file.")
    if directory.is_dir() and any(directory.iterdir()):
        if not (directory / DESCRIPTION).is_file():
            raise InputError(f"{directory}: must be empty or hold a model. Name another.")
        if not overwrite:
            raise InputError(f"{directory}: holds a model already. Name another, or --overwrite it.")


def require_ordinary(path: Path) -> None:
    """Raises InputError for a device or a pipe, which have no end: a link of a model directory may lead to one."""
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise InputError(f"{path}: must be a file. Received: a device or a pipe, or a link to one.")


def describe(directory: Path) -> dict[str, Any]:
    """model.json of a model directory."""
    path = directory / DESCRIPTION
    if not path.is_file():
        raise InputError(
            f"{directory}: is no model directory, {DESCRIPTION} is missing. Train one: python -m ner_elmo train."
        )
    for part in (*directory.glob("*"), *directory.glob("*/*")):
        require_ordinary(part)
    description = read_object(path)
    if description.get("format") != FORMAT:
        raise InputError(f"{path}: format must be {FORMAT}. Received: {description.get('format')!r}. Update ner-elmo.")
    for key, (rule, holds) in _KEYS.items():
        if not holds(description.get(key)):
            raise InputError(f"{path}: {key!r} must be {rule}. Received: {str(description.get(key))[:60]!r}.")
    return description


def language_of(directory: Path) -> str:
    """The language of the tokenizer that a model splits raw text with."""
    return describe(directory)["config"].get("lang", "en")


def remember(directory: Path) -> None:
    """Notes, in models/LAST, which model was trained last in this working directory."""
    Path("models").mkdir(exist_ok=True)
    with whole_file(Path("models") / "LAST") as partial:
        partial.write_text(f"{directory.absolute()}\n", encoding="utf-8")


def last_model() -> Path:
    """The model trained last in this working directory."""
    note = Path("models") / "LAST"
    if not note.is_file():
        raise InputError("no model was trained here yet. Train one (python -m ner_elmo train) or name one: --model DIR.")
    return Path(note.read_text(encoding="utf-8").strip())


def write_runs(directory: Path, **runs: Any) -> None:
    """Puts what several runs brought (seeds, learning curve, baseline) beside the model, in runs.json."""
    path = directory / RUNS
    known = read_object(path) if path.is_file() else {}
    write_object(path, known | runs)


def write_scores(directory: Path, evaluation: Evaluation) -> None:
    """Puts the test scores beside the model."""
    write_object(directory / SCORES, asdict(evaluation))


def write_history(directory: Path, rows: Sequence[Mapping[str, float]]) -> None:
    """Puts the figures of each epoch beside the model, in history.csv."""
    with open(directory / HISTORY, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows({name: f"{value:.6g}" for name, value in row.items()} for row in rows)


def scores_of(directory: Path) -> dict[str, Any] | None:
    """The test scores beside the model; None where there are none."""
    path = directory / SCORES
    return read_object(path) if path.is_file() else None
