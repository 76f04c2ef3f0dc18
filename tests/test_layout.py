"""What other tools expect of our files: names, shapes and keys written down here by hand, not taken from the package."""

import json

import h5py
import numpy as np
import oracle
import pytest

from biLM import BiLM, BiLMOptions, load_bilm, save_bilm
from biLM.__main__ import parser

LINES = ["The ferry / left at dawn .", "", "Nobody spoke .", "Nobody spoke ."]
SHAPES = {
    "as published, smaller": oracle.random_options(),
    "no projection anywhere": oracle.random_options(lstm__dim=13, lstm__projection_dim=13),
    "one layer, no highway": oracle.random_options(lstm__n_layers=1, char_cnn__n_highway=0),
}


def layout(options: dict) -> dict[str, tuple[int, ...]]:
    """Datasets that AllenNLP 0.9 and bilm-tf open in weights.hdf5, with the shapes that they need."""
    lstm, cnn = options["lstm"], options["char_cnn"]
    h, p, dim = lstm["dim"], lstm["projection_dim"], cnn["embedding"]["dim"]
    f = sum(n for _, n in cnn["filters"])
    found = {"char_embed": (261, dim)}
    for i, (width, n) in enumerate(cnn["filters"]):
        found |= {f"CNN/W_cnn_{i}": (1, width, dim, n), f"CNN/b_cnn_{i}": (n,)}
    for k in range(cnn["n_highway"]):
        found |= {f"CNN_high_{k}/W_carry": (f, f), f"CNN_high_{k}/b_carry": (f,)}
        found |= {f"CNN_high_{k}/W_transform": (f, f), f"CNN_high_{k}/b_transform": (f,)}
    if f != p:
        found |= {"CNN_proj/W_proj": (f, p), "CNN_proj/b_proj": (p,)}
    for d in range(2):
        for layer in range(lstm["n_layers"]):
            cell = f"RNN_{d}/RNN/MultiRNNCell/Cell{layer}/LSTMCell/"
            found |= {cell + "W_0": (2 * p, 4 * h), cell + "B": (4 * h,)}
            if p != h:
                found[cell + "W_P_0"] = (h, p)
    return found


@pytest.fixture(scope="module", params=SHAPES.values(), ids=SHAPES.keys())
def saved(request, tmp_path_factory):
    """options as a dictionary, and the directory of a biLM of this shape that we wrote."""
    directory = tmp_path_factory.mktemp("saved")
    save_bilm(BiLM(BiLMOptions.from_dict(request.param)), directory)
    return request.param, directory


def datasets(path) -> dict[str, h5py.Dataset]:
    found = {}
    with h5py.File(path) as file:
        file.visititems(lambda name, x: found.__setitem__(name, (x.shape, x.dtype)) if isinstance(x, h5py.Dataset) else None)
    return found


def test_weights_have_the_published_layout(saved):
    options, directory = saved
    found = datasets(directory / "weights.hdf5")
    ours = {name for name in found if name.startswith("initial_state/")}  # a group that nobody else opens
    assert {name: found[name] for name in found.keys() - ours} == {
        name: (shape, np.dtype("float32")) for name, shape in layout(options).items()
    }


def test_options_have_the_keys_that_loaders_read(saved):
    options, directory = saved
    written = json.loads((directory / "options.json").read_text())
    lstm = {"dim", "projection_dim", "n_layers", "cell_clip", "proj_clip", "use_skip_connections"}
    cnn = {"filters", "embedding", "activation", "n_highway", "n_characters", "max_characters_per_token"}
    assert lstm <= set(written["lstm"]) and cnn <= set(written["char_cnn"])
    for section, keys in (("lstm", lstm), ("char_cnn", cnn)):
        assert {key: written[section][key] for key in keys} == {key: options[section][key] for key in keys}


def test_a_reader_of_the_layout_computes_the_same(saved):
    """The oracle knows only names and equations: what it reads from our file gives our numbers."""
    options, directory = saved
    with h5py.File(directory / "weights.hdf5") as file:
        weights = {name: file[name][()] for name in layout(options)}
    sentence = LINES[0].split()
    expected = oracle.BiLMOracle(weights, options).embed(sentence)
    found = load_bilm(directory, initial_state="zero").embed([sentence])[0]
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.fixture(scope="module")
def dumped(small_weights, tmp_path_factory):
    """What `python -m biLM embed` writes for each of AllenNLP's choices."""
    folder = tmp_path_factory.mktemp("dumped")
    (folder / "t.txt").write_text("\n".join(LINES) + "\n")
    for layers in ("all", "top", "average"):
        command = ["embed", small_weights, folder / "t.txt", folder / f"{layers}.hdf5", "--layers", layers]
        args = parser().parse_args([*map(str, command), "--initial-state", "zero"])
        args.run(args)
    return folder


@pytest.mark.parametrize(("layers", "shape"), [("all", (3, 7, 10)), ("top", (7, 10)), ("average", (7, 10))])
def test_embed_writes_what_allennlp_elmo_writes(dumped, layers, shape):
    with h5py.File(dumped / f"{layers}.hdf5") as file:
        assert set(file) == {"0", "2", "3", "sentence_to_index"}
        assert (file["0"].shape, file["0"].dtype) == (shape, np.float32)
        assert file["sentence_to_index"].shape == (1,)
        index = json.loads(file["sentence_to_index"][0])
    assert {sentence: index[sentence] for sentence in index} == {LINES[0]: "0", LINES[2]: "3"}
