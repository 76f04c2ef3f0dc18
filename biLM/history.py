"""history.csv: one row an evaluation, the field's figures of a training run. A resumed run cuts it back and goes on."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, astuple, dataclass, fields
from pathlib import Path

from biLM.files import whole_file


@dataclass(frozen=True)
class Row:
    """`loss`: mean training cross-entropy in nats since the row before, against the sampled softmax. Perplexities:
    held-out, full softmax; empty without held-out text. `tokens`: positions read in one direction since the start."""

    step: int
    epoch: int
    tokens: int
    loss: float
    heldout_forward: float | None
    heldout_backward: float | None
    heldout_both: float | None
    tokens_per_second: float
    learning_rate: float

    @property
    def figures(self) -> dict[str, float | None]:
        """All but the step, by name."""
        return {name: value for name, value in asdict(self).items() if name != "step"}


def start_history(path: Path, step: int) -> None:
    """Writes the header, or cuts the rows after `step` off a file that is there."""
    rows = []
    if path.is_file():
        with open(path, newline="", encoding="utf-8") as file:
            rows = [row for row in list(csv.reader(file))[1:] if len(row) == len(fields(Row)) and int(row[0]) <= step]
    with whole_file(path) as partial, open(partial, "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([[field.name for field in fields(Row)], *rows])


def append_history(path: Path, row: Row) -> None:
    with open(path, "a", newline="", encoding="utf-8") as file:
        csv.writer(file).writerow(
            ["" if value is None else f"{value:.6g}" if isinstance(value, float) else value for value in astuple(row)]
        )


@contextmanager
def tensorboard(directory: Path | None) -> Iterator[Callable[[int, Mapping[str, float | None]], None]]:
    """Gives a function (step, figures by name) that writes for TensorBoard; without a directory it does nothing."""
    if directory is None:
        yield lambda step, figures: None
        return
    from tensorboard.summary import Writer

    writer = Writer(str(directory))

    def write(step: int, figures: Mapping[str, float | None]) -> None:
        for name, value in figures.items():
            if value is not None:
                writer.add_scalar(name, float(value), step=step)
        writer.flush()

    try:
        yield write
    finally:
        writer.close()
