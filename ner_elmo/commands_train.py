"""Training a tagger, as `python train_ner.py`, `train-ner` and `python -m ner_elmo train` run it.

Without arguments: the sample corpus and the small biLM that come with the project. One row an epoch on stderr; the report
on the test files and the model's path on stdout.
"""

from __future__ import annotations

import argparse
import itertools
import time
from dataclasses import asdict
from pathlib import Path

from rich.console import Console

from biLM.errors import InputError, run_command
from biLM.flags import add_flags, given
from biLM.published import go_offline, resolve
from biLM.startup import start_keras
from biLM.text import Tokenizer
from ner_elmo import report
from ner_elmo.config import TrainConfig
from ner_elmo.model_directory import claim, remember, write_runs
from ner_elmo.readers import FileRead, read_sentences

ABOUT = "Train a named-entity tagger on top of a biLM (ELMo). Points are of dev F1, with that option alone changed."


def add(commands) -> None:
    command = commands.add_parser(
        "train", help="train a tagger; without options on the sample that comes along", description=ABOUT
    )
    _add_options(command)
    command.set_defaults(run=lambda args: main(_config(args)))


def parser() -> argparse.ArgumentParser:
    own = argparse.ArgumentParser(description=ABOUT)
    _add_options(own)
    return own


def parse(arguments: list[str] | None = None) -> TrainConfig:
    return _config(parser().parse_args(arguments))


def _add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", metavar="FILE", help="JSON file of these options; a flag that is given wins over it")
    for name in ("train", "dev", "test"):
        parser.add_argument(
            f"--{name}",
            nargs="+",
            metavar="FILE",
            help=f"{TrainConfig.__dataclass_fields__[name].metadata['help']}; the sample's when none is given",
        )
    names = TrainConfig.__dataclass_fields__["gazetteer"].metadata["help"]
    parser.add_argument("--gazetteer", action="append", metavar="TYPE=FILE", help=names)
    add_flags(parser, TrainConfig, leave_out=("train", "dev", "test", "gazetteer"))


def _config(args: argparse.Namespace) -> TrainConfig:
    options = (TrainConfig.read(args.config) if args.config else {}) | given(args, TrainConfig)
    if "train" in options and (missing := [f"--{side}" for side in ("dev", "test") if side not in options]):
        raise InputError(
            f"where --train is given, --dev and --test must be, too. Missing: {', '.join(missing)}. "
            "`python -m ner_elmo split FILE --out DIR` makes the three of one file."
        )
    return TrainConfig.from_dict(options)


def main(config: TrainConfig) -> None:
    output = Path(config.output) if config.output else _new_place()
    with claim(output, config.overwrite):
        _train(config, output)


def _new_place() -> Path:
    """models/TIME; where a clock went back, or another run began in this second, models/TIME-2 and so on."""
    now = time.strftime("%Y%m%d-%H%M%S")
    names = itertools.chain([now], (f"{now}-{number}" for number in itertools.count(2)))
    return next(path for path in map(Path("models").joinpath, names) if not path.exists())


def _train(config: TrainConfig, output: Path) -> None:
    started = time.monotonic()
    console = Console(stderr=True, highlight=False, markup=False)
    out = Console(highlight=False, markup=False, width=100)
    read: list[FileRead] = []
    train, dev, test = (read_sentences(files, **config.reading, report=read.append) for files in config.files)
    Tokenizer(config.lang).sentences(" ")  # a language that has no tokenizer is said now, not by the model that is made
    report.data_summary(config.train, train, dev, test, console)
    for file in read:
        console.print(str(file), soft_wrap=True)
    if config.offline:
        go_offline()
    resolve(config.elmo)  # downloads, or says why not, before anything slow

    start_keras()
    from ner_elmo import crf_baseline, experiment, search
    from ner_elmo.devices import find_devices
    from ner_elmo.elmo import ScalarMix
    from ner_elmo.reporting import data, figures, model_card, page

    find_devices(config)  # says what is missing before anything slow
    if config.baseline:
        crf_baseline.require_library()
    material = experiment.gather(config, train, dev, test, console)
    if config.tune:
        config = search.search(config, material, output.with_name(f"{output.name}.tune.jsonl"), console)
    best, results = experiment.run_seeds(config, material, console)
    experiment.save(output, best)
    remember(output)

    report.print_evaluation(best.evaluation, out)
    network = best.trained.tagger
    for mix in (network.elmo, network.output_elmo):
        if isinstance(mix, ScalarMix):
            out.print(report.mix_line(*mix.learned()))
    if len(results) > 1:
        report.print_results(results, out)
        out.print(report.seeds_line(results))
        write_runs(output, seeds=[asdict(result) for result in results])
    if config.learning_curve:
        curve = experiment.learning_curve(config, material, best, console)
        report.print_results(curve, out)
        if len(curve) == len(experiment.SHARES):  # it was not interrupted
            out.print(report.curve_line(curve), soft_wrap=True)
        write_runs(output, learning_curve=[asdict(result) for result in curve])
        figures.learning_curve(output / "learning_curve.png", *zip(*((r.sentences, r.test_f1) for r in curve), strict=True))
    if config.baseline:
        console.print("training the baseline")
        baseline = crf_baseline.score_baseline(train, test)
        out.print(report.baseline_line(baseline, best.evaluation.strict), soft_wrap=True)
        write_runs(output, baseline=asdict(baseline))
    whole = data.of_training(output, best.trained, (train, dev, test), best.judged, time.monotonic() - started)
    console.print(f"report: {page.write_reports(output / page.PAGE, whole)}", soft_wrap=True)
    model_card.write_card(output, whole)
    out.print(f"model: {output} ({time.monotonic() - started:.0f} s)", soft_wrap=True)


def script(name: str = "train-ner") -> int:
    """A command of its own. Returns the exit status."""
    return run_command(name, lambda: main(parse()))
