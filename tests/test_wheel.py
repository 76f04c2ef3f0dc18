"""The wheel is the whole product: built from the sdist, installed and used where no checkout is."""

import os
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest
from conftest import PROJECT

BUILD = "import sys; from setuptools import build_meta; getattr(build_meta, sys.argv[1])(sys.argv[2])"
LEFT_OUT = shutil.ignore_patterns(
    ".*_cache", ".git", ".hypothesis", ".venv*", "*.egg-info", "__pycache__", "build", "dist", "models"
)


def run(*command, cwd: Path, site: Path, stdin: str = "") -> str:
    """Standard output of a command that finds the packages of `site` before all others."""
    environment = os.environ | {"PYTHONPATH": str(site), "XDG_CACHE_HOME": str(cwd / "cache")}
    done = subprocess.run(command, cwd=cwd, env=environment, input=stdin, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def install(folder: Path, *what: object) -> Path:
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", folder, *map(str, what)]
    subprocess.run(command, check=True, capture_output=True)
    return folder


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The sdist and, built from it alone, the wheel."""
    folder = tmp_path_factory.mktemp("built")
    (needs,) = tomllib.loads((PROJECT / "pyproject.toml").read_text())["build-system"]["requires"]
    tools = install(folder / "tools", needs)
    shutil.copytree(PROJECT, folder / "copy", ignore=LEFT_OUT)
    run(sys.executable, "-c", BUILD, "build_sdist", folder, cwd=folder / "copy", site=tools)
    (sdist,) = folder.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        archive.extractall(folder, filter="data")
    source = folder / sdist.name.removesuffix(".tar.gz")
    run(sys.executable, "-c", BUILD, "build_wheel", folder, cwd=source, site=tools)
    (wheel,) = folder.glob("*.whl")
    return source, wheel


def files_of(folder: Path, *patterns: str) -> set[str]:
    return {path.relative_to(PROJECT).as_posix() for pattern in patterns for path in folder.glob(pattern) if path.is_file()}


def test_the_sdist_builds_and_tests(built):
    source, _ = built
    patterns = (
        "*.md",
        "*.py",
        "*.toml",
        "Dockerfile*",
        "docs/*",
        *(f"{name}/**/*.*" for name in ("benchmarks", "data", "tests")),
    )
    for name in files_of(PROJECT, *patterns):
        assert (source / name).is_file() or "__pycache__" in name, name


def test_the_wheel_holds_packages_and_data_and_nothing_else(built):
    _, wheel = built
    found = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    code = files_of(PROJECT, "biLM/*.py", "ner_elmo/**/*.py", "*/py.typed", "ner_elmo/reporting/templates/*")
    assert found == code | {f"ner_elmo/{name}" for name in files_of(PROJECT, "data/**/*")}


def test_installed_it_trains_and_predicts_far_from_the_checkout(built, tmp_path):
    site = install(tmp_path / "site", built[1])
    work = tmp_path / "work"
    work.mkdir()
    code = "import biLM, ner_elmo.config as c; print(biLM.__file__, c.__file__, c.SAMPLE, *c.TrainConfig().train)"
    package, sample = site / "ner_elmo", site / "ner_elmo/data/sample"
    found = run(sys.executable, "-c", code, cwd=work, site=site).split()
    assert found == list(map(str, (site / "biLM/__init__.py", package / "config.py", sample, sample / "train.conll")))
    small = ("--train", sample / "dev.conll", "--epochs", "1", "--hidden-size", "8", "--output", "models/first")
    out = run(sys.executable, "-m", "ner_elmo", "train", *small, cwd=work, site=site)
    assert "model: models/first (" in out and "LOC" in out
    rows = run(site / "bin/predict-ner", "--format", "jsonl", cwd=work, site=site, stdin="Ada Lund left Oslo.")
    assert rows.startswith('{"text": "Ada Lund left Oslo.", "entities": [')
    assert "usage: train-ner" in run(site / "bin/train-ner", "--help", cwd=work, site=site)
    assert "python -m ner_elmo predict --model" in (work / "models/first/README.md").read_text()
    assert "python -m ner_elmo train --train" in (work / "models/first/report.json").read_text()
