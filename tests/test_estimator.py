"""`NerTagger` among scikit-learn's estimators: options, cross-validation, pipelines, and models that are kept."""

import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from biLM import InputError
from ner_elmo import NerTagger

TEXTS = ["Ada Lund left Oslo .", "Nobody spoke .", "New York slept .", "Oslo called Ada ."] * 5
X = [text.split() for text in TEXTS]
Y = [["B-PER", "I-PER", "O", "B-LOC", "O"], ["O"] * 3, ["B-LOC", "I-LOC", "O", "O"], ["B-LOC", "O", "B-PER", "O"]] * 5


@pytest.fixture(scope="module")
def small(small_weights, tmp_path_factory):
    """A tagger that is not trained yet. All sentences are one batch: one shape, which is compiled once."""
    return NerTagger(
        elmo=str(small_weights), cache_dir=str(tmp_path_factory.mktemp("cache")), hidden_size=32, dropout=0.0,
        batch_size=len(X), learning_rate=0.01, epochs=40, patience=40,
    )  # fmt: skip


@pytest.fixture(scope="module")
def fitted(small):
    return clone(small).fit(X, Y, dev=(X, Y))


def test_fits_predicts_and_scores(fitted):
    assert fitted.predict(X) == Y
    assert fitted.predict([]) == []
    assert fitted.score(X, Y) == 1.0
    assert fitted.score(X[:1], [["O"] * 5]) == 0.0
    assert [epoch.number for epoch in fitted.history_] == list(range(1, 41))
    assert [(entity.type, entity.text) for entity in fitted.tag("Ada Lund left Oslo.")] == [
        ("PER", "Ada Lund"),
        ("LOC", "Oslo"),
    ]


def test_any_scheme_is_read(fitted):
    bioes = [
        ["B-PER", "E-PER", "O", "S-LOC", "O"],
        ["O"] * 3,
        ["B-LOC", "E-LOC", "O", "O"],
        ["S-LOC", "O", "S-PER", "O"],
    ] * 5
    assert fitted.score(X, bioes) == 1.0


def test_is_kept_as_a_model_directory(fitted, tmp_path):
    fitted.save(tmp_path / "model")
    loaded = NerTagger.load(tmp_path / "model")
    assert loaded.predict(X) == fitted.predict(X)
    here, there = (tagger.tag(TEXTS[0])[0] for tagger in (fitted, loaded))
    assert there.confidence == pytest.approx(here.confidence, abs=1e-6)
    assert loaded.get_params() == fitted.get_params()
    with pytest.raises(InputError, match="holds a model already"):
        fitted.save(tmp_path / "model")


def test_options_are_parameters(small, fitted):
    assert small.get_params()["hidden_size"] == 32
    assert "train" not in small.get_params() and small.get_params()["validation_fraction"] == 0.1
    copy = clone(fitted).set_params(epochs=3)
    assert copy.get_params() == fitted.get_params() | {"epochs": 3}
    with pytest.raises(NotFittedError, match=r"call `fit`"):
        copy.predict(X)
    with pytest.raises(TypeError, match="no option 'epoch'"):
        NerTagger(epoch=3)


def test_goes_through_cross_validation_in_a_pipeline(small):
    split = FunctionTransformer(lambda texts: [text.split() for text in texts])
    tagger = clone(small).set_params(validation_fraction=0.25, epochs=20)
    scores = cross_val_score(make_pipeline(split, tagger), TEXTS, Y, cv=2, error_score="raise")
    assert scores.shape == (2,) and (scores > 0.5).all()  # both folds hold all four sentences


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (TEXTS[:4], Y[:4], r"X\[0\] must be a list of tokens. Received: text, 'Ada Lund left Oslo .'"),
        (X[:4], Y[:3], "4 sentences, 3 rows of tags"),
        ([["a\rb"], *X[1:2]], [["O"], Y[1]], r"X\[0\]: a token must hold no line break. Received: 'a\\rb'"),
        (X[:2], [Y[0], ["O"]], "as many tags as tokens in row 1. Received: 3 tokens, 1 tags"),
        (X[:2], [Y[0], ["O", "PER", "O"]], "'PER' is no tag"),
        (X[:1], Y[:1], "two sentences at least"),
        (X[:3:2], [["O"] * 5, ["O"] * 4], "at least one entity"),
    ],
)
def test_what_cannot_be_learned_is_said(small, x, y, message):
    with pytest.raises(InputError, match=message):
        clone(small).fit(x, y)


def test_options_are_checked_when_it_is_fitted(small):
    with pytest.raises(InputError, match="epochs must be at least 1"):
        clone(small).set_params(epochs=0).fit(X, Y)
