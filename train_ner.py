"""Trains a named-entity tagger on a biLM: `python train_ner.py [--elmo WEIGHTS] [--train FILE --dev FILE --test FILE]`.

Without arguments: the sample corpus and the small biLM that come with the project. One row an epoch on stderr; the report
on the test files and the model's path on stdout.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

from biLM.errors import InputError, run_command
from biLM.flags import add_flags, given
from ner_elmo.config import NO_ELMO, TrainConfig

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


def parse(arguments: list[str] | None = None) -> TrainConfig:
    parser = argparse.ArgumentParser(description="Train a named-entity tagger on top of a biLM (ELMo).")
    parser.add_argument(
        "--config", metavar="FILE", help="JSON file of these options; a flag that is given wins over it"
    )
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
    from rich.console import Console

    from biLM import load_bilm
    from ner_elmo import bundle, cache, report
    from ner_elmo.elmo import ScalarMix
    from ner_elmo.metrics import evaluate
    from ner_elmo.predictor import NerTagger
    from ner_elmo.readers import read_sentences, types_of
    from ner_elmo.training import train_tagger

    started = time.monotonic()
    console, out = Console(stderr=True, highlight=False), Console(highlight=False, width=100)
    output = Path(config.output or f"models/{time.strftime('%Y%m%d-%H%M%S')}")
    bundle.check_output(output, config.overwrite)

    train, dev, test = (read_sentences(files, config.tag_scheme) for files in (config.train, config.dev, config.test))
    types = types_of(train)
    if not types:
        raise InputError(f"{', '.join(config.train)}: must hold at least one entity. Received: none.")
    for name, sentences in (("dev", dev), ("test", test)):
        if unknown := sorted(set(types_of(sentences)) - set(types)):
            console.print(
                f"note: {name} holds types that training never saw, all of them will be missed: {', '.join(unknown)}"
            )
    console.print(
        f"{len(train):,} training, {len(dev):,} dev and {len(test):,} test sentences; types: {', '.join(types)}"
    )

    bilm = activations = None
    if config.elmo != NO_ELMO:
        bilm = load_bilm(config.elmo, config.elmo_options, initial_state=config.initial_state)
        if not config.train_bilm:
            directory = Path(config.cache_dir or cache.default_directory()) if config.cache else None
            with report.progress("embedding", console) as step:
                sides = ([s.tokens for s in side] for side in (train, dev))
                activations = tuple(cache.compute_activations(bilm, side, directory, step) for side in sides)

    with report.progress("training", console) as step:
        table = report.EpochTable(config.epochs, console)
        trained = train_tagger(config, types, train, dev, bilm, activations, table, step)
    if trained.interrupted:
        console.print("interrupted: going on with the best epoch so far")

    tagger = NerTagger(trained.tagger, trained.source)
    predicted = [[span for span, _ in spans] for spans in tagger.tag_sentences([s.tokens for s in test])]
    evaluation = evaluate([s.spans for s in test], predicted, [len(s.tokens) for s in test])
    report.print_evaluation(evaluation, out)
    if isinstance(trained.tagger.representation, ScalarMix):
        out.print(report.mix_line(*trained.tagger.representation.learned()))
    scores = {"dev_f1": max(epoch.dev.f1 for epoch in trained.epochs), "test_f1": evaluation.strict.f1}
    details = {"scores": scores, "signature": evaluation.signature, "lang": tagger.tokenizer.lang}
    bundle.save_model(output, trained.tagger, trained.source, config, details, config.include_bilm)
    bundle.remember(output)
    out.print(f"model: {output} ({time.monotonic() - started:.0f} s)", soft_wrap=True)


if __name__ == "__main__":
    sys.exit(run_command("train_ner.py", lambda: main(parse())))
