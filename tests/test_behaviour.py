"""A sentence's vectors depend on the sentence alone; each direction sees its own side only."""

import numpy as np
import pytest
from conftest import SENTENCES
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from biLM import load_bilm


@pytest.fixture(scope="module", params=["warm", "zero"])
def bilm(request, small_weights):
    return load_bilm(small_weights, initial_state=request.param)


def test_alone_in_a_batch_in_any_order_and_after_anything(bilm):
    alone = [bilm.embed([sentence])[0] for sentence in SENTENCES]
    for batch_size in (1, 2, 5):
        for order in ([0, 1, 2, 3, 4], [4, 2, 0, 3, 1]):
            found = bilm.embed([SENTENCES[k] for k in order], batch_size=batch_size)
            for k, activations in zip(order, found, strict=True):
                np.testing.assert_allclose(activations, alone[k], atol=1e-5)


def test_forward_is_blind_to_what_follows_and_backward_to_what_precedes(bilm):
    half = bilm.width // 2
    one, two = bilm.embed([["a", "b", "c", "d"], ["a", "b", "x", "d"]])
    np.testing.assert_allclose(one[:, :2, :half], two[:, :2, :half], atol=1e-6)  # forward, before the change
    np.testing.assert_allclose(one[:, 3:, half:], two[:, 3:, half:], atol=1e-6)  # backward, after it
    assert np.abs(one[1:, 3, :half] - two[1:, 3, :half]).max() > 1e-3  # forward, after it: it did see it
    assert np.abs(one[1:, 0, half:] - two[1:, 0, half:]).max() > 1e-3


def test_layer_0_is_the_token_alone(bilm):
    one, two = bilm.embed([["a", "b", "c"], ["x", "y", "z", "b"]])
    np.testing.assert_allclose(one[0, 1], two[0, 3], atol=1e-6)
    np.testing.assert_array_equal(one[0, :, : bilm.width // 2], one[0, :, bilm.width // 2 :])


def test_repeated_tokens_and_empty_sentences(bilm):
    found = bilm.embed([[], ["a", "a", "a"], []])
    assert [activations.shape for activations in found] == [(3, 0, bilm.width), (3, 3, bilm.width), (3, 0, bilm.width)]
    assert np.isfinite(found[1]).all()
    assert bilm.embed([]) == []


def test_a_long_sentence_is_not_cut_and_leaves_its_batch_mates_alone(bilm):
    long = [f"w{k}" for k in range(700)]
    found = bilm.embed([["a", "b"], long, ["c"]], batch_size=3)
    assert found[1].shape[1] == 700
    np.testing.assert_allclose(found[0], bilm.embed([["a", "b"]])[0], atol=1e-5)
    assert np.abs(found[1][1:, -1]).max() > 0


def test_padding_of_the_call_holds_zeros(bilm):
    outputs = bilm.predict_on_batch(bilm.encode([["a", "b", "c"], ["d"]]))
    assert outputs["mask"][:, :3].tolist() == [[True, True, True], [True, False, False]]
    assert not outputs["activations"][1, :, 1:].any()
    assert not outputs["activations"][~np.broadcast_to(outputs["mask"][:, None], outputs["activations"].shape[:3])].any()


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.lists(st.text(min_size=1, max_size=60), max_size=9), min_size=1, max_size=6), st.randoms())
def test_any_tokens_any_order(bilm, sentences, random):
    order = list(range(len(sentences)))
    random.shuffle(order)
    shuffled = bilm.embed([sentences[k] for k in order], batch_size=4)
    for k, activations in zip(order, shuffled, strict=True):
        np.testing.assert_allclose(activations, bilm.embed([sentences[k]])[0], atol=1e-5)
