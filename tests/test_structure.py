"""The house stays in order: imports go downwards, importing loads nothing heavy, help is complete and quick to reach."""

import ast
import subprocess
import sys
from itertools import chain
from pathlib import Path

import pytest
from conftest import PROJECT

LEVELS = {
    "biLM": [
        [
            "errors",
            "flags",
            "files",
            "hdf5",
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
            "group",
            "text",
            "word_counts",
            "prepare",
            "run",
            "history",
            "checkpoint",
        ],
        ["tracing", "packing", "char_cnn", "word_encoder", "lstm", "softmax", "row_table", "distribution", "hub_state"],
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
        ["registration", "entities", "config", "casing", "word_vectors", "gazetteers"],
        ["formats", "metrics", "decoding", "confidence", "significance"],
        ["alignment"],
        ["readers", "cleaning", "reading_flags", "inputs", "pages"],
        ["model_directory", "crf", "elmo", "lstm", "marginals"],
        ["tagger"],
        ["batching", "devices"],
        ["cache"],
        ["bundle", "training", "crf_baseline"],
        ["predictor", "report"],
        ["output", "suspects", "reporting"],
        ["checks", "experiment", "exporting", "scaling", "serving", "spacy_component", "projector"],
        ["estimator", "search"],
        [
            "commands_train",
            "commands_predict",
            "commands_scores",
            "commands_swap",
            "commands_data",
            "commands_report",
            "commands_projector",
            "commands_suspects",
            "commands_serve",
            "commands_export",
            "commands_scale",
        ],
        ["__main__"],
    ],
}
SAME_LEVEL_ALLOWED: set[tuple[str, str]] = set()


SUBPACKAGES = {
    "ner_elmo.formats": [
        ["document", "source"],
        ["tagged"],
        ["spans_json"],
        ["columns", "labelstudio", "prodigy", "spacy_json", "spacy_binary", "comma", "token_rows"],
        ["table"],
    ],
    "ner_elmo.reporting": [
        ["judged", "data_summary"],
        ["mistakes", "intervals", "calibration", "matches", "novelty"],
        ["data"],
        ["figures"],
        ["page"],
        ["model_card"],
    ],
    "ner_elmo.serving": [["options", "middleware"], ["layer_shares", "request_queue"], ["demo"], ["server"]],
    "ner_elmo.scaling": [["options", "places", "pool"], ["pieces"], ["shards"], ["worker"], ["run"]],
    "ner_elmo.exporting": [["check", "graph_decoding"], ["saved_model", "onnx_tagger"]],
}
LEVELS |= SUBPACKAGES


def files_of(package: str) -> dict[str, list[Path]]:
    """The files of each module of a package; those of a subpackage count as one module."""
    folder = PROJECT / package.replace(".", "/")
    modules = {path.stem: [path] for path in folder.glob("*.py") if path.stem != "__init__"}
    return modules | {path.parent.name: sorted(path.parent.glob("*.py")) for path in folder.glob("*/__init__.py")}


def imports_of(path: Path, package: str) -> set[str]:
    """Modules of the package that a file imports: on top, in a function that loads late, or for a type."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith(package + "."):
            found.add(node.module.removeprefix(package + ".").split(".")[0])
        elif isinstance(node, ast.ImportFrom) and node.module == package:
            found |= {alias.name for alias in node.names if alias.name in files_of(package)}
    return found


@pytest.mark.parametrize("package", LEVELS)
def test_imports_go_downwards(package):
    level_of = {name: number for number, names in enumerate(LEVELS[package]) for name in names}
    files = files_of(package)
    assert set(files) == set(level_of), "every module has a level"
    order = [name for names in LEVELS[package] for name in names]
    for name, paths in files.items():
        for imported in set().union(*(imports_of(path, package) for path in paths)) - {name}:
            lower = level_of[imported] < level_of[name]
            beside = level_of[imported] == 0 == level_of[name] and order.index(imported) < order.index(name)
            assert lower or beside or (name, imported) in SAME_LEVEL_ALLOWED, f"{name} imports {imported}"


def test_bilm_has_never_heard_of_ner():
    for path in (PROJECT / "biLM").glob("*.py"):
        assert "ner_elmo" not in path.read_text(encoding="utf-8"), path


def test_tensorflow_is_imported_where_it_is_needed_and_nowhere_else():
    needed = {"graph", "hub_export", "hub_state", "tfhub", "graph_decoding", "saved_model", "devices", "tracing"}
    found = set()
    for package in LEVELS:
        for path in chain(*files_of(package).values()):
            if "import tensorflow" in path.read_text(encoding="utf-8"):
                found.add(path.stem)
    assert found == needed


@pytest.mark.parametrize("package", [*LEVELS, "ner_elmo.formats.table", "ner_elmo.readers"])
def test_importing_loads_nothing_heavy(package):
    heavy = ("keras", "tensorflow", "jax", "spacy", "h5py", "datasets", "ray", "pyarrow")
    code = f"import sys, {package}; print([m for m in {heavy} if m in sys.modules])"
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
        *(
            ["-m", "ner_elmo", name]
            for name in (
                "train", "predict", "evaluate", "compare", "swap", "check", "convert", "report", "projector", "suspects",
                "serve", "export", "scale",
            )
        ),
    ],
)  # fmt: skip
def test_help_needs_no_keras(command):
    found = subprocess.run(
        [sys.executable, "-X", "importtime", *command, "--help"], cwd=PROJECT, capture_output=True, text=True, check=True
    )
    assert "usage:" in found.stdout
    imported = {line.rpartition("|")[2].strip() for line in found.stderr.splitlines()}
    assert "argparse" in imported
    assert not imported & {
        "keras",
        "tensorflow",
        "jax",
        "spacy",
        "h5py",
        "matplotlib",
        "pydantic",
        "pandas",
        "ray",
        "pyarrow",
    }
