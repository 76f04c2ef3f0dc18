"""TensorFlow Hub's ELMo modules: TF1-format ones made here, and what they may get wrong."""

import gc
import json
import tarfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
import tensorflow as tf
from conftest import SENTENCES

from biLM import InputError, load_bilm
from biLM.published import reference
from biLM.tfhub import ALONE, EQUAL, PADDED, HubBiLM
from ner_elmo import ElmoEmbedding
from ner_elmo.batching import Features
from ner_elmo.bundle import save_model
from ner_elmo.cache import Cache
from ner_elmo.config import TrainConfig
from ner_elmo.entities import Span
from ner_elmo.exporting.saved_model import export_saved_model
from ner_elmo.predictor import Predictor
from ner_elmo.readers import Sentence
from ner_elmo.training import train_tagger

P = 3


def tf1_module(directory, kind: str):
    """A module in the format of google/elmo/2 (a TF1 graph, no tags, tfhub_module.pb), of a faulty kind or a plain one.

    carrying, carrying new: keep a state from call to call, in the two kinds of TF1's variables.
    padding: results depend on padding; batch: on batch-mates too; random. numbers: tokens are ids; unnamed: no "tokens".
    """
    v1, new = tf.compat.v1, kind == "carrying new"
    with tf.Graph().as_default(), v1.Session() as session:
        tokens = v1.placeholder(tf.int64 if kind == "numbers" else tf.string, [None, None], "tokens")
        lengths = v1.placeholder(tf.int32, [None], "sequence_len")
        table = v1.get_variable(
            "table", initializer=np.random.default_rng(0).normal(size=(97, P)).astype(np.float32), use_resource=new
        )
        state = v1.get_variable("state", initializer=np.full(P, 0.5, np.float32), trainable=False, use_resource=new)
        real = tf.cast(tf.sequence_mask(lengths, tf.shape(tokens)[1]), tf.float32)[:, :, None]
        buckets = tokens if kind == "numbers" else tf.strings.to_hash_bucket_fast(tokens, 97)
        words = tf.gather(table, buckets) * real
        extra = {
            "padding": lambda: tf.cast(tf.shape(tokens)[1], tf.float32),
            "batch": lambda: tf.cast(tf.shape(tokens)[0], tf.float32),
            "random": lambda: tf.random.uniform([]),
        }.get(kind, lambda: 0.0)()
        forward, backward = tf.cumsum(words, axis=1) + state + extra, tf.cumsum(words, axis=1, reverse=True)
        if kind.startswith("carrying"):
            with tf.control_dependencies([forward]):
                changed = state.assign(state + tf.reduce_sum(words, axis=[0, 1]))
            with tf.control_dependencies([changed]):
                forward = tf.identity(forward)
        lower = tf.concat([forward, backward], axis=-1)
        outputs = {
            "word_emb": words,
            "lstm_outputs1": lower,
            "lstm_outputs2": tf.tanh(lower),
            "elmo": lower,
            "default": lower[:, 0],
        }
        signature = v1.saved_model.predict_signature_def({"tokens": tokens, "sequence_len": lengths}, outputs)
        name = "default" if kind == "unnamed" else "tokens"
        session.run(v1.global_variables_initializer())
        builder = v1.saved_model.Builder(str(directory))
        builder.add_meta_graph_and_variables(session, tags=[], signature_def_map={name: signature})
        builder.save()
    (directory / "tfhub_module.pb").write_bytes(b"\x08\x03")
    return directory


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize(
    ("kind", "together"),
    [("plain", PADDED), ("carrying", PADDED), ("carrying new", PADDED), ("padding", EQUAL), ("batch", ALONE)],
)
def test_a_sentence_depends_on_itself_alone(tmp_path, kind, together):
    bilm = load_bilm(f"tfhub:{tf1_module(tmp_path / 'm', kind)}")
    assert isinstance(bilm, HubBiLM)
    assert (bilm.width, bilm.n_layers, bilm.together) == (2 * P, 3, together)
    with pytest.raises(InputError, match="Received: a HubBiLM. A TF-Hub module reads strings: give a model what its `embed"):
        ElmoEmbedding(bilm)
    sentences = [*SENTENCES, ["many"] * 900, [], *SENTENCES[::-1]]
    found = bilm.embed(sentences)
    for sentence, activations in zip(sentences, found, strict=True):
        assert activations.shape == (3, len(sentence), 2 * P)
        if sentence:
            np.testing.assert_allclose(activations, bilm.embed([sentence])[0], atol=1e-5)
            np.testing.assert_array_equal(activations[0, :, :P], activations[0, :, P:])
            np.testing.assert_allclose(np.tanh(activations[1]), activations[2], atol=1e-6)
    words = np.cumsum(found[0][0, :, :P], axis=0)
    expected = {"padding": len(SENTENCES[0]), "batch": 1}.get(kind, 0) + 0.5 + words
    np.testing.assert_allclose(found[0][1, :, :P], expected, atol=1e-4)  # from the state that was saved


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("numbers", "must take tokens as string, sequence_len as int32. It takes sequence_len as int32, tokens as int64"),
        ("random", "must give the same vectors for the same sentence"),
        ("unnamed", "must have the signature 'tokens'. It has: default"),
    ],
)
def test_modules_that_are_no_elmo(tmp_path, kind, message):
    with pytest.raises(InputError, match=message):
        load_bilm(f"tfhub:{tf1_module(tmp_path / 'm', kind)}")


def test_mistakes(tmp_path, monkeypatch, small_weights):
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="empty: cannot be loaded: .*contains neither"):
        load_bilm(f"tfhub:{tmp_path}/empty")
    with pytest.raises(InputError, match="must be a URL or a directory"):
        load_bilm("tfhub:google/elmo/3")
    with pytest.raises(InputError, match="takes no options file, initial state or carried state"):
        load_bilm("tfhub:x", initial_state="zero")
    with pytest.raises(InputError, match="a TF-Hub module cannot be fine-tuned"):
        TrainConfig(elmo="tfhub:x", train_bilm=True)
    monkeypatch.setenv("NER_ELMO_OFFLINE", "1")
    monkeypatch.setenv("TFHUB_CACHE_DIR", str(tmp_path))
    with pytest.raises(
        InputError, match=f"is not here, and this is offline. Unpack the module into {tmp_path}/[0-9a-f]{{40}}"
    ):
        load_bilm("tfhub:https://tfhub.dev/google/elmo/3")


class Archives(BaseHTTPRequestHandler):
    """Gives each path's archive, as a hub gives compressed modules; 404 for all others."""

    def do_GET(self):
        path, _, query = self.path.partition("?")
        self.server.asked.append(path)
        data = self.server.archives.get(path) if query == "tf-hub-format=compressed" else None
        if data is None:
            return self.send_error(404)
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)
        return None

    def log_message(self, *args):
        pass


@pytest.fixture
def archives(tmp_path, monkeypatch):
    """A hub on this machine, with one module and two archives that are none."""
    monkeypatch.setenv("TFHUB_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.delenv("NER_ELMO_OFFLINE", raising=False)
    module = tf1_module(tmp_path / "module", "carrying")
    with tarfile.open(tmp_path / "module.tar.gz", "w:gz") as archive:
        archive.add(module, arcname=".")
    whole = (tmp_path / "module.tar.gz").read_bytes()
    with ThreadingHTTPServer(("127.0.0.1", 0), Archives) as server:
        server.archives = {"/elmo/3": whole, "/half/1": whole[: len(whole) // 2], "/page/1": b"<html>Sign in</html>"}
        server.archives["/bits/1"] = whole[:100] + bytes(100) + whole[200:]
        server.asked, server.url = [], f"tfhub:http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()
    gc.collect()  # tensorflow_hub leaves its connections open; they go now, while nobody is warned of that


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
def test_a_handle_is_fetched_once_and_then_found_offline(archives, tmp_path, monkeypatch):
    handle = archives.url + "/elmo/3"
    found = load_bilm(handle).embed(SENTENCES)
    assert archives.asked == ["/elmo/3"]
    for activations, expected in zip(found, load_bilm(f"tfhub:{tmp_path}/module").embed(SENTENCES), strict=True):
        np.testing.assert_array_equal(activations, expected)
    assert reference(handle) == handle
    monkeypatch.setenv("NER_ELMO_OFFLINE", "1")
    for activations, expected in zip(load_bilm(handle).embed(SENTENCES), found, strict=True):
        np.testing.assert_array_equal(activations, expected)
    assert archives.asked == ["/elmo/3"]


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
@pytest.mark.parametrize("path", ["/nowhere/1", "/half/1", "/bits/1", "/page/1"])
def test_a_handle_that_gives_no_module_is_one_line(archives, path):
    with pytest.raises(InputError, match=f"^{archives.url}{path}: cannot be loaded: ") as error:
        load_bilm(archives.url + path)
    assert "\n" not in str(error.value)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_tagger_on_a_module_is_saved_with_its_name(tmp_path):
    module = tf1_module(tmp_path / "module", "carrying")
    config = TrainConfig(elmo=f"tfhub:{module}", hidden_size=8, epochs=1, token_vectors=False)
    sides = [[Sentence(tuple(tokens), (Span("PER", 0, 1),)) for tokens in SENTENCES]] * 2
    bilm = load_bilm(config.elmo)
    cache = Cache(tmp_path / "cache", 10**9)
    tokens = [sentence.tokens for sentence in sides[0]]
    activations = tuple(cache.activations(bilm, tokens) for _ in sides)
    assert [side.found.hits for side in activations] == [0, len(SENTENCES)]
    trained = train_tagger(config, ["PER"], *sides, Features.of(config, tokens, bilm), activations)
    save_model(tmp_path / "model", trained.tagger, trained.features, config, {})
    description = json.loads((tmp_path / "model" / "model.json").read_text())["bilm"]
    assert description == {"width": 6, "n_layers": 3, "fingerprint": bilm.fingerprint(), "path": f"tfhub:{module}"}
    assert not (tmp_path / "model" / "bilm").exists()
    here = Predictor(trained.tagger, trained.features).tag_sentences(tokens)
    with pytest.raises(InputError, match=f"a TF-Hub module, which is a program. Name it yourself: --elmo tfhub:{module}"):
        Predictor.load(tmp_path / "model")
    tagger = Predictor.load(tmp_path / "model", config.elmo)
    assert tagger.tag_sentences(tokens) == here
    with pytest.raises(InputError, match="on a TF-Hub module cannot be put into a SavedModel. Train one on weights"):
        export_saved_model(tagger, tmp_path / "exported")
    assert not (tmp_path / "exported").exists()
