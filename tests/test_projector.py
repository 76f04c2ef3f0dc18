"""Tokens' vectors for TensorBoard's projector, with the types to colour them by."""

import csv

import numpy as np
import pytest

from biLM import InputError
from ner_elmo.__main__ import parser
from ner_elmo.predictor import Predictor
from ner_elmo.projector import choose, token_vectors
from ner_elmo.readers import read_sentences

TEXT = "Ada B-PER\nLund I-PER\nleft O\nOslo B-LOC\n. O\n\nNobody O\nspoke O\n. O\n\nOslo B-LOC\ncalled O\nAda B-PER\n. O\n"


@pytest.fixture(scope="module")
def sentences(tmp_path_factory):
    path = tmp_path_factory.mktemp("projector") / "some.conll"
    path.write_text(TEXT)
    return read_sentences(path)


def test_so_many_of_each_type_are_drawn(sentences):
    places = choose(sentences, 2)
    assert places == sorted(set(places)) and len(places) == 6
    types = [sentences[n].tokens[k] in ("Ada", "Lund", "Oslo") for n, k in places]
    assert sum(types) == 4  # two PER of three, two LOC, two of the seven outside
    assert len(choose(sentences, 100)) == 12
    assert choose(sentences, 2, seed=1) != places


def test_vectors_are_those_that_the_tagger_reads(sentences, small_model, tmp_path, capsys):
    path = tmp_path / "some.conll"
    path.write_text(TEXT)
    out = tmp_path / "projector"
    args = parser().parse_args(["projector", str(small_model), str(path), "--out", str(out)])
    args.run(args)
    assert capsys.readouterr().out == f"{out}: 12 tokens, 10 dimensions\n"
    with open(out / "metadata.tsv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    assert [row["type"] for row in rows[:5]] == ["PER", "PER", "O", "LOC", "O"]
    assert rows[3] | {"where": ""} == {
        "token": "Oslo", "type": "LOC", "predicted": "LOC", "context": "Ada Lund left [Oslo] .", "where": "",
    }  # fmt: skip
    tagger = Predictor.load(small_model)
    layers = tagger.features.bilm.embed([sentences[0].tokens])[0]  # (L+1, T, D)
    weights, gamma = tagger.tagger.elmo.learned()
    mixed = gamma * np.einsum("l,ltd->td", weights, layers)
    np.testing.assert_allclose(np.loadtxt(out / "vectors.tsv")[:5], mixed, atol=1e-5)
    _, top = token_vectors(tagger, sentences, [(0, 3)], layer=-1)
    np.testing.assert_allclose(top[0], layers[-1, 3], atol=1e-6)
    with pytest.raises(InputError, match="the layer must be from 0 to 2. Received: 3"):
        token_vectors(tagger, sentences, [(0, 3)], layer=3)
