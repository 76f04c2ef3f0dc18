"""What people see while training and at its end: one table row an epoch, the per-type report."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from biLM.errors import InputError
from ner_elmo.metrics import Evaluation
from ner_elmo.readers import Sentence, types_of

if TYPE_CHECKING:
    from ner_elmo.cache import Found
    from ner_elmo.training import Epoch

_FOUND = ("sentences", "hits", "added", "n_bytes")
_COLUMNS = (
    ("epoch", 5),
    ("loss", 8),
    ("dev P", 6),
    ("dev R", 6),
    ("dev F1", 6),
    ("best", 4),
    ("seconds", 7),
    ("left", 8),
)


def data_summary(
    names: Sequence[str], train: Sequence[Sentence], dev: Sequence[Sentence], test: Sequence[Sentence], console: Console
) -> None:
    """Says what was read, and which types of dev and test cannot be learned; no entity to learn is an InputError."""
    types = types_of(train)
    if not types:
        raise InputError(f"{', '.join(names)}: must hold at least one entity. Received: none.")
    console.print(
        f"{len(train):,} training, {len(dev):,} dev and {len(test):,} test sentences; types: {', '.join(types)}",
        soft_wrap=True,
    )
    for name, sentences in (("dev", dev), ("test", test)):
        if unknown := sorted(set(types_of(sentences)) - set(types)):
            console.print(
                f"note: {name} holds types that training lacks, all of them will be missed: {', '.join(unknown)}",
                soft_wrap=True,
            )


def cache_summary(directory: Path, found: Sequence[Found], console: Console) -> None:
    """Says where the activations come from, and what had no room."""
    sentences, hits, added, n_bytes = (sum(getattr(side, name) for side in found) for name in _FOUND)
    says = f"activations: {hits:,} of {sentences:,} sentences from the cache, {added:,} added"
    console.print(f"{says}; {n_bytes / 1e6:,.0f} MB in {directory}", soft_wrap=True)
    if left_out := sentences - hits - added:
        console.print(
            f"note: {left_out:,} sentences did not fit into --cache-size and are computed in every epoch", soft_wrap=True
        )


class EpochTable:
    """Prints a row when an epoch ends. Usable as `train_tagger`'s `report`."""

    def __init__(self, n_epochs: int, console: Console):
        self.n_epochs, self.console = n_epochs, console
        self.started = time.monotonic()

    def __call__(self, epoch: Epoch) -> None:
        elapsed = time.monotonic() - self.started
        left = (self.n_epochs - epoch.number) * elapsed / epoch.number
        scores = (f"{100 * x:.2f}" for x in (epoch.dev.precision, epoch.dev.recall, epoch.dev.f1))
        times = (f"{epoch.seconds:.1f}", f"<{_clock(left)}" if left else "")
        row = (str(epoch.number), f"{epoch.loss:.4f}", *scores, "*" if epoch.best else "", *times)
        table = Table(box=None, show_header=epoch.number == 1, pad_edge=False)
        for name, width in _COLUMNS:
            table.add_column(name, justify="right", min_width=width, max_width=width, no_wrap=True)
        table.add_row(*row)
        self.console.print(table)


def print_evaluation(evaluation: Evaluation, console: Console) -> None:
    """The per-type report, strict and lenient side by side, and the signature of the numbers."""
    table = Table(box=None, pad_edge=False)
    for name in ("type", "P", "R", "F1", "lenient P", "R", "F1", "support"):
        table.add_column(name, justify="left" if name == "type" else "right", no_wrap=True)
    rows = [(kind, *pair) for kind, pair in evaluation.types.items()]
    for kind, strict, lenient in [*rows, ("all (micro)", evaluation.strict, evaluation.lenient)]:
        numbers = [x for s in (strict, lenient) for x in (s.precision, s.recall, s.f1)]
        table.add_row(kind, *(f"{100 * x:.2f}" for x in numbers), str(strict.support))
    console.print(table)
    console.print(evaluation.signature, style="dim", highlight=False)


def mix_line(weights: Sequence[float], gamma: float) -> str:
    """The learned mix, such as `mix: 0.21 0.55 0.24 (layer 0 = tokens), gamma 1.03`."""
    return f"mix: {' '.join(f'{w:.3f}' for w in weights)} (layer 0: tokens), gamma {gamma:.3f}"


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{seconds:02}"
