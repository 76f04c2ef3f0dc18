"""The example notebook runs from top to bottom, in a kernel of its own."""

import json
import os
import re

import nbformat
import pytest
from conftest import PROJECT
from doc_pages import links_of
from nbclient import NotebookClient

NOTEBOOK = PROJECT / "examples" / "quickstart.ipynb"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """What each code cell shows, in order."""
    folder = tmp_path_factory.mktemp("notebook")
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    places = {"MODEL": str(folder / "model"), "XDG_CACHE_HOME": str(folder / "cache"), "PYTHONPATH": str(PROJECT)}
    client = NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(folder)}})
    for name in ("train_ner.py", "data"):
        (folder / name).symlink_to(PROJECT / name)
    client.execute(env=os.environ | places)
    return ["".join(map(_text, cell.outputs)) for cell in notebook.cells if cell.cell_type == "code"]


def _text(output) -> str:
    """What an output shows as text: rich shows tables in a notebook."""
    return output["text"] if output.output_type == "stream" else output.get("data", {}).get("text/plain", "")


def test_it_trains_tags_and_embeds(run):
    _, trained, tagged, confidence, embedded = run
    assert "all (micro)" in trained and "model: " in trained
    assert all(0 < float(found) <= 1 for found in re.findall(r"^(\d\.\d\d)  \w+ +\d+-\d+ ", tagged, re.MULTILINE))
    counts = [int(count) for count in re.findall(r"^confidence from [\d.]+: +(\d+) entities", confidence, re.MULTILINE)]
    assert len(counts) == 4 and sum(counts) > 0
    assert "(3, 5, 256)" in embedded
    cosines = [float(cosine) for cosine in re.findall(r"^layer \d: cosine ([\d.]+)$", embedded, re.MULTILINE)]
    assert cosines[0] == 1.0 and max(cosines[1:]) < 1.0


def test_it_is_committed_without_outputs():
    cells = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    assert [cell for cell in cells if cell.get("outputs") or cell.get("execution_count")] == []


def test_its_links_lead_somewhere():
    for path, _ in links_of(NOTEBOOK):
        assert (NOTEBOOK.parent / path).exists(), path
