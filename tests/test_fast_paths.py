"""What makes embedding fast changes no number: the table of token vectors, batches by length, layers left out, XLA."""

import keras
import numpy as np
import pytest
from conftest import SENTENCES
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from small_runs import new_run

from biLM import BiLM, BiLMOptions, InputError, load_bilm
from biLM.batching import POSITIONS_PER_SENTENCE, batches_by_length, few_counts, filled
from biLM.language_model import LanguageModel
from biLM.packing import large_batches, stretches
from biLM.presets import PRESETS
from biLM.token_table import TokenTable

TOKENS = st.text("abcdé😀", min_size=1, max_size=14)


@pytest.fixture(scope="module")
def bilm(small_weights):
    return load_bilm(small_weights)


def plain(bilm, sentence):
    """Activations of one sentence from its characters, in one call: no table, no batch."""
    outputs = bilm.predict_on_batch(bilm.encode([sentence]))
    return outputs["activations"][0][:, : len(sentence)]


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.lists(TOKENS, max_size=12), min_size=1, max_size=7),
    st.sampled_from([0, 1, 3, 1000]),
    st.integers(1, 4),
)
def test_any_sentences_any_table_any_batch_equal_the_plain_call(bilm, sentences, capacity, batch_size):
    table = bilm.token_table(capacity)
    for _ in range(2):  # the second time from the table
        for positions, batch in bilm.embed_in_batches(sentences, batch_size, table):
            for row, position in enumerate(positions):
                np.testing.assert_allclose(batch[row], plain(bilm, sentences[position]), atol=1e-5)
    assert len(table) <= capacity


def encoder_that_counts():
    calls: list[list[str]] = []

    def encode(tokens):
        calls.append(list(tokens))
        return np.array([[float(len(token)), float(ord(token[0]))] for token in tokens], np.float32)

    return encode, calls


def test_a_token_is_encoded_once():
    encode, calls = encoder_that_counts()
    table = TokenTable(encode, 2, capacity=10)
    table.add(["a", "bb", "a"[:1] + "cc"])
    table.add(["bb", "d"])
    assert calls == [["a", "bb", "acc"], ["d"]]
    np.testing.assert_array_equal(table.vectors(["d", "a"]), [[1, 100], [1, 97]])
    assert len(calls) == 2


def test_the_oldest_make_room_and_come_back_right():
    encode, calls = encoder_that_counts()
    table = TokenTable(encode, 2, capacity=2)
    for tokens in (["a", "bb"], ["c"], ["bb"], ["a"], ["dd", "e", "ff"], ["e"]):
        np.testing.assert_array_equal(table.vectors(tokens), [[len(t), ord(t[0])] for t in tokens])
        assert len(table) == 2
    assert calls == [["a", "bb"], ["c"], ["a"], ["dd", "e", "ff"]]  # "bb" was still there; "e", of the last two, too


def test_batches_hold_what_fits_and_everything_once():
    lengths = [3, 500, 1, 62, 3, 9, 62, 0]
    batches = list(batches_by_length(lengths, 2))
    assert sorted(position for batch in batches for position in batch) == list(range(8))
    assert [lengths[position] for batch in batches for position in batch] == sorted(lengths)
    for batch in batches:
        positions = len(batch) * (max(lengths[position] for position in batch) + 2)
        assert positions <= 2 * POSITIONS_PER_SENTENCE or len(batch) == 1


def test_large_batches_hold_what_fits_and_everything_once():
    lengths = [3, 500, 1, 62, 3, 9, 62, 0]
    batches = list(large_batches(lengths, 2))
    assert [lengths[position] for batch in batches for position in batch] == sorted(lengths)
    assert all(sum(lengths[position] + 2 for position in batch) <= 128 or len(batch) == 1 for batch in batches[:-1])
    assert len(list(large_batches(lengths, 100))) == 1 and list(large_batches([], 2)) == []


@given(st.lists(st.integers(0, 90), max_size=60))
def test_stretches_read_everything_and_little_more(lengths):
    lengths = np.array(sorted(lengths, reverse=True), int)
    found = stretches(lengths)
    assert [start for start, _, _ in found] == [0, *[stop for _, stop, _ in found[:-1]]][: len(found)]
    covered = np.zeros_like(lengths)
    for start, stop, rows in found:
        assert start < stop
        covered[:rows] += (np.minimum(lengths[:rows], stop) - start).clip(0)
    np.testing.assert_array_equal(covered, lengths)
    if keras.backend.backend() == "tensorflow":  # never dearer than one rectangle
        computed = sum((stop - start) * rows + 70 for start, stop, rows in found)
        assert computed <= lengths.max(initial=0) * (lengths > 0).sum() + 70 * bool(found)


def test_sizes_are_few_where_shapes_are_compiled():
    step = 16 if keras.backend.backend() == "jax" else 1
    sizes = {few_counts(count) for count in range(1, 257)}
    assert len(sizes) == (5 if step == 16 else 256)
    assert all(few_counts(count) >= count for count in range(1, 257))
    assert filled(["a"], "") == ["a", *[""] * (few_counts(1) - 1)]


@pytest.mark.parametrize("top_layer", [0, 1, 2])
def test_layers_above_the_top_one_are_left_out(bilm, small_weights, top_layer):
    lower = load_bilm(small_weights, top_layer=top_layer)
    assert lower.n_layers == top_layer + 1
    for all_layers, found in zip(bilm.embed(SENTENCES), lower.embed(SENTENCES), strict=True):
        assert found.shape == (top_layer + 1, *all_layers.shape[1:])
        np.testing.assert_allclose(found, all_layers[: top_layer + 1], atol=1e-6)


def test_a_layer_that_is_not_there(small_weights):
    with pytest.raises(InputError, match="`top_layer` must be from 0 to 2, the biLM's layers. Received: 3"):
        load_bilm(small_weights, top_layer=3)


def test_a_carried_state_is_that_of_all_layers(small_weights):
    everything = load_bilm(small_weights, initial_state="zero", stateful=True)
    lower = load_bilm(small_weights, initial_state="zero", stateful=True, top_layer=1)
    for _ in range(2):
        for all_layers, found in zip(everything.embed(SENTENCES), lower.embed(SENTENCES), strict=True):
            np.testing.assert_allclose(found, all_layers[:2], atol=1e-6)


@pytest.mark.parametrize(("stateful", "first"), [(True, 64), (False, 70)])
def test_wide_lstms_read_more_rows_unless_each_row_has_a_state(stateful, first):
    options = BiLMOptions.from_dict(PRESETS["tiny"] | {"lstm": PRESETS["tiny"]["lstm"] | {"dim": 1024, "n_layers": 1}})
    bilm = BiLM(options, stateful=stateful)
    sentences = [["a"] * 62] * 70
    assert len(next(bilm.embed_in_batches(sentences))[0]) == first


def test_compiled_by_xla_or_not(bilm, small_weights):
    other = load_bilm(small_weights)
    other.jit_compile = not bilm.jit_compile
    for one, two in zip(bilm.embed(SENTENCES), other.embed(SENTENCES), strict=True):
        np.testing.assert_allclose(one, two, atol=1e-5)


def test_table_vectors_are_layer_0(bilm):
    tokens = ["one", "two", "<S>", "a" * 80, "two"]
    vectors = bilm.token_vectors(tokens)
    layer = plain(bilm, tokens)[0]
    np.testing.assert_allclose(vectors, layer[:, : vectors.shape[1]], atol=1e-6)
    assert bilm.token_vectors([]).shape == (0, vectors.shape[1])


def test_few_shapes_are_compiled(small_weights):
    bilm, rng = load_bilm(small_weights), np.random.default_rng(0)
    table, shapes = bilm.token_table(), set()
    for _ in range(30):
        batch = [["w"] * int(rng.integers(1, 60)) for _ in range(int(rng.integers(1, 70)))]
        shapes.add(tuple(array.shape for array in bilm.look_up(batch, table).values()))
        bilm.embed_batch(batch, table)
    if keras.backend.backend() == "tensorflow":
        assert bilm.predict_function.experimental_get_tracing_count() == 3  # a warm-up, token vectors, sentences
    else:
        assert len(shapes) <= 12  # 16, 32, 64 or 128 rows of 16, 32, 48 or 64


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="JAX compiles every shape")
def test_a_training_step_is_traced_once(tmp_path, monkeypatch):
    run, calls, shapes = new_run(tmp_path, max_steps=20), [], set()
    call = LanguageModel.call
    monkeypatch.setattr(LanguageModel, "call", lambda self, *given, **more: calls.append(1) or call(self, *given, **more))
    for _ in range(8):
        shapes.add(tuple(len(group) for group in run.inputs(next(run.batches), 0).tensors["characters"]))
        run.take_step()
    assert len(calls) == 1
    assert len(shapes) > 2
