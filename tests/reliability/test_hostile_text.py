"""Text and annotated files that somebody made to harm: archives that swell, endless lines, JSON that breaks parsers."""

import gzip
import lzma
import zlib

import pytest
import srsly

from biLM import InputError
from biLM.corpus import read_sentences
from ner_elmo.formats import spacy_binary
from ner_elmo.formats.columns import MAX_LINE
from ner_elmo.formats.document import Document, Mark
from ner_elmo.readers import read_sentences as read_annotated

ARCHIVES = pytest.mark.parametrize(("suffix", "pack"), [(".gz", gzip.open), (".xz", lzma.open)])


@ARCHIVES
@pytest.mark.parametrize("line", [b"a O\n", b"a" * 2**20])
def test_an_archive_that_swells(tmp_path, monkeypatch, suffix, pack, line):
    """To lines without number, or to one without end."""
    monkeypatch.setattr("biLM.corpus.SMALL_ARCHIVE", 2**21)
    path = tmp_path / f"x.txt{suffix}"
    with pack(path, "wb") as file:
        for _ in range(3):
            file.write(line * (2**20 // len(line)))
    assert path.stat().st_size < 2**20
    with pytest.raises(InputError, match=r"a byte of an archive may become 256 at most. Received: [\d,]+ bytes out of"):
        list(read_sentences([path]))
    with pytest.raises(InputError, match="a byte of an archive may become 256 at most"):
        read_annotated(path)


@ARCHIVES
def test_a_long_line_in_an_archive(tmp_path, monkeypatch, suffix, pack):
    monkeypatch.setattr("biLM.corpus.MAX_LINE_BYTES", 2**20)
    path = tmp_path / f"x.txt{suffix}"
    with pack(path, "wb") as file:
        file.write(b"a" * (2**20 + 1))
    with pytest.raises(InputError, match=r"a line must hold 1,048,576 bytes at most.* begins with 'aaaa"):
        list(read_sentences([path]))
    with pytest.raises(InputError, match="a line must hold"):
        read_annotated(path)


def test_a_quote_that_is_not_closed(tmp_path, monkeypatch):
    monkeypatch.setattr("ner_elmo.formats.comma.MAX_FIELD", 2**20)
    path = tmp_path / "x.csv"
    path.write_text('word,tag\n"Ada,O\n' + "Oslo,O\n" * 2**18)
    with pytest.raises(
        InputError, match=r"x.csv:2: no CSV: field larger than field limit \(1048576\). Is a quote not closed?"
    ):
        read_annotated(path)


def test_a_line_of_ten_million_columns(tmp_path):
    path = tmp_path / "x.conll"
    path.write_text("a " * 10**7 + "O\n")
    with pytest.raises(InputError, match="x.conll:1: expected a token and its tag, got a line of 20,000,001 characters"):
        read_annotated(path)
    path.write_text("a " * (MAX_LINE // 4) + "O\n")
    assert len(read_annotated(path)) == 1


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"text": "Ada", "entities": []}\n' + "[" * 10**5, r"x.jsonl:2: expected JSON, got '\[\[\[\["),
        ('{"text": "Ada", "entities": [], "text": "Bo"}', "x.jsonl:1: .*the key 'text' stands twice in one object"),
        ('{"text": "Ada", "entities": [[0, 3, "PER"], [0, ' + "9" * 5000 + ', "PER"]]}', "x.jsonl:1: expected JSON"),
        ('{"text": "Ada", "entities": [[0, 1e999, "PER"]]}', "x.jsonl:1"),
        ('{"text": "Ada", "entities": [[NaN, 3, "PER"]]}', "x.jsonl:1"),
    ],
)
def test_json_lines_made_to_break_the_reader(tmp_path, content, message):
    path = tmp_path / "x.jsonl"
    path.write_text(content)
    with pytest.raises(InputError, match=message):
        read_annotated(path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"strings": []}, "x.spacy: text 1: a damaged .spacy file: KeyError: "),
        ({"attrs": []}, r"x.spacy: is no .spacy file \(DocBin\), or a damaged one"),
    ],
)
def test_a_docbin_that_makes_no_sense(tmp_path, changes, message):
    path = tmp_path / "x.spacy"
    packed = spacy_binary.pack([Document("Ada left", (Mark(0, 3, "PER"),), (((0, 3), (4, 8)),), "x")])
    path.write_bytes(packed)
    assert read_annotated(path)[0].tokens == ("Ada", "left")
    unpacked = srsly.msgpack_loads(zlib.decompress(packed))
    path.write_bytes(zlib.compress(srsly.msgpack_dumps(unpacked | changes)))
    with pytest.raises(InputError, match=message):
        read_annotated(path)


def test_a_docbin_that_swells(tmp_path, monkeypatch):
    monkeypatch.setattr("ner_elmo.formats.spacy_binary.MAX_BYTES", 2**20)
    path = tmp_path / "x.spacy"
    path.write_bytes(zlib.compress(b"\0" * 2**24))
    with pytest.raises(InputError, match="must hold 1,048,576 bytes at most, unpacked"):
        read_annotated(path)
