"""A tagger as SavedModel and as ONNX, run by TensorFlow and ONNX Runtime without our code, equal to `Predictor`."""

import json
import shutil
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from biLM import InputError, load_bilm
from biLM.errors import run_command
from ner_elmo import decoding as in_numpy
from ner_elmo.__main__ import parser
from ner_elmo.batching import Features, Words
from ner_elmo.bundle import save_model
from ner_elmo.confidence import Confidence
from ner_elmo.config import NO_ELMO, TrainConfig
from ner_elmo.decoding import Scores
from ner_elmo.entities import TagSet
from ner_elmo.exporting.graph_decoding import Tables, decode
from ner_elmo.exporting.onnx_tagger import OnnxTagger
from ner_elmo.gazetteers import Gazetteers
from ner_elmo.predictor import Predictor
from ner_elmo.tagger import build_tagger
from ner_elmo.word_vectors import WordVectors

TYPES = ["LOC", "PER"]
TEXTS = [
    "Ada Lund left OSLO .",
    "the FERRY of YORK york Ferry Élan ßA ǆ",
    "Oslo",
    "",
    "the ferry  from New York to <S> İstanbul was late 😀 !",
    "x " * 40,
]
VECTORS = ["oslo", "York", "Ferry", "élan", "SSa", "i̇stanbul", "ada"]
WORDS = Words(["ada", "lund", "oslo", "new", "york", ".", "ferry", "i̇stanbul"])
KINDS = {
    "words": {"elmo": NO_ELMO, "head": "softmax"},
    "both": {"n_blocks": 2, "layers": (0, 1), "initial_state": "zero", "word_vectors": "given"},
    "word vectors alone": {"elmo": NO_ELMO, "token_vectors": False, "word_vectors": "given"},
}
EVERYTHING = {"output_mix": True, "casing": True, "word_vectors": "given", "gazetteer": ("LOC=given",)}


@pytest.fixture(scope="module", params=KINDS.items(), ids=KINDS.keys())
def model(request, small_weights, tmp_path_factory):
    """The directory of a random tagger that finds much, and the tagger."""
    kind, options = request.param
    config = TrainConfig(**{"elmo": str(small_weights), "hidden_size": 6, "word_dim": 4} | options)
    bilm = None
    if config.elmo != NO_ELMO:
        bilm = load_bilm(small_weights, initial_state="zero", top_layer=config.top_layer)
    names = Gazetteers({"LOC": [("New", "York"), ("Oslo",)]}) if config.gazetteer else None
    vectors = WordVectors(VECTORS, np.eye(len(VECTORS))) if config.word_vectors == "given" else None
    words = WORDS if config.token_vectors else None
    features = Features(bilm, words, word_vectors=vectors, casing=config.casing, gazetteers=names)
    keras.utils.set_random_seed(3)  # with some others, such as 0, it finds too little to show anything
    tagger = build_tagger(config, TYPES, **features.sizes)
    rng = np.random.default_rng(1)
    tagger.set_weights(
        [w + rng.normal(0, 0.7, w.shape).astype(w.dtype) if w.dtype == np.float32 else w for w in tagger.get_weights()]
    )
    directory = tmp_path_factory.mktemp(kind) / "model"
    confidence = Confidence(0.7, -0.2)
    save_model(directory, tagger, features, config, {}, confidence)
    return directory, Predictor(tagger, features, confidence=confidence)


@pytest.mark.parametrize("model", [("everything", EVERYTHING)], indirect=True, ids=["everything"])
def test_whatever_a_tagger_reads_goes_into_onnx_and_not_into_a_saved_model(model, tmp_path, capsys, small_weights):
    directory, tagger = model
    assert run(directory, "--format", "onnx", "--out", tmp_path / "o") == 0
    found = OnnxTagger.load(tmp_path / "o", tagger.features.bilm).tag_sentences([text.split() for text in TEXTS if text])
    expected = tagger.tag_sentences([text.split() for text in TEXTS if text])
    for ours, theirs in zip(expected, found, strict=True):
        assert [span for span, _ in ours] == [span for span, _ in theirs]
        assert [p for _, p in ours] == pytest.approx([p for _, p in theirs], abs=1e-4)
    assert run(directory, "--out", tmp_path / "s") == 2
    assert "cannot be put into a SavedModel. Export it as ONNX" in capsys.readouterr().err


def run(*arguments) -> int:
    args = parser().parse_args(["export", *map(str, arguments)])
    return run_command("ner_elmo export", lambda: args.run(args))


def test_a_saved_model_needs_nothing_of_ours(model, tmp_path, capsys):
    directory, tagger = model
    assert run(directory, "--out", tmp_path / "served" / "1") == 0
    assert "served/1: saved_model, equal to" in capsys.readouterr().out
    assert {path.name for path in (tmp_path / "served").iterdir()} == {"1"}
    script = (
        "import json, sys, tensorflow as tf\n"
        "signature = tf.saved_model.load(sys.argv[1]).signatures['serving_default']\n"
        "found = {k: v.numpy().tolist() for k, v in signature(text=tf.constant(json.loads(sys.argv[2]))).items()}\n"
        "assert not {'ner_elmo', 'biLM'} & set(sys.modules)\n"
        "print(json.dumps(found, default=bytes.decode))"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "served" / "1"), json.dumps(TEXTS)]
    found = json.loads(subprocess.run(command, cwd=tmp_path, check=True, capture_output=True).stdout)
    expected = tagger.tag_sentences([text.split() for text in TEXTS])
    assert sum(map(len, expected)) >= 3
    assert found["n_spans"] == [len(spans) for spans in expected]
    for row, (text, spans) in enumerate(zip(TEXTS, expected, strict=True)):
        n, n_tokens = len(spans), len(text.split())
        assert found["tokens"][row][:n_tokens] == text.split()
        assert found["span_type"][row][:n] == [span.type for span, _ in spans]
        assert found["span_start"][row][:n] == [span.start for span, _ in spans]
        assert found["span_end"][row][:n] == [span.end for span, _ in spans]
        assert found["span_score"][row][:n] == pytest.approx([p for _, p in spans], abs=1e-4)
        inside = {position for span, _ in spans for position in range(span.start, span.end)}
        for position, tag in enumerate(found["tags"][row]):
            assert (tag not in ("O", "")) == (position in inside)
            assert (tag == "") == (position >= n_tokens)


def test_onnx_runtime_finds_the_same(model, tmp_path, capsys):
    pytest.importorskip("tf2onnx", reason='ONNX needs the extra: pip install "ner-elmo[onnx]"')
    directory, tagger = model
    assert run(directory, "--format", "onnx", "--out", tmp_path / "onnx") == 0
    assert "onnx: onnx, equal to" in capsys.readouterr().out
    again = OnnxTagger.load(tmp_path / "onnx", tagger.features.bilm)
    sentences = [text.split() for text in TEXTS]
    assert [] in sentences and again.tag_sentences([[]]) == [[]]
    for ours, theirs in zip(tagger.tag_sentences(sentences), again.tag_sentences(sentences), strict=True):
        assert [span for span, _ in ours] == [span for span, _ in theirs]
        assert [p for _, p in ours] == pytest.approx([p for _, p in theirs], abs=1e-4)
    import onnx

    operators = [node.op_type for node in onnx.load(tmp_path / "onnx" / "tagger.onnx").graph.node]
    assert operators.count("LSTM") == 2 * len(tagger.tagger.network.bilstms) and "Loop" not in operators
    says = json.loads((tmp_path / "onnx" / "tagger.json").read_text())
    assert says["tags"][:3] == ["O", "B-LOC", "I-LOC"]
    assert says["transitions"][0][2] is None  # O, I-LOC
    with pytest.raises(InputError, match="is no exported tagger, tagger.json is missing"):
        OnnxTagger.load(tmp_path)
    if says["bilm"]:
        with pytest.raises(InputError, match=f"onnx: needs a biLM like {says['bilm']}. Received: None"):
            OnnxTagger.load(tmp_path / "onnx")


def rewritten(change):
    """Changes the graph in tagger.onnx."""

    def changed(directory):
        import onnx

        graph = onnx.load(directory / "tagger.onnx")
        change(graph)
        onnx.save(graph, directory / "tagger.onnx")

    return changed


def saying(*without, **changes):
    """Changes what tagger.json says, and leaves keys out."""

    def changed(directory):
        says = json.loads((directory / "tagger.json").read_text()) | changes
        left = {key: value for key, value in says.items() if key not in without}
        (directory / "tagger.json").write_text(json.dumps(left))

    return changed


def without_end(directory):
    (directory / "tagger.onnx").write_bytes((directory / "tagger.onnx").read_bytes()[:500])


@pytest.mark.parametrize("model", [("words", KINDS["words"])], indirect=True, ids=["words"])
def test_an_onnx_model_that_is_damaged_or_newer_is_one_line(model, tmp_path):
    pytest.importorskip("tf2onnx", reason='ONNX needs the extra: pip install "ner-elmo[onnx]"')
    assert run(model[0], "--format", "onnx", "--out", tmp_path / "whole") == 0
    for number, (change, message) in enumerate(
        (
            (saying(format=2), "tagger.json: format must be 1. Received: 2. Update ner-elmo"),
            (saying("types", "start"), "tagger.json: must hold types, start. Export the tagger again"),
            (without_end, "tagger.onnx: cannot be read: .*Protobuf parsing failed"),
            (lambda directory: (directory / "tagger.onnx").unlink(), "tagger.onnx: cannot be read: .*doesn't exist"),
            (lambda directory: (directory / "tagger.onnx").write_bytes(b""), "tagger.onnx: cannot be read: .*No graph"),
            (rewritten(lambda graph: setattr(graph.opset_import[0], "version", 99)), "cannot be read: .*opset.* update it"),
            (rewritten(lambda graph: setattr(graph, "ir_version", 99)), "cannot be read: .*IR version.* update it"),
            (rewritten(lambda graph: setattr(graph.graph.node[0], "op_type", "Tomorrow")), "cannot be read: .*Tomorrow"),
        )
    ):
        directory = tmp_path / str(number)
        shutil.copytree(tmp_path / "whole", directory)
        change(directory)
        with pytest.raises(InputError, match=message) as error:
            OnnxTagger.load(directory)
        assert "\n" not in str(error.value)


@pytest.mark.parametrize("model", [("words", KINDS["words"])], indirect=True, ids=["words"])
def test_an_onnx_export_that_differs_is_not_left_behind(model, tmp_path, monkeypatch):
    """Weights that change after the graph was written are noticed when it is read back."""
    pytest.importorskip("tf2onnx", reason='ONNX needs the extra: pip install "ner-elmo[onnx]"')
    from ner_elmo.exporting import onnx_tagger

    _, tagger = model
    emitter, write = tagger.tagger.emitter, onnx_tagger._write
    kept = emitter.get_weights()

    def spoiled(network, example, path):
        write(network, example, path)
        emitter.set_weights([-weight for weight in kept])

    monkeypatch.setattr(onnx_tagger, "_write", spoiled)
    try:
        with pytest.raises(RuntimeError, match="the exported model finds"):
            onnx_tagger.export_onnx(tagger, tmp_path / "new")
    finally:
        emitter.set_weights(kept)
    assert not list(tmp_path.iterdir())


def test_mistakes_are_one_line(model, tmp_path, capsys):
    directory, _ = model
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").touch()
    for arguments, message in (
        ((directory, "--out", tmp_path / "full"), "full: must be a new directory, or an empty one"),
        ((tmp_path / "full", "--out", tmp_path / "new"), "full: is no model directory"),
    ):
        assert run(*arguments) == 2
        lines = capsys.readouterr().err.splitlines()
        assert len(lines) == 1 and message in lines[0]
    assert {path.name for path in tmp_path.iterdir()} == {"full"}


@pytest.mark.parametrize("model", [("words", KINDS["words"])], indirect=True)
def test_an_export_that_differs_is_not_left_behind(model, tmp_path, monkeypatch):
    """Weights that change after the graph was written are noticed when it is read back."""
    from ner_elmo.exporting import saved_model

    _, tagger = model
    module = saved_model.ServingModule(tagger)
    emitter = tagger.tagger.emitter
    kept = emitter.get_weights()
    monkeypatch.setattr(saved_model, "ServingModule", lambda tagger: emitter.set_weights([-w for w in kept]) or module)
    monkeypatch.setattr(saved_model, "_compare", _spoiled(saved_model._compare, emitter, kept))
    with pytest.raises(RuntimeError, match="the exported model"):
        saved_model.export_saved_model(tagger, tmp_path / "new")
    assert not list(tmp_path.iterdir())


def _spoiled(compare, emitter, kept):
    def spoiled(tagger, signature):
        emitter.set_weights(kept)
        return compare(tagger, signature)

    return spoiled


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_the_graph_decodes_as_numpy_does(data):
    n_types, n_rows, n_steps = (data.draw(st.integers(1, top)) for top in (3, 4, 6))
    tag_set = TagSet([f"T{k}" for k in range(n_types)])
    rng = np.random.default_rng(data.draw(st.integers(0, 10**6)))
    k = len(tag_set)
    legal = (tag_set.legal, tag_set.legal_start, tag_set.legal_end)
    scores = Scores(*(np.where(allowed, rng.normal(0, 2, allowed.shape), -np.inf) for allowed in legal))
    emissions = rng.normal(0, 3, (n_rows, n_steps, k)).astype(np.float32)
    lengths = np.array([data.draw(st.integers(0, n_steps)) for _ in range(n_rows)])
    confidence = data.draw(st.sampled_from([Confidence(), Confidence(0.6, -0.3)]))
    found = decode(tf.constant(emissions), tf.sequence_mask(lengths, n_steps), Tables.of(scores, tag_set, confidence))
    for row, spans in enumerate(in_numpy.decode(emissions, lengths, scores, tag_set)):
        n = int(found["n_spans"][row])
        names = ("span_type", "span_start", "span_end", "span_score")
        kinds, starts, ends, probabilities = (found[name][row, :n].numpy().tolist() for name in names)
        assert [(span.type.encode(), span.start, span.end) for span, _ in spans] == list(
            zip(kinds, starts, ends, strict=True)
        )
        assert probabilities == pytest.approx([confidence(p) for _, p in spans], abs=1e-5)
    scored = found["tag_scores"].numpy()
    assert (scored[np.arange(n_steps) < lengths[:, None]] > 0).all() and not scored[
        np.arange(n_steps) >= lengths[:, None]
    ].any()
