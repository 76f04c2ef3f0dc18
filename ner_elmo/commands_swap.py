"""`python -m ner_elmo swap`: another biLM under a trained tagger."""

from __future__ import annotations

import argparse
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console

from biLM.errors import InputError
from biLM.progress import progress
from biLM.startup import start_keras
from ner_elmo.config import TrainConfig
from ner_elmo.model_directory import DESCRIPTION, claim, describe
from ner_elmo.readers import Sentence, read_sentences


def add(commands) -> None:
    swap = commands.add_parser("swap", help="put another biLM under a tagger; F1 before and after")
    swap.add_argument("model", type=Path, metavar="MODEL", help="model directory; it stays as it is")
    swap.add_argument("--elmo", required=True, metavar="WEIGHTS", help="the other biLM")
    swap.add_argument("--dev", nargs="+", required=True, metavar="FILE", help="annotated files to measure on")
    swap.add_argument("--out", type=Path, metavar="DIR", help="new model directory, with the other biLM")
    swap.add_argument(
        "--retrain", action="store_true", help="train the tagger anew on the files it was trained on; needs --out"
    )
    swap.set_defaults(run=_swap)


def _swap(args: argparse.Namespace) -> None:
    description = describe(args.model)
    config = TrainConfig.from_dict(description["config"], str(args.model / DESCRIPTION))
    if description.get("bilm") is None:
        raise InputError(f"{args.model}: was trained without ELMo, so no biLM can be put into it.")
    if args.retrain and args.out is None:
        raise InputError("--retrain needs --out DIR, where the new model goes.")
    with claim(args.out, overwrite=False) if args.out is not None else nullcontext():
        _compare(args, description, config)


def _compare(args: argparse.Namespace, description: dict[str, Any], config: TrainConfig) -> None:
    """F1 with the model's own biLM and with the other; writes the model that was asked for."""
    dev = read_sentences(args.dev, **config.reading)
    start_keras()
    from biLM import load_bilm

    how: dict[str, Any] = {"initial_state": config.initial_state, "top_layer": config.top_layer}
    other, own = load_bilm(args.elmo, **how), description["bilm"]
    fits = (other.width, other.n_layers) == (own["width"], own["n_layers"])
    print(f"before  dev F1 {100 * _f1(args.model, None, dev):.2f}  width {own['width']}, {own['n_layers']} layers")
    if fits:
        print(f"swapped dev F1 {100 * _f1(args.model, other, dev):.2f}  width {other.width}, {other.n_layers} layers")
    elif not args.retrain:
        raise InputError(
            f"{args.elmo}: has width {other.width} and {other.n_layers} layers; mix, BiLSTM, emissions and CRF of "
            f"{args.model} were trained for width {own['width']} and {own['n_layers']} layers. Train them anew: "
            "--retrain --out DIR."
        )
    if args.retrain:
        _retrain(replace(config, elmo=args.elmo, elmo_options=None, output=str(args.out)), args.out)
    elif args.out is not None:
        _save(args, other, replace(config, elmo=args.elmo, elmo_options=None), dev)


def _f1(model: Path, elmo: Any, dev: list[Sentence]) -> float:
    from ner_elmo.metrics import strict_score
    from ner_elmo.predictor import Predictor

    tokens = [sentence.tokens for sentence in dev]
    with progress("tagging") as report:
        found = Predictor.load(model, elmo).tag_sentences(tokens, report)
    spans = [[span for span, _ in entities] for entities in found]
    return strict_score([sentence.spans for sentence in dev], spans, list(map(len, tokens))).f1


def _save(args: argparse.Namespace, other: Any, config: TrainConfig, dev: list[Sentence]) -> None:
    """The tagger as it is, over the other biLM; what its confidence is worth is learned again."""
    from ner_elmo.bundle import save_model
    from ner_elmo.confidence import AS_IT_IS, learn_confidence
    from ner_elmo.predictor import Predictor

    tagger = Predictor.load(args.model, other)
    tagger.confidence = AS_IT_IS
    with progress("tagging") as report:
        found = tagger.tag_sentences([sentence.tokens for sentence in dev], report)
    confidence = learn_confidence([sentence.spans for sentence in dev], found)
    save_model(args.out, tagger.tagger, tagger.features, config, {"swapped_from": str(args.model)}, confidence)
    print(f"model: {args.out}")


def _retrain(config: TrainConfig, output: Path) -> None:
    from ner_elmo import experiment

    console = Console(stderr=True, highlight=False, markup=False)
    train, dev, test = (read_sentences(files, **config.reading) for files in config.files)
    outcome = experiment.run(config, experiment.gather(config, train, dev, test, console), console)
    experiment.save(output, outcome)
    print(f"trained dev F1 {100 * outcome.dev_f1:.2f}, test F1 {100 * outcome.evaluation.strict.f1:.2f}")
    print(f"model: {output}")
