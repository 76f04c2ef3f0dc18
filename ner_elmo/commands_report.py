"""`python -m ner_elmo report`: the one-page report of a model, again or on other files."""

from __future__ import annotations

import argparse
from pathlib import Path

from biLM.errors import InputError
from biLM.progress import progress
from biLM.startup import start_keras
from ner_elmo.model_directory import describe, language_of
from ner_elmo.readers import read_sentences


def add(commands) -> None:
    report = commands.add_parser(
        "report",
        help="the one-page report of a model, made again or on other files",
        description="Makes report.html again from report.json, without the model; with --test, measures the model first.",
    )
    report.add_argument("model", type=Path, metavar="MODEL", help="model directory")
    report.add_argument("--test", nargs="+", metavar="FILE", help="annotated files to measure the model on")
    report.add_argument(
        "--out",
        type=Path,
        metavar="FILE",
        help="the page; with --test its numbers go beside it, as JSON. Default: MODEL/report.html, with --test "
        "MODEL/report-NAME.html, NAME from the first file.",
    )
    report.set_defaults(run=_report)


def _report(args: argparse.Namespace) -> None:
    describe(args.model)
    from ner_elmo.reporting.data import REPORT, read_report
    from ner_elmo.reporting.page import PAGE, write_page, write_reports

    if not args.test:
        print(write_page(args.out or args.model / PAGE, read_report(args.model / REPORT)))
        return
    if args.out and args.out.suffix == ".json":
        raise InputError(f"--out {args.out}: is where the numbers go; the page needs another ending, such as .html.")
    page = args.out or args.model / f"report-{Path(args.test[0]).name.partition('.')[0]}.html"
    report = _measured(args.model, args.test)
    print(write_reports(page, report))


def _measured(model: Path, files: list[str]):
    sentences = read_sentences(files, lang=language_of(model))
    start_keras()
    from ner_elmo.predictor import Predictor
    from ner_elmo.reporting.data import of_model
    from ner_elmo.reporting.judged import judge

    with progress("tagging") as report:
        return of_model(model, judge(Predictor.load(model), sentences, report))
