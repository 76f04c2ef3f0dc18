"""What `predict.py` reads and writes, with a small tagger that guesses: every style, every input, every offset."""

import csv
import gzip
import html.parser
import io
import json
import os
import pty
import select

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import predict
from biLM import InputError
from biLM.text import Tokenizer
from ner_elmo import output
from ner_elmo.alignment import align
from ner_elmo.batching import Features, Words
from ner_elmo.confidence import Threshold
from ner_elmo.config import TrainConfig
from ner_elmo.entities import Entity
from ner_elmo.formats.source import Source
from ner_elmo.formats.table import FORMATS, documents_of, write
from ner_elmo.inputs import STYLES, Item, read_items
from ner_elmo.pages import coloured
from ner_elmo.predictor import LINES_AT_ONCE, Predictor
from ner_elmo.tagger import build_tagger

TYPES = ["LOC", "PER", "<b>"]
ODD = [
    "Ada Lund left Oslo 😀 at e\u0301 dawn.", "tabs\tand\r\nline ends\rand\u200bnothing", "👩\u200d👧 in Zu\u0308rich", "",
    " \u00a0 ", "\ufeffa\u2028b\x85c", '<script>alert("x")</script> & <b>Oslo</b>', "\x1b[31mred\x07", "x" * 300 + " Oslo",
]  # fmt: skip


@pytest.fixture(scope="module")
def tagger():
    """An untrained tagger: it finds entities everywhere, which is what these tests need."""
    import keras

    keras.utils.set_random_seed(3)
    config = TrainConfig(elmo="none", hidden_size=4, word_dim=4)
    features = Features(None, Words(["ada", "lund", "oslo"]))
    network = build_tagger(config, TYPES, **features.sizes)
    kernel, bias = network.emitter.get_weights()
    bias[0], bias[4::4] = -1.0, 1.0  # less of O, more of entities of one token
    network.emitter.set_weights([kernel * 30, bias])
    return Predictor(network, features)


def tagged(tagger, items, **how) -> list[output.Result]:
    return list(output.results(tagger, items, **how))


def written(found, style: str) -> str:
    return "".join(output.write(found, style, TYPES))


@pytest.fixture(scope="module")
def found(tagger):
    found = tagged(tagger, map(Item, ODD))
    assert sum(len(result.entities) for result in found) > 10
    return found


@settings(deadline=None, max_examples=12)
@given(st.lists(st.text(max_size=40) | st.sampled_from(ODD), min_size=8, max_size=16))
def test_offsets_are_exact_on_any_text(tagger, texts):
    rows = [json.loads(line) for line in written(tagged(tagger, map(Item, texts)), "jsonl").splitlines() if line]
    assert [row["text"] for row in rows] == texts
    for row in rows:
        for entity in row["entities"]:
            assert row["text"][entity["start"] : entity["end"]] == entity["text"]


def test_every_style_tells_the_same_entities(tagger, found, tmp_path):
    expected = [[(e.start, e.end, e.type) for e in result.entities] for result in found]
    for style in ("jsonl", "doccano", "labelstudio"):
        path = tmp_path / f"{style}.json{'' if style == 'labelstudio' else 'l'}"
        path.write_text(written(found, style), encoding="utf-8", newline="")
        documents = list(documents_of(Source(path), style)[1])
        assert [d.text for d in documents] == ODD
        assert [[(m.start, m.end, m.type) for m in d.marks] for d in documents] == expected
    rows = list(csv.DictReader(io.StringIO(written(found, "csv"), newline="")))
    assert [(int(r["number"]), int(r["start"]), r["text"]) for r in rows] == [
        (result.number, e.start, e.text) for result in found for e in result.entities
    ]
    (tmp_path / "x.conll").write_text(written(found, "conll"), encoding="utf-8", newline="")
    marks = [d.text[m.start : m.end] for d in documents_of(Source(tmp_path / "x.conll"))[1] for m in d.marks]
    assert marks == [" ".join(_tokens(result, e)) for result in found for e in result.entities]


def _tokens(result, entity):
    for sentence, _ in result.sentences:
        for token, start in zip(sentence.tokens, sentence.starts, strict=True):
            if entity.start <= start < entity.end:
                yield token


class Reader(html.parser.HTMLParser):
    """The texts of a page as a browser would show them, and its tags."""

    def __init__(self, page: str):
        super().__init__()
        self.texts, self.tags, self.inside, self.label = [], [], 0, 0
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self.inside += tag == "div"
        self.label += tag == "small"
        if tag == "div":
            self.texts.append("")
        if tag == "br":
            self.texts[-1] += "\n"

    def handle_endtag(self, tag):
        self.inside -= tag == "div"
        self.label -= tag == "small"

    def handle_data(self, data):
        if self.inside and not self.label:
            self.texts[-1] += data


def test_the_page_shows_the_texts_and_nothing_else(found):
    markup = written(found, "html")
    read = Reader(markup)
    shown = ["".join(text.split()) for text in read.texts]
    plain = [text.replace("\x1b", "\ufffd").replace("\x07", "\ufffd").replace("\x85", "\ufffd") for text in ODD]
    assert shown == ["".join(text.split()) for text in plain]
    assert {tag for tag, _ in read.tags} <= {"html", "head", "meta", "title", "style", "body", "div", "mark", "small", "br"}
    assert not {"src", "href", "onload"} & {name for _, attributes in read.tags for name in attributes}
    assert "http" not in markup and "url(" not in markup and "@import" not in markup
    marks = [attributes for tag, attributes in read.tags if tag == "mark"]
    assert len(marks) == sum(len(result.entities) for result in found)
    assert {mark["style"] for mark in marks} <= {f"background: {colour}" for colour in ("#ffd8a8", "#a5d8ff", "#b2f2bb")}
    assert "<script" not in markup and "<b>" not in markup


def test_colours_only_at_a_terminal(found):
    ours, theirs = pty.openpty()
    with os.fdopen(theirs, "w", encoding="utf-8", newline="") as terminal:
        output.put([found[0], found[0]], "text", TYPES, terminal)
        said = b""
        while said.count(b"\n") < 2 and select.select([ours], [], [], 10)[0]:
            said += os.read(ours, 100_000)
    os.close(ours)
    assert b"\x1b[" in said
    first, second, rest = said.split(b"\r\n")
    assert first == second and not rest
    plain = io.StringIO()
    output.put(found[:1], "text", TYPES, plain)
    assert "\x1b" not in plain.getvalue()
    assert plain.getvalue() == output.marked(ODD[0], found[0].entities) + "\n"
    shown = coloured(ODD[7], [Entity("LOC", 5, 8, "red", 0.5)], TYPES)
    assert shown.plain == "\ufffd[31mred LOC 0.50\ufffd"


def test_least_confidence_and_rank(tagger, found):
    confidences = sorted(e.confidence for result in found for e in result.entities)
    middle = confidences[len(confidences) // 2]
    sure = tagged(tagger, map(Item, ODD), min_confidence=middle)
    assert [e for r in sure for e in r.entities] == [e for r in found for e in r.entities if e.confidence >= middle]
    spans = sum(len(spans) for result in sure for _, spans in result.sentences)
    assert spans == sum(len(result.entities) for result in sure)
    order = output.ranked(sure)
    lowest = [min((e.confidence for e in found[result.number - 1].entities), default=1.0) for result in order]
    assert lowest == sorted(lowest)
    assert lowest[-1] == 1.0  # texts without an entity come last
    assert sorted(result.number for result in order) == list(range(1, len(ODD) + 1))


def test_the_most_probable_taggings_of_each_sentence(tagger):
    text = "Ada Lund left. Oslo 😀 slept."
    (result,) = tagged(tagger, [Item(text)], n_best=4)
    (row,) = map(json.loads, written([result], "jsonl").splitlines())
    assert [text[one["start"] : one["end"]] for one in row["sentences"]] == ["Ada Lund left.", "Oslo 😀 slept."]
    for sentence in row["sentences"]:
        probabilities = [one["probability"] for one in sentence["n_best"]]
        assert len(probabilities) == 4 and probabilities == sorted(probabilities, reverse=True) and sum(probabilities) <= 1
        for entity in (entity for one in sentence["n_best"] for entity in one["entities"]):
            assert text[entity["start"] : entity["end"]] == entity["text"]
    assert [e for one in row["sentences"] for e in one["n_best"][0]["entities"]] == row["entities"]
    (empty,) = tagged(tagger, [Item("")], tokenized=True, n_best=2)
    assert json.loads(written([empty], "jsonl"))["sentences"] == []


def test_the_text_of_a_row_is_the_one_that_offsets_count_in(tmp_path):
    (tmp_path / "x.jsonl").write_text('{"text": "note 7", "body": "Ada slept.", "entities": [], "id": 1}\n')
    (item,) = read_items([str(tmp_path / "x.jsonl")], field="body", form="jsonl")
    assert item.row == {"text": "Ada slept.", "id": 1} and item.text == "Ada slept."


def test_a_wanted_precision_is_kept_and_told(tagger, capsys):
    everything = tagged(tagger, map(Item, ODD))
    confidences = sorted((entity.confidence for result in everything for entity in result.entities), reverse=True)
    threshold = Threshold(confidences[4], 0.96, 0.5)
    found = tagged(tagger, map(Item, ODD), min_confidence=threshold.confidence)
    assert list(output.counted(found, threshold, 0.95, threshold.confidence)) == found
    kept = sum(len(result.entities) for result in found)
    assert kept == sum(confidence >= confidences[4] for confidence in confidences)
    says = f"kept {kept} entities of confidence {threshold.confidence:.3f} and more, dropped {len(confidences) - kept}; "
    assert (
        says + f"on dev {threshold.confidence:.3f} and more had precision 0.9600 and recall 0.5000"
        in capsys.readouterr().err
    )


def test_columns_without_a_name_are_called_by_their_place(tmp_path):
    (tmp_path / "x.csv").write_text("id,text,,\n1,Ada left,,x\n")
    (item,) = read_items([str(tmp_path / "x.csv")])
    assert (item.text, item.row) == ("Ada left", {"id": "1", "text": "Ada left", "column 3": "", "column 4": "x"})


def test_rows_keep_what_they_have(tagger, tmp_path):
    rows = [{"id": 7, "text": "Ada left Oslo.", "meta": {"a": [1, None]}}, {"text": "Oslo", "entities": [{"x": 1}]}]
    (tmp_path / "x.jsonl").write_text("\n\n".join(map(json.dumps, rows)))
    first, second = (
        json.loads(line) for line in written(tagged(tagger, read_items([str(tmp_path / "x.jsonl")])), "jsonl").splitlines()
    )
    assert list(first) == ["id", "text", "meta", "entities"]
    assert {key: first[key] for key in rows[0]} == rows[0]
    assert second["entities_given"] == [{"x": 1}]
    (tmp_path / "x.csv").write_text('id,body\n1,"Ada\nleft"\n2,Oslo\n')
    items = list(read_items([str(tmp_path / "x.csv")], field="body"))
    assert [(item.text, item.row["id"]) for item in items] == [("Ada\nleft", "1"), ("Oslo", "2")]
    found = [json.loads(line) for line in written(tagged(tagger, items), "jsonl").splitlines()]
    assert [list(row) for row in found] == [["id", "body", "entities"]] * 2
    task = json.loads(
        written(tagged(tagger, [Item("Oslo", None, {"text": "Oslo", "id": 3, "source": "a"})]), "labelstudio")
    )[0]
    assert (task["id"], task["data"]) == (3, {"text": "Oslo", "source": "a"})
    (prediction,) = task["predictions"]
    assert prediction["score"] == min([1.0, *(region["score"] for region in prediction["result"])])


def test_directories_and_packed_files_in_order(tmp_path):
    (tmp_path / "d" / "deep").mkdir(parents=True)
    (tmp_path / "d" / "b.txt").write_bytes("\ufeffone\r\ntwo\rthree\n".encode())
    (tmp_path / "d" / "c.txt.gz").write_bytes(gzip.compress(b"four\n"))
    (tmp_path / "d" / "deep" / "a.jsonl").write_text('{"text": "five"}\n')
    (tmp_path / "d" / ".hidden").write_bytes(b"\xff")
    (tmp_path / "z.conll").write_text("six O\nseven B-X\n")
    items = list(read_items([str(tmp_path / "d"), str(tmp_path / "z.conll")]))
    assert [item.text for item in items] == ["one", "two\rthree", "four", "five", "six seven"]
    assert [len(item.sentences or ()) for item in items] == [0, 0, 0, 0, 1]
    as_text = [item.text for item in read_items([str(tmp_path / "z.conll")], form="text")]
    assert as_text == ["six O", "seven B-X"]


@pytest.mark.parametrize("name", [name for name in FORMATS if name != "datasets"])
def test_annotated_files_are_tagged_with_their_own_tokens(tagger, tmp_path, name):
    path = tmp_path / {"spacy": "x.spacy", "conll": "x.conll"}.get(name, "x")
    source = [align(document, Tokenizer(), print) for document in documents_of(Source(_strange_tokens(tmp_path)))[1]]
    write(source, path, name)
    (result,) = tagged(tagger, read_items([str(path)], form=name))
    expected = ("don't", "U.S.-based") if FORMATS[name].over_tokens else tuple(t.text for t in _words("don't U.S.-based"))
    assert tuple(token for sentence, _ in result.sentences for token in sentence.tokens) == expected


def _strange_tokens(folder):
    (folder / "strange.conll").write_text("don't O\nU.S.-based B-X\n")
    return folder / "strange.conll"


def _words(text):
    import spacy

    return spacy.blank("en")(text)


def test_input_stays_a_stream(tagger, found):
    read = []
    text = next(result.item.text for result in found if result.entities)

    def endless():
        while True:
            read.append(1)
            yield Item(text)

    for style in STYLES:
        read.clear()
        pieces = output.write(output.results(tagger, endless()), style, TYPES)
        for _ in range(4):
            next(pieces)
        assert len(read) == 2 * LINES_AT_ONCE, style


MISTAKES = {
    "no JSON": ("x.jsonl", b'{"text": "a"}\n{"text": \n', "x.jsonl:2: expected JSON, got"),
    "no object": ("x.jsonl", b"[1]\n", "x.jsonl:1: must be an object with a text"),
    "no text": (
        "x.jsonl",
        b'{"body": "a"}\n',
        "x.jsonl:1: must hold the text under text or data .* keys: body. Name it",
    ),
    "half a character": ("x.jsonl", b'{"text": "a\\ud83d"}\n', "x.jsonl:1: the text holds half a surrogate pair"),
    "no such column": ("x.csv", b"id,body\n1,a\n", "x.csv:2: must hold the text under text"),
    "two columns of one name": (
        "x.csv",
        b"id,id,text\n1,2,a\n",
        "x.csv:1: each column must have a name of its own. .* 'id' 2",
    ),
    "a short row": ("x.csv", b"id,text\n1\n", "x.csv:2: expected 2 cells, got 1"),
    "not UTF-8": ("x.txt", b"fine\ncaf\xe9\n", "x.txt:2: must be UTF-8. Received the byte 0xe9"),
    "a damaged archive": ("x.txt.gz", b"fine", "x.txt.gz: a damaged archive"),
}


@pytest.mark.parametrize(("name", "content", "message"), MISTAKES.values(), ids=MISTAKES.keys())
def test_mistakes_have_a_place(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=message):
        list(read_items([str(tmp_path / name)]))


def test_flags():
    args = predict.parse(["a.csv", "--field", "body", "--format", "html", "--min-confidence", "0.5", "--rank-by-doubt"])
    assert (args.field, args.format, args.min_confidence, args.rank_by_doubt, args.read_format) == (
        "body",
        "html",
        0.5,
        True,
        "auto",
    )
    with pytest.raises(InputError, match="--min-confidence must be from 0 to 1"):
        predict.main(predict.parse(["--min-confidence", "2"]))
