"""Suspected label errors: tokens whose label no tagger that has not seen their sentence would give them.

Taggers are trained on all folds of the sentences but one and say of the tokens of that one how probable each label is, by
forward-backward. cleanlab's confident learning (Northcutt et al. 2021) then picks the tokens whose given label is improbable
beyond what the taggers get wrong by themselves, and ranks them by the margin between the given label and the best other one,
each measured against how probable the taggers hold that label on average. Without that the list begins with rare names that
are labelled well: "O" is always sure, a rare type never.
"""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from biLM.errors import InputError
from ner_elmo.config import TrainConfig
from ner_elmo.decoding import forward_backward
from ner_elmo.entities import TagSet, split_tag, tags_of
from ner_elmo.marginals import tag_probabilities
from ner_elmo.readers import Sentence, types_of

if TYPE_CHECKING:
    from biLM import BiLM
    from ner_elmo.cache import Cache
    from ner_elmo.predictor import Predictor

DEV_SHARE = 10  # one in so many of a fold's training sentences picks the best epoch
CONTEXT = 6  # tokens shown on each side


@dataclass(frozen=True)
class Suspect:
    """Neighbouring tokens `tokens[start:end]` of a sentence whose labels are suspected to be wrong.

    where: file:line of the sentence. given, predicted: IOB2 labels, one a token. score: cleanlab's, in [0, 1], of the
    worst of the tokens; the lower, the more suspect.
    """

    where: str
    tokens: tuple[str, ...]
    start: int
    end: int
    given: tuple[str, ...]
    predicted: tuple[str, ...]
    score: float

    @property
    def text(self) -> str:
        """The tokens, marked by brackets, with some around them."""
        before, after = self.tokens[max(0, self.start - CONTEXT) : self.start], self.tokens[self.end : self.end + CONTEXT]
        return " ".join([*before, f"[{' '.join(self.tokens[self.start : self.end])}]", *after])


class Labels:
    """The IOB2 labels of types: O, then B- and I- of each; several tags of a model become one of them."""

    def __init__(self, types: Sequence[str]):
        self.names = ["O", *(f"{prefix}-{kind}" for kind in types for prefix in "BI")]
        self.id_of = {name: number for number, name in enumerate(self.names)}

    def encode(self, sentence: Sentence) -> np.ndarray:
        """Shape: (T,)."""
        return np.array([self.id_of[tag] for tag in tags_of(sentence.spans, len(sentence.tokens), "IOB2")], np.int64)

    def probabilities(self, of_tags: np.ndarray, tag_set: TagSet) -> np.ndarray:
        """(T, K) -> (T, labels)."""
        becomes = np.zeros((len(tag_set), len(self.names)))
        for number, tag in enumerate(tag_set.tags):
            prefix, kind = split_tag(tag)
            label = f"{'B' if prefix in 'BS' else 'I'}-{kind}" if kind else "O"
            becomes[number, self.id_of[label]] = 1.0
        return of_tags @ becomes


def find_suspects(
    config: TrainConfig,
    sentences: Sequence[Sentence],
    n_folds: int = 5,
    bilm: BiLM | None = None,
    cache: Cache | None = None,
    report: Callable[[int, int], None] = lambda done, total: None,
) -> list[Suspect]:
    """Suspected label errors of annotated sentences, the most suspect first. Needs cleanlab.

    Arguments:
        config: of the taggers; its files are not looked at. bilm: None for taggers without ELMo. cache: of its activations.
        report: called with batches done and batches in all.

    Raises: InputError without an entity, and for fewer different sentences than folds.
    """
    sentences = [sentence for sentence in sentences if sentence.tokens]
    types = types_of(sentences)
    if importlib.util.find_spec("cleanlab") is None:
        raise InputError('`suspects` needs cleanlab. Install it: pip install "ner-elmo[suspects]".')
    if not types:
        raise InputError("to suspect labels there must be at least one entity. Received: none.")
    labels = Labels(types)
    probabilities: dict[int, np.ndarray] = {}
    for number, fold in enumerate(folds(sentences, n_folds, config.seed)):
        tagger = _trained(config, types, sentences, fold, bilm, cache, _part(report, number, n_folds))
        for position, of_tags in zip(fold, _tag_probabilities(tagger, [sentences[k] for k in fold]), strict=True):
            probabilities[position] = labels.probabilities(of_tags, tagger.tag_set)
    return suspects(sentences, [probabilities[position] for position in range(len(sentences))], labels)


def folds(sentences: Sequence[Sentence], n_folds: int, seed: int) -> list[list[int]]:
    """Positions of the sentences of each fold. Sentences of the same tokens share a fold: no tagger has seen its own."""
    groups: dict[tuple[str, ...], list[int]] = {}
    for position, sentence in enumerate(sentences):
        groups.setdefault(sentence.tokens, []).append(position)
    if not 2 <= n_folds <= len(groups):
        raise InputError(f"the folds must be 2 to {len(groups)}, the number of different sentences. Received: {n_folds}.")
    order = np.random.default_rng(seed).permutation(len(groups))
    members = list(groups.values())
    return [sorted(p for group in order[k::n_folds].tolist() for p in members[group]) for k in range(n_folds)]


def suspects(sentences: Sequence[Sentence], probabilities: Sequence[np.ndarray], labels: Labels) -> list[Suspect]:
    """What confident learning suspects, given the probabilities (T, labels) of each sentence's labels."""
    given = [labels.encode(sentence) for sentence in sentences]
    found: dict[int, dict[int, float]] = {}
    for position, token, score in _issues(given, probabilities):
        found.setdefault(position, {})[token] = score
    result: list[Suspect] = []
    for position, scores in found.items():
        sentence, best = sentences[position], probabilities[position].argmax(axis=1)
        for start, end in _runs(sorted(scores)):
            here = range(start, end)
            was, could_be = (tuple(labels.names[side[token]] for token in here) for side in (given[position], best))
            score = min(scores[token] for token in here)
            result.append(Suspect(sentence.where, sentence.tokens, start, end, was, could_be, score))
    return sorted(result, key=lambda suspect: suspect.score)


def _issues(given: Sequence[np.ndarray], probabilities: Sequence[np.ndarray]) -> list[tuple[int, int, float]]:
    """Sentence, token and score of each suspected label, by cleanlab."""
    from cleanlab.filter import find_label_issues
    from cleanlab.rank import get_label_quality_scores

    used, labels = np.unique(np.concatenate(given), return_inverse=True)  # cleanlab expects an example of each class
    rows = np.concatenate(probabilities)[:, used] + 1e-9
    rows /= rows.sum(axis=1, keepdims=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # rare labels: what it finds is kept all the same
        wrong = find_label_issues(labels, rows, n_jobs=1)
        scores = get_label_quality_scores(labels, rows, method="normalized_margin", adjust_pred_probs=True)
    places = [(position, token) for position, side in enumerate(given) for token in range(len(side))]
    return [(*places[k], float(scores[k])) for k in np.flatnonzero(wrong).tolist()]


def _runs(tokens: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Stretches of neighbouring positions, half-open."""
    starts = [token for token in tokens if token - 1 not in tokens]
    ends = [token + 1 for token in tokens if token + 1 not in tokens]
    yield from zip(starts, ends, strict=True)


def _trained(
    config: TrainConfig,
    types: list[str],
    sentences: Sequence[Sentence],
    fold: Sequence[int],
    bilm: BiLM | None,
    cache: Cache | None,
    step: Callable[[int, int], None],
) -> Predictor:
    """A tagger that has not seen the sentences of the fold."""
    from ner_elmo.batching import Features
    from ner_elmo.predictor import Predictor
    from ner_elmo.training import train_tagger

    held_out = {sentences[position].tokens for position in fold}
    rest = [sentence for sentence in sentences if sentence.tokens not in held_out]
    order = np.random.default_rng(config.seed).permutation(len(rest)).tolist()
    n_dev = max(1, len(rest) // DEV_SHARE) if len(rest) > 1 else 0
    dev, train = ([rest[k] for k in part] for part in (order[:n_dev] or order, order[n_dev:]))
    activations = None
    if bilm is not None and cache is not None:
        sides = [cache.activations(bilm, [sentence.tokens for sentence in side]) for side in (train, dev)]
        activations = sides[0], sides[1]
    config = replace(config, patience=config.epochs)
    features = Features.of(config, [sentence.tokens for sentence in train], bilm)
    trained = train_tagger(config, types, train, dev, features, activations, step=_epochs(step, config.epochs))
    if trained.interrupted:
        raise KeyboardInterrupt
    return Predictor(trained.tagger, trained.features)


def _tag_probabilities(tagger: Predictor, sentences: Sequence[Sentence]) -> list[np.ndarray]:
    """(T, K) of each sentence."""
    result: dict[int, np.ndarray] = {}
    for positions, lengths, emissions in tagger.emissions([sentence.tokens for sentence in sentences]):
        lattices = forward_backward(emissions, lengths, tagger.scores)
        result |= zip(positions, map(tag_probabilities, lattices), strict=True)
    return [result[position] for position in range(len(sentences))]


def _part(report: Callable[[int, int], None], number: int, of: int) -> Callable[[int, int], None]:
    """Progress of one fold as a part of that of all."""
    return lambda done, total: report(number * total + done, of * total)


def _epochs(step: Callable[[int, int], None], n_epochs: int) -> Callable[[int, int], None]:
    """`train_tagger` counts the batches of one epoch; this one counts those of all."""
    calls = iter(range(1, 2**62))
    return lambda done, total: step(next(calls), n_epochs * total)
