"""Every format is read as it was written, from every other one, and every mistake is said in one line."""
# ruff: noqa: E501 (a line of the tables is a file)

import gzip
import json
from dataclasses import replace
from itertools import chain

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from biLM import InputError
from biLM.text import Tokenizer
from ner_elmo import read_sentences
from ner_elmo.alignment import align, sentences_of
from ner_elmo.entities import Span
from ner_elmo.formats.document import Document, Mark
from ner_elmo.formats.source import Source
from ner_elmo.formats.table import FORMATS, documents_of, format_of, write

TOKENIZER = Tokenizer()
SUFFIXES = {
    "conll": ".conll", "jsonl": ".jsonl", "json": ".json", "doccano": ".jsonl", "labelstudio": ".json", "prodigy": ".jsonl",
    "spacy": ".spacy", "spacy-json": ".json", "csv": ".csv", "csv-spans": ".csv", "jsonl-tokens": ".jsonl", "datasets": "",
}  # fmt: skip
ONE_LINE = ("conll", "csv", "jsonl-tokens", "datasets")  # of a text these keep its tokens alone
TEXTS = [
    Document("Ada Lund left Oslo. She\tmet 😀 Bo\r\nin  New York!", (
        Mark(0, 8, "PER"), Mark(14, 18, "LOC"), Mark(30, 32, "PER"), Mark(38, 46, "LOC"),
    )),
    Document("Nothing here, “nothing” there; e\u0301 and a,b\"c'd."),
    Document("Zu\u0308rich's < Rhein & Co. >", (Mark(0, 7, "LOC"), Mark(12, 23, "ORG-X"))),
]  # fmt: skip


def needs(name: str) -> None:
    if name == "datasets":
        pytest.importorskip("datasets", reason="the extra `datasets` is not installed")


def read(path, name: str = "auto", **how) -> list[Document]:
    return list(documents_of(Source(path, **how), name)[1])


def aligned(documents) -> list[Document]:
    found = []
    documents = [align(document, TOKENIZER, found.append) for document in documents]
    assert not found
    return documents


def tokens_and_spans(documents) -> list:
    return [(s.tokens, s.spans) for document in documents for s in sentences_of(document)]


def whole(document: Document) -> Document:
    """The document as one sentence, which is what formats without sentences make of it."""
    return replace(document, sentences=(tuple(chain.from_iterable(document.sentences)),))


@pytest.mark.parametrize("packed", ["", ".gz"])
@pytest.mark.parametrize("name", FORMATS)
def test_a_format_is_found_and_read_as_it_was_written(tmp_path, name, packed):
    needs(name)
    if FORMATS[name].save and packed:
        return  # a directory
    path = tmp_path / f"x{SUFFIXES[name]}{packed}"
    documents = aligned(TEXTS)
    write(documents, path, name)
    assert format_of(path) == name
    back = read(path)
    if name in ONE_LINE:
        assert tokens_and_spans(back) == tokens_and_spans(documents)
    else:
        assert [(d.text, d.marks) for d in back] == [(d.text, d.marks) for d in documents]
        if FORMATS[name].over_tokens:
            same = [whole(d) for d in documents] if name == "prodigy" else documents
            assert [d.sentences for d in back] == [d.sentences for d in same]
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("after", FORMATS)
@pytest.mark.parametrize("before", FORMATS)
def test_every_format_becomes_every_other(tmp_path, before, after):
    needs(before)
    needs(after)
    write(aligned(TEXTS), tmp_path / f"a{SUFFIXES[before]}", before)
    first = read(tmp_path / f"a{SUFFIXES[before]}", before)
    split = aligned(first)
    write(split if FORMATS[after].over_tokens else first, tmp_path / f"b{SUFFIXES[after]}", after)
    second = read(tmp_path / f"b{SUFFIXES[after]}", after)
    if after not in ONE_LINE:
        assert [(d.text, d.marks) for d in second] == [(d.text, d.marks) for d in first]
    if FORMATS[after].over_tokens:
        joined = (lambda documents: [whole(d) for d in documents]) if after == "prodigy" else list
        assert tokens_and_spans(second) == tokens_and_spans(joined(split))


def labels(document: Document) -> list[tuple[str, str]]:
    return [(document.text[mark.start : mark.end], mark.type) for mark in document.marks]


OBJECTS = (
    '[{"start_offset": 4, "end_offset": 8, "label": "PER", "id": 3}, {"start_offset": 14, "end_offset": 18, "label": "LOC"}]'
)
TEXT = '"text": "Did Lund leave Oslo?"'.replace("leave", "like")
LABELLED = [("Lund", "PER"), ("Oslo", "LOC")]
TRIPLES = '[[4, 8, "PER"], [14, 18, "LOC"]]'
REGIONS = """[
  {"value": {"start": 4, "end": 8, "text": "Lund", "labels": ["PER"]}, "id": "a", "from_name": "label", "to_name": "text",
   "type": "labels", "origin": "manual"},
  {"value": {"choices": ["news"]}, "from_name": "topic", "to_name": "text", "type": "choices"},
  {"value": {"start": 14, "end": 18, "text": "Oslo", "labels": ["LOC"]}, "type": "labels"}]"""
KAGGLE = "Sentence #,Word,POS,Tag\nSentence: 1,Did,VB,O\n,Lund,NN,B-PER\n,like,VB,O\n,Oslo,NN,B-LOC\n,?,.,O\n"
SPACY_JSON = """[{"id": 0, "paragraphs": [{"raw": "Did Lund like Oslo?", "sentences": [{"tokens": [
  {"id": 0, "orth": "Did", "ner": "O"}, {"id": 1, "orth": "Lund", "ner": "U-PER"}, {"id": 2, "orth": "like", "ner": "-"},
  {"id": 3, "orth": "Oslo", "ner": "U-LOC"}, {"id": 4, "orth": "?", "ner": "O"}], "brackets": []}], "cats": []}]}]"""
PRODIGY = """{"text": "Did Lund like Oslo?", "_input_hash": 1, "_task_hash": -2, "tokens": [
  {"text": "Did", "start": 0, "end": 3, "id": 0}, {"text": "Lund", "start": 4, "end": 8, "id": 1},
  {"text": "like", "start": 9, "end": 13, "id": 2}, {"text": "Oslo", "start": 14, "end": 18, "id": 3},
  {"text": "?", "start": 18, "end": 19, "id": 4}], "spans": [{"start": 4, "end": 8, "token_start": 1, "token_end": 1,
  "label": "PER"}, {"start": 14, "end": 18, "label": "LOC"}], "answer": "accept", "meta": {"score": 0.5}}""".replace(
    "\n", ""
)
SHAPES = {
    "doccano label": ("x.jsonl", f'{{"id": 7, {TEXT}, "label": {TRIPLES}, "Comments": []}}\n\n', "doccano"),
    "doccano labels": ("x.jsonl", f'{{{TEXT}, "labels": {TRIPLES}, "meta": {{}}}}', "doccano"),
    "doccano annotations": ("x.jsonl", f'{{{TEXT}, "annotations": {OBJECTS}}}', "jsonl"),
    "doccano entities": ("x.jsonl", f'{{"id": 1, {TEXT}, "entities": {OBJECTS}, "relations": []}}', "jsonl"),
    "doccano data": ("x.jsonl", f'{{{TEXT.replace("text", "data")}, "label": {TRIPLES}}}', "doccano"),
    "an array": ("x.json", f'[\n {{{TEXT},\n "entities": {TRIPLES}}}\n]', "json"),
    "an array on a line": ("x.json", f'[{{{TEXT}, "entities": {OBJECTS}}}]', "json"),
    "one object": ("x.json", f'{{\n{TEXT}, "spans": {TRIPLES}}}', "json"),
    "spaCy's pairs": ("x.json", f'[["Did Lund like Oslo?", {{"entities": {TRIPLES}}}]]', "json"),
    "a pair a line": ("x.jsonl", f'["Did Lund like Oslo?", {{"entities": {TRIPLES}}}]', "jsonl"),
    "pairs, wrapped": ("x.json", f'{{"classes": ["PER"], "annotations": [["Did Lund like Oslo?", {{"entities": {TRIPLES}}}], null]}}',
                       "json"),
    "several labels": ("x.json", f'[{{{TEXT}, "label": [{{"start": 4, "end": 8, "text": "Lund", "labels": ["PER"]}}, [14, 18, "LOC"]]}}]',
                       "json"),
    "another name": ("x.txt", f'{{{TEXT}, "label": {TRIPLES}}}', "doccano"),
    "label studio": ("x.json", f'[{{"id": 3, "data": {{{TEXT}, "source": "a"}}, "annotations": [{{"id": 1, "was_cancelled": true, '
                     f'"result": []}}, {{"id": 2, "result": {REGIONS}}}], "predictions": []}}]', "labelstudio"),
    "label studio 0.9": ("x.json", f'[{{"data": {{"my_text": "Did Lund like Oslo?"}}, "completions": [{{"result": {REGIONS}}}]}}]',
                         "labelstudio"),
    "one task": ("x.json", f'{{\n"data": {{{TEXT}}}, "annotations": [{{"result": {REGIONS}}}]}}', "labelstudio"),
    "pre-annotated": ("x.json", f'[{{"data": {{{TEXT}}}, "predictions": [{{"score": 0.5, "result": {REGIONS}}}]}}]', "labelstudio"),
    "prodigy": ("x.jsonl", PRODIGY, "prodigy"),
    "spaCy's JSON": ("x.json", SPACY_JSON, "spacy-json"),
    "kaggle": ("x.csv", KAGGLE, "csv"),
    "semicolons": ("x.csv", KAGGLE.replace(",", ";"), "csv"),
    "a sentence's number in every row": ("x.tsv", "sentence_id\ttoken\tner\n1\tDid\tO\n1\tLund\tB-PER\n1\tOslo\tB-LOC\n", "csv"),
    "texts with JSON": ("x.csv", 'id,text,label\n1,Did Lund like Oslo?,"' + TRIPLES.replace('"', '""') + '"\n', "csv-spans"),
    "texts with Python": ("x.csv", "text,entities\nDid Lund like Oslo?,\"[(4, 8, 'PER'), (14, 18, 'LOC')]\"\n", "csv-spans"),
    "texts with tags": ("x.csv", "Sentence,POS,Tag\nDid Lund like Oslo,x,\"['O', 'B-PER', 'O', 'B-LOC']\"\n", "csv-spans"),
    "rows of tokens": ("x.jsonl", '{"tokens": ["Did", "Lund", "Oslo"], "ner_tags": ["O", "B-PER", "B-LOC"]}', "jsonl-tokens"),
    "two columns": ("x.bio", "Did O\nLund B-PER\nOslo B-LOC\n", "conll"),
    "four columns": ("x.txt", "-DOCSTART- -X- -X- O\n\nDid VB B-VP O\nLund NN B-NP I-PER\nOslo NN I-NP I-LOC\n", "conll"),
    "tag first": ("x.tsv", "O\tDid\nB-PER\tLund\nB-LOC\tOslo\n", "conll"),
    "tag between": ("x.tsv", "Did\tO\tVB\nLund\tB-PER\tNN\nOslo\tB-LOC\tNN\n", "conll"),
    "numbered": ("x.tsv", "# id = 1\n1\tDid\tO\n2\tLund\tB-PER\n3\tOslo\tB-LOC\n\n# id = 2\n1\tx\tO\n", "conll"),
    "comments": ("x.conll", "# id 7 domain=en\nDid _ _ O\nLund _ _ B-PER\nOslo _ _ B-LOC\n# _ _ O\n", "conll"),
    "BILOU": ("x.conll", "Did O\nLund U-PER\nOslo U-LOC\n", "conll"),
}  # fmt: skip


@pytest.mark.parametrize(("name", "content", "expected"), SHAPES.values(), ids=SHAPES.keys())
def test_shapes_of_other_tools_are_found_and_read(tmp_path, name, content, expected):
    path = tmp_path / name
    path.write_text(content)
    assert format_of(path) == expected
    assert labels(read(path)[0]) == LABELLED
    (tmp_path / f"{name}.gz").write_bytes(gzip.compress(content.encode()))
    assert [labels(document) for document in read(tmp_path / f"{name}.gz")] == [labels(d) for d in read(path)]


def test_scheme_and_columns_are_said(tmp_path):
    said = []
    (tmp_path / "a.tsv").write_text(SHAPES["numbered"][1])
    (tmp_path / "b.conll").write_text("Did O\nLund U-PER\nOslo U-LOC\n")
    read_sentences([tmp_path / "a.tsv", tmp_path / "b.conll"], report=lambda found: said.append(str(found)))
    assert said[0].endswith("a.tsv: conll IOB2 (token: column 2, tag: last column), 2 sentences")
    assert said[1].endswith("b.conll: conll BIOES (spelled BILOU), 1 sentence")
    (tmp_path / "c.conll").write_text("Did O\nLund I-PER\nOslo I-LOC\n")
    read_sentences(tmp_path / "c.conll", report=lambda found: said.append(str(found)))
    assert said[2].endswith("c.conll: conll IOB1, 1 sentence")


def test_named_columns_are_used(tmp_path):
    (tmp_path / "x.tsv").write_text("1\tLund\tB-PER\tO\n2\tleft\tO\tO\n")
    assert labels(read(tmp_path / "x.tsv", columns=(2, 3))[0]) == [("Lund", "PER")]
    assert labels(read(tmp_path / "x.tsv", columns=(2, -2))[0]) == [("Lund", "PER")]
    assert labels(read(tmp_path / "x.tsv")[0]) == []
    with pytest.raises(InputError, match=r"columns count from 1, or from the end \(-1\). Received: 0, 1."):
        read(tmp_path / "x.tsv", columns=(0, 1))


def test_other_fields_stay(tmp_path):
    document = Document("Lund", (Mark(0, 4, "PER"),), fields={"id": 7, "meta": {"source": ["a"]}})
    for name in ("jsonl", "json", "doccano", "labelstudio", "prodigy"):
        write([align(document, TOKENIZER, print)], tmp_path / f"{name}{SUFFIXES[name]}", name)
        assert read(tmp_path / f"{name}{SUFFIXES[name]}", name)[0].fields == document.fields


def test_what_nobody_annotated_is_left_out_and_told(tmp_path):
    (tmp_path / "x.json").write_text(
        json.dumps([
            {"id": 1, "data": {"text": "a"}, "annotations": []},
            {"id": 2, "data": {"text": "b"}, "annotations": [{"result": []}, {"result": []}]},
        ])
    )  # fmt: skip
    source = Source(tmp_path / "x.json")
    assert [document.text for document in documents_of(source)[1]] == ["b"]
    assert [(f.kind, f.action) for f in source.findings] == [
        ("no annotation", "the task was left out"), ("several annotations", "the first was read"),
    ]  # fmt: skip
    (tmp_path / "p.jsonl").write_text(PRODIGY.replace("accept", "reject") + "\n" + PRODIGY)
    source = Source(tmp_path / "p.jsonl")
    assert len(list(documents_of(source)[1])) == 1
    assert source.findings[0].kind == "answer reject"


def test_what_no_document_holds_is_told(tmp_path):
    for content, left_out in (
        (SHAPES["pairs, wrapped"][1], {"what stands beside the array of records"}),
        (SHAPES["one task"][1].replace('"from_name": "label"', '"from_name": "ner"'),
         {"other names of controls than label and text", "regions of the type choices"}),
    ):  # fmt: skip
        (tmp_path / "x.json").write_text(content)
        source = Source(tmp_path / "x.json")
        assert [labels(document) for document in documents_of(source)[1]] == [LABELLED]
        assert source.passed_over == left_out


MISTAKES = {
    "cut JSON": ("x.json", '[{"text": "a", "label": []},\n {"text": "b', "x.json:2: expected JSON, got .* the file or line ends in the middle"),
    "a broken line": ("x.jsonl", '{"text": "a", "label": []}\n' * 9 + '{"text": "b", \n', "x.jsonl:10: expected JSON, got"),
    "text for JSON": ("x.json", "Lund left Oslo.", "x.json:1: expected JSON, got 'Lund left Oslo.'"),
    "columns for JSON": ("x.jsonl", "Lund B-PER\n", "x.jsonl:1: expected JSON, got 'Lund B-PER'"),
    "deep JSON": ("x.json", "[" * 100_000, "x.json: expected JSON: maximum recursion"),
    "a long number": ("x.json", "9" * 5000, "x.json: expected JSON: Exceeds the limit"),
    "a list of numbers": ("x.json", "[1, 2, 3]", "x.json:1: item 1: must be an object with a text and its spans. Received: 1"),
    "past the end": ("x.jsonl", '{"text": "Lund", "label": [[0, 5, "PER"]]}', r"x.jsonl:1: offsets must lie in the text, which has 4 characters"),
    "before the start": ("x.jsonl", '{"text": "Lund", "label": [[-1, 3, "PER"]]}', "x.jsonl:1: offsets must lie in the text"),
    "no width": ("x.jsonl", '{"text": "Lund", "label": [[2, 2, "PER"]]}', "x.jsonl:1: a span must end after its start"),
    "backwards": ("x.jsonl", '{"text": "Lund", "label": [[3, 2, "PER"]]}', "x.jsonl:1: a span must end after its start"),
    "bytes": ("x.jsonl", '{"text": "Åse é", "label": [[5, 7, "PER"]]}', "which has 5 characters. Received: .* are these bytes?"),
    "UTF-16": ("x.json", '[{"text": "😀 Lund", "label": [{"start": 3, "end": 7, "text": "Lund", "label": "PER"}]}]', "are these UTF-16 units?"),
    "half a character": ("x.jsonl", '{"text": "Lund \\ud83d", "label": []}', "x.jsonl:1: the text holds half a surrogate pair"),
    "offsets as text": ("x.jsonl", '{"text": "Lund", "label": [["0", "4", "PER"]]}', r'x.jsonl:1: a span must be \[start, end, label\] or hold'),
    "an empty label": ("x.jsonl", '{"text": "Lund", "label": [[0, 4, " "]]}', "x.jsonl:1: a span must be"),
    "no text": ("x.jsonl", '{"txt": "Lund", "label": []}', "x.jsonl:1: must hold the text under text or data .*Name it: --field"),
    "unknown keys": ("x.jsonl", '{"text": "Lund", "labelz": []}', "x.jsonl:1: must hold a list of spans under .* Received the keys: text, labelz"),
    "classification": ("x.jsonl", '{"text": "Lund", "label": ["news"]}', "x.jsonl:1: a span must be"),
    "an empty JSON file": ("x.json", "", "x.json: must hold at least one sentence. Received: none"),
    "an empty CSV file": ("x.csv", "", "x.csv: must hold at least one sentence. Received: none"),
    "a CSV of something else": ("x.csv", "a,b\n1,2\n", "x.csv:1: the first row must name one of word, .* Received: a, b"),
    "a short CSV row": ("x.csv", "word,tag\nLund,B-PER\nleft\n", "x.csv:3: expected 2 cells, got 1"),
    "an open quote": ("x.csv", 'word,tag\nLund,B-PER\n"left,O\n', "x.csv:3: no CSV: unexpected end of data"),
    "a CSV tag": ("x.csv", "word,tag\nLund,PER\n", "x.csv:2: 'PER' is no tag"),
    "keys of Python": ("x.csv", 'text,label\nAda,"{[1]: 2}"\n', r"x.csv:2: spans must be a list such as .* Received: '\{\[1\]: 2\}'"),
    "a span of Python": ("x.csv", 'text,label\nAda,"[{(1,2): 3}]"\n', r"x.csv:2: a span must be .* Received: \{\(1, 2\): 3\}"),
    "line ends in keys": ("x.jsonl", '{"a\\nb": 1}', r"x.jsonl:1: must hold the text .* Received the keys: a\\nb\. Name it"),
    "line ends in other keys": ("x.jsonl", '{"text": "a", "a\\nb": 1}', r"must hold a list of spans .* the keys: text, a\\nb\."),
    "line ends in keys of rows": ("x.jsonl", '{"tokens": ["a"], "a\\nb": 1}', r"must hold lists of tokens .* Received: tokens, a\\nb\."),
    "line ends in columns": ("x.csv", '"a\nb",c\n1,2\n', r"x.csv:1: the first row must name .* Received: a\\nb, c\."),
    "a long key": ("x.jsonl", json.dumps({"k" * 10**6: 1}), "x.jsonl:1: must hold the text .* Received the keys: k{60}\\. Name it"),
    "two columns of one name": ("x.csv", "id,id,text,label\n1,2,Ada,[]\n", "x.csv:1: each column must have a name of its own. Received: 'id' 2 times"),
    "two columns of words": ("x.csv", "word,word,tag\nAda,Bo,O\n", "x.csv:1: each column must have a name of its own. Received: 'word' 2 times"),
    "as many tags": ("x.jsonl", '{"tokens": ["a", "b"], "ner_tags": ["O"]}', "x.jsonl:1: as many tags as tokens. Received: 2 tokens, 1 tags"),
    "numbers for tags": ("x.jsonl", '{"tokens": ["a"], "ner_tags": [3]}', "x.jsonl:1: tags must be names such as B-PER"),
    "no spaCy file": ("x.spacy", "hello", "x.spacy: is no .spacy file"),
    "mixed schemes": ("x.csv", "word,tag\na,I-X\nb,O\nc,B-X\n", "x.csv: mixed tag schemes"),
    "tokens that are not there": ("x.jsonl", PRODIGY.replace('"Did"', '"did"'), "x.jsonl:1: tokens must have start, end and the text"),
    "tokens over others": ("x.jsonl", PRODIGY.replace('"start": 4, "end": 8, "id"', '"start": 2, "end": 8, "id"').replace('"text": "Lund"', '"text": "d Lund"'), "x.jsonl:1: tokens must stand in order, none over another"),
    "spaCy tokens": ("x.json", SPACY_JSON.replace('"orth": "like"', '"orth": "liked"'), "item 1: the token 'liked' is not in `raw` after"),
    "a damaged archive": ("x.jsonl.gz", "hello", "x.jsonl.gz: a damaged archive"),
}  # fmt: skip


@pytest.mark.parametrize(("name", "content", "message"), MISTAKES.values(), ids=MISTAKES.keys())
def test_mistakes_are_one_line_with_a_place(tmp_path, name, content, message):
    (tmp_path / name).write_text(content)
    with pytest.raises(InputError, match=message) as caught:
        read_sentences(tmp_path / name)
    assert "\n" not in str(caught.value)


def test_other_encodings_are_named_by_line(tmp_path):
    for name in ("x.jsonl", "x.json", "x.csv", "x.conll"):
        (tmp_path / name).write_bytes('word,tag\n"caf\u00e9" O\n'.encode("latin-1"))
        with pytest.raises(InputError, match=f"{name}:2: must be UTF-8. Received the byte 0xe9"):
            read_sentences(tmp_path / name)


def test_directories_that_are_no_dataset(tmp_path):
    with pytest.raises(InputError, match="is a directory, and no saved dataset"):
        read_sentences(tmp_path)
    with pytest.raises(InputError, match="no format 'conl'. Did you mean 'conll'"):
        read(tmp_path / "x", "conl")


def test_sets_of_the_hub(tmp_path):
    datasets = pytest.importorskip("datasets", reason="the extra `datasets` is not installed")
    datasets.disable_progress_bars()
    names = datasets.ClassLabel(names=["O", "B-PER", "I-PER"])
    features = datasets.Features({"id": datasets.Value("string"), "tokens": datasets.List(datasets.Value("string")),
                                  "ner_tags": datasets.List(names)})  # fmt: skip
    rows = {"id": ["0"], "tokens": [["Ada", "Lund", "left"]], "ner_tags": [[1, 2, 0]]}
    train = datasets.Dataset.from_dict(rows, features)
    datasets.DatasetDict({"train": train, "test": train}).save_to_disk(str(tmp_path / "both"))
    (sentence,) = read_sentences(tmp_path / "both" / "train")
    assert (sentence.tokens, sentence.spans) == (("Ada", "Lund", "left"), (Span("PER", 0, 2),))
    (arrow,) = (tmp_path / "both" / "train").glob("*.arrow")
    assert read_sentences(arrow)[0].spans == sentence.spans
    with pytest.raises(InputError, match="both: holds several sets; name one of them: .*both/train, .*both/test"):
        read_sentences(tmp_path / "both")
    (tmp_path / "rows.jsonl").write_text('{"tokens": ["Ada", "Lund", "left"], "ner_tags": ["B-PER", "I-PER", "O"]}\n')
    datasets.load_dataset("json", data_files=str(tmp_path / "rows.jsonl"), cache_dir=str(tmp_path / "cache"))
    (info,) = (tmp_path / "cache").rglob("dataset_info.json")
    assert read_sentences(info.parent)[0].spans == sentence.spans
    datasets.Dataset.from_dict(rows | {"ner_tags": [[1, -1, 0]]}, features).save_to_disk(str(tmp_path / "unknown"))
    with pytest.raises(InputError, match=r"unknown: row 1: tags must be names such as B-PER. Received: \[\"B-PER\", -1"):
        read_sentences(tmp_path / "unknown")
    (tmp_path / "both" / "train" / "state.json").write_text("{}")
    with pytest.raises(InputError, match="train: cannot be read as a saved dataset"):
        read_sentences(tmp_path / "both" / "train")


def test_texts_of_any_length_and_line_ends(tmp_path):
    long = "x" * 2_000_000
    write([Document(f"{long} Lund", (Mark(2_000_001, 2_000_005, "PER"),))], tmp_path / "x.csv", "csv-spans")
    assert labels(read(tmp_path / "x.csv")[0]) == [("Lund", "PER")]
    (tmp_path / "mac.conll").write_bytes(b"a O\rb B-X\r\rc O\r")
    assert [d.where[-2:] for d in read(tmp_path / "mac.conll")] == [":1", ":4"]
    (tmp_path / "mixed.conll").write_bytes(b"a O\rb B-X\r\nc\n")
    with pytest.raises(InputError, match="mixed.conll:3: expected 2 columns"):
        read(tmp_path / "mixed.conll")


@settings(deadline=None, max_examples=60)
@given(st.text(max_size=60), st.data())
def test_any_text_survives_every_format_of_spans(tmp_path_factory, text, data):
    borders = sorted(data.draw(st.sets(st.integers(0, len(text)), max_size=4)))
    marks = tuple(Mark(a, b, "X") for a, b in zip(borders, borders[1:], strict=False))
    for name in ("jsonl", "json", "doccano", "labelstudio", "csv-spans"):
        path = tmp_path_factory.mktemp("any") / f"x{SUFFIXES[name]}"
        write([Document(text, marks)], path, name)
        assert [(d.text, d.marks) for d in read(path, name)] == [(text, marks)]
