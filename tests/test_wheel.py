"""The wheel is the whole product: built from the sdist, installed and used where no checkout is.

`PYTHONS` names interpreters; each gets an environment of its own, with the wheel, its extra `serve` and what they require.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import tomllib
import urllib.request
import zipfile
from pathlib import Path

import pytest
from conftest import PROJECT

BUILD = "import sys; from setuptools import build_meta; getattr(build_meta, sys.argv[1])(sys.argv[2])"
LEFT_OUT = shutil.ignore_patterns(
    ".*_cache", ".git", ".hypothesis", ".venv*", "*.egg-info", "__pycache__", "build", "dist", "models"
)


def environment(cwd: Path, site: Path | None = None) -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(site or ""), "XDG_CACHE_HOME": str(cwd / "cache")}


def run(*command, cwd: Path, site: Path | None = None, stdin: str = "") -> str:
    """Standard output of a command that finds the packages of `site` before all others."""
    done = subprocess.run(
        command, cwd=cwd, env=environment(cwd, site), input=stdin, capture_output=True, text=True, check=False
    )
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
        *(f"{name}/**/*.*" for name in ("benchmarks", "data", "examples", "tests")),
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
    sides = [word for side in ("train", "dev", "test") for word in (f"--{side}", sample / "dev.conll")]
    small = (*sides, "--epochs", "1", "--hidden-size", "8", "--output", "models/first")
    out = run(sys.executable, "-m", "ner_elmo", "train", *small, cwd=work, site=site)
    assert "model: models/first (" in out and "LOC" in out
    rows = run(site / "bin/predict-ner", "--format", "jsonl", cwd=work, site=site, stdin="Ada Lund left Oslo.")
    assert rows.startswith('{"text": "Ada Lund left Oslo.", "entities": [')
    assert "usage: train-ner" in run(site / "bin/train-ner", "--help", cwd=work, site=site)
    assert "python -m ner_elmo predict --model" in (work / "models/first/README.md").read_text()
    assert "python -m ner_elmo train --train" in (work / "models/first/report.json").read_text()


def use(python: Path, work: Path) -> None:
    """What a stranger tries: help, a tagger, a line, files, a biLM, a server. The code must be that of the environment."""

    def ner(*arguments: object, stdin: str = "") -> str:
        return run(python, "-m", "ner_elmo", *map(str, arguments), cwd=work, stdin=stdin)

    where = "import biLM, ner_elmo.config as c; print(biLM.__file__, c.__file__, c.SAMPLE)"
    *code, sample = run(python, "-c", where, cwd=work).split()
    assert all(Path(name).is_relative_to(python.parent.parent) for name in (*code, sample))
    assert "usage: train-ner" in run(python.with_name("train-ner"), "--help", cwd=work)
    assert "tag text: lines, rows, files" in ner("--help")
    assert "model: models/first (" in ner("train", "--epochs", 2, "--hidden-size", 32, "--output", "models/first")
    assert ner("predict", "--format", "jsonl", stdin="Ada Lund left Oslo.").startswith('{"text": "Ada Lund left Oslo."')
    assert "150 sentences" in ner("check", f"{sample}/dev.conll")
    ner("convert", f"{sample}/dev.conll", "dev.jsonl")
    assert len((work / "dev.jsonl").read_text(encoding="utf-8").splitlines()) == 150
    for name in ("text", "heldout"):
        (work / name).write_text("The ferry left the small harbour at dawn .\n" * 500)
    small = ("--preset", "tiny", "--batch-size", "8", "--max-steps", "3", "--n-negative-samples-batch", "4")
    run(python, "-m", "biLM", "train", "--train", "text", "--heldout", "heldout", *small, "--out", "bilm", cwd=work)
    assert "bits_per_character" in run(python, "-m", "biLM", "perplexity", "bilm", "text", cwd=work)
    serve(python, work)


def serve(python: Path, work: Path) -> None:
    """The server with its demo page, from its start to a graceful end."""
    command = [python, "-m", "ner_elmo", "serve", "--model", "models/first", "--port", "0"]
    with subprocess.Popen(command, cwd=work, env=environment(work), stderr=subprocess.PIPE, text=True) as server:
        try:
            address = re.match(r"ready: (http://\S+) ", line := server.stderr.readline())
            assert address, line
            for page in ("/health", "/docs", "/"):
                assert urllib.request.urlopen(address[1] + page, timeout=60).status == 200, page
            server.send_signal(signal.SIGINT)
            assert server.wait(60) == 0
        finally:
            server.kill()


@pytest.mark.slow
@pytest.mark.parametrize("python", os.environ.get("PYTHONS", "").split() or [None])
def test_in_a_clean_environment(built, tmp_path, python):
    if python is None:
        pytest.skip("PYTHONS names no interpreters")
    run(python, "-m", "venv", tmp_path / "env", cwd=tmp_path)
    run(tmp_path / "env/bin/pip", "install", "--quiet", f"{built[1]}[serve]", cwd=tmp_path)
    (tmp_path / "work").mkdir()
    use(tmp_path / "env/bin/python", tmp_path / "work")
