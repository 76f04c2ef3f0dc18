"""Numbers at their limits: what is not finite is caught where it arises and named; extreme shapes work or are refused."""

from types import SimpleNamespace

import numpy as np
import pytest
from conftest import write_bilm
from oracle import random_options, random_weights
from small_runs import new_run

from biLM import InputError, load_bilm
from biLM.batching import require_finite
from ner_elmo.batching import Features, Prepared
from ner_elmo.cache import Cache
from ner_elmo.config import NO_ELMO, TrainConfig
from ner_elmo.decoding import Scores, decode, viterbi
from ner_elmo.devices import training_step
from ner_elmo.entities import Span, TagSet
from ner_elmo.predictor import Predictor
from ner_elmo.readers import Sentence
from ner_elmo.tagger import build_tagger
from ner_elmo.training import train_tagger

SENTENCES = [
    Sentence(("Ada", "left", "."), (Span("PER", 0, 1),), "x.conll:1"),
    Sentence(("Oslo",), (Span("LOC", 0, 1),), "x.conll:5"),
]
TOKENS = [sentence.tokens for sentence in SENTENCES]


def swollen(tmp_path, size: float):
    """A biLM without clips whose projection of characters is so large."""
    options = random_options(lstm__cell_clip=0, lstm__proj_clip=0)
    weights = random_weights(options)
    weights["CNN_proj/W_proj"][:] = size
    return load_bilm(
        write_bilm(tmp_path, options, {k: v.astype(np.float32) for k, v in weights.items()}), initial_state="zero"
    )


def test_activations_that_are_not_finite_are_named(tmp_path):
    bilm = swollen(tmp_path, 3e38)
    with pytest.raises(InputError, match="the biLM's layer 0 is not finite at token 1 of '.*'. Are these its weights"):
        bilm.embed(TOKENS)
    layers = np.zeros((2, 3, 3, 4), np.float32)
    assert require_finite(layers, TOKENS) is layers
    layers[1, 2, 0, 3] = np.nan
    with pytest.raises(InputError, match="layer 2 is not finite at token 1 of 'Oslo'"):
        require_finite(layers, TOKENS)
    large = np.full((1, 1, 3, 4), 3e38, np.float32)  # finite, but their sum is not
    assert require_finite(large, TOKENS[:1]) is large


def test_activations_too_large_for_the_cache(tmp_path):
    bilm = swollen(tmp_path / "bilm", 1e6)
    assert np.abs(bilm.embed(TOKENS)[0]).max() > 65504
    with pytest.raises(InputError, match="too large for the float16 cache"):
        Cache(tmp_path / "cache", 10**9).activations(bilm, TOKENS)
    assert not list((tmp_path / "cache").rglob("*.partial"))


def config(**changes) -> TrainConfig:
    return TrainConfig(**{"elmo": NO_ELMO, "hidden_size": 8, "word_dim": 8, "epochs": 2} | changes)


def test_a_loss_that_is_not_finite_stops_training():
    settings = config(learning_rate=1e30, clip_norm=1e30)
    features = Features.of(settings, TOKENS)
    with pytest.raises(
        InputError,
        match=r"not finite in epoch \d, batch \d: 4 sentences \(the first: x.conll:[15]\). Lower --learning-rate",
    ):
        train_tagger(settings, ["LOC", "PER"], SENTENCES * 20, SENTENCES, features)


def spoiling(step, variable):
    """The step; its loss is of the weights before, and a gradient that is not finite spoils those after."""

    def spoilt(inputs):
        loss = step(inputs)
        variable.assign(np.full(variable.shape, np.nan))
        return loss

    return spoilt


def test_weights_that_are_not_finite_after_the_last_batch_are_not_kept(monkeypatch):
    settings = config(epochs=1)
    features = Features.of(settings, TOKENS)
    monkeypatch.setattr(
        "ner_elmo.training.training_step",
        lambda learner, *rest: spoiling(training_step(learner, *rest), learner.emitter.bias),
    )
    with pytest.raises(InputError, match=r"the weights are not finite in epoch 1, batch 1: 2 sentences .* Lower --learning"):
        train_tagger(settings, ["LOC", "PER"], SENTENCES, SENTENCES, features)


def test_weights_of_a_bilm_that_are_not_finite_after_the_last_step_are_not_kept(eager, tmp_path):
    training = new_run(tmp_path, max_steps=1)
    variable = training.model.bilm.directions[0].layers[0].cell.biases[0]
    training.model.train_on_batch = spoiling(training.model.train_on_batch, variable)
    with pytest.raises(InputError, match="the weights are not finite at step 1. Lower --learning-rate"):
        training.go_on()
    assert not (tmp_path / "run" / "weights.hdf5").exists()
    assert not list((tmp_path / "run" / "checkpoints").glob("*"))


def test_one_type_and_sentences_of_one_token():
    settings = config()
    one = [Sentence(("Oslo",), (Span("LOC", 0, 1),)), Sentence(("x",), ())] * 4
    features = Features.of(settings, [sentence.tokens for sentence in one])
    trained = train_tagger(settings, ["LOC"], one, one, features)
    tagger = Predictor(trained.tagger, trained.features)
    assert len(tagger.tag_sentences([("Oslo",), (), ("x",)])) == 3
    assert tagger.tag_sentences([(), ()]) == [[], []]  # a batch of padding alone


def test_a_crf_of_three_hundred_tags():
    types = [f"T{k}" for k in range(75)]
    settings = config(epochs=1)
    row = Sentence(tuple(types), tuple(Span(kind, place, place + 1) for place, kind in enumerate(types)))
    features = Features.of(settings, [row.tokens])
    trained = train_tagger(settings, types, [row], [row], features)
    assert np.isfinite(trained.epochs[0].loss)
    tagger = build_tagger(settings, types, **features.sizes)
    ((_, lengths, emissions),) = Predictor(tagger, features).emissions([row.tokens])
    assert emissions.shape == (1, 75, 301)
    (spans,) = decode(emissions, lengths, Scores(*tagger.head.scores()), TagSet(types))
    assert all(0 < probability <= 1 for _, probability in spans)


def test_emissions_of_any_size_decode_to_legal_tags():
    tag_set = TagSet(["A", "B"])
    scores = Scores(np.where(tag_set.legal, 0.0, -np.inf), np.where(tag_set.legal_start, 0.0, -np.inf),
                    np.where(tag_set.legal_end, 0.0, -np.inf))  # fmt: skip
    for size in (0.0, 1e-30, 1e30, 3e38):
        emissions = size * np.random.default_rng(0).choice([-1.0, 1.0], (4, 6, len(tag_set)))
        lengths = np.array([6, 1, 3, 6])
        for tags, length in zip(viterbi(emissions, lengths, scores), lengths, strict=True):
            tag_set.decode(tags[:length])  # raises for an illegal sequence


def test_padding_alone_is_no_sentence(small_weights):
    bilm = load_bilm(small_weights)
    assert [row.shape for row in bilm.embed([(), ()])] == [(3, 0, 10), (3, 0, 10)]
    prepared = Prepared(Features(bilm, None), [(), ()])
    assert prepared.batch([0, 1])["mask"].sum() == 0
    assert SimpleNamespace(**prepared.batch([0])).activations.shape[:2] == (1, 3)
