"""Sampled and full softmax, perplexity, and steps of the optimiser, against their definitions."""

import json

import keras
import numpy as np
import oracle
import pytest
from conftest import assert_drawn_apart, vocabulary_of
from small_runs import TEXT, new_run, weights_of

from biLM import BiLM, BiLMOptions, InputError
from biLM.corpus import PackedBatches, SentenceStream
from biLM.language_model import LanguageModel
from biLM.perplexity import perplexity
from biLM.softmax import SampledSoftmax, Softmax, draw_candidates, full_cross_entropy, log_expected_count
from biLM.vocabulary import Vocabulary


@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_no_two_matrices_begin_alike(activation):
    assert_drawn_apart(BiLM(oracle.random_options(char_cnn__activation=activation)).get_weights())


def test_candidates_are_distinct_and_as_frequent_as_their_expected_count():
    rng = np.random.default_rng(0)
    n_words, n_draws = 50, 3000
    counts, expected = np.zeros(n_words), np.zeros(n_words)
    p = np.log((np.arange(n_words) + 2) / (np.arange(n_words) + 1)) / np.log(n_words + 1)
    for _ in range(n_draws):
        ids, n_tries = draw_candidates(rng, n_words, 10)
        assert len(set(ids.tolist())) == 10
        counts[ids] += 1
        expected += -np.expm1(n_tries * np.log1p(-p))
    np.testing.assert_allclose(counts / n_draws, expected / n_draws, atol=0.05)


def softmax_with(n_words: int, width: int) -> Softmax:
    rng = np.random.default_rng(0)
    return Softmax(rng.normal(size=(n_words, width)).astype(np.float32), rng.normal(size=n_words).astype(np.float32))


def test_softmax_full_and_sampled_equal_their_definition(monkeypatch):
    monkeypatch.setattr("biLM.softmax._POSITIONS_AT_ONCE", 2)
    monkeypatch.setattr("biLM.softmax._WORDS_AT_ONCE", 7)
    softmax = softmax_with(20, 4)
    hidden = np.random.default_rng(1).normal(size=(3, 4)).astype(np.float32)
    targets = np.array([2, 7, 19], np.int32)
    logits = hidden @ softmax.kernel.T + softmax.bias
    full = np.log(np.exp(logits).sum(1)) - logits[np.arange(3), targets]
    np.testing.assert_allclose(full_cross_entropy(hidden, targets, softmax), full, atol=1e-5)
    layer = SampledSoftmax(20, 4)
    layer.kernel.assign(softmax.kernel)
    layer.bias.assign(softmax.bias)
    zero, everything = np.zeros(20, np.float32), np.arange(20, dtype=np.int32)
    np.testing.assert_allclose(np.asarray(layer(hidden, targets, zero[:3], np.ones(3), everything, zero)), full, atol=1e-5)
    candidates, n_tries = np.array([0, 7, 3, 11], np.int32), 6
    corrected = logits - oracle.log_expected_count(np.arange(20), 20, n_tries)
    corrections = [log_expected_count(ids, 20, n_tries) for ids in (targets, candidates)]
    hits = np.array([0.0, 1.0, 0.0], np.float32)  # 7 is a candidate
    found = np.asarray(layer(hidden, targets, corrections[0], hits, candidates, corrections[1]))
    for row, target in enumerate(targets):
        others = [corrected[row, c] for c in candidates if c != target]
        expected = np.log(np.exp([corrected[row, target], *others]).sum()) - corrected[row, target]
        assert found[row] == pytest.approx(expected, abs=1e-5)


def language_model(vocabulary: Vocabulary, **changes) -> LanguageModel:
    keras.utils.set_random_seed(0)
    raw = oracle.random_options(**changes) | {"n_tokens_vocab": len(vocabulary), "dropout": 0.0}
    return LanguageModel(BiLM(BiLMOptions.from_dict(raw), vocabulary))


def test_perplexity_equals_the_oracle_whatever_the_batch(tmp_path, monkeypatch):
    monkeypatch.setattr("biLM.perplexity.SENTENCES_AT_ONCE", 4)
    vocabulary = vocabulary_of(TEXT[:4])  # two sentences hold unknown words
    model = language_model(vocabulary)
    softmax = softmax_with(len(vocabulary), model.bilm.options.lstm.projection_dim)
    weights = weights_of(model.bilm, tmp_path)
    options = json.loads((tmp_path / "options.json").read_text())
    nats = [[], []]
    for sentence in TEXT:
        marked = ["<S>", *sentence, "</S>"]
        for d, order in enumerate((marked, marked[::-1])):
            direction = oracle.Direction(d, weights, options)
            for token, target in zip(order, order[1:], strict=False):
                h = direction.step(oracle.token_vector(token, weights, options))[-1]
                logits = softmax.kernel @ h + softmax.bias
                nats[d].append(np.log(np.exp(logits).sum()) - logits[vocabulary.encode([target])[0]])
    for batch_size in (1, 3, 128):
        found = perplexity(model, softmax, vocabulary, TEXT, batch_size)
        assert found.forward == pytest.approx(np.exp(np.mean(nats[0])), rel=1e-5)
        assert found.backward == pytest.approx(np.exp(np.mean(nats[1])), rel=1e-5)
        assert found.both == pytest.approx(np.exp(np.mean(nats)), rel=1e-5)
        assert found.predictions == sum(len(s) + 1 for s in TEXT)
        assert found.coverage == 1
        n_characters = sum(len(token) + 1 for s in TEXT for token in s)
        assert found.bits_per_character == pytest.approx(np.sum(nats) / 2 / np.log(2) / n_characters, rel=1e-5)
    unknown = [token not in vocabulary.id_of for s in TEXT for token in s]
    assert found.oov_rate == pytest.approx(np.mean(unknown))


def test_perplexity_of_nothing_is_refused():
    vocabulary = vocabulary_of(TEXT)
    with pytest.raises(InputError, match="at least one sentence"):
        perplexity(language_model(vocabulary), softmax_with(len(vocabulary), 5), vocabulary, [])


@pytest.mark.parametrize(("clip_norm", "how", "n_steps"), [(0.05, "compiled", 2), (100.0, "eager", 1)])
def test_optimiser_steps_equal_the_oracle(tmp_path, request, clip_norm, how, n_steps):
    """Steps of sampled softmax, corrections, carried state, global-norm clipping and Adagrad."""
    if how == "eager":
        request.getfixturevalue("eager")
    training = new_run(tmp_path, all_clip_norm_val=clip_norm, reset_probability=0.5, seed=3)
    bilm, vocabulary = training.model.bilm, training.vocabulary
    weights = weights_of(bilm, tmp_path / "start")
    weights |= {"softmax/W": training.softmax.kernel.copy(), "softmax/b": training.softmax.bias.copy()}
    options = json.loads((tmp_path / "start" / "options.json").read_text())
    expected = oracle.TrainingOracle(weights, options, 0.2, clip_norm, unroll_steps=3)
    batches = PackedBatches(SentenceStream(training.paths, 3), vocabulary, 2, 3)
    kept = set()
    for step, batch in zip(range(n_steps), batches, strict=False):
        step_inputs = training.inputs(batch, step)
        inputs, touched = step_inputs.tensors, step_inputs.softmax_rows
        rng = np.random.default_rng([3, 1, step])
        candidates, n_tries = zip(*(draw_candidates(rng, len(vocabulary), 8) for _ in range(2)), strict=True)
        np.testing.assert_array_equal(touched[inputs["candidates"]].T, candidates)
        assert sorted(candidates[0]) != sorted(candidates[1])  # each direction has its own
        names = ["", "<S>", "</S>", *batch.tokens]
        tokens = [[[names[k] for k in row] for row in directions] for directions in batch.token_index]
        moving = {name: np.ones(array.shape, bool) for name, array in weights.items()}
        used = sorted({c for name in names[1:] for c in oracle.character_ids(name, 50)})
        moving["char_embed"] = np.isin(np.arange(261), used)[:, None] & np.ones((1, 3), bool)
        moving["softmax/b"] = np.isin(np.arange(len(vocabulary)), touched)
        moving["softmax/W"] = moving["softmax/b"][:, None] & np.ones((1, 3), bool)
        loss = expected.step(tokens, batch.targets.tolist(), inputs["keep"], candidates, n_tries, moving)
        kept |= set(inputs["keep"].tolist())
        assert training.take_step() == pytest.approx(loss, abs=1e-5)
    assert kept == {0.0, 1.0} or n_steps == 1
    found = weights_of(bilm, tmp_path / "end")
    found |= {"softmax/W": training.softmax.kernel, "softmax/b": training.softmax.bias}
    for name, array in expected.weights.items():
        assert not np.array_equal(array, weights[name]), f"{name} was not trained"
        np.testing.assert_allclose(found[name], array, atol=1e-5, err_msg=name)
