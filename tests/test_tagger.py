"""The network: shapes, padding, overfitting, and that a step moves every trainable weight."""

import keras
import numpy as np
import pytest
from conftest import assert_drawn_apart

from biLM import InputError, load_bilm
from ner_elmo.batching import Features, Words, shuffled_batches
from ner_elmo.cache import Cache
from ner_elmo.config import TrainConfig
from ner_elmo.entities import Span
from ner_elmo.gazetteers import Gazetteers
from ner_elmo.predictor import Predictor
from ner_elmo.readers import Sentence
from ner_elmo.tagger import BiLSTM, ResidualBiLSTM, Tagger, build_tagger
from ner_elmo.training import _adam, train_tagger
from ner_elmo.word_vectors import WordVectors

TYPES = ["LOC", "PER"]
SENTENCES = [
    Sentence(("Ada", "Lund", "left", "Oslo", "."), (Span("PER", 0, 2), Span("LOC", 3, 4))),
    Sentence(("It", "rained", "."), ()),
    Sentence(("Turin", "!"), (Span("LOC", 0, 1),)),
    Sentence(("The", "crew", "of", "the", "ferry", "slept", "in", "New", "York", "."), (Span("LOC", 7, 9),)),
] * 5
NAMES = {"LOC": [("New", "York"), ("Oslo",)], "PER": [("Ada", "Lund")]}
TOKENS = [sentence.tokens for sentence in SENTENCES]


@pytest.fixture(scope="module")
def bilm(small_weights):
    return load_bilm(small_weights)


def train(config: TrainConfig, bilm=None, activations=None, **more):
    """A tagger of the twenty sentences, measured on them."""
    others = {name: more.pop(name) for name in ("word_vectors", "gazetteers") if name in more}
    features = Features.of(config, TOKENS, bilm, **others)
    return train_tagger(config, TYPES, SENTENCES, SENTENCES, features, activations, **more)


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


def test_every_second_bilstm_adds_to_what_it_reads():
    network = ResidualBiLSTM(3, n_blocks=2)
    x, mask = np.random.default_rng(0).normal(size=(2, 4, 5)).astype(np.float32), np.ones((2, 4), bool)
    found = np.asarray(network(x, mask))
    for first, second in (network.bilstms[:2], network.bilstms[2:]):
        x = np.asarray(first(x, mask))
        x = x + np.asarray(second(x, mask))
    np.testing.assert_allclose(found, x, atol=1e-6)


def test_dropout_is_the_same_at_every_step_and_before_every_bilstm():
    network = ResidualBiLSTM(8, n_blocks=1, dropout=0.5)
    network.build((None, None, 8))
    for dropout in network.dropouts:
        kept = np.asarray(dropout(np.ones((6, 5, 8), np.float32), training=True))
        assert set(np.unique(kept)) == {0.0, 2.0}
        assert (kept == kept[:, :1]).all()
        assert len({row.tobytes() for row in kept[:, 0]}) > 1  # but not for every sentence
    for bilstm in network.bilstms:
        assert [layer.recurrent_dropout for layer in (bilstm.forward, bilstm.backward)] == [0, 0]
    x, mask = np.ones((2, 3, 8), np.float32), np.ones((2, 3), bool)
    assert not np.allclose(network(x, mask, training=True), network(x, mask))


def test_the_learning_rate_warms_up_and_falls_along_a_cosine():
    adam = _adam(TrainConfig(warmup_steps=10, clip_norm=3.0), 0.5, 110)
    assert adam.global_clipnorm == 3.0
    rates = [float(adam._learning_rate(step)) for step in (0, 5, 10, 60, 110)]
    assert rates == pytest.approx([0.0, 0.25, 0.5, 0.25, 0.0], abs=1e-6)
    assert [float(_adam(TrainConfig(), 0.5, 100)._learning_rate(step)) for step in (0, 100)] == pytest.approx([0.5, 0.0])


def test_no_two_matrices_begin_alike():
    config = small(n_blocks=2, output_mix=True, casing=True)
    features = Features.of(config, TOKENS, None, None, None)
    assert_drawn_apart(build_tagger(config, TYPES, **features.sizes | {"width": 10, "n_layers": 3}).get_weights())


def test_backward_reads_from_the_end():
    layer = BiLSTM(3)
    x = np.random.default_rng(0).normal(size=(1, 4, 5)).astype(np.float32)
    changed = x.copy()
    changed[0, 3] += 1
    one, two = (np.asarray(layer(v, np.ones((1, 4), bool))) for v in (x, changed))
    np.testing.assert_allclose(one[0, :3, :3], two[0, :3, :3], atol=1e-6)  # forward never saw the change
    assert np.abs(one[0, 0, 3:] - two[0, 0, 3:]).max() > 1e-4


@pytest.mark.parametrize(
    "changes",
    [
        {}, {"head": "softmax"}, {"n_blocks": 2}, {"layers": (0, 1)}, {"elmo": "none"}, {"token_vectors": False},
        {"output_mix": True}, {"casing": True}, {"word_vectors": "given", "gazetteer": ("LOC=given",)},
    ],
)  # fmt: skip
def test_a_step_moves_every_trainable_weight(eager, changes):
    config = small(**changes)
    elmo = config.elmo != "none"
    tokens = [s.tokens for s in SENTENCES[:4]]
    vectors = WordVectors(["oslo", "turin"], np.eye(2)) if config.word_vectors == "given" else None
    features = Features.of(config, tokens, None, vectors, Gazetteers(NAMES) if config.gazetteer else None)
    tagger = build_tagger(config, TYPES, **features.sizes | {"width": 10 if elmo else 0, "n_layers": 3})
    inputs = features.batch(tokens)
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
    "changes",
    [
        {}, {"head": "softmax", "token_vectors": False}, {"elmo": "none", "ema": 0.9},
        {"train_bilm": True, "output_mix": True},
        {"output_mix": True, "casing": True, "word_vectors": "given", "gazetteer": ("LOC=given",), "batch_tokens": 200},
    ],
)  # fmt: skip
def test_twenty_sentences_are_learned_by_heart_and_predicted_alike_everywhere(bilm, small_weights, tmp_path, changes):
    config = small(epochs=80, patience=80, dropout=0.0, batch_size=20, **changes)  # a batch of all: one shape to trace
    if config.train_bilm:
        bilm = load_bilm(small_weights)  # it will change
    tokens = [s.tokens for s in SENTENCES]
    if config.elmo == "none":
        bilm = None
    activations = None
    if bilm and not config.train_bilm:
        activations = (Cache(tmp_path, 10**8).activations(bilm, tokens),) * 2
    others = {}
    if config.word_vectors == "given":
        others = {"word_vectors": WordVectors(["oslo", "York"], np.eye(2)), "gazetteers": Gazetteers(NAMES)}
    trained = train(config, bilm, activations, **others)
    assert trained.best.dev.f1 == 1.0
    tagger = Predictor(trained.tagger, trained.features)
    together = tagger.tag_sentences(tokens)
    assert [[span for span, _ in spans] for spans in together] == [list(s.spans) for s in SENTENCES]
    for sentence, expected in zip(tokens[:4], together, strict=False):
        for batch, row in (([sentence], 0), ([tokens[3], sentence, ["x"] * 50], 1)):
            found = tagger.tag_sentences(batch)[row]
            assert [span for span, _ in found] == [span for span, _ in expected]
            np.testing.assert_allclose([p for _, p in found], [p for _, p in expected], atol=1e-5)
    assert all(0 < p <= 1 for spans in together for _, p in spans)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="JAX compiles every shape")
@pytest.mark.parametrize(
    "changes",
    [{"output_mix": True, "casing": True, "word_vectors": "given", "gazetteer": ("LOC=given",)}, {"train_bilm": True}],
)
def test_a_step_and_a_prediction_are_traced_once(small_weights, tmp_path, monkeypatch, changes):
    config, calls = small(epochs=2, batch_size=3, **changes), []
    call = Tagger.call
    monkeypatch.setattr(Tagger, "call", lambda *given, **more: calls.append(1) or call(*given, **more))
    bilm, others = load_bilm(small_weights), {}
    if not config.train_bilm:
        others = {"word_vectors": WordVectors(["oslo", "York"], np.eye(2)), "gazetteers": Gazetteers(NAMES)}
        others["activations"] = (Cache(tmp_path, 10**8).activations(bilm, TOKENS),) * 2
    train(config, bilm, **others)
    assert len({len(tokens) for tokens in TOKENS}) > 2
    assert len(calls) == 2


def test_the_same_seed_gives_the_same_weights(eager, bilm, tmp_path):
    activations = (Cache(tmp_path, 10**8).activations(bilm, TOKENS),) * 2
    runs = [train(small(epochs=1, seed=seed), bilm, activations) for seed in (5, 5, 6)]
    weights = [run.tagger.get_weights() for run in runs]
    for a, b in zip(weights[0], weights[1], strict=True):
        np.testing.assert_array_equal(a, b)
    assert any(not np.array_equal(a, c) for a, c in zip(weights[0], weights[2], strict=True))


def test_interruption_keeps_the_best_epoch(eager, bilm, tmp_path):
    activations = (Cache(tmp_path, 10**8).activations(bilm, TOKENS),) * 2
    kept = []

    def interrupt(epoch):
        kept.append(epoch)
        if epoch.number == 2:
            raise KeyboardInterrupt

    trained = train(small(epochs=9), bilm, activations, report=interrupt)
    assert trained.interrupted
    assert len(trained.epochs) == 2
    with pytest.raises(KeyboardInterrupt):
        train(small(), bilm, activations, step=lambda d, n: interrupt(kept[1]))


def test_a_fine_tuned_bilm_takes_steps_of_its_own_size(eager, small_weights):
    moved = {}
    for rate in (0.01, 0.0001):
        bilm = load_bilm(small_weights)
        before = {variable.path: np.asarray(variable).copy() for variable in bilm.variables}
        train(small(epochs=1, train_bilm=True, bilm_learning_rate=rate), bilm)
        moved[rate] = max(np.abs(before[v.path] - np.asarray(v)).max() for v in bilm.variables if "seed" not in v.path)
    assert 20 * moved[0.0001] < moved[0.01]
    assert moved[0.0001] > 0


def test_the_average_of_weights_moves_slower_and_is_what_is_kept(eager):
    runs = {ema: train(small(epochs=1, ema=ema, elmo="none", seed=3)).tagger.get_weights() for ema in (0.0, 0.9999)}
    first = build_tagger(small(elmo="none"), TYPES, **Features.of(small(), TOKENS).sizes)
    keras.utils.set_random_seed(3)
    first = build_tagger(small(elmo="none"), TYPES, **Features.of(small(), TOKENS).sizes)
    steps = {ema: max(np.abs(a - b).max() for a, b in zip(w, first.get_weights(), strict=True)) for ema, w in runs.items()}
    assert steps[0.9999] < steps[0.0]


def test_an_epoch_of_few_sentences_has_steps_to_learn_from(eager):
    steps = []
    train(small(epochs=1, elmo="none", batch_size=None), step=lambda done, total: steps.append((done, total)))
    assert steps == [(done, 5) for done in range(1, 6)]  # twenty sentences
    sizes = {n: TrainConfig().batch_of(n) for n in (1, 60, 300, 480, 14041)}
    assert sizes == {1: 4, 60: 4, 300: 20, 480: 32, 14041: 32}
    assert TrainConfig(batch_size=64).batch_of(1) == 64


@pytest.mark.parametrize("batch_tokens", [1, 64, 10**6])
def test_batches_of_so_many_tokens(batch_tokens):
    lengths = np.random.default_rng(0).integers(1, 60, 101)
    batches = shuffled_batches(lengths, 8, np.random.default_rng(1), batch_tokens)
    assert sorted(np.concatenate(batches).tolist()) == list(range(101))
    sizes = [len(batch) * lengths[batch].max() for batch in batches]
    assert all(size <= batch_tokens or len(batch) == 1 for size, batch in zip(sizes, batches, strict=True))
    assert len(batches) == {1: 101, 10**6: 1}.get(batch_tokens, len(batches))


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
    tagger = Predictor(build_tagger(small(), TYPES, **features.sizes), features)
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
    tagger = Predictor(build_tagger(small(), TYPES, **features.sizes), features)

    def texts():
        yield "Ada left."
        raise InputError("line 2")

    with pytest.raises(InputError, match="line 2"):
        list(tagger.tag_lines(texts()))
