"""One training and its test score, and what is made of several: seeds, and the learning curve.

What runs share (sentences, biLM, its activations, word vectors, lists of names) is gathered once, as `Material`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from rich.console import Console

from biLM import BiLM, load_bilm
from biLM.files import whole_directory
from biLM.history import tensorboard
from biLM.progress import progress
from biLM.text import Tokenizer
from ner_elmo import report
from ner_elmo.batching import Features
from ner_elmo.bundle import write_model
from ner_elmo.cache import Activations, Cache
from ner_elmo.confidence import learn_confidence
from ner_elmo.config import NO_ELMO, TrainConfig
from ner_elmo.gazetteers import Gazetteers, read_gazetteers
from ner_elmo.metrics import Evaluation, RunScore
from ner_elmo.model_directory import write_history, write_scores
from ner_elmo.predictor import Predictor
from ner_elmo.readers import Sentence, types_of
from ner_elmo.reporting.judged import Judged, evaluation_of, judge
from ner_elmo.training import Epoch, Trained, train_tagger
from ner_elmo.word_vectors import WordVectors, read_word_vectors

SHARES = (0.1, 0.25, 0.5, 1.0)  # of the training sentences, in a learning curve


@dataclass(frozen=True)
class Material:
    """What one or several trainings read. activations: of train and dev, where the biLM is frozen and cached."""

    train: Sequence[Sentence]
    dev: Sequence[Sentence]
    test: Sequence[Sentence]
    types: list[str]
    bilm: BiLM | None = None
    word_vectors: WordVectors | None = None
    gazetteers: Gazetteers | None = None
    activations: tuple[Activations, Activations] | None = None

    def part(self, share: float, seed: int) -> Material:
        """A share of the training sentences, drawn at random; a smaller share is a part of a larger one of its seed."""
        order = np.random.default_rng([seed, 4]).permutation(len(self.train))
        chosen = sorted(order[: max(1, round(share * len(order)))].tolist())
        activations = self.activations and (self.activations[0].part(chosen), self.activations[1])
        return replace(self, train=[self.train[place] for place in chosen], activations=activations)


@dataclass(frozen=True)
class Outcome:
    """A trained tagger, ready to tag, and its scores on test."""

    config: TrainConfig
    trained: Trained
    tagger: Predictor
    judged: list[Judged]  # the test sentences
    evaluation: Evaluation

    @property
    def dev_f1(self) -> float:
        return self.trained.best.dev.f1


def gather(
    config: TrainConfig, train: Sequence[Sentence], dev: Sequence[Sentence], test: Sequence[Sentence], console: Console
) -> Material:
    """Loads what a configuration names, and runs a frozen biLM over train and dev, or finds that in the cache."""
    material = Material(train, dev, test, types_of(train))
    if config.gazetteer:
        material = replace(material, gazetteers=read_gazetteers(config.gazetteer, config.lang))
    if path := config.word_vectors_path:
        with progress("word vectors", console) as step:
            vectors = read_word_vectors(path, config.word_vectors_max, step)
        report.word_vectors_summary(vectors, train, dev, console)
        material = replace(material, word_vectors=vectors)
    bilm = load(config)
    if bilm is None:
        return material
    if config.train_bilm or not config.cache:
        return replace(material, bilm=bilm)
    cache = Cache.of(config)
    with progress("embedding training", console) as step:
        of_train = cache.activations(bilm, [one.tokens for one in train], step)
    with progress("embedding dev", console) as step:
        of_dev = cache.activations(bilm, [one.tokens for one in dev], step)
    report.cache_summary(cache.directory, [of_train.found, of_dev.found], console)
    return replace(material, bilm=bilm, activations=(of_train, of_dev))


def fit(
    config: TrainConfig, material: Material, console: Console, watch: Callable[[Epoch], None] | None = None
) -> tuple[Trained, Predictor]:
    """Trains a tagger, and learns on dev what its confidence is worth. watch: gets each epoch in place of the table."""
    features = Features.of(
        config, [sentence.tokens for sentence in material.train], material.bilm, material.word_vectors, material.gazetteers
    )
    show = watch or report.EpochTable(config.epochs, console)
    events = Path(config.tensorboard) if config.tensorboard else None
    ended = 0
    with progress("epoch", console, lines=lambda: not ended) as step, tensorboard(events) as board:  # then the table tells

        def each(epoch: Epoch) -> None:
            nonlocal ended
            ended = epoch.number
            board(epoch.number, epoch.figures)
            show(epoch)

        trained = train_tagger(
            config, material.types, material.train, material.dev, features, material.activations, each, step
        )
    if trained.interrupted:
        console.print("interrupted: going on with the best epoch so far")
    tagger = Predictor(trained.tagger, trained.features, Tokenizer(config.lang))
    with progress("tagging dev", console) as step:
        found = tagger.tag_sentences([sentence.tokens for sentence in material.dev], step)
    tagger.confidence = learn_confidence([sentence.spans for sentence in material.dev], found)
    return trained, tagger


def run(config: TrainConfig, material: Material, console: Console) -> Outcome:
    """Trains a tagger, and scores it on test."""
    trained, tagger = fit(config, material, console)
    with progress("tagging test", console) as step:
        judged = judge(tagger, material.test, step)
    return Outcome(config, trained, tagger, judged, evaluation_of(judged))


def run_seeds(config: TrainConfig, material: Material, console: Console) -> tuple[Outcome, list[RunScore]]:
    """Trains with `config.seeds` seeds, from `config.seed` on; returns the outcome that is best on dev, and all results."""
    best: Outcome | None = None
    results = []
    for seed in range(config.seed, config.seed + config.seeds):
        if config.seeds > 1:
            console.print(f"seed {seed}")
        own = material if seed == config.seed else unchanged(config, material)
        try:
            outcome = run(replace(own_events(config, f"seed-{seed}"), seed=seed), own, console)
        except KeyboardInterrupt:  # before its first epoch ended: what the seeds before it brought is kept
            if best is None:
                raise
            break
        results.append(RunScore(f"seed {seed}", outcome.dev_f1, outcome.evaluation.strict.f1))
        if best is None or outcome.dev_f1 > best.dev_f1:
            best = outcome
        if outcome.trained.interrupted:
            break
    assert best is not None
    return best, results


def own_events(config: TrainConfig, name: str) -> TrainConfig:
    """The configuration with a directory of its own for TensorBoard, where it has one."""
    return replace(config, tensorboard=str(Path(config.tensorboard) / name)) if config.tensorboard else config


def save(output: Path, outcome: Outcome) -> None:
    """Writes the model directory of an outcome, with its scores, in place of what is there, whole or not at all."""
    trained, details = outcome.trained, {"dev_f1": outcome.dev_f1}
    with whole_directory(output, replace=True) as partial:
        write_model(partial, trained.tagger, trained.features, outcome.config, details, outcome.tagger.confidence)
        write_scores(partial, outcome.evaluation)
        write_history(partial, [epoch.figures for epoch in trained.epochs])


def learning_curve(config: TrainConfig, material: Material, full: Outcome, console: Console) -> list[RunScore]:
    """Scores with 10, 25, 50 and 100 % of the labels; the last is the training that was done already."""
    results = []
    for share in SHARES[:-1]:
        part = unchanged(config, material).part(share, config.seed)
        console.print(f"learning curve: {share:.0%} of the training sentences, {len(part.train):,}")
        outcome = run(replace(full.config, tensorboard=None), part, console)
        results.append(RunScore(f"{share:.0%}", outcome.dev_f1, outcome.evaluation.strict.f1, len(part.train)))
        if outcome.trained.interrupted:
            break
    return [*results, RunScore("100%", full.dev_f1, full.evaluation.strict.f1, len(material.train))]


def unchanged(config: TrainConfig, material: Material) -> Material:
    """The material as it was before a run: a biLM that was fine-tuned is loaded again."""
    if not config.train_bilm:
        return material
    return replace(material, bilm=load(config))


def load(config: TrainConfig) -> BiLM | None:
    """The biLM that a configuration names; None without ELMo."""
    if config.elmo == NO_ELMO:
        return None
    return load_bilm(
        config.elmo, config.elmo_options, initial_state=config.initial_state, top_layer=config.top_layer,
        offline=config.offline or None,
    )  # fmt: skip
