"""Progress on stderr: a bar with the time left at a terminal, now and then a line elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

Report = Callable[[int, int | None], None]  # (done, total or None where it is not known)


@contextmanager
def progress(text: str, console: Console | None = None) -> Iterator[Report]:
    """Gives a function (done, total) that moves the bar."""
    console = console or Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(text, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


@contextmanager
def show_training() -> Iterator[Callable[[Any], None]]:
    """Gives a function that shows `biLM.training.Progress`: a live bar, and a line for each row of history.csv."""
    console = Console(stderr=True)
    columns = (BarColumn(20), TextColumn("{task.description}"), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=None)
        measured = ""

        def show(now: Any) -> None:
            nonlocal measured
            if now.row and now.row.heldout_both:
                measured = f"  held-out perplexity {now.row.heldout_both:,.2f}"
            rate = f"{now.tokens_per_second:,.0f} tokens/s"
            text = f"step {now.step:,}/{now.n_steps:,}  loss {now.loss:.3f}{measured}  {rate}"
            bar.update(task, completed=now.step, total=now.n_steps, description=text)
            if now.row:
                line = f"step {now.step:>8,}/{now.n_steps:,}  epoch {now.row.epoch}  {now.row.tokens:>12,} tokens"
                line += f"  loss {now.row.loss:.3f}{measured}  {now.row.tokens_per_second:,.0f} tokens/s"
                left = (now.n_steps - now.step) * now.row.tokens / now.step / max(1.0, now.row.tokens_per_second)
                console.print(f"{line}  {timedelta(seconds=round(left))} left", highlight=False, soft_wrap=True)

        yield show


@contextmanager
def show_rate(unit: str, every: float = 30.0) -> Iterator[Callable[[int, int, int], None]]:
    """Gives a function (done, total, units worked on) that shows the share that is done and the units a second.

    A bar at a terminal; elsewhere a line, no more than one in `every` seconds.
    """
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    columns = (BarColumn(20), TextColumn("{task.description}"), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=None)
        begin = told = time.monotonic()

        def show(done: int, total: int, n_units: int) -> None:
            nonlocal told
            now = time.monotonic()
            text = f"{done / max(1, total):.1%}  {n_units:,} {unit}  {n_units / max(now - begin, 1e-9):,.0f} {unit}/s"
            bar.update(task, completed=done, total=total, description=text)
            if not console.is_terminal and now - told >= every:
                console.print(text)
                told = now

        yield show
