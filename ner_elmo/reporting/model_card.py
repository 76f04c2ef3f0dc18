"""The model card: README.md in the model directory, in Hugging Face's form: YAML front matter, then prose and tables."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from biLM.files import whole_file
from ner_elmo.config import BUNDLED_BILM, NO_ELMO
from ner_elmo.metrics import Score
from ner_elmo.reporting.data import ReportData
from ner_elmo.reporting.intervals import Interval, ScoreIntervals
from ner_elmo.reporting.page import percent, short, template
from ner_elmo.word_vectors import WORD_VECTORS

CARD = "README.md"
# said elsewhere in the card, or of the machine it was trained on
_ELSEWHERE = ("train", "dev", "test", "output", "overwrite", "license", "dataset", "elmo", "elmo_options", "cache_dir")


def write_card(directory: Path, report: ReportData) -> None:
    """Writes the card into a model directory; it is whole, or not there."""
    with whole_file(directory / CARD) as partial:
        partial.write_text(card(report), encoding="utf-8")


def card(report: ReportData) -> str:
    """The card of a trained model."""
    import srsly

    config, tests = report.config, [file for file in report.data if file.role == "test"]
    *confused, spurious = report.test.confusion.counts
    return template("README.md.jinja").render(
        report=report,
        front_matter=srsly.yaml_dumps(front_matter(report)),
        micro=report.test.scores.strict,
        types=sorted({_cell(kind) for file in report.data if file.role == "train" for kind in file.entities}),
        ways=_reads(report),
        head="a CRF" if config["head"] == "crf" else "a softmax",
        test_files=", ".join(f"`{short(file.path)}`" for file in tests),
        n_sentences=sum(file.sentences for file in tests),
        n_missed=sum(row[-1] for row in confused),
        n_spurious=sum(spurious),
        bundled=config["elmo"] == str(BUNDLED_BILM),
        config=json.dumps({k: v for k, v in config.items() if k not in _ELSEWHERE}, ensure_ascii=False),
        versions=", ".join(f"{name} {number}" for name, number in report.versions.items()),
        row=_row,
        cell=_cell,
    )


def front_matter(report: ReportData) -> dict[str, Any]:
    """What Hugging Face reads: language, licence if there is one, tags, metrics, and the scores as a model index."""
    name = dataset_name(report)
    micro = report.test.scores.strict
    scores = {"precision": micro.precision, "recall": micro.recall, "f1": micro.f1}
    result = {
        "task": {"type": "token-classification", "name": "Named Entity Recognition"},
        "dataset": {"name": name, "type": re.sub(r"[^\w.-]+", "-", name).strip("-") or "data", "split": "test"},
        "metrics": [
            {"type": kind, "name": f"{kind}, entity level, strict", "value": round(x, 4)} for kind, x in scores.items()
        ],
    }
    matter: dict[str, Any] = {"language": [report.config["lang"]]}
    if report.config.get("license"):
        matter["license"] = report.config["license"]
    return matter | {
        "library_name": "ner-elmo",
        "pipeline_tag": "token-classification",
        "tags": [
            "named-entity-recognition",
            "token-classification",
            *([] if report.config["elmo"] == NO_ELMO else ["elmo"]),
        ],
        "metrics": list(scores),
        "model-index": [{"name": report.model, "results": [result]}],
    }


def dataset_name(report: ReportData) -> str:
    """The name given to the data, or that of the test file's folder."""
    if report.config.get("dataset"):
        return str(report.config["dataset"])
    path = next((Path(file.path) for file in report.data if file.role == "test"), Path("data"))
    return path.absolute().parent.name or path.stem


def _reads(report: ReportData) -> str:
    config = report.config
    parts = {
        "a scalar mix of the layers of a biLM (ELMo)": config["elmo"] != NO_ELMO,
        "learned word and character vectors": config["token_vectors"],
        "ready word vectors": WORD_VECTORS in report.weights,
        "a vector of the casing": config["casing"],
        "lists of known names": config["gazetteer"],
    }
    return ", ".join(part for part, is_read in parts.items() if is_read)


def _row(name: str, score: Score, interval: ScoreIntervals) -> str:
    values = ((score.precision, interval.precision), (score.recall, interval.recall), (score.f1, interval.f1))
    return f"| {name} | {' | '.join(_with(*value) for value in values)} | {score.support} |"


def _with(share: float, interval: Interval) -> str:
    return f"{percent(share)} ({percent(interval[0], 1)}–{percent(interval[1], 1)})"


def _cell(text: str) -> str:
    """Text for a cell of a Markdown table."""
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;")
