"""Trains a named-entity tagger on a biLM: `python train_ner.py [--elmo WEIGHTS] [--train FILE --dev FILE --test FILE]`.

Without arguments: the sample corpus and the small biLM that come with the project. One row an epoch on stderr; the report
on the test files and the model's path on stdout.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from rich.console import Console

from biLM.errors import run_command
from biLM.flags import add_flags, given
from biLM.progress import progress
from biLM.published import go_offline, resolve
from biLM.startup import start_keras
from ner_elmo import report
from ner_elmo.config import NO_ELMO, TrainConfig
from ner_elmo.metrics import evaluate
from ner_elmo.model_directory import check_output, remember, write_scores
from ner_elmo.readers import read_sentences, types_of


def parse(arguments: list[str] | None = None) -> TrainConfig:
    parser = argparse.ArgumentParser(description="Train a named-entity tagger on top of a biLM (ELMo).")
    parser.add_argument("--config", metavar="FILE", help="JSON file of these options; a flag that is given wins over it")
    for name in ("train", "dev", "test"):
        parser.add_argument(
            f"--{name}",
            nargs="+",
            metavar="FILE",
            help=f"{TrainConfig.__dataclass_fields__[name].metadata['help']}; the sample's when not given",
        )
    add_flags(parser, TrainConfig, leave_out=("train", "dev", "test"))
    args = parser.parse_args(arguments)
    return TrainConfig.from_dict((TrainConfig.read(args.config) if args.config else {}) | given(args, TrainConfig))


def main(config: TrainConfig) -> None:
    started = time.monotonic()
    console = Console(stderr=True, highlight=False, markup=False)
    out = Console(highlight=False, markup=False, width=100)
    output = Path(config.output or f"models/{time.strftime('%Y%m%d-%H%M%S')}")
    check_output(output, config.overwrite)
    train, dev, test = (read_sentences(files, config.tag_scheme) for files in (config.train, config.dev, config.test))
    types = types_of(train)
    report.data_summary(config.train, train, dev, test, console)
    if config.offline:
        go_offline()
    resolve(config.elmo)  # downloads, or says why not, before anything slow

    start_keras()
    from biLM import load_bilm
    from ner_elmo import bundle, cache
    from ner_elmo.elmo import ScalarMix
    from ner_elmo.predictor import NerTagger
    from ner_elmo.training import train_tagger

    bilm = activations = None
    if config.elmo != NO_ELMO:
        bilm = load_bilm(config.elmo, config.elmo_options, initial_state=config.initial_state, top_layer=config.top_layer)
        if config.cache and not config.train_bilm:
            kept = cache.Cache(Path(config.cache_dir or cache.default_directory()), int(config.cache_size * 1e9))
            with progress("embedding", console) as step:
                sides = ([sentence.tokens for sentence in side] for side in (train, dev))
                activations = tuple(kept.activations(bilm, side, step) for side in sides)
            report.cache_summary(kept.directory, [side.found for side in activations], console)

    with progress("training", console) as step:
        table = report.EpochTable(config.epochs, console)
        trained = train_tagger(config, types, train, dev, bilm, activations, table, step)
    if trained.interrupted:
        console.print("interrupted: going on with the best epoch so far")
    bundle.save_model(output, trained.tagger, trained.features, config, {"dev_f1": trained.best.dev.f1})
    remember(output)

    predicted = NerTagger(trained.tagger, trained.features).tag_sentences([sentence.tokens for sentence in test])
    spans = [[span for span, _ in entities] for entities in predicted]
    evaluation = evaluate([sentence.spans for sentence in test], spans, [len(sentence.tokens) for sentence in test])
    write_scores(output, evaluation)
    report.print_evaluation(evaluation, out)
    if isinstance(trained.tagger.elmo, ScalarMix):
        out.print(report.mix_line(*trained.tagger.elmo.learned()))
    out.print(f"model: {output} ({time.monotonic() - started:.0f} s)", soft_wrap=True)


if __name__ == "__main__":
    sys.exit(run_command("train_ner.py", lambda: main(parse())))
