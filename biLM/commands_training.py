"""`python -m biLM train | tune | perplexity`: making biLMs, and how well they foresee text."""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from biLM.errors import EXIT_FAILED, InputError
from biLM.files import alone
from biLM.flags import add_flags, from_mapping, given, option
from biLM.group import Group
from biLM.options import BiLMOptions, CharCNNOptions, LSTMOptions
from biLM.presets import PRESETS
from biLM.progress import progress, show_training
from biLM.published import NAMES_HELP, TFHUB, go_offline, resolve
from biLM.startup import start_keras
from biLM.training_options import TrainingOptions


@dataclasses.dataclass(frozen=True)
class _TopLevel:
    """Keys of options.json that stand outside its sections and shape the network."""

    bidirectional: bool = option(True, "both directions, or the forward one alone")
    dropout: float = option(0.1, "on the input of each LSTM layer and before the softmax, in training")


_PLACEMENT = tuple(field.name for field in dataclasses.fields(Group))
_EXIT_LOST = 3  # of a child process: another process of the group is gone
_TUNING = {"optimizer": "adam", "learning_rate": 0.0005, "n_epochs": 2, "warmup_steps": 500}  # where `tune` differs


def add(commands) -> None:
    _add_train(commands.add_parser("train", help="train a biLM on tokenised text, a sentence a line"))
    _add_tune(commands.add_parser("tune", help="go on from weights that are there, on new text, with a new vocabulary"))
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
    perplexity.add_argument(
        "--initial-state", choices=("warm", "zero"), default="warm", help="what each sentence starts from. Default: warm."
    )
    perplexity.add_argument("--json", action="store_true", help="one JSON line")
    perplexity.set_defaults(run=_perplexity)


def _add_train(train: argparse.ArgumentParser) -> None:
    train.add_argument(
        "--train", nargs="+", metavar="GLOB", help="training shards: tokenised text, a sentence a line, plain, .gz or .xz"
    )
    train.add_argument("--heldout", nargs="+", metavar="GLOB", help="text whose perplexity is measured during and after")
    train.add_argument("--out", type=Path, metavar="DIR", help="directory of the new run")
    train.add_argument("--resume", type=Path, metavar="DIR", help="go on with the run in DIR; takes no other option")
    train.add_argument("--vocab", type=Path, metavar="FILE", help="vocabulary; counted from the shards when not given")
    train.add_argument("--vocab-size", type=int, metavar="N", help="most words of a counted vocabulary; all when not given")
    train.add_argument("--preset", choices=list(PRESETS), help="shape that the flags below start from. Default: small.")
    train.add_argument(
        "--no-char-cnn", action="store_true", default=None, help="word-id input: only words of the vocabulary are known"
    )
    together = train.add_argument_group(
        "several devices, processes or hosts (JAX backend; all processes must see the same DIR and shards)"
    )
    together.add_argument("--devices", type=int, metavar="N", help="of this process. Default: 1.")
    together.add_argument("--coordinator", metavar="HOST:PORT", help="where process 0 listens")
    together.add_argument("--process-count", type=int, metavar="N", help="processes in all. Default: 1.")
    together.add_argument("--process-index", type=int, metavar="I", help="of this process, from 0. Default: 0.")
    add_flags(train.add_argument_group("training"), TrainingOptions)
    shape = train.add_argument_group("shape, as in options.json")
    add_flags(shape, _TopLevel)
    add_flags(shape, LSTMOptions, "lstm", show_default=False)
    add_flags(shape, CharCNNOptions, "char_cnn", show_default=False)
    train.set_defaults(run=_train)


def _add_tune(tune: argparse.ArgumentParser) -> None:
    tune.add_argument("weights", metavar="WEIGHTS", help=f"weights.hdf5 or its directory; or {NAMES_HELP}")
    tune.add_argument("--offline", action="store_true", help="download nothing")
    tune.add_argument("--train", nargs="+", required=True, metavar="GLOB", help="training shards, as for `train`")
    tune.add_argument(
        "--heldout", nargs="+", required=True, metavar="GLOB", help="text whose perplexity is measured before and after"
    )
    tune.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="directory of the new run; `train --resume` goes on with it"
    )
    tune.add_argument("--vocab", type=Path, metavar="FILE", help="vocabulary; counted from the shards when not given")
    tune.add_argument("--vocab-size", type=int, metavar="N", help="most words of a counted vocabulary; all when not given")
    tune.add_argument("--dropout", type=float, metavar="X", help="in training; that of the weights' options when not given")
    add_flags(tune.add_argument_group("training"), TrainingOptions, defaults=_TUNING)
    tune.set_defaults(run=_tune)


def _train(args: argparse.Namespace) -> None:
    if args.resume:
        passed_over = ("resume", "command", "run", *_PLACEMENT)
        others = [name for name, value in vars(args).items() if value is not None and name not in passed_over]
        if others:
            raise InputError(f"--resume takes every option from the run. Received also: --{others[0].replace('_', '-')}.")
    else:
        for name in ("train", "out"):
            if not getattr(args, name):
                raise InputError(f"train: --{name} is needed for a new run, or --resume DIR to go on with one.")
    directory = args.resume or args.out
    group = Group(**given(args, Group))
    group.check(None if args.resume else args.batch_size or TrainingOptions.batch_size)
    with nullcontext() if args.process_index else alone(directory / "training.json"):
        if not (args.resume or args.process_index):
            _start_run(args)
        _train_in(directory, group)


def _train_in(directory: Path, group: Group) -> None:
    if not group.is_alone:
        _train_with_others(group, directory)
        return
    start_keras()

    from biLM.training import Training

    _go_on(Training(directory))


def _train_with_others(group: Group, directory: Path) -> None:
    if group.coordinator:
        print(f"waiting for {group.process_count} processes at {group.coordinator}", file=sys.stderr, flush=True)
        _work_in_a_child(directory)

    from biLM.distribution import connect, is_lost, wait_for_all

    try:
        placement = connect(group)
        start_keras()

        from biLM.training import Training

        wait_for_all("the run is made", placement)
        _go_on(Training(directory, placement=placement))
    except (RuntimeError, ValueError) as error:
        if not (group.coordinator and is_lost(error)):
            raise
        os._exit(_EXIT_LOST)  # an ordinary end would wait a minute for the lost process, and then abort


def _work_in_a_child(directory: Path) -> None:
    """Returns in a child process. This one waits for it, and says what happened when the runtime aborts it, as it does
    when another process of the group is lost."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(writing)
        threading.Thread(target=_end_with_the_parent, args=(reading,), daemon=True).start()
        return
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the child gets it too
    signal.signal(signal.SIGTERM, lambda number, frame: os.kill(child, number))
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if code < 0 and code != -signal.SIGABRT:  # by which JAX ends a process whose group is broken
        print(f"biLM train: error: this process was ended by signal {-code}.", file=sys.stderr)
        code = EXIT_FAILED
    elif code in (_EXIT_LOST, -signal.SIGABRT):
        print(
            "biLM train: error: another process is gone, or out of reach. Start all of them again with: "
            f"--resume {directory}", file=sys.stderr,
        )  # fmt: skip
        code = EXIT_FAILED
    sys.exit(code)


def _end_with_the_parent(pipe: int) -> None:
    os.read(pipe, 1)  # nothing is ever written: this returns when the parent is gone
    os._exit(_EXIT_LOST)


def _go_on(training) -> None:
    """Trains to the end and prints the held-out perplexity of the weights that were kept."""
    from biLM.trained import heldout_perplexity

    for notice in training.notices:
        print(notice, file=sys.stderr)
    if training.inputs.n_candidates < training.training.n_negative_samples_batch:
        print(f"the softmax is full: the vocabulary holds {training.inputs.n_candidates:,} words", file=sys.stderr)
    if not training.placement.is_first:
        training.go_on()
        return
    softmax = training.softmax.kernel.size + training.softmax.bias.size
    print(f"{training.model.bilm.n_parameters:,} parameters in the biLM, {softmax:,} in the softmax", file=sys.stderr)
    with show_training() as report, _stop_on_signals() as stop:
        training.go_on(report, stop)
    print(f"{training.directory}/weights.hdf5")
    if training.run.heldout:
        with progress("perplexity") as report:
            result = heldout_perplexity(training.directory, list(map(Path, training.run.heldout)), report=report)
        _print_perplexity(result, as_json=False)


def _tune(args: argparse.Namespace) -> None:
    training = tuning_options(given(args, TrainingOptions))
    text = _text(args)
    if args.offline:
        go_offline()
    if args.weights.startswith(TFHUB):
        raise InputError(f"tune needs weights. Received: {args.weights}.")
    weights = resolve(args.weights)
    start_keras()

    from biLM.tuning import start_tuning

    with alone(args.out / "training.json"):
        with progress("counting words") as report:
            run, carried = start_tuning(weights, training, text, args.out, args.dropout, report)
        _report_and_tune(run, carried, weights, text, training)


def tuning_options(asked: dict[str, Any]) -> TrainingOptions:
    """The options of `tune`: what was asked for, and its own defaults, of which the rate is Adam's."""
    training = from_mapping(TrainingOptions, _TUNING | asked, "tune")
    is_adams = training.optimizer == "adam" or "learning_rate" in asked
    return training if is_adams else dataclasses.replace(training, learning_rate=None)


def _report_and_tune(run, carried, weights: str | Path, text, training: TrainingOptions) -> None:
    from biLM.perplexity import perplexity
    from biLM.trained import watched

    if carried.shared:
        print(f"{carried.shared:,} words keep their softmax rows, {carried.new:,} are new", file=sys.stderr)
        run.prepare_to_evaluate()
        with progress("perplexity") as report:
            before = perplexity(run.reader, run.softmax, run.vocabulary, watched(text.heldout, report))
        print(f"{'before':20} {before.both}")
    else:
        print(
            f"no softmax beside {weights}: it is learned anew, the first {training.warmup_steps:,} steps alone "
            "(the row of history.csv there is the perplexity before)", file=sys.stderr,
        )  # fmt: skip
    _go_on(run)


def _start_run(args: argparse.Namespace) -> None:
    options = _overlay(PRESETS[args.preset or "small"], args)
    if args.no_char_cnn:
        if unused := given(args, CharCNNOptions, "char_cnn"):
            raise InputError(f"--no-char-cnn leaves no use for --char-cnn-{next(iter(unused)).replace('_', '-')}.")
        del options["char_cnn"]
        options["n_tokens_vocab"] = 1  # until the vocabulary is known
    training = from_mapping(TrainingOptions, given(args, TrainingOptions), "train")

    from biLM.run import start_run

    text = _text(args)
    with progress("counting words") as report:
        start_run(BiLMOptions.from_dict(options), training, text, args.out, report)


def _text(args: argparse.Namespace):
    from biLM.corpus import find_files
    from biLM.run import Text
    from biLM.vocabulary import Vocabulary

    vocabulary = Vocabulary.read(args.vocab) if args.vocab else None
    return Text(find_files(args.train), find_files(args.heldout or []), vocabulary, args.vocab_size)


@contextmanager
def _stop_on_signals() -> Iterator[Callable[[], str | None]]:
    """Gives a function that says whether SIGTERM or Ctrl-C came; a second Ctrl-C interrupts at once."""
    received: list[str] = []

    def remember(number: int, frame: object) -> None:
        received.append(signal.Signals(number).name)
        signal.signal(signal.SIGINT, signal.default_int_handler)

    before = {number: signal.signal(number, remember) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield lambda: f"{received[0]}: stopped" if received else None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


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


def _perplexity(args: argparse.Namespace) -> None:
    from biLM.corpus import find_files

    paths = find_files(args.files)
    start_keras()

    from biLM.trained import heldout_perplexity

    with progress("perplexity") as report:
        result = heldout_perplexity(args.directory, paths, args.batch_size, args.initial_state, report)
    _print_perplexity(result, args.json)


def _print_perplexity(result, as_json: bool) -> None:
    if as_json:
        print(json.dumps(dataclasses.asdict(result)))
        return
    for name, value in dataclasses.asdict(result).items():
        print(f"{name:20} {value}")
