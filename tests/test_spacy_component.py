"""A model directory in a spaCy pipeline."""

import importlib
import subprocess
import sys
import tomllib
from importlib.metadata import entry_points

import pytest
import spacy
from conftest import PROJECT

import ner_elmo.spacy_component  # noqa: F401  what the entry point does where the project is installed
from biLM import InputError
from ner_elmo import NerTagger

TEXT = "Ada Lund left Oslo.\n\nNew York slept.  Oslo called Ada."


@pytest.fixture(scope="module")
def pipeline(small_model):
    nlp = spacy.blank("en")
    nlp.add_pipe("ner_elmo", config={"model": str(small_model)})
    return nlp


def found(doc):
    return [(span.label_, span.start_char, span.end_char, span.text, round(span._.confidence, 6)) for span in doc.ents]


def test_equals_the_tagger(pipeline, small_model):
    expected = NerTagger.load(small_model).tag(TEXT)
    assert len(expected) == 5
    assert found(pipeline(TEXT)) == [(e.type, e.start, e.end, e.text, round(e.confidence, 6)) for e in expected]
    texts = [TEXT, "", "  ", "Nobody spoke."] * 3
    assert [found(doc) for doc in pipeline.pipe(texts)] == [found(pipeline(text)) for text in texts]


def test_sentences_of_the_document_are_kept(small_model):
    nlp = spacy.blank("en")
    doc = nlp.make_doc("New York slept")
    for token in doc:
        token.is_sent_start = True
    nlp.add_pipe("ner_elmo", config={"model": str(small_model)})
    whole, cut = nlp("New York slept"), nlp.get_pipe("ner_elmo")(doc)
    assert [span.text for span in whole.ents] == ["New York"]
    assert not whole.has_annotation("SENT_START")
    assert [span.text for span in cut.ents] != ["New York"]  # each token alone


def test_entities_of_others_stay(small_model):
    nlp = spacy.blank("en")
    ruler = nlp.add_pipe("entity_ruler")
    ruler.add_patterns([{"label": "NAME", "pattern": "Lund left"}])
    nlp.add_pipe("ner_elmo", config={"model": str(small_model)})
    assert [(span.label_, span.text) for span in nlp("Ada Lund left Oslo.").ents] == [("NAME", "Lund left"), ("LOC", "Oslo")]


def test_least_confidence(small_model):
    nlp = spacy.blank("en")
    component = nlp.add_pipe("ner_elmo", config={"model": str(small_model), "min_confidence": 1.0})
    assert not nlp(TEXT).ents
    component.min_confidence = 0.0
    assert len(nlp(TEXT).ents) == 5
    with pytest.raises(InputError, match="min_confidence must be from 0 to 1. Received: 2"):
        nlp.add_pipe("ner_elmo", name="again", config={"model": "x", "min_confidence": 2.0})


def test_a_saved_pipeline_holds_the_model(pipeline, tmp_path, small_model):
    pipeline.to_disk(tmp_path / "pipeline")
    loaded = spacy.load(tmp_path / "pipeline", config={"components.ner_elmo.model": "no longer there"})
    assert found(loaded(TEXT)) == found(pipeline(TEXT))


def test_the_entry_point_is_the_factory():
    """What spaCy looks up where the project is installed."""
    points = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]["entry-points"]["spacy_factories"]
    assert points == {"ner_elmo": "ner_elmo.spacy_component:make"}
    module, name = points["ner_elmo"].split(":")
    assert callable(getattr(importlib.import_module(module), name))
    code = "import spacy; nlp = spacy.blank('en'); print(nlp.add_pipe('ner_elmo', config={'model': 'x'}).model)"
    (found,) = (point for point in entry_points(group="spacy_factories") if point.name == "ner_elmo")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (found.value, done.returncode) == (points["ner_elmo"], 0), done.stderr


def test_what_is_no_model_is_said():
    nlp = spacy.blank("en")
    nlp.add_pipe("ner_elmo", config={"model": "nowhere"})
    with pytest.raises(InputError, match="is no model directory"):
        nlp("Text.")
