"""`python -m ner_elmo projector`: tokens' vectors for TensorBoard's projector, coloured by entity type."""

from __future__ import annotations

import argparse
from pathlib import Path

from biLM.errors import InputError
from biLM.startup import start_keras
from ner_elmo.model_directory import language_of
from ner_elmo.readers import read_sentences


def add(commands) -> None:
    projector = commands.add_parser(
        "projector",
        help="tokens' vectors for TensorBoard's projector, coloured by entity type",
        description="Writes vectors of annotated tokens as the tagger sees them, with their given and predicted types: "
        "`tensorboard --logdir DIR`, tab Projector, colour by type.",
    )
    projector.add_argument("model", type=Path, metavar="MODEL", help="model directory")
    projector.add_argument("files", nargs="+", metavar="FILE", help="annotated files")
    projector.add_argument("--out", type=Path, required=True, metavar="DIR", help="directory to write")
    projector.add_argument("--layer", type=int, metavar="K", help="of the biLM, 0: tokens; the learned mix when not given")
    projector.add_argument("--limit", type=int, default=300, metavar="N", help="tokens of each type at most. Default: 300.")
    projector.add_argument("--seed", type=int, default=0, metavar="N", help="of which tokens are drawn. Default: 0.")
    projector.set_defaults(run=_projector)


def _projector(args: argparse.Namespace) -> None:
    if args.limit < 1:
        raise InputError(f"--limit must be at least 1. Received: {args.limit}.")
    if args.seed < 0:
        raise InputError(f"--seed must be at least 0. Received: {args.seed}.")
    sentences = read_sentences(args.files, lang=language_of(args.model))
    start_keras()

    from biLM.exploration import write_projector
    from ner_elmo.predictor import Predictor
    from ner_elmo.projector import COLUMNS, choose, token_vectors

    rows, vectors = token_vectors(
        Predictor.load(args.model), sentences, choose(sentences, args.limit, args.seed), args.layer
    )
    write_projector(COLUMNS, rows, vectors, args.out)
    print(f"{args.out}: {len(rows):,} tokens, {vectors.shape[1]} dimensions")
