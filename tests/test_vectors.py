"""Vectors of text on disk, nearest tokens, pictures."""

import json

import h5py
import numpy as np
import oracle
import pytest

from biLM import InputError, load_bilm
from biLM.__main__ import parser
from biLM.embed import Mix, dump, dump_tokens
from biLM.errors import run_command
from biLM.exploration import Occurrence, collect, neighbours, occurrences, write_picture, write_projector
from biLM.vocabulary import Vocabulary

LINES = [
    "The bank / the river bank .", "", "We sat on the bank of the river .", "The bank lent us money .",
    "The bank / the river bank .", "Money is not all .",
]  # fmt: skip


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    path = tmp_path_factory.mktemp("text") / "text.txt"
    path.write_text("\n".join(LINES) + "\n")
    return path


@pytest.fixture(scope="module")
def bilm(small_weights):
    return load_bilm(small_weights)


@pytest.mark.parametrize(
    ("layers", "mix", "expected"),
    [
        ("all", None, lambda x: x),
        ("top", None, lambda x: x[2]),
        ("average", None, lambda x: x.mean(axis=0)),
        ("mix", Mix((0.5, 0.0, 0.25), 2.0), lambda x: x[0] + 0.5 * x[2]),
    ],
)
def test_embed_holds_what_the_bilm_gives(bilm, text, tmp_path, layers, mix, expected):
    """Names are line numbers: a "/" does no harm, an empty line shifts nothing, equal sentences have their own."""
    assert dump(bilm, text, tmp_path / "o.hdf5", layers, mix) == 5
    with h5py.File(tmp_path / "o.hdf5") as file:
        assert set(file) == {"0", "2", "3", "4", "5", "sentence_to_index"}
        for name in ("0", "2", "4"):
            wanted = expected(bilm.embed([LINES[int(name)].split()])[0])
            np.testing.assert_allclose(file[name][()], wanted, atol=1e-5)
        assert json.loads(file["sentence_to_index"][0])[LINES[0]] == "4"


def test_lines_of_other_systems_are_the_same_sentences(bilm, tmp_path):
    (tmp_path / "text.txt").write_bytes(b"The bank .\r\nThe river .\r\n")
    dump(bilm, tmp_path / "text.txt", tmp_path / "o.hdf5")
    with h5py.File(tmp_path / "o.hdf5") as file:
        assert json.loads(file["sentence_to_index"][0]) == {"The bank .": "0", "The river .": "1"}


@pytest.mark.parametrize(("layers", "mix"), [("mix", None), ("mix", Mix((1.0,))), ("top", Mix((1.0, 1.0, 1.0)))])
def test_a_mix_needs_a_weight_for_each_layer(bilm, text, tmp_path, layers, mix):
    with pytest.raises(InputError, match="a mix needs 3 weights, one a layer, with layers 'mix'"):
        dump(bilm, text, tmp_path / "o.hdf5", layers, mix)
    assert not list(tmp_path.iterdir())


def test_token_vectors_are_those_of_layer_0(bilm, tmp_path):
    vocabulary = Vocabulary(["<S>", "</S>", "<UNK>", "river", "a" * 30, "Ålesund", "/"])
    dump_tokens(bilm, vocabulary, tmp_path / "tokens.hdf5")
    with h5py.File(tmp_path / "tokens.hdf5") as file:
        table = file["embedding"][()]
    assert table.shape == (7, bilm.options.lstm.projection_dim)
    for row, word in enumerate(vocabulary.words[2:], 2):
        np.testing.assert_allclose(table[row], bilm.embed([[word]])[0][0, 0, : table.shape[1]], atol=1e-6)
    options = oracle.random_options()
    weights = oracle.random_weights(options)
    for row, mark in ((0, "<S>"), (1, "</S>")):
        np.testing.assert_allclose(table[row], oracle.token_vector(mark, weights, options), atol=1e-5)


def test_neighbours_are_the_nearest_of_all_tokens(bilm, text, monkeypatch):
    monkeypatch.setattr("biLM.exploration.LINES_AT_ONCE", 2)
    query = ["Our", "bank", "lent", "money", "."]
    found = neighbours(bilm, text, query, 1, layer=1, n=4)
    vector = bilm.embed([query])[0][1, 1]
    everything = []
    for number, line in enumerate(LINES, 1):
        for position, token in enumerate(line.split()):
            other = bilm.embed([line.split()])[0][1, position]
            cosine = vector @ other / np.linalg.norm(vector) / np.linalg.norm(other)
            everything.append((float(cosine), token, number, position))
    everything.sort(key=lambda item: -item[0])
    assert [cosine for cosine, _ in found] == pytest.approx([item[0] for item in everything[:4]], abs=1e-5)
    assert {o.token for _, o in found[:1]} == {everything[0][1]}
    with pytest.raises(InputError, match="position must be from 0 to 4. Received: 5"):
        neighbours(bilm, text, query, 5)
    for look in (lambda: list(occurrences(bilm, text, 3)), lambda: neighbours(bilm, text, query, 1, layer=3)):
        with pytest.raises(InputError, match="layer must be from 0 to 2. Received: 3"):
            look()


def test_occurrences_know_their_place(bilm, text):
    found, vectors = collect(bilm, text, ["bank", "money"], limit=4)
    assert sorted((o.line, o.position) for o in found if o.token == "bank")[0] == (1, 1)
    assert sum(o.token == "bank" for o in found) == 4
    assert sum(o.token == "money" for o in found) == 1
    assert Occurrence("money", 4, 4, "The bank lent us [money] .") in found
    place = found.index(Occurrence("money", 4, 4, "The bank lent us [money] ."))
    np.testing.assert_allclose(vectors[place], bilm.embed([LINES[3].split()])[0][-1, 4], atol=1e-5)
    with pytest.raises(InputError, match=r"text.txt: does not hold 'Bank', 'lake'"):
        collect(bilm, text, ["bank", "Bank", "lake"])


def test_picture_and_projector(bilm, text, tmp_path):
    found, vectors = collect(bilm, text, ["bank", "river"])
    write_picture(found, vectors, tmp_path / "p.png")
    assert (tmp_path / "p.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "p.png").stat().st_size > 5000
    with pytest.raises(InputError, match="needs at least 4 occurrences. Received: 3"):
        write_picture(found[:3], vectors[:3], tmp_path / "q.png")
    write_projector(("token", "line"), [(o.token, o.line) for o in found], vectors, tmp_path / "projector")
    np.testing.assert_allclose(np.loadtxt(tmp_path / "projector" / "vectors.tsv"), vectors, rtol=1e-5)
    rows = (tmp_path / "projector" / "metadata.tsv").read_text().splitlines()
    assert len(rows) == len(found) + 1
    assert rows[1].split("\t")[0] == found[0].token
    assert 'metadata_path: "metadata.tsv"' in (tmp_path / "projector" / "projector_config.pbtxt").read_text()


def test_the_commands(small_weights, text, tmp_path, capsys):
    def run(*arguments, status: int = 0) -> tuple[str, str]:
        args = parser().parse_args(list(map(str, arguments)))
        assert run_command(f"biLM {args.command}", lambda: args.run(args)) == status
        return capsys.readouterr()

    near, _ = run("neighbours", small_weights, text, "--sentence", "The bank lent us money .", "--token", "bank", "--n", 2)
    first = near.splitlines()[0].split(maxsplit=2)
    assert (float(first[0]), first[1], first[2]) == (1.0, "4", "The [bank] lent us money .")
    run("embed", small_weights, text, tmp_path / "o.hdf5", "--layers", "mix", "--mix", 1, 0, 0)
    _, wrong = run("neighbours", small_weights, text, "--sentence", "The bank .", "--token", "river", status=2)
    assert wrong == "biLM neighbours: error: --token must be one of the sentence's: 'The bank .'. Received: 'river'.\n"
    for more in (("--n", 0), ("--limit", 0), ("--batch-size", 0)):
        name = {"--n": "neighbours", "--limit": "picture", "--batch-size": "embed"}[more[0]]
        needed = {"neighbours": ("--sentence", "a", "--token", "a"), "picture": ("--words", "a", "--out", tmp_path / "p")}
        _, wrong = run(name, small_weights, text, *needed.get(name, (tmp_path / "p",)), *more, status=2)
        assert wrong == f"biLM {name}: error: {more[0]} must be at least 1. Received: 0.\n"
