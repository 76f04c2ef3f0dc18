"""What people see while training and at its end: one table row an epoch, the per-type report."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from biLM.errors import InputError
from ner_elmo.metrics import Evaluation, RunScore, Score
from ner_elmo.readers import Sentence, types_of

if TYPE_CHECKING:
    from ner_elmo.cache import Found
    from ner_elmo.training import Epoch
    from ner_elmo.word_vectors import WordVectors

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
    """Says what was read, which types of dev and test cannot be learned, and how many of their sentences training has.

    No entity to learn is an InputError.
    """
    types = types_of(train)
    if not types:
        raise InputError(f"{', '.join(names)}: must hold at least one entity. Received: none.")
    console.print(
        f"{len(train):,} training, {len(dev):,} dev and {len(test):,} test sentences; types: {', '.join(types)}",
        soft_wrap=True,
    )
    learned = {sentence.tokens for sentence in train}
    for name, sentences in (("dev", dev), ("test", test)):
        if repeated := sum(sentence.tokens in learned for sentence in sentences):
            console.print(
                f"note: {repeated:,} of {len(sentences):,} {name} sentences are in training, too, which flatters scores: "
                "see `python -m ner_elmo check`",
                soft_wrap=True,
            )
        if unknown := sorted(set(types_of(sentences)) - set(types)):
            console.print(
                f"note: {name} holds types that training lacks, all of them will be missed: {', '.join(unknown)}",
                soft_wrap=True,
            )
    if not set(types_of(dev)) & set(types):
        console.print("note: dev holds no entity that can be learned, so the epoch that is kept is the last", soft_wrap=True)


def word_vectors_summary(vectors: WordVectors, train: Sequence[Sentence], dev: Sequence[Sentence], console: Console) -> None:
    """Says how many tokens have a vector: far more in training than in dev where their text held the training sentences."""
    shares = [vectors.coverage([token for sentence in side for token in sentence.tokens]) for side in (train, dev)]
    says = f"word vectors: {len(vectors.words):,} words, {vectors.width} wide; "
    console.print(says + "of {:.1%} of the training tokens, {:.1%} of dev's".format(*shares), soft_wrap=True)


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


def print_results(results: Sequence[RunScore], console: Console) -> None:
    """Dev and test F1 of several runs, in percent."""
    table = Table(box=None, pad_edge=False)
    for name in ("run", "sentences", "dev F1", "test F1"):
        table.add_column(name, justify="left" if name == "run" else "right", no_wrap=True)
    for result in results:
        sentences = "" if result.sentences is None else f"{result.sentences:,}"
        table.add_row(result.name, sentences, f"{100 * result.dev_f1:.2f}", f"{100 * result.test_f1:.2f}")
    console.print(table)


def seeds_line(results: Sequence[RunScore]) -> str:
    """Mean and standard deviation (of a sample) over seeds, such as `dev F1 90.12 +- 0.20, test F1 86.40 +- 0.31`."""
    parts = []
    for name in ("dev", "test"):
        scores = [100 * getattr(result, f"{name}_f1") for result in results]
        deviation = f" +- {statistics.stdev(scores):.2f}" if len(scores) > 1 else ""
        parts.append(f"{name} F1 {statistics.mean(scores):.2f}{deviation}")
    return f"{', '.join(parts)} over {len(results)} seeds"


def curve_line(results: Sequence[RunScore]) -> str:
    """What the last doubling of the labels brought."""
    half, full = results[-2:]
    change = f"from {half.name} to {full.name} of the labels test F1 {{}} by {abs(100 * (full.test_f1 - half.test_f1)):.2f}"
    if full.test_f1 >= half.test_f1:
        return change.format("rose") + ": twice as many may bring about as much"
    return change.format("fell") + ": more of the same labels may bring little"


def baseline_line(baseline: Score, own: Score) -> str:
    """The CRF with hand-made features beside the tagger."""
    difference = 100 * (own.f1 - baseline.f1)
    return f"CRF baseline: test F1 {100 * baseline.f1:.2f}; this tagger: {100 * own.f1:.2f} ({difference:+.2f})"


def mix_line(weights: Sequence[float], gamma: float) -> str:
    """The learned mix, such as `mix: 0.21 0.55 0.24 (layer 0 = tokens), gamma 1.03`."""
    return f"mix: {' '.join(f'{w:.3f}' for w in weights)} (layer 0: tokens), gamma {gamma:.3f}"


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{seconds:02}"
