"""Training a tagger: sentences and a configuration in, the tagger of the best dev epoch out."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import keras
import numpy as np

from biLM import InputError
from biLM.batching import batches_by_length
from biLM.distribution import Placement
from ner_elmo.batching import Features, Prepared, Ragged, shuffled_batches
from ner_elmo.cache import Activations
from ner_elmo.config import TrainConfig
from ner_elmo.decoding import Scores, viterbi
from ner_elmo.devices import find_devices, training_step
from ner_elmo.entities import Span
from ner_elmo.metrics import Score, strict_score
from ner_elmo.readers import Sentence
from ner_elmo.tagger import Tagger, build_tagger


@dataclass(frozen=True)
class Epoch:
    """What one epoch brought: mean loss of a sentence in nats, dev score, seconds."""

    number: int
    loss: float
    dev: Score
    best: bool
    seconds: float

    @property
    def figures(self) -> dict[str, float]:
        """By the names that they have in history.csv and in TensorBoard."""
        return {
            "epoch": self.number, "loss": self.loss, "dev_precision": self.dev.precision, "dev_recall": self.dev.recall,
            "dev_f1": self.dev.f1, "best": int(self.best), "seconds": self.seconds,
        }  # fmt: skip


@dataclass
class Trained:
    """The tagger with the weights of its best epoch, what it reads, and how it went."""

    tagger: Tagger
    features: Features
    epochs: list[Epoch] = field(default_factory=list)
    interrupted: bool = False

    @property
    def best(self) -> Epoch:
        return [epoch for epoch in self.epochs if epoch.best][-1]


def train_tagger(
    config: TrainConfig,
    types: list[str],
    train: Sequence[Sentence],
    dev: Sequence[Sentence],
    features: Features,
    activations: tuple[Activations, Activations] | None = None,
    report: Callable[[Epoch], None] = lambda epoch: None,
    step: Callable[[int, int], None] = lambda done, total: None,
) -> Trained:
    """Trains with early stopping on dev F1.

    Arguments:
        features: what the tagger reads.
        activations: of train and dev, when the biLM is frozen; without them it runs in every epoch.
        report: called after each epoch; step: after each batch, with batches done and batches of the epoch.

    Ctrl-C ends the training and keeps the best epoch so far; before the first epoch's end it is passed on.
    """
    keras.utils.set_random_seed(config.seed)
    placement = find_devices(config)
    tagger = build_tagger(config, types, **features.sizes, bilm=features.bilm if features.fine_tuned else None)
    prepared = [
        Prepared(features, [sentence.tokens for sentence in side], ready.batch if ready else None, placement.n_devices)
        for side, ready in zip((train, dev), activations or (None, None), strict=True)
    ]
    with placement.scope():
        learner = _learner(tagger, config, types, features, placement)
        optimizer = _optimizer(config, learner, prepared[0].lengths)
        optimizer.build(learner.trainable_variables)  # inside a step TensorFlow would trace it twice to make the slots
        learner.compile(optimizer, jit_compile=learner.jit_compile)
    trained = Trained(tagger, features)
    best_weights: list[np.ndarray] | None = None
    try:
        for epoch, weights in _epochs(config, (learner, tagger), placement, train, dev, prepared, step):
            trained.epochs.append(epoch)
            best_weights = weights or best_weights
            report(epoch)
    except KeyboardInterrupt:
        if best_weights is None:
            raise
        trained.interrupted = True
    tagger.set_weights(best_weights)
    tagger.optimizer = None  # Keras would write its slots, twice the weights, into every file of them
    if config.train_bilm:
        trained.tagger, trained.features = _frozen(tagger, config, types, features), replace(features, fine_tuned=False)
    return trained


def _learner(tagger: Tagger, config: TrainConfig, types: list[str], features: Features, placement: Placement) -> Tagger:
    """What takes the steps: the tagger itself, or a copy whose weights lie on all devices. The tagger stays on one: it is
    what is measured, kept and used."""
    if placement.distribution is None:
        return tagger
    bilm = type(features.bilm).from_config(features.bilm.get_config()) if features.bilm and features.fine_tuned else None
    learner = build_tagger(config, types, **features.sizes, bilm=bilm)
    learner.set_weights(tagger.get_weights())
    return learner


def _optimizer(config: TrainConfig, tagger: Tagger, lengths: np.ndarray) -> keras.optimizers.Optimizer:
    """Adam for the tagger, and another with a learning rate of its own for a biLM that is fine-tuned."""
    an_epoch = len(shuffled_batches(lengths, config.batch_of(len(lengths)), np.random.default_rng(0), config.batch_tokens))
    adam = _adam(config, config.learning_rate, config.epochs * an_epoch)
    if not config.train_bilm:
        return adam
    slow = _adam(config, config.bilm_learning_rate, config.epochs * an_epoch)
    in_bilm = {variable.path for variable in tagger.elmo.bilm.trainable_variables}
    return keras.optimizers.MultiOptimizer(lambda variable: slow if variable.path in in_bilm else adam)


def _adam(config: TrainConfig, learning_rate: float, n_steps: int) -> keras.optimizers.Optimizer:
    """Adam with a warm-up and a fall along a cosine to the last step, and an average of the weights where one is wanted."""
    falling = {"initial_learning_rate": learning_rate}
    if config.warmup_steps:
        falling = {"initial_learning_rate": 0.0, "warmup_target": learning_rate, "warmup_steps": config.warmup_steps}
    schedule = keras.optimizers.schedules.CosineDecay(decay_steps=max(1, n_steps - config.warmup_steps), **falling)
    average = {"use_ema": True, "ema_momentum": config.ema} if config.ema else {}
    return keras.optimizers.Adam(schedule, global_clipnorm=config.clip_norm, **average)


@contextmanager
def _averaged(tagger: Tagger, config: TrainConfig) -> Iterator[None]:
    """Puts the average of the weights into the tagger, where there is one, and takes it out again."""
    if not config.ema:
        yield
        return
    swap = keras.callbacks.SwapEMAWeights()
    swap.set_model(tagger)
    swap.on_test_begin()
    try:
        yield
    finally:
        swap.on_test_end()


def _epochs(config, taggers, placement, train, dev, prepared, step):
    """Yields each epoch, and its weights where it is the best so far, else None."""
    learner, tagger = taggers
    train_inputs, dev_inputs = prepared
    rng = np.random.default_rng(config.seed)
    lengths = train_inputs.lengths
    tags = [tagger.head.tag_set.encode(sentence.spans, len(sentence.tokens)) for sentence in train]
    targets = Ragged(np.concatenate(tags), lengths)
    take_step = training_step(learner, lambda chosen: (train_inputs.batch(chosen), targets.batch(chosen)), placement)
    best, best_number = -1.0, 0
    for number in range(1, config.epochs + 1):
        start, losses = time.monotonic(), []
        order = shuffled_batches(lengths, config.batch_of(len(lengths)), rng, config.batch_tokens)
        for done, positions in enumerate(order, 1):
            loss = take_step(positions)
            if not np.isfinite(loss):
                raise _not_finite("loss is", number, done, [train[position].where for position in positions])
            losses.append(len(positions) * loss)
            step(done, len(order))
        loss = float(np.sum(losses)) / len(train)
        with _averaged(learner, config):
            if learner is not tagger:
                tagger.set_weights(learner.get_weights())
            if not all(np.isfinite(weight).all() for weight in tagger.get_weights()):
                raise _not_finite("weights are", number, done, [train[position].where for position in positions])
            score = dev_score(tagger, dev, dev_inputs)
            is_best = score.f1 > best or score.f1 == best == 0  # none is better than another: the last, which learned most
            weights = tagger.get_weights() if is_best else None
        if is_best:
            best, best_number = score.f1, number
        yield Epoch(number, loss, score, is_best, time.monotonic() - start), weights
        if best > 0 and number - best_number >= config.patience:
            return


def _not_finite(what: str, epoch: int, batch: int, places: list[str]) -> InputError:
    """What is read is finite (the biLM, word vectors and the cache see to that): the steps before were too large."""
    return InputError(
        f"the {what} not finite in epoch {epoch}, batch {batch}: {len(places)} sentences (the first: {places[0]}). "
        "Lower --learning-rate or --clip-norm."
    )


def dev_score(tagger: Tagger, sentences: Sequence[Sentence], inputs: Prepared) -> Score:
    """Strict micro score of sentences, from ready inputs."""
    scores = Scores(*tagger.head.scores())
    predicted: list[tuple[Span, ...]] = [()] * len(sentences)
    for positions in batches_by_length(inputs.lengths, 64):
        lengths = inputs.lengths[positions]
        emissions = tagger.predict_on_batch(inputs.batch(positions))
        for position, tags, length in zip(positions, viterbi(emissions, lengths, scores), lengths, strict=True):
            predicted[position] = tagger.head.tag_set.decode(tags[:length])
    return strict_score([sentence.spans for sentence in sentences], predicted, inputs.lengths.tolist())


def _frozen(tuned: Tagger, config: TrainConfig, types: list[str], features: Features) -> Tagger:
    """The same tagger over ready activations: what a fine-tuned one becomes once its biLM no longer changes."""
    tagger = build_tagger(config, types, **features.sizes)
    for own, mix in zip((tagger.elmo, tagger.output_elmo), tuned.elmo.mixes, strict=False):
        own.set_weights(mix.get_weights())
    for part in ("token_embedding", "network", "emitter", "head"):
        if getattr(tagger, part) is not None:
            getattr(tagger, part).set_weights(getattr(tuned, part).get_weights())
    return tagger
