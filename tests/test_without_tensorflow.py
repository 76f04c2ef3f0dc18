"""What TensorFlow alone can do is refused in one line where it is not installed. For the environment that has JAX only."""

from importlib.util import find_spec

import pytest

import biLM.__main__
import ner_elmo.__main__
from biLM.errors import run_command
from ner_elmo.batching import Features, Words
from ner_elmo.bundle import save_model
from ner_elmo.config import TrainConfig
from ner_elmo.tagger import build_tagger

pytestmark = pytest.mark.skipif(find_spec("tensorflow") is not None, reason="TensorFlow is installed")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """The directory of a tagger without a biLM."""
    config = TrainConfig(elmo="none", hidden_size=4, word_dim=4)
    features = Features(None, Words(["ada"]))
    directory = tmp_path_factory.mktemp("tagger") / "model"
    save_model(directory, build_tagger(config, ["LOC"], **features.sizes), features, config, {})
    return directory


def refused(parser, capsys, *arguments) -> str:
    """The one line that a command ends with."""
    args = parser.parse_args(list(map(str, arguments)))
    assert run_command("command", lambda: args.run(args)) == 2
    out, err = capsys.readouterr()
    assert out == "" and len(err.splitlines()) == 1
    return err


def test_saved_models_and_onnx(model, small_weights, tmp_path, capsys):
    ours, theirs = ner_elmo.__main__.parser(), biLM.__main__.parser()
    for parser, arguments, message in (
        (theirs, ("export-hub", small_weights), "export-hub needs TensorFlow, which writes the SavedModel: No module named"),
        (ours, ("export", model), "a SavedModel needs TensorFlow, which writes it: No module named 'tensorflow'"),
        (ours, ("export", model, "--format", "onnx"), 'ONNX needs more packages: pip install "ner-elmo[onnx]"'),
    ):
        assert message in refused(parser, capsys, *arguments, "--out", tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_a_hub_module(tmp_path, capsys):
    (tmp_path / "t.txt").write_text("a\n")
    command = ("embed", f"tfhub:{tmp_path}", tmp_path / "t.txt", tmp_path / "o.hdf5")
    assert "needs TensorFlow and tensorflow-hub: No module named" in refused(biLM.__main__.parser(), capsys, *command)
