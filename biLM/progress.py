"""Progress on stderr: a bar with the time left at a terminal; elsewhere a line now and then, for logs."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

Report = Callable[[int, int | None], None]  # (done, total or None where it is not known)
FIRST_LINE, LONGEST_WAIT = 30.0, 600.0  # seconds


def silent(done: int, total: int | None) -> None:
    """A `Report` that shows nothing."""


class Lines:
    """Lines where there is no terminal: the first after half a minute, each further one when twice the time has passed, ten
    minutes later at most."""

    def __init__(self, console: Console):
        self.console, self.begin, self.due = console, time.monotonic(), FIRST_LINE

    def __call__(self, text: str, done: int, total: int | None) -> None:
        """Says `text`, and how long the rest takes if it goes on like this."""
        passed = time.monotonic() - self.begin
        if self.console.is_terminal or passed < self.due:
            return
        self.due = passed + min(passed, LONGEST_WAIT)
        left = f"  {duration(passed * max(0, total - done) / done)} left" if total and done else ""
        self.console.print(text + left, highlight=False, markup=False, soft_wrap=True)


def duration(seconds: float) -> timedelta:
    """Prints as hours:minutes:seconds."""
    return timedelta(seconds=round(seconds))


@contextmanager
def progress(text: str, console: Console | None = None, lines: Callable[[], bool] = lambda: True) -> Iterator[Report]:
    """Gives a function (done, total) that moves the bar.

    lines: whether there are still any where there is no terminal.
    """
    console = console or Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    say, off = Lines(console), not console.is_terminal
    with Progress(*columns, console=console, transient=True, disable=off, redirect_stdout=False) as bar:
        task = bar.add_task(text, total=None)

        def show(done: int, total: int | None) -> None:
            bar.update(task, completed=done, total=total)
            if lines():
                say(f"{text}  {done / total:.0%}" if total else f"{text}  {done:,}", done, total)

        yield show


@contextmanager
def show_training() -> Iterator[Callable[[Any], None]]:
    """Gives a function that shows `biLM.training.Progress`: a live bar, and a line for each row of history.csv."""
    console = Console(stderr=True)
    columns = (BarColumn(20), TextColumn("{task.description}"), TimeRemainingColumn())
    say = Lines(console)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=None)
        measured, first = "", 0

        def show(now: Any) -> None:
            nonlocal measured, first
            first = first or now.step  # a run that goes on has taken steps before
            if now.row and now.row.heldout_both:
                measured = f"  held-out perplexity {now.row.heldout_both:,.2f}"
            rate = f"{now.tokens_per_second:,.0f} tokens/s"
            text = f"step {now.step:,}/{now.n_steps:,}  loss {now.loss:.3f}{measured}  {rate}"
            bar.update(task, completed=now.step, total=now.n_steps, description=text)
            if not now.row:
                say(text, now.step - first, now.n_steps - first)
                return
            line = f"step {now.step:>8,}/{now.n_steps:,}  epoch {now.row.epoch}  {now.row.tokens:>12,} tokens"
            line += f"  loss {now.row.loss:.3f}{measured}  {now.row.tokens_per_second:,.0f} tokens/s"
            left = (now.n_steps - now.step) * now.row.tokens / now.step / max(1.0, now.row.tokens_per_second)
            console.print(f"{line}  {duration(left)} left", highlight=False, soft_wrap=True)

        yield show


@contextmanager
def show_rate(unit: str) -> Iterator[Callable[[int, int, int], None]]:
    """Gives a function (done, total, units worked on) that shows the share that is done and the units a second."""
    console = Console(stderr=True)
    columns = (BarColumn(20), TextColumn("{task.description}"), TimeRemainingColumn())
    say = Lines(console)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=None)

        def show(done: int, total: int, n_units: int) -> None:
            passed = max(time.monotonic() - say.begin, 1e-9)
            text = f"{done / max(1, total):.1%}  {n_units:,} {unit}  {n_units / passed:,.0f} {unit}/s"
            bar.update(task, completed=done, total=total, description=text)
            say(text, done, total)

        yield show
