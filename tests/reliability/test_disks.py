"""Disks that fill and directories that cannot be written: one line names the place, and nothing half-written stays.

DISKS says how large the disks are that each command shall find full: on a larger one it gets further before it does.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import PROJECT

from biLM.errors import EXIT_USER_ERROR
from biLM.files import restore, whole_directory, whole_file

SAMPLE = PROJECT / "data" / "sample"
TOO_SMALL = "8k"  # for every command
DISKS = os.environ.get("DISKS", TOO_SMALL).split()
# what each command writes: its output, then its arguments
BILM = {
    "prepare": ("out", "prepare", "{text}", "--documents", "line", "--out", "{out}"),
    "vocab": ("out.txt", "vocab", "{text}", "--out", "{out}"),
    "embed": ("out.hdf5", "embed", "{bilm}", "{text}", "{out}"),
    "dump-tokens": ("out.hdf5", "dump-tokens", "{bilm}", "{vocabulary}", "{out}"),
    "picture": ("out.png", "picture", "{bilm}", "{few}", "--words", "dawn", "ferry", "--out", "{out}"),
    "projector": ("out", "projector", "{bilm}", "{text}", "--words", "dawn", "ferry", "--out", "{out}"),
    "export-hub": ("out", "export-hub", "{bilm}", "--out", "{out}"),
}
TAGGER = {
    "train": ("out", "train", "--elmo", "none", "--epochs", "1", "--train={annotated}", "--dev={annotated}",
              "--test={annotated}", "--hidden-size", "8", "--output", "{out}"),
    "swap": ("out", "swap", "{model}", "--elmo", "{bilm}", "--dev", "{annotated}", "--out", "{out}"),
    "check": ("out.conll", "check", "{sample}", "--fix", "{out}"),
    "projector": ("out", "projector", "{model}", "{annotated}", "--out", "{out}"),
    "report": ("out.html", "report", "{model}", "--test", "{annotated}", "--out", "{out}"),
    "saved_model": ("out", "export", "{model}", "--format", "saved_model", "--out", "{out}"),
    "onnx": ("out", "export", "{model}", "--format", "onnx", "--out", "{out}"),
    **{f"convert to {name}": ("out", "convert", "{sample}", "{out}", "--to", name)
       for name in ("jsonl", "spacy", "datasets")},
}  # fmt: skip
COMMANDS = [("biLM", name) for name in BILM] + [("ner_elmo", name) for name in TAGGER]


@pytest.fixture(scope="module")
def inputs(small_weights, small_model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("inputs")
    lines = [f"The ferry {k} left the harbour of {k} islands at dawn ." for k in range(2000)]
    (folder / "text.txt").write_text("\n".join(lines) + "\n")
    (folder / "few.txt").write_text("\n".join(lines[:40]) + "\n")  # t-SNE takes its time
    words = ["<S>", "</S>", "<UNK>", *(f"word{k}" for k in range(3000))]
    (folder / "vocab.txt").write_text("\n".join(words) + "\n")
    (folder / "few.conll").write_text("\n\n".join((SAMPLE / "train.conll").read_text().split("\n\n")[:40]) + "\n")
    return {
        "text": folder / "text.txt", "few": folder / "few.txt", "vocabulary": folder / "vocab.txt",
        "annotated": folder / "few.conll", "sample": SAMPLE / "train.conll", "bilm": small_weights, "model": small_model,
    }  # fmt: skip


def arguments(module: str, name: str, place: Path, inputs: dict[str, Path]) -> list[str]:
    _, *words = (BILM if module == "biLM" else TAGGER)[name]
    return [word.format(out=place / place_of(module, name), **inputs) for word in words]


def place_of(module: str, name: str) -> str:
    return (BILM if module == "biLM" else TAGGER)[name][0]


def last_line(command) -> str:
    return command.said.strip().splitlines()[-1]


def contents(place: Path) -> dict[str, bytes]:
    return {str(path.relative_to(place)): path.read_bytes() for path in place.rglob("*") if path.is_file()}


@pytest.mark.parametrize(("full_disk", "size"), [(size, size) for size in DISKS], indirect=["full_disk"], ids=DISKS)
@pytest.mark.parametrize(("module", "name"), COMMANDS)
def test_a_full_disk(start, full_disk, size, inputs, module, name, tmp_path):
    words = arguments(module, name, full_disk, inputs)
    kept = Path(full_disk / "kept.txt")
    kept.write_text("kept")
    command = start(tmp_path, module, *words)
    status = command.end()
    if status == 0 and size != TOO_SMALL:
        beside = {"out.json"} if name == "report" else set()
        assert {path.name for path in full_disk.iterdir()} == {"kept.txt", place_of(module, name)} | beside
        return
    assert status == EXIT_USER_ERROR, command.said
    said = last_line(command)
    assert said.startswith(f"{module} {words[0]}: error: {full_disk}/")
    assert said.endswith("No space left on device.")
    assert contents(full_disk) == {"kept.txt": b"kept"}


@pytest.mark.parametrize(("module", "name"), COMMANDS)
def test_a_place_that_cannot_be_written(start, inputs, module, name, tmp_path):
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "ro", "tmpfs", str(place)], capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip(f"cannot mount a file system here: {mounted.stderr.decode().strip()}")
    try:
        words = arguments(module, name, place, inputs)
        command = start(tmp_path, module, *words)
        assert command.end() == EXIT_USER_ERROR, command.said
    finally:
        subprocess.run(["umount", str(place)], check=True)
    said = last_line(command)
    assert said.startswith(f"{module} {words[0]}: error: {place}")
    assert "Read-only file system" in said


@pytest.mark.parametrize("words", [
    ("predict.py", "--text", "Ada Lund left Turin on Monday.", "--format", "jsonl"),
    ("-m", "ner_elmo", "check", str(SAMPLE / "dev.conll")),
])  # fmt: skip
def test_standard_output_on_a_full_disk(small_model, words):
    model = ["--model", str(small_model)] if words[0] == "predict.py" else []
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, *words, *model], cwd=PROJECT, stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert done.returncode == EXIT_USER_ERROR
    assert done.stderr.strip().splitlines()[-1].endswith("error: standard output: No space left on device.")


def test_what_is_replaced_stays_until_the_new_one_is_whole(tmp_path):
    directory = tmp_path / "model"
    directory.mkdir()
    (directory / "old").touch()
    with pytest.raises(ZeroDivisionError), whole_directory(directory, replace=True) as partial:
        (partial / "new").touch()
        raise ZeroDivisionError
    assert [path.name for path in tmp_path.rglob("*")] == ["model", "old"]
    directory.rename(tmp_path / ".model.replaced")  # a process was killed here, between two renamings
    restore(directory)
    assert [path.name for path in tmp_path.rglob("*")] == ["model", "old"]
    with whole_directory(directory, replace=True) as partial:
        (partial / "new").touch()
    assert [path.name for path in tmp_path.rglob("*")] == ["model", "new"]


def test_a_file_that_cannot_take_its_place_names_it(tmp_path):
    """Nothing but a full disk is blamed on the file; what else goes wrong meanwhile keeps its own name."""
    with pytest.raises(IsADirectoryError) as raised, whole_file(tmp_path / "out") as partial:
        partial.touch()
        (tmp_path / "out").mkdir()
    assert raised.value.filename == str(tmp_path / "out")
    with pytest.raises(BrokenPipeError) as broken, whole_file(tmp_path / "other"):
        raise BrokenPipeError(32, "Broken pipe")
    assert broken.value.filename is None
