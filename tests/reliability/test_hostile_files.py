"""Files that somebody made to harm: nothing is run, followed, fetched or filled up; one line says why."""

import http.server
import json
import os
import shutil
import threading

import h5py
import numpy as np
import oracle
import pytest
from conftest import write_bilm

from biLM import InputError, load_bilm
from biLM.files import read_object
from biLM.options import BiLMOptions
from biLM.trained import load_softmax
from ner_elmo.entities import MAX_TYPES, TagSet
from ner_elmo.model_directory import describe
from ner_elmo.predictor import Predictor
from ner_elmo.word_vectors import WordVectors

BIAS = "CNN/b_cnn_0"


@pytest.fixture
def bilm_file(tmp_path):
    """A sound weights file that a test spoils."""
    options = oracle.random_options()
    return write_bilm(tmp_path / "bilm", options, oracle.random_weights(options))


def external_link(file, path):
    file[BIAS] = h5py.ExternalLink(str(path.with_name("other.hdf5")), "/x")


def soft_link(file, path):
    file[BIAS] = h5py.SoftLink("/CNN/b_cnn_1")


def soft_link_loop(file, path):
    file[BIAS] = h5py.SoftLink("/" + BIAS)


def virtual(file, path):
    layout = h5py.VirtualLayout((3,), "f4")
    layout[:] = h5py.VirtualSource(str(path.with_name("other.hdf5")), "x", (3,))
    file.create_virtual_dataset(BIAS, layout)


def kept_outside(file, path):
    file.create_dataset(BIAS, (3,), "f4", external=[("/etc/hostname", 0, 12)])


def huge(file, path):
    file.create_dataset(BIAS, (2**40,), "f4", chunks=(2**20,))


def bomb(file, path):
    file.create_dataset(BIAS, (2**28,), "f4", chunks=(2**22,), compression="gzip", data=np.zeros(1, "f4").repeat(2**28))


def text(file, path):
    file.create_dataset(BIAS, (3,), h5py.string_dtype(), data=["a", "b", "c"])


HARMFUL = {
    external_link: "CNN/b_cnn_0 is a link to another place, which is not followed",
    soft_link: "CNN/b_cnn_0 is a link to another place",
    soft_link_loop: "CNN/b_cnn_0 is a link to another place",
    virtual: "CNN/b_cnn_0 keeps its numbers in other files",
    kept_outside: "CNN/b_cnn_0 keeps its numbers in other files",
    huge: r"declares 4,398,046,5\d\d,\d\d\d bytes of numbers in a file of [\d,]+; more than 64 times",
    bomb: r"declares 1,073,7\d\d,\d\d\d bytes of numbers in a file of",
    text: "CNN/b_cnn_0 must hold numbers",
}


@pytest.mark.parametrize("spoil", HARMFUL, ids=lambda spoil: spoil.__name__)
def test_weights_that_lead_elsewhere_or_swell(bilm_file, spoil):
    with h5py.File(bilm_file.with_name("other.hdf5"), "w") as other:
        other["x"] = np.ones(3, np.float32)
    with h5py.File(bilm_file, "a") as file:
        del file[BIAS]
        spoil(file, bilm_file)
    with pytest.raises(InputError, match=HARMFUL[spoil]):
        load_bilm(bilm_file)


def test_a_group_that_holds_itself_ends(bilm_file):
    with h5py.File(bilm_file, "a") as file:
        file["CNN/again"] = file["CNN"]
    assert load_bilm(bilm_file).embed([["A"]])[0].shape == (3, 1, 10)


def test_a_message_stays_short(bilm_file):
    options = json.loads(bilm_file.with_name("options.json").read_text())
    options["lstm"]["n_layers"] = 1000
    bilm_file.with_name("options.json").write_text(json.dumps(options))
    with pytest.raises(InputError, match=r"is missing; and \d+ more") as caught:
        load_bilm(bilm_file)
    assert len(str(caught.value)) < 2000


def test_a_softmax_is_looked_at_before_it_is_read(tmp_path):
    with h5py.File(tmp_path / "softmax.hdf5", "w") as file:
        file["W"], file["b"] = np.zeros((7, 3), np.float32), np.zeros(7, np.float32)
    assert load_softmax(tmp_path / "softmax.hdf5", (7, 3), tmp_path / "weights.hdf5").n_tokens_vocab == 7
    with pytest.raises(InputError, match=r"must hold W \(8, 3\) and b \(8,\) .* Received: W \(7, 3\), b \(7,\)"):
        load_softmax(tmp_path / "softmax.hdf5", (8, 3), tmp_path / "weights.hdf5")
    with h5py.File(tmp_path / "softmax.hdf5", "w") as file:
        huge(file, tmp_path)
    with pytest.raises(InputError, match="declares"):
        load_softmax(tmp_path / "softmax.hdf5", (7, 3), tmp_path / "weights.hdf5")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"lstm": {"dim": 10**12, "projection_dim": 4}}, "lstm.dim must be a whole number from 1 to 65536"),
        (
            {"lstm": {"dim": 4, "projection_dim": 4, "n_layers": 10**9}},
            "lstm.n_layers must be a whole number from 1 to 1024",
        ),
        ({"lstm": {"dim": 4, "projection_dim": 4, "use_skip_connections": "no"}}, "must be true or false. Received: 'no'"),
        ({"bidirectional": "yes"}, "bidirectional must be true or false"),
        ({"n_tokens_vocab": -3}, "n_tokens_vocab must be a whole number"),
        ({"char_cnn": {"filters": 7}}, r"filters must be pairs \[width, count\]. Received: 7"),
        ({"char_cnn": {"filters": [[1, 10**9]]}}, "filters must be pairs"),
        ({"char_cnn": {"filters": [[1, 4]], "embedding": "x"}}, "embedding must hold an object"),
        ({"char_cnn": {"filters": [[1, 4]], "embedding": {"dim": 10**9}}}, "embedding.dim must be a positive whole number"),
    ],
)
def test_absurd_options(changes, message):
    with pytest.raises(InputError, match=message):
        BiLMOptions.from_dict({"lstm": {"dim": 4, "projection_dim": 4}} | changes)


@pytest.mark.parametrize("content", ["[" * 10**5, '{"a":' * 10**5, '{"a": ' + "9" * 10**5 + "}", "\ud800"])
def test_json_that_breaks_parsers(tmp_path, content):
    path = tmp_path / "options.json"
    path.write_bytes(content.encode("utf-8", "surrogatepass"))
    with pytest.raises(InputError, match="options.json: not a JSON file"):
        read_object(path)


# -- model directories -----------------------------------------------------------------------------------------------------


@pytest.fixture
def model(small_model, tmp_path):
    return shutil.copytree(small_model, tmp_path / "model")


def changed(model, **changes):
    description = json.loads((model / "model.json").read_text())
    (model / "model.json").write_text(json.dumps(description | changes))
    return description


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"types": "PER"}, "'types' must be a list of different names. Received: 'PER'"),
        ({"types": ["PER", "PER"]}, "'types' must be a list of different names"),
        ({"types": [f"T{k}" for k in range(MAX_TYPES + 1)]}, f"knows {MAX_TYPES} entity types at most"),
        ({"types": ["LOC"]}, "tagger.weights.h5: does not fit model.json"),
        ({"config": None}, "'config' must be an object of options"),
        ({"config": {"hidden_size": "32"}}, "'hidden_size' must be a whole number"),
        ({"bilm": {"width": 10}}, "'bilm' must be an object with the biLM's width and n_layers"),
        ({"bilm": None}, "'bilm' must say which biLM it stands on"),
        ({"format": 99}, "format must be 1. Received: 99. Update ner-elmo"),
    ],
)
def test_a_description_that_cannot_be(model, changes, message):
    changed(model, **changes)
    with pytest.raises(InputError, match=message):
        Predictor.load(model)


def test_a_model_directory_makes_no_request(model, monkeypatch, tmp_path):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    asked = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_error(404)

        def log_message(self, *arguments):
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/elmo_weights.hdf5"
        bilm = changed(model)["bilm"]
        changed(model, bilm=bilm | {"path": url})
        with pytest.raises(InputError, match=f"a model directory fetches nothing by itself: .* Or --elmo {url}"):
            Predictor.load(model)
        assert not asked
        with pytest.raises(InputError):
            Predictor.load(model, url)
        assert asked  # a person has named it
        server.shutdown()
    changed(model, bilm=bilm | {"path": f"tfhub:{tmp_path}"})
    with pytest.raises(InputError, match="a TF-Hub module, which is a program. Name it yourself"):
        Predictor.load(model)


SECRET = "a private line\nand another\n"


@pytest.mark.parametrize("place", ["private", "/dev/zero", "pipe"])
@pytest.mark.parametrize("name", ["model.json", "words.txt", "tagger.weights.h5", "confidence.json", "bilm/weights.hdf5"])
def test_a_link_of_a_model_directory_shows_and_stops_nothing(model, tmp_path, name, place):
    (tmp_path / "private").write_text(SECRET)
    os.mkfifo(tmp_path / "pipe")
    (model / name).unlink()
    (model / name).symlink_to(tmp_path / place)
    with pytest.raises(InputError) as error:
        Predictor.load(model)
    assert "private line" not in str(error.value)


@pytest.mark.parametrize("path", ["{0}/private", "{0}/model/../private", "/dev/zero", "{0}/pipe"])
def test_a_path_of_a_model_directory_shows_and_stops_nothing(model, tmp_path, path):
    (tmp_path / "private").write_text(SECRET)
    os.mkfifo(tmp_path / "pipe")
    for more in ({}, {"sha256": "0" * 64}):
        changed(model, bilm={"width": 10, "n_layers": 3, "path": path.format(tmp_path)} | more)
        with pytest.raises((InputError, OSError)) as error:
            Predictor.load(model)
        assert "private line" not in str(error.value)


def test_a_model_directory_of_links_is_as_good_as_one_of_files(model, tmp_path):
    """As Hugging Face's cache holds it."""
    (tmp_path / "links" / "bilm").mkdir(parents=True)
    for path in model.rglob("*.*"):
        if path.is_file():
            (tmp_path / "links" / path.relative_to(model)).symlink_to(path)
    sentences = [["Ada", "left", "Oslo"]]
    assert Predictor.load(tmp_path / "links").tag_sentences(sentences) == Predictor.load(model).tag_sentences(sentences)


def test_tagger_weights_lead_nowhere_else(model):
    with h5py.File(model / "tagger.weights.h5", "a") as file:
        name = next(name for name in file if isinstance(file[name], h5py.Group))
        file[name]["more"] = h5py.ExternalLink("/etc/hostname", "/x")
    with pytest.raises(InputError, match="is a link to another place"):
        Predictor.load(model)


class Trap:
    """Writes a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


def test_no_pickle_is_opened(tmp_path):
    (tmp_path / "word_vectors.txt").write_text("a\n")
    np.save(tmp_path / "word_vectors.npy", np.array([Trap(tmp_path / "trapped")], object), allow_pickle=True)
    with pytest.raises(InputError, match="is no array of numbers"):
        WordVectors.of_directory(tmp_path)
    assert not (tmp_path / "trapped").exists()


def test_an_array_that_its_file_cannot_hold(tmp_path):
    (tmp_path / "word_vectors.txt").write_text("a\n")
    header = {"descr": "<f2", "fortran_order": False, "shape": (2**40, 100)}
    with open(tmp_path / "word_vectors.npy", "wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
    with pytest.raises(InputError, match="is no array of numbers"):
        WordVectors.of_directory(tmp_path)
    np.save(tmp_path / "word_vectors.npy", np.zeros((2, 3), np.float16))
    with pytest.raises(InputError, match=r"must hold 1 rows of float16. Received: \(2, 3\)"):
        WordVectors.of_directory(tmp_path)


def test_more_types_than_a_tagger_can_know():
    assert len(TagSet([f"T{k}" for k in range(75)])) == 301
    with pytest.raises(InputError, match="Received: 100,000. Do the files hold something else"):
        TagSet([f"T{k}" for k in range(100_000)])


def test_a_missing_description(tmp_path):
    (tmp_path / "model.json").symlink_to("/etc/hostname")
    with pytest.raises(InputError, match="not a JSON file"):
        describe(tmp_path)
