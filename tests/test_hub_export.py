"""Our own export for TensorFlow Hub: read by us and by tensorflow_hub alone, whole and damaged, and the command."""

import shutil
from pathlib import Path

import numpy as np
import oracle
import pytest
import tensorflow as tf
import tensorflow_hub
from conftest import SENTENCES, write_bilm
from tensorflow.core.protobuf import saved_model_pb2

from biLM import InputError, load_bilm
from biLM.__main__ import parser
from biLM.errors import run_command
from biLM.hub_export import export_hub
from biLM.tfhub import PADDED
from biLM.vocabulary import Vocabulary

SHAPES = {
    "as published": {}, "short tokens": {"char_cnn__max_characters_per_token": 8},
    "words, one layer, no projection": {"lstm__n_layers": 1, "lstm__projection_dim": 12, "char_cnn": None},
}  # fmt: skip


@pytest.fixture(scope="module", params=SHAPES.values(), ids=SHAPES.keys())
def exported(request, tmp_path_factory):
    """A biLM, and the directory of its export."""
    folder = tmp_path_factory.mktemp("exported")
    options = oracle.random_options(**request.param)
    words = ["<S>", "</S>", "<UNK>", "The", "harbour", "x", "Ålesund"]
    if options["char_cnn"] is None:
        del options["char_cnn"]
        Vocabulary(words).write(folder / "vocab.txt")
    write_bilm(folder, options, oracle.random_weights(options, n_words=len(words)))
    bilm = load_bilm(folder, initial_state="zero" if request.param else "warm")
    export_hub(bilm, folder / "module")
    return bilm, folder / "module"


ODD = [*SENTENCES, ["</S>", "a", "<S>"], ["e\u0301", "\u200d", "same", "same"], ["x" * 5000]]


def test_our_export_is_read_by_us(exported):
    bilm, module = exported
    again = load_bilm(f"tfhub:{module}")
    assert (again.width, again.n_layers, again.together) == (bilm.width, bilm.n_layers, PADDED)
    for found, expected in zip(again.embed([*ODD, []]), bilm.embed([*ODD, []]), strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-5)


def test_our_export_is_read_by_tensorflow_hub_alone(exported):
    bilm, directory = exported
    module = tensorflow_hub.load(str(directory))
    assert {"default", "tokens"} <= set(module.signatures)
    texts = [" ".join(sentence) for sentence in ODD]
    outputs = module.signatures["default"](tf.constant([*texts, "", "  two   blanks "]))
    p = bilm.options.lstm.projection_dim
    assert outputs["word_emb"].shape[-1] == p
    for row, expected in enumerate(bilm.embed([*ODD, [], ["two", "blanks"]])):
        n = expected.shape[1]
        np.testing.assert_allclose(outputs["word_emb"][row, :n], expected[0, :, :p], atol=1e-5)
        for k in range(1, bilm.n_layers):
            np.testing.assert_allclose(outputs[f"lstm_outputs{k}"][row, :n], expected[k], atol=1e-5)
            assert not np.any(outputs[f"lstm_outputs{k}"][row, n:])
        mixed = expected.mean(axis=0)
        np.testing.assert_allclose(outputs["elmo"][row, :n], mixed, atol=1e-5)
        np.testing.assert_allclose(
            outputs["default"][row], mixed.mean(axis=0) if n else np.zeros_like(outputs["default"][row]), atol=1e-5
        )


def cut(path):
    path.write_bytes(path.read_bytes()[:100])


def flip(path):
    data = path.read_bytes()
    path.write_bytes(data[:40] + bytes(255 - byte for byte in data[40:80]) + data[80:])


def rewrite(change):
    """Changes the description of a SavedModel."""

    def changed(path):
        description = saved_model_pb2.SavedModel()
        description.ParseFromString(path.read_bytes())
        change(description.meta_graphs[0])
        path.write_bytes(description.SerializeToString())

    return changed


def of_tomorrow(graph):
    """An operation that only a later TensorFlow knows."""
    for function in graph.graph_def.library.function:
        for node in function.node_def:
            node.op = "MatMulV9" if node.op == "MatMul" else node.op


DATA, INDEX, GRAPH = "variables/variables.data-00000-of-00001", "variables/variables.index", "saved_model.pb"


@pytest.mark.parametrize(
    ("file", "change", "message"),
    [
        (DATA, cut, "Read less bytes"),
        (DATA, flip, "Checksum does not match"),
        (DATA, Path.unlink, "No such file"),
        (INDEX, cut, ""),
        (INDEX, Path.unlink, "Failed to find any matching files"),
        (GRAPH, cut, "Cannot parse file"),
        (GRAPH, rewrite(of_tomorrow), "Op type not registered 'MatMulV9'"),
        (GRAPH, rewrite(lambda graph: graph.Clear()), ""),
    ],
    ids=["data cut", "data flipped", "no data", "index cut", "no index", "graph cut", "newer TensorFlow", "empty graph"],
)
def test_a_damaged_or_newer_module_is_one_line(small_module, tmp_path, file, change, message):
    shutil.copytree(small_module, tmp_path / "m")
    change(tmp_path / "m" / file)
    with pytest.raises(InputError, match=f"tfhub:{tmp_path}/m: (cannot be loaded: .*{message}|is no ELMo)") as error:
        load_bilm(f"tfhub:{tmp_path}/m")
    assert "\n" not in str(error.value)


@pytest.fixture(scope="module")
def small_module(small_weights, tmp_path_factory):
    """An export of the small biLM."""
    directory = tmp_path_factory.mktemp("small") / "module"
    export_hub(load_bilm(small_weights), directory)
    return directory


def run(*arguments) -> int:
    args = parser().parse_args(list(map(str, arguments)))
    return run_command("biLM", lambda: args.run(args))


def test_the_command(small_weights, tmp_path, capsys):
    assert run("export-hub", small_weights, "--out", tmp_path / "m") == 0
    assert capsys.readouterr().out == f"{tmp_path}/m: signatures default, tokens\n"
    (tmp_path / "t.txt").write_text("a b c\n")
    assert run("embed", f"tfhub:{tmp_path}/m", tmp_path / "t.txt", tmp_path / "o.hdf5", "--layers", "top") == 0
    capsys.readouterr()
    for arguments, message in (
        (("export-hub", small_weights, "--out", tmp_path / "m"), "m: must be a new directory, or an empty one"),
        (("export-hub", "tfhub:x", "--out", tmp_path / "n"), "export-hub needs weights. Received: tfhub:x"),
        (("dump-tokens", "tfhub:x", tmp_path / "t.txt", tmp_path / "o"), "dump-tokens needs weights"),
        (("embed", f"tfhub:{tmp_path}/m", tmp_path / "t.txt", tmp_path / "o", "--stateful"), "takes no options file"),
    ):
        assert run(*arguments) == 2
        lines = capsys.readouterr().err.splitlines()
        assert len(lines) == 1 and message in lines[0]
    assert {path.name for path in tmp_path.iterdir()} == {"m", "t.txt", "o.hdf5"}
