"""Other tools' taggers, trained by their own scripts on the same files, and on the same raw text where some is given.

A script is run as PYTHON SCRIPT --train FILE --dev FILE --test FILE --seed N [--NAME VALUE ...], and the last line that it
prints is a JSON object with P, R and F1 in per cent.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from biLM.corpus import read_sentences

NO_TEXT = "none"


@dataclass(frozen=True)
class Peer:
    """script: its file's name; raw_text: its option for a file of raw text, a tokenised sentence a line."""

    script: str
    raw_text: str


PEERS = {"spaCy": Peer("spacy_peer.py", "raw-text"), "Flair": Peer("flair_peer.py", "lm-text")}


def name_and_digest(raw: list[Path]) -> tuple[str, str]:
    """How raw text is called in the table, as the folder of its files, and the first digits of its SHA-256."""
    if not raw:
        return NO_TEXT, NO_TEXT
    digest = sha256()
    for path in raw:
        digest.update(path.read_bytes())
    return raw[0].resolve().parent.name, digest.hexdigest()[:12]


def write_text(raw: list[Path], path: Path) -> None:
    """Files of raw text, plain or compressed, in one."""
    with open(path, "w", encoding="utf-8") as file:
        file.writelines(" ".join(tokens) + "\n" for tokens in read_sentences(raw))


def score_peer(python: str, script: Path, options: Iterable[tuple[str, object]]) -> dict[str, Any]:
    """Runs a script. What it logs goes to stderr as it comes. Raises RuntimeError where it fails."""
    command = [python, str(script), *(part for name, value in options for part in (f"--{name}", str(value)))]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: exit status {done.returncode}.")
    found = json.loads(done.stdout.strip().splitlines()[-1])
    scores = {f"test_{ours}": found[theirs] / 100 for ours, theirs in (("precision", "P"), ("recall", "R"), ("f1", "F1"))}
    return scores | {"printed": found}
