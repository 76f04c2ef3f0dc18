"""`ReportData`: every number of a report, typed, and its JSON file, from which the page is made again without the model."""

from __future__ import annotations

import platform
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from biLM.errors import InputError
from ner_elmo.config import TrainConfig
from ner_elmo.metrics import Evaluation
from ner_elmo.model_directory import describe
from ner_elmo.readers import Sentence, read_sentences
from ner_elmo.reporting.calibration import Calibration, calibration
from ner_elmo.reporting.data_summary import FileSummary, Seen, sha256_of, summarise
from ner_elmo.reporting.intervals import Intervals, bootstrap
from ner_elmo.reporting.judged import Judged, evaluation_of
from ner_elmo.reporting.matches import Matches, matches
from ner_elmo.reporting.mistakes import Confusion, Mistake, confusion, mistakes, worst
from ner_elmo.reporting.novelty import Novelty, novelty
from ner_elmo.word_vectors import WORD_VECTORS

if TYPE_CHECKING:
    from ner_elmo.training import Trained

FORMAT = 1
REPORT = "report.json"
N_WORST = 20


@dataclass(frozen=True)
class EpochRow:
    """One epoch: mean loss of a sentence in nats, dev precision, recall and F1 in [0, 1], seconds."""

    number: int
    loss: float
    precision: float
    recall: float
    f1: float
    best: bool
    seconds: float


@dataclass(frozen=True)
class Mix:
    """The learned mix: softmax weights of these layers of the biLM (0: tokens), and gamma."""

    layers: tuple[int, ...]
    weights: tuple[float, ...]
    gamma: float


@dataclass(frozen=True)
class TrainingRecord:
    """How a model came about. mix: None without ELMo."""

    command: str
    seconds: float
    epochs: tuple[EpochRow, ...]
    mix: Mix | None


@dataclass(frozen=True)
class Measured:
    """All that is measured on the test files. worst: some of the `n_mistakes`, see `worst`. novelty: None where the training
    files are gone, and in reports that were made before it was measured."""

    scores: Evaluation
    intervals: Intervals
    matches: dict[str, Matches]
    confusion: Confusion
    worst: tuple[Mistake, ...]
    n_mistakes: int
    calibration: Calibration
    novelty: Novelty | None = None

    @classmethod
    def of(cls, judged: Sequence[Judged], seen: Seen | None = None) -> Measured:
        wrong = mistakes(judged)
        scores, shown = evaluation_of(judged), tuple(worst(wrong, N_WORST))
        found = bootstrap(judged), matches(judged), confusion(judged)
        return cls(scores, *found, shown, len(wrong), calibration(judged), novelty(judged, seen) if seen else None)


@dataclass(frozen=True)
class ReportData:
    """A report. `training` is None for models made before reports were. weights: sha256 of the model's files.

    written: when, ISO 8601, UTC.
    """

    model: str
    written: str
    test: Measured
    data: tuple[FileSummary, ...]
    training: TrainingRecord | None
    config: dict[str, Any]
    weights: dict[str, str]
    versions: dict[str, str]
    format: int = field(default=FORMAT)


def of_training(
    directory: Path,
    trained: Trained,
    sides: tuple[Sequence[Sentence], Sequence[Sentence], Sequence[Sentence]],
    judged: Sequence[Judged],
    seconds: float,
) -> ReportData:
    """The report of a training run: its saved model, the train, dev and test sentences, what it says of the last."""
    train, dev, test = sides
    seen = Seen.of(train)
    data = summarise("train", train) + summarise("dev", dev, seen) + summarise("test", test, seen)
    epochs = tuple(
        EpochRow(e.number, e.loss, e.dev.precision, e.dev.recall, e.dev.f1, e.best, e.seconds) for e in trained.epochs
    )
    record = TrainingRecord(_command(), seconds, epochs, _mix(trained.tagger.elmo))
    return _report(directory, record, data, judged, seen)


def of_model(directory: Path, judged: Sequence[Judged]) -> ReportData:
    """The report of an older model on other test files; what is known of its training is taken from its own report."""
    before = read_report(directory / REPORT) if (directory / REPORT).is_file() else None
    data = tuple(summary for summary in before.data if summary.role != "test") if before else ()
    seen = _seen_again(directory, data)
    test = summarise("test", [one.sentence for one in judged], seen)
    return _report(directory, before.training if before else None, data + test, judged, seen)


def _seen_again(directory: Path, data: Sequence[FileSummary]) -> Seen | None:
    """What training saw, if its files are still there and unchanged."""
    files = [summary for summary in data if summary.role == "train"]
    if not files or any(summary.sha256 is None or sha256_of(summary.path) != summary.sha256 for summary in files):
        return None
    config = TrainConfig.from_dict(describe(directory)["config"])
    return Seen.of(read_sentences([summary.path for summary in files], **config.reading))


def _report(
    directory: Path,
    training: TrainingRecord | None,
    data: tuple[FileSummary, ...],
    judged: Sequence[Judged],
    seen: Seen | None,
) -> ReportData:
    description = describe(directory)
    files = [*directory.rglob("*.h*5"), *directory.glob(WORD_VECTORS)]
    weights = {path.relative_to(directory).as_posix(): str(sha256_of(path)) for path in sorted(files)}
    if "path" in description.get("bilm", {}):
        weights[f"{description['bilm']['path']} (fingerprint)"] = description["bilm"]["fingerprint"]
    return ReportData(
        model=directory.absolute().name,
        written=datetime.now(UTC).isoformat(timespec="seconds"),
        test=Measured.of(judged, seen),
        data=data,
        training=training,
        config=description["config"],
        weights=weights,
        versions=_versions() | description["versions"],
    )


def _mix(elmo: Any) -> Mix | None:
    if elmo is None:
        return None
    weights, gamma = elmo.learned()
    return Mix(tuple(elmo.chosen), tuple(weights), gamma)


def _command() -> str:
    """The command line of this process, without the folders of Python and of the script."""
    script = Path(sys.argv[0])
    start = {"__main__": ["python", "-m", script.parent.name], script.name: [script.name]}
    return shlex.join([*start.get(script.stem, ["python", script.name]), *sys.argv[1:]])


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version(), "platform": platform.platform()}
    for name in ("ner-elmo", "tensorflow", "jax"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def write_report(path: Path, report: ReportData) -> None:
    """Writes the JSON that `read_report` reads."""
    path.write_bytes(_adapter().dump_json(report, indent=1) + b"\n")


def read_report(path: Path) -> ReportData:
    """Reads what `write_report` wrote. Raises InputError for anything else."""
    from pydantic import ValidationError

    if not path.is_file():
        raise InputError(f"{path}: is not there. Name files to test the model on: --test FILE.")
    try:
        report = _adapter().validate_json(path.read_bytes())
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "the file"
        raise InputError(
            f"{path}: is no report of this version, {place}: {first['msg']}. Make it again: --test FILE."
        ) from None
    if report.format != FORMAT:
        raise InputError(f"{path}: format must be {FORMAT}. Received: {report.format}. Make it again: --test FILE.")
    return report


def _adapter():
    """Reads and writes `ReportData`; pydantic checks every type."""
    from pydantic import TypeAdapter

    return TypeAdapter(ReportData)
