"""The house stays in order: imports go downwards, importing loads nothing heavy, help is complete and quick to reach."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import PROJECT

LEVELS = {
    "biLM": [
        [
            "errors",
            "flags",
            "files",
            "progress",
            "startup",
            "download",
            "published",
            "options",
            "characters",
            "batching",
            "token_table",
            "vocabulary",
            "corpus",
            "presets",
            "training_options",
            "text",
            "word_counts",
            "prepare",
            "run",
            "history",
            "checkpoint",
        ],
        ["char_cnn", "lstm", "softmax", "row_table", "distribution", "hub_state"],
        ["model"],
        ["tfhub", "graph"],
        ["weights", "language_model", "training_inputs", "hub_export"],
        ["perplexity", "embed", "exploration"],
        ["trained"],
        ["training"],
        ["tuning"],
        ["commands_text", "commands_training", "commands_vectors", "commands_hub"],
        ["__main__"],
    ],
    "ner_elmo": [
        ["entities", "config"],
        ["readers", "metrics", "decoding"],
        ["model_directory", "crf", "elmo", "graph_decoding"],
        ["tagger"],
        ["batching"],
        ["cache"],
        ["bundle", "training", "report"],
        ["predictor"],
        ["output", "export_check"],
        ["saved_model", "onnx_tagger"],
        ["commands_scores", "commands_export"],
        ["__main__"],
    ],
}
SAME_LEVEL_ALLOWED: set[tuple[str, str]] = set()


def imports_of(path: Path, package: str) -> set[str]:
    """Modules of the package that a file imports at its top level."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    found = set()
    for node in tree.body:
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith(package + "."):
            found.add(node.module.split(".")[1])
        elif isinstance(node, ast.ImportFrom) and node.module == package:
            found |= {alias.name for alias in node.names if (path.parent / f"{alias.name}.py").is_file()}
    return found


@pytest.mark.parametrize("package", LEVELS)
def test_imports_go_downwards(package):
    level_of = {name: number for number, names in enumerate(LEVELS[package]) for name in names}
    files = {path.stem: path for path in (PROJECT / package).glob("*.py") if path.stem != "__init__"}
    assert set(files) == set(level_of), "every module has a level"
    order = [name for names in LEVELS[package] for name in names]
    for name, path in files.items():
        for imported in imports_of(path, package):
            lower = level_of[imported] < level_of[name]
            beside = level_of[imported] == 0 == level_of[name] and order.index(imported) < order.index(name)
            assert lower or beside or (name, imported) in SAME_LEVEL_ALLOWED, f"{name} imports {imported}"


def test_bilm_has_never_heard_of_ner():
    for path in (PROJECT / "biLM").glob("*.py"):
        assert "ner_elmo" not in path.read_text(encoding="utf-8"), path


TENSORFLOW = {
    "biLM/tfhub.py",
    "biLM/hub_state.py",
    "biLM/graph.py",
    "biLM/hub_export.py",
    "ner_elmo/graph_decoding.py",
    "ner_elmo/saved_model.py",
}  # what reads or writes SavedModels


def test_tensorflow_is_imported_only_where_it_is_needed():
    paths = [path for package in LEVELS for path in (PROJECT / package).glob("*.py")]
    found = {path for path in paths if "import tensorflow" in path.read_text(encoding="utf-8")}
    assert {path.relative_to(PROJECT).as_posix() for path in found} == TENSORFLOW


@pytest.mark.parametrize("package", LEVELS)
def test_importing_loads_nothing_heavy(package):
    code = f"import sys, {package}; print([m for m in ('keras', 'tensorflow', 'jax', 'spacy', 'h5py') if m in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


@pytest.mark.parametrize(
    "command",
    [
        ["train_ner.py"], ["predict.py"], ["-m", "biLM"],
        *(["-m", "biLM", name] for name in (
            "prepare", "vocab", "train", "tune", "perplexity", "embed", "dump", "dump-tokens", "neighbours", "picture",
            "projector", "export-hub",
        )),
        ["-m", "ner_elmo"],
        *(["-m", "ner_elmo", name] for name in ("evaluate", "export")),
    ],
)  # fmt: skip
def test_help_needs_no_keras(command):
    found = subprocess.run(
        [sys.executable, "-X", "importtime", *command, "--help"], cwd=PROJECT, capture_output=True, text=True, check=True
    )
    assert "usage:" in found.stdout
    imported = {line.rpartition("|")[2].strip() for line in found.stderr.splitlines()}
    assert "argparse" in imported
    assert not imported & {"keras", "tensorflow", "jax", "spacy", "h5py"}
