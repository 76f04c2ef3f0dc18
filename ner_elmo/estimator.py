"""`NerTagger`: a tagger with scikit-learn's habit, or one that a model directory holds."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from sklearn.base import BaseEstimator
from sklearn.exceptions import NotFittedError

from biLM import BiLM, InputError
from biLM.text import Tokenizer
from ner_elmo import experiment
from ner_elmo.bundle import load_model, save_model
from ner_elmo.confidence import Confidence
from ner_elmo.config import TrainConfig
from ner_elmo.entities import detect_scheme, spans_of, tags_of
from ner_elmo.metrics import strict_score
from ner_elmo.model_directory import claim
from ner_elmo.predictor import Predictor
from ner_elmo.readers import Sentence
from ner_elmo.training import Epoch

_ABOUT_FILES = {"train", "dev", "test", "format", "columns", "field", "output", "overwrite", "license", "dataset"}
_SEVERAL_RUNS = {"seeds", "learning_curve", "baseline", "tune", "tune_options"}
OPTIONS = {field.name: field.default for field in fields(TrainConfig) if field.name not in _ABOUT_FILES | _SEVERAL_RUNS}
_TRAINED = {"tagger", "features", "tokenizer", "confidence", "tag_set", "scores", "history_"}

Rows = Sequence[Sequence[str]]


def _with_options(init):
    """Gives a constructor the options as its signature: scikit-learn and `help` read them there."""
    own = [p for p in inspect.signature(init).parameters.values() if p.kind is not p.VAR_KEYWORD]
    options = [inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=value) for name, value in OPTIONS.items()]
    init.__signature__ = inspect.Signature([*own, *options])
    return init


class NerTagger(Predictor, BaseEstimator):
    """A named-entity tagger: `fit(X, y)`, `predict(X)` and `score(X, y)` as in scikit-learn, `tag(text)` for raw text.

    X is a list of tokenised sentences, y a list of their tags (IOB1, IOB2 or BIOES). The result for a sentence depends on
    the sentence alone. Threads may share a tagger; it is not pickled: `save` and `load` keep it.

    Arguments:
        validation_fraction: share of the training sentences that picks the best epoch, where `fit` gets no `dev`.
        verbose: whether `fit` shows its epochs, on stderr.
        **options: those of `TrainConfig` that are not about files, such as `elmo`, `epochs`, `seed`.

    Examples:
        tagger = NerTagger(elmo="mybilm", epochs=10).fit(X, y)
        cross_val_score(NerTagger(epochs=5), X, y, cv=3)    # strict entity F1 of each fold
        NerTagger.load("models/sample").tag("Text with names.")
    """

    @_with_options
    def __init__(self, *, validation_fraction: float = 0.1, verbose: bool = False, **options: Any):
        self.validation_fraction, self.verbose = validation_fraction, verbose
        if unknown := options.keys() - OPTIONS.keys():
            raise TypeError(f"NerTagger has no option {min(unknown)!r}: they are those of TrainConfig that name no files.")
        for name, value in (OPTIONS | options).items():
            setattr(self, name, value)

    def __getattr__(self, name: str) -> Any:
        if name in _TRAINED:
            raise NotFittedError("the tagger is not trained yet: call `fit`, or load a model, `NerTagger.load(DIR)`.")
        raise AttributeError(f"{type(self).__name__!r} has no attribute {name!r}")

    @classmethod
    def load(cls, directory: str | Path, elmo: str | Path | BiLM | None = None) -> NerTagger:
        """Loads a model directory; `elmo` puts another biLM of the same width in the place of its own."""
        tagger, features, config = load_model(Path(directory), elmo)
        loaded = cls(**{name: getattr(config, name) for name in OPTIONS})
        Predictor.__init__(loaded, tagger, features, Tokenizer(config.lang), Confidence.read(Path(directory)))
        loaded._config = config
        return loaded

    def save(self, directory: str | Path, overwrite: bool = False) -> None:
        """Writes a model directory, which `predict.py` and `NerTagger.load` read; it appears whole or not at all."""
        with claim(Path(directory), overwrite):
            save_model(Path(directory), self.tagger, self.features, self._config, {}, self.confidence)

    def fit(self, X: Rows, y: Rows, dev: tuple[Rows, Rows] | None = None) -> NerTagger:
        """Trains on tokenised sentences and their tags, with early stopping on `dev`, another such pair.

        `history_` holds the epochs afterwards. Raises InputError where X and y do not fit each other, and ValueError, of
        which InputError is one, for options that cannot be.
        """
        self._config = TrainConfig.from_dict({name: getattr(self, name) for name in OPTIONS}, "NerTagger")
        train = self._sentences(X, y)
        train, held_out = (train, self._sentences(*dev)) if dev else self._split_off(train)
        train, held_out = ([one for one in side if one.tokens] for side in (train, held_out))  # nothing stands in the others
        if not any(sentence.spans for sentence in train):
            raise InputError("y must hold at least one entity. Received: none.")
        console = Console(stderr=True, highlight=False, quiet=not self.verbose)
        material = experiment.gather(self._config, train, held_out, (), console)
        trained, ready = experiment.fit(self._config, material, console)
        Predictor.__init__(self, ready.tagger, ready.features, ready.tokenizer, ready.confidence)
        self.history_: list[Epoch] = trained.epochs
        return self

    def predict(self, X: Rows) -> list[list[str]]:
        """IOB2 tags of tokenised sentences."""
        found = self.tag_sentences([_tokens(tokens, number) for number, tokens in enumerate(X)])
        return [tags_of((s for s, _ in spans), len(tokens), "IOB2") for spans, tokens in zip(found, X, strict=True)]

    def score(self, X: Rows, y: Rows) -> float:
        """Strict micro F1 of entities, in [0, 1]."""
        gold = self._sentences(X, y)
        found = self.tag_sentences([sentence.tokens for sentence in gold])
        spans = [[span for span, _ in row] for row in found]
        return strict_score([sentence.spans for sentence in gold], spans, [len(one.tokens) for one in gold]).f1

    def __sklearn_is_fitted__(self) -> bool:
        return "tagger" in vars(self)

    def _sentences(self, X: Rows, y: Rows) -> list[Sentence]:
        if len(X) != len(y):
            raise InputError(f"as many rows of tags as sentences. Received: {len(X)} sentences, {len(y)} rows of tags.")
        scheme = detect_scheme(y) if self.tag_scheme == "auto" else self.tag_scheme
        return [_sentence(tokens, tags, scheme, number) for number, (tokens, tags) in enumerate(zip(X, y, strict=True))]

    def _split_off(self, sentences: list[Sentence]) -> tuple[list[Sentence], list[Sentence]]:
        """The sentences without a random share of them, and that share; both in the given order."""
        if not 0 < self.validation_fraction < 1 or len(sentences) < 2:
            raise InputError(
                "fit needs two sentences at least and validation_fraction between 0 and 1, or `dev`. "
                f"Received: {len(sentences)}, {self.validation_fraction}."
            )
        size = min(len(sentences) - 1, max(1, round(self.validation_fraction * len(sentences))))
        chosen = set(np.random.default_rng([self.seed, 5]).permutation(len(sentences))[:size].tolist())
        sides = [[one for place, one in enumerate(sentences) if (place in chosen) is side] for side in (False, True)]
        return sides[0], sides[1]


def _tokens(tokens: Sequence[str], number: int) -> tuple[str, ...]:
    if isinstance(tokens, str):
        raise InputError(f"X[{number}] must be a list of tokens. Received: text, {tokens[:40]!r}. `tag` takes raw text.")
    if broken := next((token for token in tokens if "\n" in token or "\r" in token), None):
        raise InputError(f"X[{number}]: a token must hold no line break. Received: {broken[:40]!r}.")
    return tuple(tokens)


def _sentence(tokens: Sequence[str], tags: Sequence[str], scheme: str, number: int) -> Sentence:
    tokens = _tokens(tokens, number)
    if len(tokens) != len(tags):
        raise InputError(f"as many tags as tokens in row {number}. Received: {len(tokens)} tokens, {len(tags)} tags.")
    try:
        return Sentence(tokens, spans_of(tags, scheme), f"row {number}")
    except InputError as error:
        raise InputError(f"y[{number}]: {error}.") from None
