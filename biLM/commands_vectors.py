"""`python -m biLM dump`: vectors of text."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from biLM.errors import InputError
from biLM.startup import start_keras


def add(commands) -> None:
    dump = commands.add_parser("dump", help="write activations to HDF5, as `allennlp elmo` does")
    dump.add_argument("weights", metavar="WEIGHTS", help="weights.hdf5 or its directory")
    dump.add_argument("text", type=Path, metavar="FILE", help="tokenised text, a sentence a line")
    dump.add_argument("target", type=Path, metavar="TARGET", help="HDF5 file to write")
    dump.add_argument("--options", metavar="FILE", help="options.json, found beside the weights when not given")
    dump.add_argument("--layers", choices=("all", "top", "average"), default="all", help="Default: all.")
    dump.add_argument("--batch-size", type=int, default=64, metavar="N", help="Default: 64.")
    dump.add_argument(
        "--initial-state",
        choices=("warm", "zero"),
        default="warm",
        help="what each sentence starts from. Default: warm.",
    )
    dump.add_argument("--stateful", action="store_true", help="carry the state from batch to batch, as the reference does")
    dump.add_argument("--no-sentence-to-index", action="store_true", help="leave the map from sentence to key out")
    dump.set_defaults(run=_dump)


def _dump(args: argparse.Namespace) -> None:
    if not args.text.is_file():
        raise InputError(f"{args.text}: no such file.")
    start_keras()

    from biLM.embed import dump
    from biLM.weights import load_bilm

    bilm = load_bilm(args.weights, args.options, initial_state=args.initial_state, stateful=args.stateful)
    if args.stateful:
        bilm.reset_states()
    n_sentences = dump(
        bilm, args.text, args.target, args.layers, args.batch_size, not args.no_sentence_to_index,
        report=lambda lines: print(f"{lines:,} lines", file=sys.stderr),
    )  # fmt: skip
    print(f"{args.target}: {n_sentences:,} sentences")
