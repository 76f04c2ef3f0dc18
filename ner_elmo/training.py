"""Training a tagger: sentences and a configuration in, the tagger of the best dev epoch out."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import keras
import numpy as np

from biLM import BiLM, InputError
from biLM.batching import batches_by_length
from ner_elmo.batching import Features, Prepared, Ragged, Words, shuffled_batches
from ner_elmo.cache import Activations
from ner_elmo.config import TrainConfig
from ner_elmo.decoding import Scores, viterbi
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
    bilm: BiLM | None = None,
    activations: tuple[Activations, Activations] | None = None,
    report: Callable[[Epoch], None] = lambda epoch: None,
    step: Callable[[int, int], None] = lambda done, total: None,
) -> Trained:
    """Trains with early stopping on dev F1.

    Arguments:
        bilm: None for a tagger without ELMo.
        activations: of train and dev, when the biLM is frozen.
        report: called after each epoch; step: after each batch, with batches done and batches of the epoch.

    Ctrl-C ends the training and keeps the best epoch so far; before the first epoch's end it is passed on.
    """
    keras.utils.set_random_seed(config.seed)
    words = Words.of([sentence.tokens for sentence in train]) if config.token_vectors else None
    features = Features(bilm, words, config.train_bilm)
    tagger = build_tagger(config, types, **features.sizes, bilm=bilm if config.train_bilm else None)
    prepared = [
        Prepared(features, [sentence.tokens for sentence in side], ready.batch if ready else None)
        for side, ready in zip((train, dev), activations or (None, None), strict=True)
    ]
    n_steps = config.epochs * -(-len(train) // config.batch_size)
    schedule = keras.optimizers.schedules.CosineDecay(config.learning_rate, n_steps)
    tagger.compile(keras.optimizers.Adam(schedule, global_clipnorm=config.clip_norm), jit_compile=tagger.jit_compile)
    trained = Trained(tagger, features)
    best_weights: list[np.ndarray] | None = None
    try:
        for epoch in _epochs(config, tagger, train, dev, prepared, step):
            trained.epochs.append(epoch)
            if epoch.best:
                best_weights = tagger.get_weights()
            report(epoch)
    except KeyboardInterrupt:
        if best_weights is None:
            raise
        trained.interrupted = True
    tagger.set_weights(best_weights)
    if config.train_bilm:
        trained.tagger, trained.features = _frozen(tagger, config, types, features), replace(features, fine_tuned=False)
    return trained


def _epochs(config, tagger, train, dev, prepared, step):
    train_inputs, dev_inputs = prepared
    rng = np.random.default_rng(config.seed)
    lengths = train_inputs.lengths
    tags = [tagger.head.tag_set.encode(sentence.spans, len(sentence.tokens)) for sentence in train]
    targets = Ragged(np.concatenate(tags), lengths)
    best, best_number = -1.0, 0
    for number in range(1, config.epochs + 1):
        start, losses = time.monotonic(), []
        order = list(shuffled_batches(lengths, config.batch_size, rng))
        for done, positions in enumerate(order, 1):
            loss = tagger.train_on_batch(train_inputs.batch(positions), targets.batch(positions))
            losses.append(len(positions) * loss)
            step(done, len(order))
        loss = float(np.sum(losses)) / len(train)
        if not np.isfinite(loss):
            raise InputError(f"the loss is not finite in epoch {number}. Lower --learning-rate.")
        score = dev_score(tagger, dev, dev_inputs)
        is_best = score.f1 > best
        if is_best:
            best, best_number = score.f1, number
        yield Epoch(number, loss, score, is_best, time.monotonic() - start)
        if best > 0 and number - best_number >= config.patience:
            return


def dev_score(tagger: Tagger, sentences: Sequence[Sentence], inputs: Prepared, batch_size: int = 64) -> Score:
    """Strict micro score of sentences, from ready inputs."""
    scores = Scores(*tagger.head.scores())
    predicted: list[tuple[Span, ...]] = [()] * len(sentences)
    for positions in batches_by_length(inputs.lengths, batch_size):
        lengths = inputs.lengths[positions]
        emissions = tagger.predict_on_batch(inputs.batch(positions))
        for position, tags, length in zip(positions, viterbi(emissions, lengths, scores), lengths, strict=True):
            predicted[position] = tagger.head.tag_set.decode(tags[:length])
    return strict_score([sentence.spans for sentence in sentences], predicted, inputs.lengths.tolist())


def _frozen(tuned: Tagger, config: TrainConfig, types: list[str], features: Features) -> Tagger:
    """The same tagger over ready activations: what a fine-tuned one becomes once its biLM no longer changes."""
    tagger = build_tagger(config, types, **features.sizes)
    tagger.elmo.set_weights(tuned.elmo.mixes[0].get_weights())
    for part in ("token_embedding", "network", "emitter", "head"):
        if getattr(tagger, part) is not None:
            getattr(tagger, part).set_weights(getattr(tuned, part).get_weights())
    return tagger
