"""A report as a page: `report.html`, one file without anything from elsewhere, beside its numbers in `report.json`."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

from biLM.files import whole_file
from ner_elmo.reporting.data import ReportData, write_report
from ner_elmo.reporting.figures import figures
from ner_elmo.reporting.mistakes import Mistake

PAGE = "report.html"
_WAYS = {
    "strict": "borders and type",
    "exact": "borders, whatever the type",
    "partial": "any overlap counts half, whatever the type",
    "ent_type": "any overlap, and the type",
}
_NAMES = {
    "missed": "missed",
    "spurious": "spurious",
    "type": "wrong type",
    "borders": "wrong borders",
    "type and borders": "wrong type and borders",
}


def write_reports(path: Path, report: ReportData) -> Path:
    """Writes a page, and its numbers as JSON under the same name beside it; both are there in the end, or neither."""
    with whole_file(path.with_suffix(".json")) as numbers, whole_file(path) as partial:
        write_report(numbers, report)
        partial.write_text(page(report), encoding="utf-8")
    return path


def write_page(path: Path, report: ReportData) -> Path:
    """Writes the page alone; it is whole, or not there."""
    text = page(report)
    with whole_file(path) as partial:
        partial.write_text(text, encoding="utf-8")
    return path


def page(report: ReportData) -> str:
    """The HTML of a report. Whatever stands in the data is shown as text."""
    kinds: dict[str, set[str]] = defaultdict(set)
    for file in report.data:
        kinds[file.role].update(file.entities)
    most = max((count for row in report.test.confusion.counts for count in row), default=1)
    return template("report.html.jinja").render(
        report=report,
        config={name: value if isinstance(value, str) else json.dumps(value) for name, value in report.config.items()},
        figures=figures(report),
        types=sorted({kind for file in report.data for kind in file.entities}),
        unlearnable=[
            (file, unknown)
            for file in report.data
            if "train" in kinds and (unknown := sorted(file.entities.keys() - kinds["train"]))
        ],
        undecided={"train", "dev"} <= kinds.keys() and kinds["train"].isdisjoint(kinds["dev"]),
        n_sentences=sum(file.sentences for file in report.data if file.role == "test"),
        hashes=report.weights | {file.path: file.sha256 or "not a single file" for file in report.data},
        ways=_WAYS,
        names=_NAMES,
        segments=segments,
        shade=lambda count: f"{0.04 + 0.55 * math.sqrt(count / most):.2f}",
    )


def template(name: str) -> Any:
    """A template of this package. HTML is escaped; a name that is missing is an error."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("ner_elmo.reporting"),
        autoescape=name.endswith(".html.jinja"),
        undefined=StrictUndefined,
        trim_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"percent": percent, "short": short}
    return environment.get_template(name)


def percent(share: float, digits: int = 2) -> str:
    """`percent(0.8694) == "86.94"`."""
    return f"{100 * share:.{digits}f}"


def short(path: str) -> str:
    """A path's file and the folder it lies in: what tells files apart to a reader."""
    return "/".join(Path(path).parts[-2:])


def segments(mistake: Mistake) -> Iterator[tuple[str, bool, bool]]:
    """Stretches of the context, each with whether gold and whether the prediction covers it."""

    def covered(position: int) -> tuple[bool, bool]:
        spans = (mistake.gold, mistake.predicted)
        gold, predicted = (span is not None and span.start <= position < span.end for span in spans)
        return gold, predicted

    for (gold, predicted), positions in groupby(range(len(mistake.tokens)), covered):
        yield " ".join(mistake.tokens[position] for position in positions), gold, predicted
