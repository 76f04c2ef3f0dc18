"""`python -m biLM embed | dump-tokens | neighbours | picture | projector`: vectors of text."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from biLM.errors import InputError
from biLM.progress import progress
from biLM.published import NAMES_HELP, TFHUB, go_offline, resolve
from biLM.startup import start_keras


def add(commands) -> None:
    embed = commands.add_parser(
        "embed", aliases=["dump"], help="write activations to HDF5, as `allennlp elmo` does; keys are line numbers"
    )
    _add_bilm(embed)
    embed.add_argument("text", type=Path, metavar="FILE", help="tokenised text, a sentence a line")
    embed.add_argument("target", type=Path, metavar="TARGET", help="HDF5 file to write")
    embed.add_argument("--layers", choices=("all", "top", "average", "mix"), default="all", help="Default: all.")
    embed.add_argument("--mix", type=float, nargs="+", metavar="X", help="for --layers mix, the weight of each layer")
    embed.add_argument("--gamma", type=float, default=1.0, metavar="X", help="for --layers mix, its scale. Default: 1.")
    embed.add_argument(
        "--batch-size",
        type=int,
        metavar="N",
        help="about 64 N positions go together; with --stateful N sentences. Default: 64, stateless at least dim / 8.",
    )
    embed.add_argument("--stateful", action="store_true", help="carry the state from batch to batch, as the reference does")
    embed.add_argument("--no-sentence-to-index", action="store_true", help="leave the map from sentence to key out")
    embed.set_defaults(run=_embed)

    tokens = commands.add_parser("dump-tokens", help="write the context-free vectors of a vocabulary to HDF5")
    _add_bilm(tokens)
    tokens.add_argument("vocabulary", type=Path, metavar="VOCAB", help="a word a line, <S>, </S> and <UNK> first")
    tokens.add_argument("target", type=Path, metavar="TARGET", help="HDF5 file to write")
    tokens.set_defaults(run=_dump_tokens)

    near = commands.add_parser("neighbours", help="tokens of a text nearest, in context, to one of a sentence")
    _add_look(near)
    near.add_argument("--sentence", required=True, metavar="TEXT", help="a tokenised sentence")
    near.add_argument("--token", required=True, metavar="TEXT", help="the token of it that is asked for; the first such")
    near.add_argument("--n", type=int, default=10, metavar="N", help="how many. Default: 10.")
    near.set_defaults(run=_neighbours)

    picture = commands.add_parser("picture", help="words' vectors in context as a t-SNE picture")
    projector = commands.add_parser("projector", help="words' vectors in context for TensorBoard's projector")
    for command, target, what in ((picture, "FILE", "PNG to write"), (projector, "DIR", "directory to write")):
        _add_look(command)
        command.add_argument("--words", nargs="+", required=True, metavar="WORD", help="words, as they are written")
        command.add_argument("--limit", type=int, default=200, metavar="N", help="most of each word. Default: 200.")
        command.add_argument("--out", type=Path, required=True, metavar=target, help=what)
        command.set_defaults(run=_look)


def _add_bilm(command: argparse.ArgumentParser) -> None:
    command.add_argument("weights", metavar="WEIGHTS", help=f"weights.hdf5 or its directory; or {NAMES_HELP}")
    command.add_argument("--offline", action="store_true", help="download nothing")
    command.add_argument("--options", metavar="FILE", help="options.json, found beside the weights when not given")
    command.add_argument(
        "--initial-state", choices=("warm", "zero"), default="warm", help="what each sentence starts from. Default: warm."
    )


def _add_look(command: argparse.ArgumentParser) -> None:
    _add_bilm(command)
    command.add_argument("text", type=Path, metavar="FILE", help="tokenised text, a sentence a line")
    command.add_argument("--layer", type=int, default=-1, metavar="K", help="0: tokens; -1: the top. Default: -1.")


def _require_one(name: str, value: int) -> None:
    if value < 1:
        raise InputError(f"{name} must be at least 1. Received: {value}.")


def _load(args: argparse.Namespace, stateful: bool = False):
    for name in ("text", "vocabulary"):
        path = getattr(args, name, None)
        if path is not None and not path.is_file():
            raise InputError(f"{path}: no such file.")
    if args.offline:
        go_offline()
    resolve(args.weights)
    start_keras()

    from biLM.weights import load_bilm

    return load_bilm(args.weights, args.options, initial_state=args.initial_state, stateful=stateful)


def _embed(args: argparse.Namespace) -> None:
    if args.batch_size is not None:
        _require_one("--batch-size", args.batch_size)
    bilm = _load(args, args.stateful)

    from biLM.embed import Mix, dump

    with progress("embed") as report:
        n_sentences = dump(
            bilm, args.text, args.target, args.layers, Mix(tuple(args.mix), args.gamma) if args.mix else None,
            args.batch_size, not args.no_sentence_to_index, report,
        )  # fmt: skip
    print(f"{args.target}: {n_sentences:,} sentences")


def _dump_tokens(args: argparse.Namespace) -> None:
    if args.weights.startswith(TFHUB):
        raise InputError(f"dump-tokens needs weights. Received: {args.weights}.")
    bilm = _load(args)

    from biLM.embed import dump_tokens
    from biLM.vocabulary import Vocabulary

    vocabulary = Vocabulary.read(args.vocabulary)
    with progress("tokens") as report:
        dump_tokens(bilm, vocabulary, args.target, report)
    print(f"{args.target}: {len(vocabulary):,} words")


def _neighbours(args: argparse.Namespace) -> None:
    _require_one("--n", args.n)
    sentence = args.sentence.split()
    if args.token not in sentence:
        raise InputError(f"--token must be one of the sentence's: {args.sentence!r}. Received: {args.token!r}.")
    bilm = _load(args)

    from biLM.exploration import neighbours

    with progress("neighbours") as report:
        nearest = neighbours(bilm, args.text, sentence, sentence.index(args.token), args.layer, args.n, report)
    print("cosine      line  context", file=sys.stderr)
    for cosine, found in nearest:
        print(f"{cosine:6.3f}  {found.line:8}  {found.snippet}")


def _look(args: argparse.Namespace) -> None:
    _require_one("--limit", args.limit)
    bilm = _load(args)

    from biLM.exploration import collect, write_picture, write_projector

    with progress(args.command) as report:
        found, vectors = collect(bilm, args.text, args.words, args.layer, args.limit, report)
    if args.command == "picture":
        write_picture(found, vectors, args.out)
    else:
        rows = ((one.token, one.line, one.position, one.snippet) for one in found)
        write_projector(("token", "line", "position", "context"), rows, vectors, args.out)
    print(f"{args.out}: {len(found):,} occurrences, {vectors.shape[1]} dimensions")
