"""The CRF against enumeration of all tag sequences."""

import itertools

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ner_elmo.crf import CRF, SoftmaxHead
from ner_elmo.decoding import Scores, decode, forward_backward, n_best, span_probability, viterbi
from ner_elmo.entities import Span, TagSet

TAGS = TagSet(["LOC", "PER"])
K = len(TAGS)


def random_crf(seed: int) -> CRF:
    rng = np.random.default_rng(seed)
    crf = CRF(list(TAGS.types))
    crf.build()
    for variable in (crf.transitions, crf.start, crf.end):
        variable.assign(rng.normal(size=variable.shape))
    return crf


def enumerated(emissions: np.ndarray, scores: Scores) -> dict[tuple[int, ...], float]:
    """The score of every legal tag sequence of one sentence (T, K)."""
    found = {}
    for tags in itertools.product(range(K), repeat=len(emissions)):
        score = scores.start[tags[0]] + scores.end[tags[-1]] + sum(emissions[t, tag] for t, tag in enumerate(tags))
        score += sum(scores.transitions[pair] for pair in itertools.pairwise(tags))
        if np.isfinite(score):
            found[tags] = float(score)
    return found


@pytest.mark.parametrize("seed", range(3))
def test_likelihood_viterbi_and_marginals_equal_enumeration(seed):
    rng = np.random.default_rng(seed)
    crf = random_crf(seed)
    scores = Scores(*crf.scores())
    lengths = np.array([1, 4, 2, 3])
    emissions = rng.normal(size=(4, 4, K)).astype(np.float32)
    mask = np.arange(4) < lengths[:, None]
    best = viterbi(emissions, lengths, scores)
    lattices = forward_backward(emissions, lengths, scores)
    for row, length in enumerate(lengths):
        table = enumerated(emissions[row, :length], scores)
        log_z = np.logaddexp.reduce(list(table.values()))
        assert tuple(best[row, :length]) == max(table, key=table.get)
        for n in (1, 5, 10_000):
            ranked = sorted(table.items(), key=lambda item: -item[1])[:n]
            listed = n_best(emissions[row, :length], scores, n)
            np.testing.assert_allclose([score for score, _ in listed], [score for _, score in ranked], atol=1e-5)
            assert [tuple(tags) for _, tags in listed[:5]] == [tags for tags, _ in ranked[:5]]
        assert lattices[row].log_z == pytest.approx(log_z, abs=1e-5)
        tags = np.zeros((4, 4), np.int32)
        for sequence in list(table)[:: max(1, len(table) // 7)]:
            tags[row, :length] = sequence
            ll = np.asarray(crf(emissions, tags, mask))[row]
            assert ll == pytest.approx(table[sequence] - log_z, abs=1e-4)
        for span in [Span("LOC", 0, 1), Span("PER", 0, min(2, length)), Span("PER", length - 1, length)]:
            inside = [s for s in table if span in TAGS.decode(s)]
            expected = sum(np.exp(table[s] - log_z) for s in inside)
            found = span_probability(span, emissions[row], lattices[row], scores, TAGS)
            assert found == pytest.approx(expected, abs=1e-5)


def test_padding_changes_nothing():
    crf = random_crf(0)
    emissions = np.random.default_rng(0).normal(size=(1, 3, K)).astype(np.float32)
    tags = np.array([[0, 1, 3]], np.int32)
    padded = np.pad(emissions, [(0, 0), (0, 5), (0, 0)], constant_values=7.0)
    alone = np.asarray(crf(emissions, tags, np.ones((1, 3), bool)))
    with_padding = np.asarray(crf(padded, np.pad(tags, [(0, 0), (0, 5)]), np.arange(8)[None] < 3))
    np.testing.assert_allclose(alone, with_padding, atol=1e-5)


def test_softmax_head_is_a_product_over_tokens():
    head = SoftmaxHead(list(TAGS.types))
    emissions = np.random.default_rng(0).normal(size=(1, 3, K)).astype(np.float32)
    tags = np.array([[0, 1, 3]], np.int32)
    p = np.exp(emissions[0]) / np.exp(emissions[0]).sum(1, keepdims=True)
    expected = np.log(p[0, 0]) + np.log(p[1, 1])
    assert np.asarray(head(emissions, tags, np.array([[True, True, False]])))[0] == pytest.approx(expected, abs=1e-5)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 9), st.integers(0, 2**32 - 1), st.sampled_from([1.0, 1e3, 1e6]))
def test_no_emission_makes_an_illegal_sequence_win(length, seed, scale):
    rng = np.random.default_rng(seed)
    emissions = (rng.normal(size=(2, length, K)) * scale).astype(np.float32)
    scores = Scores(
        np.where(TAGS.legal, rng.normal(size=(K, K)) * scale, -np.inf),
        np.where(TAGS.legal_start, 0.0, -np.inf),
        np.where(TAGS.legal_end, 0.0, -np.inf),
    )
    for spans in decode(emissions, [length, max(1, length - 1)], scores, TAGS):  # decoding raises on what is illegal
        assert all(0.0 <= probability <= 1.0 for _, probability in spans)


class Fitted(keras.Model):
    """A CRF over emissions that are weights themselves; the loss is the mean negative log-likelihood."""

    def __init__(self, crf: CRF, emissions: np.ndarray):
        super().__init__()
        self.crf = crf
        self.emissions = self.add_weight(emissions.shape, "zeros", name="emissions")
        self.emissions.assign(emissions)
        self.built = True

    def call(self, inputs):
        return self.crf(1.0 * self.emissions, inputs["tags"], inputs["mask"])

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        return -keras.ops.mean(y_pred)


def test_gradients_equal_finite_differences():
    rng = np.random.default_rng(3)
    inputs = {"tags": np.array([[1, 3, 0], [8, 0, 0]], np.int32), "mask": np.arange(3) < np.array([[3], [1]])}
    model = Fitted(random_crf(3), rng.normal(size=(2, 3, K)))
    weights = [np.asarray(variable).copy() for variable in model.trainable_variables]

    def loss(number: int, place: tuple[int, ...], change: float) -> float:
        for variable, value in zip(model.trainable_variables, weights, strict=True):
            variable.assign(value)
        changed = weights[number].copy()
        changed[place] += change
        model.trainable_variables[number].assign(changed)
        return float(model.compute_loss(y_pred=model(inputs)))

    expected = {}
    for number, value in enumerate(weights):
        for flat in rng.choice(value.size, size=min(value.size, 12), replace=False):
            place = np.unravel_index(int(flat), value.shape)
            expected[number, place] = (loss(number, place, 0.05) - loss(number, place, -0.05)) / 0.1
    loss(0, (0,) * weights[0].ndim, 0.0)  # as they were
    model.compile(keras.optimizers.SGD(1.0), jit_compile=False)
    model.train_on_batch(inputs, np.zeros(2))
    for (number, place), difference in expected.items():
        moved = weights[number][place] - np.asarray(model.trainable_variables[number])[place]
        assert moved == pytest.approx(difference, abs=2e-3)
    assert max(map(abs, expected.values())) > 0.05
