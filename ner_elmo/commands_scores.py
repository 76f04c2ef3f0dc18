"""`python -m ner_elmo evaluate | compare`: scores of models on annotated files."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from rich.console import Console

from biLM.errors import InputError
from biLM.progress import progress
from biLM.startup import start_keras
from ner_elmo.config import TrainConfig
from ner_elmo.entities import Span
from ner_elmo.metrics import evaluate
from ner_elmo.model_directory import describe, language_of
from ner_elmo.readers import Sentence, read_sentences
from ner_elmo.reading_flags import add_reading_flags, reading
from ner_elmo.report import print_evaluation
from ner_elmo.significance import ROUNDS, compare


def add(commands) -> None:
    scores = commands.add_parser("evaluate", help="precision, recall and F1 of a model on annotated files")
    scores.add_argument("model", type=Path, metavar="MODEL", help="model directory")
    scores.add_argument("files", nargs="+", metavar="FILE", help="annotated files")
    scores.add_argument("--elmo", metavar="WEIGHTS", help="run the tagger on another biLM of the same width and depth")
    scores.add_argument("--json", action="store_true", help="one JSON line")
    add_reading_flags(scores)
    scores.set_defaults(run=_evaluate)
    luck = commands.add_parser("compare", help="is model B better than model A, or was it luck?")
    luck.add_argument("a", type=Path, metavar="A", help="model directory")
    luck.add_argument("b", type=Path, metavar="B", help="model directory")
    luck.add_argument(
        "files", nargs="*", metavar="FILE",
        help="annotated files that neither was trained on; the test files that both were scored on when not given",
    )  # fmt: skip
    luck.add_argument("--rounds", type=int, default=ROUNDS, metavar="N", help=f"of randomisation. Default: {ROUNDS:,}.")
    luck.add_argument("--json", action="store_true", help="one JSON line")
    add_reading_flags(luck)
    luck.set_defaults(run=_compare)


def _evaluate(args: argparse.Namespace) -> None:
    sentences = _read(args, args.model)
    (spans,) = _predict([args.model], sentences, args.elmo)
    found = evaluate([sentence.spans for sentence in sentences], spans, [len(sentence.tokens) for sentence in sentences])
    if args.json:
        print(json.dumps(asdict(found)))
    else:
        print_evaluation(found, Console(highlight=False, markup=False, width=100))


def _compare(args: argparse.Namespace) -> None:
    if args.rounds < 1:
        raise InputError(f"--rounds must be at least 1. Received: {args.rounds}.")
    sentences = _read(args, args.a) if args.files else _test_sentences(args.a, args.b)
    a, b = _predict([args.a, args.b], sentences)
    found = compare([sentence.spans for sentence in sentences], a, b, args.rounds)
    if args.json:
        print(json.dumps(asdict(found)))
        return
    print(f"A {100 * found.a_f1:.2f}  {args.a}\nB {100 * found.b_f1:.2f}  {args.b}")
    print(f"B - A {100 * found.difference:+.2f} F1, p = {found.p:.4f} (paired approximate randomisation,", end=" ")
    print(f"{found.rounds:,} rounds over {found.sentences:,} sentences)")


def _read(args: argparse.Namespace, model: Path) -> list[Sentence]:
    """The annotated files, raw text in them split as the model splits it."""
    return read_sentences(
        args.files, lang=language_of(model), **reading(args), report=lambda file: print(file, file=sys.stderr)
    )


def _test_sentences(a: Path, b: Path) -> list[Sentence]:
    """The test files that both models were scored on."""
    files, others = (describe(model)["config"].get("test") for model in (a, b))
    if not files or files != others:
        raise InputError(
            "compare needs FILE, for these models were not scored on the same test files. Received: "
            f"{a}, scored on {_named(files)}, and {b}, on {_named(others)}."
        )
    return read_sentences(files, **TrainConfig.from_dict(describe(a)["config"], str(a)).reading)


def _named(files: Sequence[str] | None) -> str:
    return ", ".join(files or ()) or "none"


def _predict(models: Sequence[Path], sentences: Sequence[Sentence], elmo: str | None = None) -> list[list[list[Span]]]:
    """Spans of the sentences, as each model sees them."""
    for model in models:
        describe(model)
    start_keras()
    from ner_elmo.predictor import Predictor

    tokens = [sentence.tokens for sentence in sentences]
    found = []
    for model in models:
        with progress("tagging") as report:
            predicted = Predictor.load(model, elmo).tag_sentences(tokens, report)
        found.append([[span for span, _ in entities] for entities in predicted])
    return found
