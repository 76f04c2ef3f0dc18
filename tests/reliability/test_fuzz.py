"""Spoilt files of every kind: read, or refused with an `InputError`; never anything else.

FUZZ_EXAMPLES says how many spoilt copies of each are tried (docs/security.md has the command for a longer try).
"""

import json
import os
import subprocess
import sys
from contextlib import suppress
from functools import reduce
from operator import getitem

import oracle
import pytest
from conftest import PROJECT, write_bilm
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from biLM import InputError
from biLM.options import BiLMOptions
from biLM.text import Tokenizer
from ner_elmo.alignment import align
from ner_elmo.formats.document import Document, Mark
from ner_elmo.formats.table import FORMATS, write
from ner_elmo.readers import read_sentences

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "25"))
SUFFIXES = {
    "conll": ".conll", "jsonl": ".jsonl", "json": ".json", "doccano": ".jsonl", "labelstudio": ".json", "prodigy": ".jsonl",
    "spacy-json": ".json", "csv": ".csv", "csv-spans": ".csv", "jsonl-tokens": ".jsonl", "spacy": ".spacy",
}  # fmt: skip
TEXTS = [
    Document("Ada Lund left Oslo.\tShe met 😀 Bo in New York!", (Mark(0, 8, "PER"), Mark(14, 18, "LOC"))),
    Document("Nothing here, “nothing” there."),
]
PIECES = [
    b"\x00",
    b"\xff",
    b"\n",
    b"\r",
    b'"',
    b"{",
    b"}",
    b"[",
    b"]",
    b",",
    b":",
    b"-1",
    b"1e999",
    b"null",
    b"\\ud800",
    b"\t",
]


@st.composite
def spoilt(draw, sound: bytes) -> bytes:
    """A copy with a few bytes replaced, put in, taken out, moved or cut off."""
    found = bytearray(sound)
    for _ in range(draw(st.integers(1, 6))):
        start = draw(st.integers(0, len(found)))
        end = min(len(found), start + draw(st.integers(0, 12)))
        kind = draw(st.sampled_from(["replace", "insert", "delete", "copy", "cut"]))
        piece = draw(st.one_of(st.sampled_from(PIECES), st.binary(min_size=1, max_size=4)))
        if kind == "replace":
            found[start:end] = piece
        elif kind == "insert":
            found[start:start] = piece
        elif kind == "delete":
            del found[start:end]
        elif kind == "copy":
            place = draw(st.integers(0, len(found)))
            found[place:place] = found[start:end]
        else:
            del found[start:]
    return bytes(found)


def fuzz(sound: bytes, read) -> None:
    """Tries spoilt copies; whatever is no InputError fails."""

    @settings(max_examples=EXAMPLES, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(spoilt(sound))
    def try_one(content: bytes) -> None:
        try:
            read(content)
        except InputError as error:
            assert "\n" not in str(error)

    try_one()


@pytest.mark.parametrize("name", SUFFIXES)
def test_readers(tmp_path, name):
    path = tmp_path / f"x{SUFFIXES[name]}"
    tokenizer = Tokenizer()
    write([align(document, tokenizer, lambda finding: None) for document in TEXTS], path, name)
    assert name in FORMATS and len(read_sentences(path)) >= 2

    def read(content: bytes) -> None:
        path.write_bytes(content)
        read_sentences(path)
        read_sentences(path, format=name)

    fuzz(path.read_bytes(), read)


def places_in(value, before=()):
    """The keys that lead to each value inside of a JSON value."""
    for key in value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ():
        yield (*before, key)
        yield from places_in(value[key], (*before, key))


@pytest.mark.parametrize("wrong", [None, 7, 10**30, "x", [], {}, [7], {"a": 7}])
@pytest.mark.parametrize("name", [name for name, suffix in SUFFIXES.items() if "json" in suffix])
def test_every_value_may_be_of_another_kind(tmp_path, name, wrong):
    """JSON that is sound and holds something else, at one place after the other."""
    path, tokenizer = tmp_path / f"x{SUFFIXES[name]}", Tokenizer()
    write([align(document, tokenizer, lambda finding: None) for document in TEXTS[:1]], path, name)
    sound, *_ = map(json.loads, path.read_text().splitlines()) if path.suffix == ".jsonl" else json.loads(path.read_text())
    if name == "labelstudio":
        sound["annotations"][0]["result"][0]["value"]["globalOffsets"] = {"start": 0, "end": 8}
    for *keys, last in places_in(sound):
        spoilt_copy = json.loads(json.dumps(sound))
        reduce(getitem, keys, spoilt_copy)[last] = wrong
        path.write_text(json.dumps(spoilt_copy if path.suffix == ".jsonl" else [spoilt_copy]))
        with suppress(InputError):
            read_sentences(path, format=name)


def test_options():
    sound = json.dumps(oracle.random_options()).encode()

    def read(content: bytes) -> None:
        try:
            raw = json.loads(content)
        except (ValueError, RecursionError):
            return
        if isinstance(raw, dict):
            BiLMOptions.from_dict(raw)

    fuzz(sound, read)


WEIGHTS = """
import json, random, sys
from pathlib import Path
from biLM import InputError, load_bilm
from biLM.hdf5 import open_hdf5
from biLM.options import BiLMOptions
from biLM.hdf5 import numbers
from biLM.weights import _check, _completed, _standard_names, rename_table

path, seed, n_examples = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
options, sound, rng = BiLMOptions.read(path.with_name("options.json")), path.read_bytes(), random.Random(seed)
spoilt, refused, loaded = path.with_name("spoilt.hdf5"), 0, 0
for number in range(n_examples):
    content = bytearray(sound)
    for _ in range(rng.randint(1, 8)):
        place = rng.randrange(len(content))
        content[place] = rng.randrange(256)
    if rng.random() < 0.1:
        del content[rng.randrange(len(content)):]
    spoilt.write_bytes(content)
    try:
        with open_hdf5(spoilt) as found:
            datasets = _standard_names(found)
            _check(spoilt, _completed(options, datasets), datasets)
            for row in rename_table(options):
                numbers(spoilt, row.name, datasets[row.name])
        if number % 40 == 0:  # a network takes its time
            load_bilm(spoilt, initial_state="zero")
            loaded += 1
    except InputError:
        refused += 1
print(json.dumps({"tried": n_examples, "refused": refused, "loaded": loaded}))
"""


def test_weights(tmp_path):
    """In a process of its own: what HDF5's own library does not survive would be seen as a signal."""
    options = oracle.random_options()
    path = write_bilm(tmp_path, options, oracle.random_weights(options))
    command = [sys.executable, "-c", WEIGHTS, str(path), "1", str(40 * EXAMPLES)]
    found = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)
    assert found.returncode == 0, (found.returncode, found.stderr[-2000:])
    counted = json.loads(found.stdout)
    assert 0 < counted["refused"] <= counted["tried"]
    assert counted["loaded"] > 0
