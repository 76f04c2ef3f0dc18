"""`ElmoEmbedding` and `CRF` in anybody's Keras model: saved and loaded elsewhere, in mixed precision, in a summary."""

import re
import subprocess
import sys

import keras
import numpy as np
import pytest
from conftest import PROJECT

from biLM import InputError, batch_to_ids, load_bilm
from ner_elmo import CRF, ElmoEmbedding
from ner_elmo.crf import negative_log_likelihood
from ner_elmo.entities import Span

SENTENCES = [["Ada", "Lund", "left", "Oslo", "."], ["It", "rained", "."]]
SPANS = [[Span("PER", 0, 2), Span("LOC", 3, 4)], []]
LOAD = """
import {first}
import {second}
import keras, numpy
model = keras.models.load_model("model.keras")
data = numpy.load("data.npz")
numpy.testing.assert_array_equal(model.predict([data["ids"], data["tags"]], verbose=0), data["predicted"])
print([layer.name for layer in model.layers])
"""


def tagging_model(bilm, dtype: str | None = None, **options) -> keras.Model:
    """Ids and tags -> log-likelihood, as docs/keras.md has it."""
    ids = keras.Input((None, 50), dtype="int32", name="ids")
    tags = keras.Input((None,), dtype="int32", name="tags")
    crf = CRF(["LOC", "PER"], dtype=dtype, name="crf")
    vectors = ElmoEmbedding(bilm, dtype=dtype, name="elmo", **options)(ids)
    emissions = keras.layers.Dense(len(crf.tag_set), dtype=dtype, name="emissions")(vectors)
    model = keras.Model([ids, tags], crf(emissions, tags))
    model.compile(keras.optimizers.Adam(0.02), negative_log_likelihood)
    return model


@pytest.fixture(scope="module")
def data():
    ids = batch_to_ids(SENTENCES)
    tags = np.zeros(ids.shape[:2], np.int32)
    tag_set = CRF(["LOC", "PER"]).tag_set
    for row, (sentence, spans) in enumerate(zip(SENTENCES, SPANS, strict=True)):
        tags[row, : len(sentence)] = tag_set.encode(spans, len(sentence))
    return [ids, tags]


def test_a_model_loads_where_only_the_packages_were_imported(small_weights, data, tmp_path):
    model = tagging_model(load_bilm(small_weights))
    model.fit(data, data[1][:, 0], verbose=0)
    model.save(tmp_path / "model.keras")
    np.savez(tmp_path / "data.npz", ids=data[0], tags=data[1], predicted=model.predict(data, verbose=0))
    orders = ({"first": "ner_elmo", "second": "keras"}, {"first": "keras", "second": "ner_elmo"})
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(PROJECT)!r})" + LOAD.format(**order)],
            cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for order in orders
    ]  # fmt: skip
    ends = [process.communicate(timeout=300) for process in processes]
    for process, (out, err) in zip(processes, ends, strict=True):
        assert process.returncode == 0, err
        assert out.splitlines()[-1] == "['ids', 'elmo', 'emissions', 'tags', 'crf']", out


def test_code_in_a_model_file_is_refused(tmp_path):
    """Keras refuses it, and importing this package does not change that."""
    model = keras.Sequential([keras.Input((3,)), keras.layers.Lambda(lambda x: 2 * x)])
    model.save(tmp_path / "model.keras")
    with pytest.raises(ValueError, match="Lambda.*unsafe"):
        keras.models.load_model(tmp_path / "model.keras")
    for name in ("model.keras", "."):  # nor is it taken for weights
        with pytest.raises(InputError, match="no options file|no such weights file"):
            load_bilm(tmp_path / name)


def test_a_package_that_is_half_imported_when_keras_comes_is_no_trouble():
    code = "import ner_elmo; from biLM import load_bilm; import keras, wave; "
    code += "print(keras.saving.get_registered_object('ner_elmo>ElmoEmbedding').__name__)"
    found = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, check=False)
    assert found.stdout == "ElmoEmbedding\n", found.stderr


@pytest.mark.parametrize("policy", ["of a layer", "global"])
def test_mixed_bfloat16_learns_and_the_crf_stays_float32(small_weights, data, policy):
    before = keras.config.dtype_policy()
    try:
        if policy == "global":
            keras.config.set_dtype_policy("mixed_bfloat16")
        model = tagging_model(
            load_bilm(small_weights), None if policy == "global" else "mixed_bfloat16", train_bilm=policy == "global"
        )
    finally:
        keras.config.set_dtype_policy(before)
    losses = model.fit(data, data[1][:, 0], epochs=5, verbose=0).history["loss"]
    assert losses[-1] < 0.9 * losses[0]
    crf, emissions = model.layers[-1], model.get_layer("emissions")
    assert keras.backend.standardize_dtype(emissions.output.dtype) == "bfloat16"
    assert {variable.dtype for variable in crf.variables} == {"float32"}
    rng = np.random.default_rng(0)
    emissions = rng.normal(size=(2, 5, len(crf.tag_set))).astype(np.float32)
    plain = CRF(["LOC", "PER"])
    plain.build()
    plain.set_weights(crf.get_weights())
    mask = np.arange(5) < np.array([[5], [3]])
    found = np.asarray(crf(emissions, data[1], mask))
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, np.asarray(plain(emissions, data[1], mask)))


def test_the_mask_of_the_embedding_reaches_the_crf(small_weights, data):
    model = tagging_model(load_bilm(small_weights))
    together = model.predict(data, verbose=0)
    alone = model.predict([array[1:, :3] for array in data], verbose=0)  # without the padding
    np.testing.assert_allclose(together[1:], alone, atol=1e-5)


def test_a_summary_has_shapes_names_and_every_parameter(small_weights, monkeypatch):
    monkeypatch.setenv("COLUMNS", "140")
    bilm = load_bilm(small_weights)
    lines: list[str] = []
    model = tagging_model(bilm)
    for one in (model, bilm):
        one.summary(print_fn=lambda text, line_break=False: lines.append(text))
    text = "\n".join(lines)
    assert "?" not in text
    assert "elmo (ElmoEmbedding)" in text and "crf (CRF)" in text
    assert f"{bilm.count_params() + 4:,}" in text  # with three weights of the mix and its gamma
    assert "(None, None, 10)" in text and "forward (LSTMStack)" in text


@pytest.mark.slow
def test_the_code_of_the_page_runs_as_it_stands(tmp_path, monkeypatch, capsys):
    page = (PROJECT / "docs" / "keras.md").read_text(encoding="utf-8")
    (tmp_path / "data").symlink_to(PROJECT / "data")
    monkeypatch.chdir(tmp_path)
    exec("\n".join(re.findall(r"```python\n(.*?)```", page, re.DOTALL)), {})
    found = capsys.readouterr().out
    assert "Span(type='PER', start=0, end=2)" in found and "Span(type='LOC', start=3, end=4)" in found
    assert found.splitlines()[-1] == "bfloat16"


@pytest.mark.slow
def test_the_example_of_text_classification(capsys):
    sys.path.insert(0, str(PROJECT / "examples"))
    try:
        import text_classification
    finally:
        sys.path.pop(0)
    assert text_classification.main() > 0.7
    assert "accuracy on 24 notes about other things: " in capsys.readouterr().out
