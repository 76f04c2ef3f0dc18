"""The Dockerfiles, as far as a machine without Docker can tell: a linter, and that what they copy is there."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import PROJECT

FILES = ["Dockerfile", "Dockerfile.gpu"]


@pytest.mark.parametrize("name", FILES)
def test_the_linter_finds_nothing(name):
    hadolint = shutil.which("hadolint", path=f"{Path(sys.executable).parent}") or shutil.which("hadolint")
    if hadolint is None:
        pytest.skip("hadolint is not installed")
    found = subprocess.run([hadolint, PROJECT / name], capture_output=True, text=True, check=False)
    assert (found.returncode, found.stdout) == (0, "")


@pytest.mark.parametrize("name", FILES)
def test_what_is_copied_is_there_and_not_ignored(name):
    allowed = (PROJECT / ".dockerignore").read_text().split()
    lines = re.findall(r"^COPY (.+) \S+$", (PROJECT / name).read_text(), flags=re.MULTILINE)
    assert lines
    for source in " ".join(lines).split():
        assert (PROJECT / source).exists(), source
        assert f"!{source}" in allowed, source
