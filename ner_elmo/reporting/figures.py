"""Figures of a report, as SVG to stand in a page: drawn by matplotlib, coloured by the page's own light and dark colours.

Colours are drawn as placeholders, which become CSS variables; text inherits the page's font. Nothing comes from elsewhere.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from biLM.files import whole_file
from ner_elmo.reporting.data import EpochRow, Mix, ReportData

INK, FAINT, LINE, ONE, TWO = "#0a0101", "#0a0102", "#0a0103", "#0a0104", "#0a0105"
_VARIABLE_OF = {INK: "--ink", FAINT: "--faint", LINE: "--line", ONE: "--one", TWO: "--two"}
_WIDTH = 4.2  # inches: about what a phone shows, so that text keeps its size there
_STYLE = {
    "svg.fonttype": "none", "text.parse_math": False, "font.family": "sans-serif", "font.sans-serif": ["DejaVu Sans"],
    "font.size": 9, "text.color": INK, "axes.labelcolor": FAINT, "axes.edgecolor": LINE, "xtick.color": FAINT,
    "ytick.color": FAINT, "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True, "grid.color": LINE,
    "grid.linewidth": 0.6, "axes.axisbelow": True, "xtick.major.size": 0, "ytick.major.size": 0,
}  # fmt: skip


def figures(report: ReportData) -> dict[str, str]:
    """SVG of each figure there is something to show in: "f1", "calibration", "loss", "dev_f1", "mix"."""
    drawings: dict[str, tuple[float, Callable[[Any], None]]] = {}
    if n_types := len(report.test.intervals.types):
        drawings["f1"] = 0.7 + 0.26 * (n_types + 1), lambda axes: _f1(axes, report)
    if report.test.calibration.bins:
        drawings["calibration"] = 2.8, lambda axes: _calibration(axes, report)
    epochs = report.training.epochs if report.training else ()
    if epochs:
        drawings["loss"] = 2.2, lambda axes: _loss(axes, epochs)
        drawings["dev_f1"] = 2.2, lambda axes: _dev_f1(axes, epochs)
    if report.training and (mix := report.training.mix):
        drawings["mix"] = 0.7 + 0.32 * len(mix.layers), lambda axes: _mix(axes, mix)
    return {name: _drawn(name, height, draw) for name, (height, draw) in drawings.items()}


def learning_curve(path: Path, sentences: Sequence[int], f1: Sequence[float]) -> None:
    """Draws test F1 over the number of training sentences, as a PNG."""
    from matplotlib.figure import Figure

    figure = Figure((6, 4), layout="constrained")
    axes = figure.add_subplot()
    axes.plot(sentences, [100 * score for score in f1], marker="o")
    axes.set(xlabel="training sentences", ylabel="test F1, strict")
    axes.set_xlim(left=0)
    axes.grid(alpha=0.3)
    with whole_file(path) as partial:
        figure.savefig(partial, format="png", dpi=120)


def _f1(axes: Any, report: ReportData) -> None:
    scores, intervals = report.test.scores, report.test.intervals
    rows = [(kind, score.f1, intervals.types[kind].f1) for kind, (score, _) in scores.types.items()]
    rows = [("all", scores.strict.f1, intervals.micro.f1), *reversed(rows)]
    for height, (_, f1, (low, high)) in enumerate(rows):
        colour = TWO if height == 0 else ONE
        axes.plot([100 * low, 100 * high], [height, height], color=colour, linewidth=2, solid_capstyle="round", alpha=0.55)
        axes.plot([100 * f1], [height], "o", color=colour, markersize=5)
    axes.set_yticks(range(len(rows)), [kind for kind, _, _ in rows])
    axes.set_ylim(-0.6, len(rows) - 0.4)
    axes.set_xlim(-2, 102)
    axes.set_xlabel("F1, strict")
    axes.grid(visible=False, axis="y")


def _calibration(axes: Any, report: ReportData) -> None:
    bins = report.test.calibration.bins
    most = max(found.count for found in bins)
    axes.plot([0, 1], [0, 1], color=FAINT, linewidth=0.8, linestyle=(0, (4, 3)))
    axes.plot([found.confidence for found in bins], [found.accuracy for found in bins], color=ONE, linewidth=1.2)
    for found in bins:  # the area of a dot is its share of the entities
        size = 3 + 9 * (found.count / most) ** 0.5
        axes.plot([found.confidence], [found.accuracy], "o", color=ONE, markersize=size)
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.03, 1.05), xlabel="confidence of the model", ylabel="share that is right")


def _loss(axes: Any, epochs: Sequence[EpochRow]) -> None:
    _curve(axes, epochs, [epoch.loss for epoch in epochs], "training loss")
    axes.set_ylim(bottom=0)


def _dev_f1(axes: Any, epochs: Sequence[EpochRow]) -> None:
    _curve(axes, epochs, [100 * epoch.f1 for epoch in epochs], "dev F1")
    for epoch in [epoch for epoch in epochs if epoch.best][-1:]:
        axes.plot([epoch.number], [100 * epoch.f1], "o", color=TWO, markersize=6)


def _curve(axes: Any, epochs: Sequence[EpochRow], values: Sequence[float], label: str) -> None:
    axes.plot([epoch.number for epoch in epochs], values, color=ONE, marker="o", markersize=3)
    axes.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
    axes.set(xlabel="epoch", ylabel=label)


def _mix(axes: Any, mix: Mix) -> None:
    places = list(range(len(mix.layers)))[::-1]
    axes.barh(places, mix.weights, color=ONE, height=0.55)
    for place, weight in zip(places, mix.weights, strict=True):
        axes.text(weight + 0.01, place, f"{weight:.3f}", va="center")
    axes.set_yticks(places, ["tokens" if layer == 0 else f"layer {layer}" for layer in mix.layers])
    axes.set_xlim(0, max(mix.weights) * 1.2)
    axes.set_xlabel("share of the mix")
    axes.grid(visible=False, axis="y")


def _drawn(name: str, height: float, draw: Callable[[Any], None]) -> str:
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(_STYLE | {"svg.hashsalt": name}):  # type: ignore[arg-type]
        figure = Figure((_WIDTH, height), layout="constrained")
        draw(figure.add_subplot())
        stream = io.StringIO()
        without = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        figure.savefig(stream, format="svg", transparent=True, metadata=without)
    return _for_a_page(stream.getvalue(), name)


def _for_a_page(svg: str, name: str) -> str:
    """From `<svg` on, without its own style; ids are the figure's own, colours the page's, the font is inherited."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<defs>\s*<style.*?</style>\s*</defs>", "", svg, flags=re.DOTALL)
    svg = re.sub(r' font-family: [^;"]*;?', "", svg)
    svg = re.sub(r'id="([^"]+)"', rf'id="{name}-\1"', svg)
    svg = re.sub(r'(href="#|url\(#)', rf"\1{name}-", svg)
    for placeholder, variable in _VARIABLE_OF.items():
        svg = svg.replace(placeholder, f"var({variable})")
    return svg.strip()
