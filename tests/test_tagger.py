"""The network: shapes, padding, overfitting, and that a step moves every trainable weight."""

import keras
import numpy as np
import pytest

from biLM import InputError, load_bilm
from ner_elmo.batching import Features, Words, shuffled_batches
from ner_elmo.cache import Cache
from ner_elmo.config import TrainConfig
from ner_elmo.entities import Span
from ner_elmo.predictor import NerTagger
from ner_elmo.readers import Sentence
from ner_elmo.tagger import BiLSTM, ResidualBiLSTM, build_tagger
from ner_elmo.training import train_tagger

TYPES = ["LOC", "PER"]
SENTENCES = [
    Sentence(("Ada", "Lund", "left", "Oslo", "."), (Span("PER", 0, 2), Span("LOC", 3, 4))),
    Sentence(("It", "rained", "."), ()),
    Sentence(("Turin", "!"), (Span("LOC", 0, 1),)),
    Sentence(("The", "crew", "of", "the", "ferry", "slept", "in", "New", "York", "."), (Span("LOC", 7, 9),)),
] * 5


@pytest.fixture(scope="module")
def bilm(small_weights):
    return load_bilm(small_weights)


def activations_for(rows: int, steps: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(rows, 3, steps, 10)).astype(np.float32)


def small(**changes) -> TrainConfig:
    return TrainConfig(**{"hidden_size": 32, "dropout": 0.2, "batch_size": 4, "learning_rate": 0.01} | changes)


@pytest.mark.parametrize("layer", [BiLSTM(3), ResidualBiLSTM(3, n_blocks=2)])
def test_padding_changes_nothing(layer):
    x = np.random.default_rng(0).normal(size=(1, 4, 5)).astype(np.float32)
    alone = np.asarray(layer(x, np.ones((1, 4), bool)))
    assert alone.shape == (1, 4, 6) == tuple(layer.compute_output_shape(x.shape))
    padded = np.pad(x, [(0, 1), (0, 3), (0, 0)], constant_values=9.0)
    mask = np.arange(7) < np.array([[4], [1]])
    found = np.asarray(layer(padded, mask))
    np.testing.assert_allclose(found[:1, :4], alone, atol=1e-6)
    assert not found[~mask].any()


def test_backward_reads_from_the_end():
    layer = BiLSTM(3)
    x = np.random.default_rng(0).normal(size=(1, 4, 5)).astype(np.float32)
    changed = x.copy()
    changed[0, 3] += 1
    one, two = (np.asarray(layer(v, np.ones((1, 4), bool))) for v in (x, changed))
    np.testing.assert_allclose(one[0, :3, :3], two[0, :3, :3], atol=1e-6)  # forward never saw the change
    assert np.abs(one[0, 0, 3:] - two[0, 0, 3:]).max() > 1e-4


@pytest.mark.parametrize(
    "changes", [{}, {"head": "softmax"}, {"n_blocks": 2}, {"layers": (0, 1)}, {"elmo": "none"}, {"token_vectors": False}]
)
def test_a_step_moves_every_trainable_weight(changes):
    config = small(**changes)
    elmo = config.elmo != "none"
    tokens = [s.tokens for s in SENTENCES[:4]]
    words = Words.of(tokens) if config.token_vectors else None
    tagger = build_tagger(config, TYPES, 10 if elmo else 0, 3, n_words=len(words or ()))
    inputs = Features(None, words).batch(tokens)
    if elmo:
        inputs["activations"] = activations_for(4, inputs["mask"].shape[1])
    targets = np.zeros(inputs["mask"].shape, np.int32)
    for row, sentence in enumerate(SENTENCES[:4]):
        targets[row, : len(sentence.tokens)] = tagger.head.tag_set.encode(sentence.spans, len(sentence.tokens))
    tagger.compile(keras.optimizers.SGD(0.1), jit_compile=tagger.jit_compile)
    before = [np.asarray(v).copy() for v in tagger.trainable_variables]
    assert np.isfinite(tagger.train_on_batch(inputs, targets))
    for old, variable in zip(before, tagger.trainable_variables, strict=True):
        assert not np.array_equal(old, np.asarray(variable)), variable.path


@pytest.mark.parametrize(
    "changes", [{}, {"head": "softmax", "token_vectors": False}, {"elmo": "none"}, {"train_bilm": True}]
)
def test_twenty_sentences_are_learned_by_heart_and_predicted_alike_everywhere(bilm, small_weights, tmp_path, changes):
    config = small(epochs=60, patience=60, dropout=0.0, **changes)
    if config.train_bilm:
        bilm = load_bilm(small_weights)  # it will change
    tokens = [s.tokens for s in SENTENCES]
    if config.elmo == "none":
        bilm = None
    activations = None
    if bilm and not config.train_bilm:
        activations = (Cache(tmp_path, 10**8).activations(bilm, tokens),) * 2
    trained = train_tagger(config, TYPES, SENTENCES, SENTENCES, bilm, activations)
    assert trained.best.dev.f1 == 1.0
    tagger = NerTagger(trained.tagger, trained.features)
    together = tagger.tag_sentences(tokens)
    assert [[span for span, _ in spans] for spans in together] == [list(s.spans) for s in SENTENCES]
    for sentence, expected in zip(tokens[:4], together, strict=False):
        for batch, row in (([sentence], 0), ([tokens[3], sentence, ["x"] * 50], 1)):
            found = tagger.tag_sentences(batch)[row]
            assert [span for span, _ in found] == [span for span, _ in expected]
            np.testing.assert_allclose([p for _, p in found], [p for _, p in expected], atol=1e-5)
    assert all(0 < p <= 1 for spans in together for _, p in spans)


def test_the_same_seed_gives_the_same_weights(bilm, tmp_path):
    tokens = [s.tokens for s in SENTENCES]
    activations = (Cache(tmp_path, 10**8).activations(bilm, tokens),) * 2
    runs = [train_tagger(small(epochs=2, seed=s), TYPES, SENTENCES, SENTENCES, bilm, activations) for s in (5, 5, 6)]
    weights = [run.tagger.get_weights() for run in runs]
    for a, b in zip(weights[0], weights[1], strict=True):
        np.testing.assert_array_equal(a, b)
    assert any(not np.array_equal(a, c) for a, c in zip(weights[0], weights[2], strict=True))


def test_interruption_keeps_the_best_epoch(bilm, tmp_path):
    tokens = [s.tokens for s in SENTENCES]
    activations = (Cache(tmp_path, 10**8).activations(bilm, tokens),) * 2
    kept = []

    def interrupt(epoch):
        kept.append(epoch)
        if epoch.number == 2:
            raise KeyboardInterrupt

    trained = train_tagger(small(epochs=9), TYPES, SENTENCES, SENTENCES, bilm, activations, interrupt)
    assert trained.interrupted
    assert len(trained.epochs) == 2
    with pytest.raises(KeyboardInterrupt):
        train_tagger(small(), TYPES, SENTENCES, SENTENCES, bilm, activations, step=lambda d, n: interrupt(kept[1]))


def test_an_epoch_holds_every_sentence_once():
    lengths = np.random.default_rng(0).integers(1, 60, 101)
    batches = list(shuffled_batches(lengths, 8, np.random.default_rng(1)))
    assert sorted(np.concatenate(batches).tolist()) == list(range(101))
    assert max(map(len, batches)) == 8
    spread = np.mean([np.ptp(lengths[b]) for b in batches])
    assert spread < np.ptp(lengths) / 2  # sentences of like length meet


def test_texts_come_back_in_order_and_are_read_a_few_chunks_ahead(bilm, monkeypatch):
    monkeypatch.setattr("ner_elmo.predictor.LINES_AT_ONCE", 3)
    features = Features(bilm, Words.of([s.tokens for s in SENTENCES]))
    tagger = NerTagger(build_tagger(small(), TYPES, **features.sizes), features)
    read = []

    def texts():
        for number in range(20):
            read.append(number)
            yield f"Ada Lund left Oslo {number} times." * (number % 3)

    n_entities = 0
    for number, (text, entities) in enumerate(tagger.tag_lines(texts())):
        assert text == f"Ada Lund left Oslo {number} times." * (number % 3)
        assert len(read) <= number + 3 * 3
        alone = tagger.tag(text)
        assert [(e.type, e.start, e.end) for e in entities] == [(e.type, e.start, e.end) for e in alone]
        n_entities += len(entities)
    assert number == 19 and n_entities


def test_a_text_that_cannot_be_read_ends_the_rest(bilm):
    features = Features(bilm, Words.of([s.tokens for s in SENTENCES]))
    tagger = NerTagger(build_tagger(small(), TYPES, **features.sizes), features)

    def texts():
        yield "Ada left."
        raise InputError("line 2")

    with pytest.raises(InputError, match="line 2"):
        list(tagger.tag_lines(texts()))
