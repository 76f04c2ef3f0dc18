"""Tagging text, as `python predict.py`, `predict-ner` and `python -m ner_elmo predict` do it.

A line of a text file is a text, and so is a row of CSV and JSON Lines; results come in the order of the input, read and
written as a stream.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from biLM.errors import InputError, run_command
from biLM.progress import progress
from biLM.published import go_offline, resolve
from biLM.startup import start_keras
from biLM.text import require_characters
from ner_elmo.inputs import INPUTS, STYLES, Item, count_items, read_items
from ner_elmo.model_directory import describe, last_model

if TYPE_CHECKING:
    from ner_elmo.output import Result

ABOUT = "Tag text with a trained model."


def add(commands) -> None:
    command = commands.add_parser(
        "predict", help="tag text: lines, rows, files, directories, standard input", description=ABOUT
    )
    _add_options(command)
    command.set_defaults(run=main)


def parser() -> argparse.ArgumentParser:
    own = argparse.ArgumentParser(description=ABOUT)
    _add_options(own)
    return own


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    return parser().parse_args(arguments)


def _add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "files",
        nargs="*",
        metavar="FILE",
        help="text files (a text a line), CSV and JSON Lines (a text a row), annotated files, directories of such, packed "
        "or not; standard input when neither FILE nor --text is given",
    )
    parser.add_argument("--text", nargs="+", metavar="TEXT", help="texts themselves")
    parser.add_argument("--model", metavar="DIR", help="model directory; the one trained last when not given")
    parser.add_argument("--elmo", metavar="WEIGHTS", help="run the tagger on another biLM of the same width and depth")
    parser.add_argument("--offline", action="store_true", help="download nothing, whatever --elmo names")
    parser.add_argument("--tokenized", action="store_true", help="a line is one sentence, its tokens stand between blanks")
    parser.add_argument("--field", metavar="NAME", help="key or column of the text in rows. Default: text and the like.")
    parser.add_argument(
        "--from", dest="read_format", choices=INPUTS, default=INPUTS[0], metavar="NAME",
        help=f"what FILEs are: {', '.join(INPUTS)}. Default: by their names.",
    )  # fmt: skip
    parser.add_argument(
        "--format", choices=STYLES, default=STYLES[0],
        help="text marks entities in it, in colour at a terminal; html is a page; doccano and labelstudio are tasks to "
        "correct there. Default: text.",
    )  # fmt: skip
    parser.add_argument(
        "--min-confidence", type=float, default=0.0, metavar="X", help="leave out entities below. Default: 0."
    )
    parser.add_argument(
        "--min-precision", type=float, metavar="X",
        help="leave out entities below the confidence from which on dev entities had this precision",
    )  # fmt: skip
    parser.add_argument(
        "--n-best",
        type=int,
        default=0,
        metavar="N",
        help="with --format jsonl: the N most probable taggings of each sentence too",
    )
    parser.add_argument(
        "--rank-by-doubt", action="store_true",
        help="the text with the least confident entity first, texts without entities last; reads all input before it writes",
    )  # fmt: skip


def _check(args: argparse.Namespace) -> None:
    if not 0 <= args.min_confidence <= 1:
        raise InputError(f"--min-confidence must be from 0 to 1. Received: {args.min_confidence}.")
    if args.min_precision is not None and not 0 < args.min_precision <= 1:
        raise InputError(f"--min-precision must be above 0 and at most 1. Received: {args.min_precision}.")
    if args.n_best < 0 or (args.n_best and args.format != "jsonl"):
        raise InputError(
            f"--n-best must be at least 0, and goes with --format jsonl. Received: {args.n_best}, {args.format}."
        )


def main(args: argparse.Namespace) -> None:
    _check(args)
    model = args.model or last_model()
    describe(Path(model))
    items = [Item(text) for text in args.text or ()]
    for item in items:
        require_characters(item.text, "--text")
    read = read_items(args.files, args.field, args.read_format) if args.files or not items else ()
    if args.offline:
        go_offline()
    if args.elmo:
        resolve(args.elmo)
    start_keras()

    from ner_elmo import output
    from ner_elmo.predictor import Predictor

    tagger = Predictor.load(model, args.elmo)
    threshold = tagger.confidence.threshold(args.min_precision) if args.min_precision else None
    lowest = max(args.min_confidence, threshold.confidence if threshold else 0.0)
    found = output.results(tagger, chain(items, read), args.tokenized, lowest, args.n_best)
    if not sys.stdout.isatty():  # there the results themselves show it
        found = watched(found, count_items(args.files, args.read_format), len(items))
    if threshold:
        found = output.counted(found, threshold, args.min_precision, lowest)
    if args.rank_by_doubt:
        print("note: --rank-by-doubt reads the whole input before it writes", file=sys.stderr)
        found = iter(output.ranked(found))
    output.put(found, args.format, tagger.tag_set.types, sys.stdout)


def watched(found: Iterable[Result], in_files: int | None, others: int) -> Iterator[Result]:
    """Passes results on and shows on stderr how many of all there were. in_files: texts in files, None if unknown."""
    total = None if in_files is None else in_files + others
    with progress("tagging") as report:
        for result in found:
            report(result.number, total)
            yield result


def script(name: str = "predict-ner") -> int:
    """A command of its own. Returns the exit status."""
    return run_command(name, lambda: main(parse()))
