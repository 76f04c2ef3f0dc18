"""A report as a page and as a model card: whole, offline, safe, and back from JSON."""

import json
import re
import tomllib
from dataclasses import replace
from functools import cache
from html import unescape
from html.parser import HTMLParser
from itertools import chain
from pathlib import Path

import pytest
import srsly
from conftest import PROJECT
from test_report_numbers import SOME, judged

from biLM import InputError
from ner_elmo.config import TrainConfig
from ner_elmo.entities import Span
from ner_elmo.metrics import RunScore
from ner_elmo.report import curve_line, seeds_line
from ner_elmo.reporting.data import (
    EpochRow,
    Measured,
    Mix,
    ReportData,
    TrainingRecord,
    read_report,
    write_report,
)
from ner_elmo.reporting.data_summary import Seen, summarise
from ner_elmo.reporting.figures import learning_curve
from ner_elmo.reporting.model_card import card
from ner_elmo.reporting.page import page

NASTY = "</td><script>alert('x')</script>"


def report_of(corpus, **changes) -> ReportData:
    epochs = (EpochRow(1, 9.5, 0.2, 0.1, 0.13, True, 1.0), EpochRow(2, 4.0, 0.6, 0.5, 0.55, True, 1.1))
    report = ReportData(
        model="mine",
        written="2026-01-02T03:04:05+00:00",
        test=Measured.of(corpus, Seen.of([corpus[0].sentence])),
        data=summarise("test", [one.sentence for one in corpus]),
        training=TrainingRecord("python train_ner.py", 12.0, epochs, Mix((0, 1, 2), (0.2, 0.5, 0.3), 1.1)),
        config=TrainConfig().to_dict(),
        weights={"tagger.weights.h5": "abc"},
        versions={"python": "3.12"},
    )
    return replace(report, **changes)


class Page(HTMLParser):
    """Checks nesting; gathers tags, attributes and text."""

    def __init__(self, html: str):
        super().__init__()
        self.open, self.tags, self.attributes, self.words = [], [], [], []
        self.feed(html)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)


NASTY_CORPUS = [
    judged(f"Ada {NASTY.replace(' ', '')} $x_1$", [Span("<b>&amp;", 0, 1)], [(Span("$a_b$", 1, 2), 0.9)], f"{NASTY}.conll:1")
]
REPORTS = {
    "some": report_of(SOME),
    "nasty": report_of(NASTY_CORPUS, model=NASTY),
    "no entity": report_of([judged("it rained")]),
    "nothing predicted": report_of([judged("Oslo", [Span("LOC", 0, 1)])]),
    "no record": report_of(SOME, training=None, test=Measured.of(SOME)),
    "no ELMo": report_of(SOME, training=TrainingRecord("x", 1.0, (), None)),
    "many types": report_of([judged("x " * 60, [Span(f"TYPE{k}", k, k + 1) for k in range(60)])]),
}


@cache
def html_of(name: str) -> str:
    return page(REPORTS[name])


@pytest.mark.parametrize("name", REPORTS)
def test_a_page_is_well_formed_and_needs_nothing_from_elsewhere(name):
    html = html_of(name)
    found = Page(html)
    assert not {"script", "link", "iframe", "img", "object"} & set(found.tags)
    for attribute, value in found.attributes:
        if attribute in ("href", "xlink:href", "src"):
            assert value.startswith("#")
        assert not attribute.startswith("on")
    assert "@import" not in html and not re.search(r"url\((?!#)", html)
    ids = [value for attribute, value in found.attributes if attribute == "id"]
    assert len(ids) == len(set(ids))
    for target in re.findall(r'(?:href="|url\()#([\w-]+)', html):
        assert target in ids


def test_what_stands_in_the_data_is_shown_as_text():
    words = "".join(Page(html_of("nasty")).words)
    for text in (NASTY, NASTY.replace(" ", ""), "<b>&amp;", "$a_b$", "$x_1$"):
        assert text in words


def test_lines_over_several_runs_say_what_they_hold():
    runs = [RunScore(name, dev, test, 10) for name, dev, test in (("50%", 0.5, 0.4), ("100%", 0.7, 0.45), ("x", 0.6, 0.43))]
    assert seeds_line(runs[:2]) == "dev F1 60.00 +- 14.14, test F1 42.50 +- 3.54 over 2 seeds"
    assert curve_line(runs[:2]).startswith("from 50% to 100% of the labels test F1 rose by 5.00: twice as many may bring")
    assert curve_line(runs[1:]).startswith("from 100% to x of the labels test F1 fell by 2.00: more of the same labels")


def test_a_page_says_what_was_measured():
    html = html_of("some")
    assert html.count("<svg") == 5
    for text in ("percentile bootstrap over 4 sentences, 1,000 samples, seed 1", "python train_ner.py", "abc", "γ = 1.100"):
        assert text in html
    assert "#0a01" not in html  # every placeholder of a colour became a variable
    assert html == page(REPORTS["some"])  # twice the same


def rows_of(html: str, section: str) -> list[list[str]]:
    """The cells of the tables of a section."""
    (part,) = re.findall(rf'<section id="{section}">(.*?)</section>', html, re.S)
    rows = [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, re.S) for row in re.findall(r"<tr[^>]*>(.*?)</tr>", part, re.S)]
    return [[unescape(re.sub(r"<[^>]+>", " ", cell)).strip() for cell in row] for row in rows]


def test_every_section_says_its_numbers():
    html, report = html_of("some"), REPORTS["some"]
    test = report.test
    head, *types = rows_of(html, "types")
    assert head == ["type", "entities", "P", "R", "F1"]
    for cells, (kind, (scores, *_)) in zip(types, test.scores.types.items(), strict=False):
        low, high = test.intervals.types[kind].f1
        assert (cells[0], cells[1], cells[4].split()[0]) == (kind, str(scores.support), f"{100 * scores.f1:.2f}")
        assert f"{100 * low:.1f}" in cells[4] and f"{100 * high:.1f}" in cells[4]
    assert types[-1][:2] == ["all", str(test.scores.strict.support)]
    assert rows_of(html, "novelty")[1:] == [
        ["LOC", "1", "0.00", "0.00", "0.00", "0", "0.00", "0.00", "0.00"],
        ["ORG", "0", "0.00", "0.00", "0.00", "1", "0.00", "0.00", "0.00"],
        ["PER", "1", "100.00", "100.00", "100.00", "1", "0.00", "0.00", "0.00"],
        ["all", "2", "50.00", "50.00", "50.00", "2", "0.00", "0.00", "0.00"],
    ]  # known: Ada Lund and Oslo, of which the latter is taken for an ORG
    assert rows_of(html_of("nothing predicted"), "novelty")[-1] == ["all", "1", "0.00", "0.00", "0.00", "0", "·", "·", "·"]
    assert 'id="novelty"' not in html_of("no record")
    found = {cells[0]: cells[4:9] for cells in rows_of(html, "matches")[1:]}
    for name, match in test.matches.items():
        assert found[name] == [str(getattr(match, key)) for key in ("correct", "incorrect", "partial", "missed", "spurious")]
    head, *confused = rows_of(html, "confusion")
    assert head == ["gold \\ predicted", *test.confusion.types, "missed"]
    counts = [[0 if cell in ("·", "") else int(cell) for cell in cells[1:]] for cells in confused]
    assert counts == [list(row) for row in test.confusion.counts] and sum(map(sum, counts)) == 5
    assert html.count('<span class="kind">') == len(test.worst) == test.n_mistakes == 4
    assert f"<b>{100 * test.calibration.error:.2f} %</b>" in html
    assert [int(cells[1]) for cells in rows_of(html, "calibration")[1:]] == [bin.count for bin in test.calibration.bins]
    assert rows_of(html, "data")[1][:5] == ["test", "test.conll", "4", "16", "4"]
    words = " ".join(Page(html).words)
    for name in (*report.config, *report.versions, *report.weights):
        assert name in words


def test_numbers_come_back_from_json(tmp_path):
    for report in REPORTS.values():
        write_report(tmp_path / "report.json", report)
        again = read_report(tmp_path / "report.json")
        assert replace(again, config=report.config) == report
    write_report(tmp_path / "report.json", REPORTS["some"])
    assert page(read_report(tmp_path / "report.json")) == html_of("some")
    values = json.loads((tmp_path / "report.json").read_text())
    del values["test"]["novelty"]  # as reports were before it was measured
    (tmp_path / "report.json").write_text(json.dumps(values))
    assert read_report(tmp_path / "report.json").test == Measured.of(SOME)


def test_a_report_that_cannot_be_read_is_named(tmp_path):
    path = tmp_path / "report.json"
    with pytest.raises(InputError, match=r"report.json: is not there. Name files to test the model on: --test FILE."):
        read_report(path)
    write_report(path, REPORTS["some"])
    values = json.loads(path.read_text())
    values["test"]["n_mistakes"] = "many"
    path.write_text(json.dumps(values))
    with pytest.raises(InputError, match=r"is no report of this version, test.n_mistakes: .* Make it again: --test."):
        read_report(path)
    path.write_text(json.dumps(values | {"test": json.loads(json.dumps(values["test"])) | {"n_mistakes": 1}, "format": 9}))
    with pytest.raises(InputError, match="format must be 1. Received: 9"):
        read_report(path)


@pytest.mark.parametrize("report", REPORTS.values(), ids=REPORTS.keys())
def test_the_front_matter_of_a_card_is_yaml(report):
    text = card(report)
    _, front, body = text.split("---\n", 2)
    values = srsly.yaml_loads(front)
    assert values["language"] == ["en"] and "license" not in values and values["metrics"] == ["precision", "recall", "f1"]
    (entry,) = values["model-index"]
    (result,) = entry["results"]
    assert entry["name"] == report.model
    assert result["task"]["type"] == "token-classification" and result["dataset"]["type"]
    scores = {metric["type"]: metric["value"] for metric in result["metrics"]}
    assert scores["f1"] == pytest.approx(report.test.scores.strict.f1, abs=1e-4)
    assert "python -m ner_elmo predict --model" in body
    for line in body.splitlines():
        if line.startswith("| ") and "<script" in line:
            raise AssertionError(line)


def test_a_card_says_how_many_known_and_new_entities_were_found_where_there_are_some():
    said = {name: re.findall("Recall of .*", card(REPORTS[name])) for name in ("some", "nothing predicted", "no entity")}
    known = "Recall of entities whose tokens are an entity of the training files, too ({}): {} %."
    assert said == {
        "some": [known.format(2, "50.0"), "Recall of entities that are new (2): 0.0 %."],
        "nothing predicted": [known.format(1, "0.0")],
        "no entity": [],
    }


def test_a_card_carries_the_licence_and_the_name_of_the_data():
    config = TrainConfig(license="cc-by-4.0", dataset="Ships' logs: 1780", elmo="none").to_dict()
    values = srsly.yaml_loads(card(report_of(SOME, config=config)).split("---\n")[1])
    assert values["license"] == "cc-by-4.0"
    dataset = values["model-index"][0]["results"][0]["dataset"]
    assert dataset == {"name": "Ships' logs: 1780", "type": "Ships-logs-1780", "split": "test"}
    assert "elmo" not in values["tags"]


def test_a_card_says_what_the_tagger_reads():
    config = TrainConfig(elmo="none", token_vectors=False, word_vectors="v.txt", casing=True, gazetteer=("LOC=x",)).to_dict()
    files = {"tagger.weights.h5": "abc", "word_vectors.npy": "def"}
    found = card(report_of(SOME, config=config, weights=files))
    assert "plain text: ready word vectors, a vector of the casing, lists of known names, a residual" in found


def test_a_plot_is_whole_or_not_there(tmp_path, monkeypatch):
    def cut_off(figure, path, **how):
        Path(path).write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("matplotlib.figure.Figure.savefig", cut_off)
    with pytest.raises(OSError, match="No space left"):
        learning_curve(tmp_path / "curve.png", [1, 2], [0.1, 0.2])
    assert not list(tmp_path.iterdir())


def test_what_is_no_module_is_packed_too():
    packed = tomllib.loads((PROJECT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]
    folders = {package: PROJECT / package.replace(".", "/") for package in packed}
    files = {path for package, patterns in packed.items() for one in patterns for path in folders[package].glob(one)}
    everything = chain((PROJECT / "biLM").rglob("*"), (PROJECT / "ner_elmo").rglob("*"))
    assert files == {path for path in everything if path.is_file() and path.suffix not in (".py", ".pyc")}
