"""The documentation holds what works: commands and Python run, messages are those of the programs, links lead somewhere."""

import ast
import json
import re
import shlex

import pytest
from conftest import PROJECT
from doc_pages import COMMANDS, Reader, anchors_of, blocks_of, links_of

import predict
import train_ner
from benchmarks.__main__ import parse as parse_benchmarks
from biLM.__main__ import parser as bilm_parser
from docs import make_options
from ner_elmo.__main__ import parser as ner_parser

README, START = PROJECT / "README.md", PROJECT / "docs" / "quickstart.md"
PAGES = [README, PROJECT / "CONTRIBUTING.md", PROJECT / "data" / "README.md", *sorted((PROJECT / "docs").glob("*.md"))]
AFTER_START = ["formats", "tagger", "prediction", "biLM", "published-weights", "how-it-works", "errors"]  # in any order
BLOCKS = [block for page in PAGES for block in blocks_of(page)]
PARSERS = {
    "train_ner.py": train_ner.parse, "predict.py": predict.parse, "biLM": bilm_parser().parse_args,
    "benchmarks": parse_benchmarks, "ner_elmo": ner_parser().parse_args,
}  # fmt: skip


@pytest.fixture(scope="module")
def reader(tmp_path_factory):
    """Somebody who has read nothing yet."""
    reader = Reader(tmp_path_factory.mktemp("reader"))
    yield reader
    reader.python.end()


@pytest.fixture(scope="module")
def started(reader):
    """Somebody who has worked through the quickstart; the other pages go on from there."""
    for block in blocks_of(START):
        reader.follow(block)
    return reader


def test_the_quickstart_makes_a_tagger(started):
    rows = (started.folder / "notes.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(row)["text"] for row in rows] == (started.folder / "notes.txt").read_text(
        encoding="utf-8"
    ).splitlines()


@pytest.mark.parametrize("name", AFTER_START)
def test_what_a_page_says_works(started, name):
    for block in blocks_of(PROJECT / "docs" / f"{name}.md"):
        if block.info != "server":
            started.follow(block)


def test_the_commands_of_a_newcomer(reader):
    """The README's first command, cut short, and the line to tag after it."""
    commands = [command for block in blocks_of(README) for command in block.commands]
    assert "pip install -e . && python train_ner.py" in commands
    assert 'pip install -e ".[test]" && pytest' in commands
    trained = reader.type("python train_ner.py --epochs 4 --hidden-size 64 --output models/first")
    assert trained.returncode == 0, trained.stdout
    line = next(command for command in commands if command.startswith("echo"))
    found = reader.type(line)
    assert re.sub(r"\[(.*?)\]\(\w+ [\d.]+\)", r"\1", found.stdout) == line.split('"')[1] + "\n"
    assert "(" in found.stdout


def test_requests_to_the_server_are_answered(server):
    lines = [line for block in BLOCKS if block.info == "server" for line in block.commands]
    assert lines
    for line in lines:
        words = shlex.split(line)
        path = words[-1].removeprefix("http://127.0.0.1:8000")
        body = words[words.index("-d") + 1] if "-d" in words else None
        status, _, answer = server.ask("POST" if body else "GET", path, body)
        assert (words[0], status) == ("curl", 200), (line, answer)


PYTHON_COMMANDS = [
    pytest.param(command, id=f"{block}: {command[:60]}")
    for block in BLOCKS if block.kind in COMMANDS and ": error: " not in block.text
    for command in block.commands if re.search(r"(^|&& |\| )python (-m|\w+\.py)", command)
]  # fmt: skip


@pytest.mark.parametrize("command", PYTHON_COMMANDS)
def test_every_flag_exists(command):
    """Also of commands that are not run here."""
    words = shlex.split(re.split(r"&& |\| ", command)[-1].partition(" > ")[0])
    name, arguments = (words[2], words[3:]) if words[1] == "-m" else (words[1], words[2:])
    if name in PARSERS:
        PARSERS[name](arguments)


def test_reasons_name_tests_that_are_there():
    for block in BLOCKS:
        for path, _, name in re.findall(r"(tests/\w+\.py)(::(\w+))?", block.info):
            assert (PROJECT / path).is_file(), block
            assert not name or f"def {name}(" in (PROJECT / path).read_text(encoding="utf-8"), block


def test_blocks_say_how_they_are_tested():
    known = re.compile(r"|short: .+|not run: .+|file: [\w./-]+|server")
    assert [str(block) for block in BLOCKS if not known.fullmatch(block.info)] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for path, anchor in links_of(page):
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{page.name}: {path}"
        if anchor:
            assert anchor in anchors_of(target), f"{page.name}: {path}#{anchor}"


def test_the_readme_leads_to_every_page():
    assert {f"docs/{page.name}" for page in (PROJECT / "docs").glob("*.md")} <= {path for path, _ in links_of(README)}
    assert len(README.read_text(encoding="utf-8").splitlines()) < 200


def test_options_are_those_of_the_programs():
    text = make_options.PAGE.read_text(encoding="utf-8")
    assert text == make_options.page(), "run: python -m docs.make_options"


def test_messages_that_are_not_provoked_are_in_the_code():
    text = (PROJECT / "docs" / "errors.md").read_text(encoding="utf-8").partition("## Others")[2]
    messages = re.findall(r"^\| `(.*?)` \|", text, flags=re.MULTILINE)
    patterns = list(map(re.compile, _messages_in_the_code()))
    assert messages
    assert [message for message in messages if not any(p.fullmatch(message) for p in patterns)] == []


def _messages_in_the_code() -> set[str]:
    """Of each InputError a pattern: fixed text as it is, anything in the place of an expression."""
    found = set()
    for path in [*(PROJECT / "biLM").rglob("*.py"), *(PROJECT / "ner_elmo").rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "InputError":
                found.add(_pattern(node.args[0]))
    return {pattern for pattern in found if len(_own_words(pattern)) > 2}


def _own_words(pattern: str) -> list[str]:
    """The fixed words of a pattern, without those that many messages have: a pattern of few fits anything."""
    fixed = re.sub(r"\\(.)", r"\1", pattern.replace(".*", " "))
    return [word for word in re.findall(r"[A-Za-z]{3,}", fixed) if word not in ("must", "Received")]


def _pattern(node: ast.expr) -> str:
    if isinstance(node, ast.JoinedStr):
        return "".join(_pattern(part) for part in node.values)
    if isinstance(node, ast.BinOp):
        return _pattern(node.left) + _pattern(node.right)
    return re.escape(str(node.value)) if isinstance(node, ast.Constant) else ".*"
