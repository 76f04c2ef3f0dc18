"""Dependencies have bounds, and the lock of the tests lies within them."""

import tomllib

from conftest import PROJECT
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

LOCK = PROJECT / "tests" / "requirements.lock"
PROJECT_TABLE = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
EXTRAS = {name: list(map(Requirement, texts)) for name, texts in PROJECT_TABLE["optional-dependencies"].items()}
NEEDED = list(map(Requirement, PROJECT_TABLE["dependencies"]))
OURS = "ner-elmo"


def locked() -> dict[str, str]:
    lines = (line for line in LOCK.read_text().splitlines() if not line.startswith("#"))
    return {canonicalize_name(name): version for name, _, version in (line.partition("==") for line in lines)}


def test_every_dependency_has_a_lower_and_an_upper_bound():
    theirs = [one for group in (NEEDED, *EXTRAS.values()) for one in group if one.name != OURS]
    bounds = {str(requirement): {one.operator for one in requirement.specifier} for requirement in theirs}
    assert {text for text, operators in bounds.items() if operators != {">=", "<"}} == set()


def test_the_lock_holds_every_dependency_within_its_bounds():
    (ours,) = (one for one in EXTRAS["test"] if one.name == OURS)
    versions, wanted = locked(), [*NEEDED, *EXTRAS["test"], *(one for name in ours.extras for one in EXTRAS[name])]
    wanted.remove(ours)
    wrong = [str(one) for one in wanted if not one.specifier.contains(versions.get(canonicalize_name(one.name), "0"))]
    assert wrong == []
