"""python -m biLM train | perplexity | dump"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

from biLM.errors import InputError, run_command
from biLM.flags import add_flags, from_mapping, given, option
from biLM.options import BiLMOptions, CharCNNOptions, LSTMOptions
from biLM.presets import PRESETS
from biLM.progress import progress
from biLM.startup import start_keras
from biLM.training_options import TrainingOptions


@dataclasses.dataclass(frozen=True)
class _TopLevel:
    """Keys of options.json that stand outside its sections and shape the network."""

    bidirectional: bool = option(True, "both directions, or the forward one alone")
    dropout: float = option(0.1, "on the input of each LSTM layer and before the softmax, in training")


def parser() -> argparse.ArgumentParser:
    main = argparse.ArgumentParser(
        prog="python -m biLM", description="Train, measure and run bidirectional language models."
    )
    commands = main.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_train(commands.add_parser("train", help="train a biLM on tokenised text, a sentence a line"))
    perplexity = commands.add_parser("perplexity", help="held-out perplexity, full softmax, every prediction counted")
    perplexity.add_argument("directory", type=Path, metavar="DIR", help="what `train` wrote")
    perplexity.add_argument("files", nargs="+", metavar="FILE", help="tokenised text, plain, .gz or .xz")
    perplexity.add_argument(
        "--batch-size",
        type=int,
        default=64,
        metavar="N",
        help="sentences of a batch; the result is the same. Default: 64.",
    )
    perplexity.add_argument("--json", action="store_true", help="one JSON line")
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
    return main


def _add_train(train: argparse.ArgumentParser) -> None:
    train.add_argument(
        "--train",
        nargs="+",
        required=True,
        metavar="GLOB",
        help="training shards: tokenised text, a sentence a line, plain, .gz or .xz",
    )
    train.add_argument("--heldout", nargs="+", metavar="GLOB", help="text whose perplexity is measured at the end")
    train.add_argument("--out", type=Path, required=True, metavar="DIR", help="directory to write")
    train.add_argument("--vocab", type=Path, metavar="FILE", help="vocabulary; counted from the shards when not given")
    train.add_argument("--vocab-size", type=int, metavar="N", help="most words of a counted vocabulary; all when not given")
    train.add_argument(
        "--preset",
        choices=list(PRESETS),
        default="small",
        help="shape that the flags below start from. Default: small.",
    )
    add_flags(train.add_argument_group("training"), TrainingOptions)
    shape = train.add_argument_group("shape, as in options.json")
    add_flags(shape, _TopLevel)
    add_flags(shape, LSTMOptions, "lstm", show_default=False)
    add_flags(shape, CharCNNOptions, "char_cnn", show_default=False)


def _train(args: argparse.Namespace) -> None:
    from biLM.corpus import find_files

    options = BiLMOptions.from_dict(_overlay(PRESETS[args.preset], args))
    training = from_mapping(TrainingOptions, given(args, TrainingOptions), "train")
    paths = find_files(args.train)
    heldout = find_files(args.heldout) if args.heldout else []

    start_keras()

    from biLM.training import heldout_perplexity, train
    from biLM.vocabulary import Vocabulary

    vocabulary = Vocabulary.read(args.vocab) if args.vocab else None
    train(options, training, paths, args.out, vocabulary, args.vocab_size, report=_print_progress)
    print(f"{args.out}/weights.hdf5")
    if heldout:
        with progress("perplexity") as report:
            result = heldout_perplexity(args.out, heldout, report=report)
        _print_perplexity(result, as_json=False)


def _overlay(preset: dict[str, Any], args: argparse.Namespace) -> dict[str, Any]:
    """A preset's dictionary with the flags that were given."""
    char_cnn = given(args, CharCNNOptions, "char_cnn")
    if "embedding_dim" in char_cnn:
        char_cnn["embedding"] = {"dim": char_cnn.pop("embedding_dim")}
    return {
        "lstm": preset["lstm"] | given(args, LSTMOptions, "lstm"),
        "char_cnn": preset["char_cnn"] | char_cnn,
        **given(args, _TopLevel),
    }


def _print_progress(progress) -> None:
    left = (progress.n_steps - progress.step) * progress.tokens / progress.step / max(1.0, progress.tokens_per_second)
    print(
        f"step {progress.step:,}/{progress.n_steps:,}  {progress.tokens:,} tokens  sampled loss {progress.loss:.3f}  "
        f"{progress.tokens_per_second:,.0f} tokens/s  {timedelta(seconds=round(left))} left",
        file=sys.stderr, flush=True,
    )  # fmt: skip


def _perplexity(args: argparse.Namespace) -> None:
    from biLM.corpus import find_files

    paths = find_files(args.files)
    start_keras()

    from biLM.training import heldout_perplexity

    with progress("perplexity") as report:
        result = heldout_perplexity(args.directory, paths, args.batch_size, report)
    _print_perplexity(result, args.json)


def _print_perplexity(result, as_json: bool) -> None:
    if as_json:
        print(json.dumps(dataclasses.asdict(result)))
        return
    for name, value in dataclasses.asdict(result).items():
        print(f"{name:20} {value}")


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


def main() -> None:
    args = parser().parse_args()
    command = {"train": _train, "perplexity": _perplexity, "dump": _dump}[args.command]
    sys.exit(run_command(f"biLM {args.command}", lambda: command(args)))


if __name__ == "__main__":
    main()
