"""The README holds what works: its commands run, its Python runs, and every flag it names exists."""

import os
import re
import shlex
import subprocess
import sys

import oracle
import pytest
from conftest import PROJECT, write_bilm

import predict
import train_ner
from benchmarks.__main__ import parse as parse_benchmarks
from biLM.__main__ import parser as bilm_parser
from ner_elmo.__main__ import parser as ner_parser

README = (PROJECT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(\w*)\n(.*?)```", README, flags=re.DOTALL)
COMMANDS = [line for kind, text in BLOCKS if not kind for line in text.strip().splitlines()]
PARSERS = {
    "train_ner.py": train_ner.parse, "predict.py": predict.parse, "biLM": bilm_parser().parse_args,
    "benchmarks": parse_benchmarks, "ner_elmo": ner_parser().parse_args,
}  # fmt: skip


@pytest.fixture(scope="module")
def newcomer(tmp_path_factory):
    """A directory in which the default training was run, for two epochs."""
    folder = tmp_path_factory.mktemp("newcomer")
    environment = os.environ | {"PYTHONPATH": str(PROJECT), "XDG_CACHE_HOME": str(folder / "cache")}
    command = [sys.executable, PROJECT / "train_ner.py", "--epochs", "2", "--output", "models/mine"]
    subprocess.run(command, cwd=folder, env=environment, check=True, capture_output=True)
    return folder, environment


def test_the_two_commands_of_a_newcomer_are_there():
    assert "pip install -e . && python train_ner.py" in COMMANDS
    assert 'pip install -e ".[test]" && pytest' in COMMANDS


def test_the_line_to_tag_is_tagged(newcomer):
    folder, environment = newcomer
    line = next(command for command in COMMANDS if command.startswith("echo"))
    line = line.replace("python predict.py", f"{sys.executable} {PROJECT / 'predict.py'}")
    found = subprocess.run(line, shell=True, cwd=folder, env=environment, check=True, capture_output=True, text=True)
    assert re.sub(r"\[(.*?)\]\(\w+ [\d.]+\)", r"\1", found.stdout) == line.split('"')[1] + "\n"
    assert "(" in found.stdout


@pytest.mark.parametrize("command", [c for c in COMMANDS if c.startswith("python") or "&& python" in c])
def test_every_flag_exists(command):
    words = shlex.split(command.rpartition("&& ")[2].partition(" > ")[0])
    name, arguments = (words[2], words[3:]) if words[1] == "-m" else (words[1], words[2:])
    PARSERS[name](arguments)


def test_the_python_runs(newcomer, tmp_path):
    folder, environment = newcomer
    options = oracle.random_options()
    write_bilm(folder, options, oracle.random_weights(options))
    (code,) = [text for kind, text in BLOCKS if kind == "python"]
    subprocess.run([sys.executable, "-c", code], cwd=folder, env=environment, check=True, capture_output=True)


def test_files_that_the_readme_points_to_are_there():
    for target in re.findall(r"\]\(([^)#:]+)\)", README):
        if "/" in target or "." in target:
            assert (PROJECT / target).exists(), target
