"""`python -m ner_elmo evaluate`: scores of models on annotated files."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path

from rich.console import Console

from biLM.startup import start_keras
from ner_elmo.model_directory import describe
from ner_elmo.readers import FileRead, read_sentences
from ner_elmo.reading_flags import add_reading_flags, reading


def add(commands) -> None:
    evaluate = commands.add_parser("evaluate", help="precision, recall and F1 of a model on annotated files")
    evaluate.add_argument("model", type=Path, metavar="MODEL", help="model directory")
    evaluate.add_argument("files", nargs="+", metavar="FILE", help="annotated files")
    evaluate.add_argument("--elmo", metavar="WEIGHTS", help="run the tagger on another biLM of the same width")
    evaluate.add_argument("--json", action="store_true", help="one JSON line")
    add_reading_flags(evaluate)
    evaluate.set_defaults(run=_evaluate)


def _evaluate(args: argparse.Namespace) -> None:
    files: list[FileRead] = []
    lang = describe(args.model)["config"].get("lang", "en")
    sentences = read_sentences(args.files, lang=lang, **reading(args), report=files.append)
    for file in files:
        print(file, file=sys.stderr)
    start_keras()
    from ner_elmo.metrics import evaluate
    from ner_elmo.predictor import NerTagger
    from ner_elmo.report import print_evaluation

    tokens = [sentence.tokens for sentence in sentences]
    predicted = NerTagger.load(args.model, args.elmo).tag_sentences(tokens)
    spans = [[span for span, _ in entities] for entities in predicted]
    found = evaluate([sentence.spans for sentence in sentences], spans, list(map(len, tokens)))
    if args.json:
        print(json.dumps(asdict(found)))
    else:
        print_evaluation(found, Console(highlight=False, markup=False, width=100))
