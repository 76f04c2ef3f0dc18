"""`ScalarMix` and `ElmoEmbedding` as Keras layers: equations, masks, saving, training."""

import keras
import numpy as np
import pytest
from conftest import SENTENCES

from biLM import InputError, batch_to_ids, load_bilm
from ner_elmo import ElmoEmbedding, ScalarMix


@pytest.fixture
def bilm(small_weights):
    return load_bilm(small_weights)


def layer_contract(layer: keras.layers.Layer, inputs, n_trainable: int) -> None:
    """What every layer of the project keeps: its shape as computed, its trainable weights, and itself through config."""
    outputs = layer(inputs)
    shapes = [tuple(x.shape) for x in inputs] if isinstance(inputs, list) else tuple(inputs.shape)
    assert tuple(outputs.shape) == tuple(layer.compute_output_shape(shapes))
    assert len(layer.trainable_weights) == n_trainable
    again = type(layer).from_config(layer.get_config())
    again(inputs)
    again.set_weights(layer.get_weights())
    np.testing.assert_array_equal(np.asarray(again(inputs)), np.asarray(outputs))


@pytest.mark.parametrize("options", [{}, {"layers": (0, 2)}, {"layer_norm": True}])
def test_contract(bilm, options):
    activations = np.random.default_rng(0).normal(size=(2, 3, 4, 10)).astype(np.float32)
    layer_contract(ScalarMix(**options), activations, n_trainable=2)
    layer_contract(ElmoEmbedding(bilm, **options), batch_to_ids(SENTENCES), n_trainable=2)


def test_what_is_no_bilm_is_refused():
    with pytest.raises(InputError, match="`bilm` must be a BiLM, which reads character ids. Received: a str. A TF-Hub"):
        ElmoEmbedding("data/bilm")


def test_mix_is_gamma_times_the_weighted_sum():
    rng = np.random.default_rng(0)
    activations = rng.normal(size=(2, 3, 4, 6)).astype(np.float32)
    mix = ScalarMix(l2=0.1)
    mix.build(activations.shape)
    mix.w.assign(w := rng.normal(size=3).astype(np.float32))
    mix.gamma.assign(1.7)
    s = np.exp(w) / np.exp(w).sum()
    np.testing.assert_allclose(np.asarray(mix(activations)), 1.7 * np.einsum("k,bktd->btd", s, activations), atol=1e-6)
    assert float(mix.losses[0]) == pytest.approx(0.1 * (w**2).sum(), rel=1e-6)


def test_mix_starts_as_the_mean_and_reads_float16():
    activations = np.random.default_rng(0).normal(size=(1, 3, 2, 4)).astype(np.float16)
    mixed = np.asarray(ScalarMix()(activations))
    assert mixed.dtype == np.float32
    np.testing.assert_allclose(mixed, activations.astype(np.float32).mean(axis=1), atol=1e-6)


def test_layer_norm_counts_real_positions_only():
    rng = np.random.default_rng(0)
    activations = rng.normal(3, 2, size=(2, 2, 5, 4)).astype(np.float32)
    mask = np.arange(5) < np.array([[5], [2]])
    activations[1, :, 2:] = 1e6
    layers = []
    for layer in activations.transpose(1, 0, 2, 3):
        real = layer[mask]
        layers.append((layer - real.mean()) / np.sqrt(real.var() + 1e-12))
    expected = np.mean(layers, axis=0)
    found = np.asarray(ScalarMix(layer_norm=True)(activations, mask))
    np.testing.assert_allclose(found[mask], expected[mask], atol=1e-4)


def test_a_mix_of_some_layers_is_theirs_alone():
    rng = np.random.default_rng(0)
    activations = rng.normal(size=(2, 3, 4, 6)).astype(np.float32)
    mix = ScalarMix(layers=(0, 1))
    mix.build(activations.shape)
    mix.w.assign([0.3, -0.7])
    mix.gamma.assign(1.5)
    shares = np.exp([0.3, -0.7]) / np.exp([0.3, -0.7]).sum()
    expected = 1.5 * (shares[0] * activations[:, 0] + shares[1] * activations[:, 1])
    np.testing.assert_allclose(np.asarray(mix(activations)), expected, atol=1e-6)


def test_layers_out_of_range_are_refused():
    with pytest.raises(InputError, match=r"`layers` must be numbers from 0 to 2. Received: \(3,\)"):
        ScalarMix(layers=(3,))(np.zeros((1, 3, 2, 4), np.float32))


def test_ids_and_pair_give_what_embed_gives(bilm):
    layer = ElmoEmbedding(bilm)
    ids = batch_to_ids(SENTENCES)
    from_ids = np.asarray(layer(ids))
    inputs = bilm.encode(SENTENCES)
    from_pair = np.asarray(layer([inputs["characters"], inputs["token_index"]]))
    for row, activations in enumerate(bilm.embed(SENTENCES)):
        length = activations.shape[1]
        np.testing.assert_allclose(from_ids[row, :length], activations.mean(axis=0), atol=1e-5)
        np.testing.assert_allclose(from_pair[row, :length], activations.mean(axis=0), atol=1e-5)
        assert not from_ids[row, length:].any()


def test_mask_is_computed_and_passed_on(bilm):
    ids = keras.Input((None, 50), dtype="int32")
    vectors = ElmoEmbedding(bilm)(ids)
    pooled = keras.layers.GlobalAveragePooling1D()(vectors)  # takes the mask
    found = keras.Model(ids, pooled).predict(batch_to_ids(SENTENCES), verbose=0)
    for row, activations in enumerate(bilm.embed(SENTENCES)):
        np.testing.assert_allclose(found[row], activations.mean(axis=(0, 1)), atol=1e-5)


def model_with(bilm, run_eagerly: bool = False, **options) -> keras.Model:
    ids = keras.Input((None, 50), dtype="int32")
    model = keras.Model(ids, keras.layers.Dense(3, activation="softmax")(ElmoEmbedding(bilm, **options)(ids)))
    model.compile("adam", "sparse_categorical_crossentropy", run_eagerly=run_eagerly)
    return model


@pytest.mark.parametrize("train_bilm", [False, True])
def test_fit_moves_every_trainable_weight_and_no_frozen_one(bilm, train_bilm):
    model = model_with(bilm, not train_bilm, train_bilm=train_bilm, dropout=0.1)  # one of the two compiled
    before = {v.path: np.array(v) for v in model.variables}
    ids = batch_to_ids([["a", "bc", "d"], ["e", "f", "g"]])
    model.fit(ids, np.array([[0, 1, 2], [1, 1, 0]]), epochs=2, batch_size=1, verbose=0)
    trainable = {v.path for v in model.trainable_variables}
    assert bool(trainable & {v.path for v in bilm.variables}) == train_bilm
    for variable in model.variables:
        if "seed_generator" not in variable.path:
            moved = not np.array_equal(before[variable.path], np.asarray(variable))
            assert moved == (variable.path in trainable), variable.path


def test_saved_and_loaded_model_predicts_the_same_in_any_batch(bilm, tmp_path):
    model = model_with(bilm)
    ids = batch_to_ids(SENTENCES)
    model.fit(ids, np.zeros(ids.shape[:2]), verbose=0)
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    for batch_size in (1, 2, 32):
        before, after = (one.predict(ids, batch_size=batch_size, verbose=0) for one in (model, again))
        np.testing.assert_array_equal(before, after)


def test_several_mixes_share_one_run(bilm):
    layer = ElmoEmbedding(bilm, n_mixes=2)
    first, second = layer(batch_to_ids(SENTENCES[:2]))
    np.testing.assert_array_equal(np.asarray(first), np.asarray(second))
    layer.mixes[1].gamma.assign(2.0)
    first, second = layer(batch_to_ids(SENTENCES[:2]))
    np.testing.assert_allclose(2 * np.asarray(first), np.asarray(second), atol=1e-6)


def test_wrong_ids_say_what_to_do(bilm):
    with pytest.raises(InputError, match=r"must have shape \(batch, tokens, 50\). Received: \(1, 2, 7\). Use `batch_to_ids"):
        ElmoEmbedding(bilm)(np.ones((1, 2, 7), np.int32))


def test_batch_to_ids_gives_the_published_values():
    ids = batch_to_ids([["Āt", "a"], ["b"]])
    assert ids.shape == (2, 2, 50)
    assert ids[0, 0, :6].tolist() == [259, 197, 129, 117, 260, 261]
    assert not ids[1, 1].any()
    long = batch_to_ids([["x" * 10_000]])
    assert long.shape == (1, 1, 50)
    assert long[0, 0, -1] == 260
