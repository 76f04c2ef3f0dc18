"""`--elmo NAME`: published weights by name, by URL or from a Hugging Face repository -> a directory on this machine.

    resolve("weights.hdf5") == Path("weights.hdf5")      what is on disk is taken as it is
    resolve("small")                                     KERAS_HOME/models/elmo/small, downloaded when it is not there
    resolve("https://host/elmo_X_weights.hdf5")          its elmo_X_options.json lies beside it
    resolve("hf:OWNER/REPO"), resolve("hf:OWNER/REPO@REVISION")

The network is used for such a name alone, and not at all where NER_ELMO_OFFLINE is set.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from biLM.download import Remote, fetch
from biLM.errors import InputError
from biLM.files import read_object
from biLM.progress import progress

OFFLINE = "NER_ELMO_OFFLINE"
TFHUB = "tfhub:"  # `biLM.tfhub` reads these
OPTIONS, WEIGHTS, VOCABULARY = "options.json", "weights.hdf5", "vocab.txt"
NAMES_HELP = "small, medium, original, 5.5B, a URL, hf:REPO or tfhub:HANDLE"


@dataclass(frozen=True)
class Source:
    """Where the files of one biLM are."""

    options: Remote
    weights: Remote
    vocabulary: Remote  # of a word-id model only


def _allennlp(shape: str, options_size: int | None = None, weights_size: int | None = None) -> Source:
    stem = f"https://allennlp.s3.amazonaws.com/models/elmo/{shape}/elmo_{shape}_"
    return Source(Remote(stem + OPTIONS, options_size), Remote(stem + WEIGHTS, weights_size), Remote(stem + VOCABULARY))


# The files that AllenNLP published for English (allenai.org/allennlp/software/elmo). The addresses of medium, original and
# 5.5B are named so in public code; that of small is named only under the host's older spelling
# (s3-us-west-2.amazonaws.com/allennlp/...). The two sizes are those that public download logs of "original" show. No
# SHA-256 and no other size was found. Nothing here could be downloaded where this was written.
PUBLISHED = {
    "small": _allennlp("2x1024_128_2048cnn_1xhighway"),
    "medium": _allennlp("2x2048_256_2048cnn_1xhighway"),
    "original": _allennlp("2x4096_512_2048cnn_2xhighway", 336, 374_434_792),
    "5.5B": _allennlp("2x4096_512_2048cnn_2xhighway_5.5B"),
}


def resolve(name: str | Path, offline: bool | None = None) -> Path:
    """The weights file or directory that a name means; downloads it when it is a published one that is not here yet.

    Arguments:
        offline: True: nothing is downloaded; None: as the environment says (NER_ELMO_OFFLINE).

    Raises: InputError, one line, where a file cannot be had, is not the right one, or is not here and must not be fetched.
    """
    source = _source(str(name))
    if source is None:
        return Path(name)
    folder = _folder(str(name))
    if offline if offline is not None else is_offline():
        for remote, file in ((source.options, OPTIONS), (source.weights, WEIGHTS)):
            if not (folder / file).is_file():
                raise InputError(f"{name}: {file} is not here, and this is offline. Put {remote.url} at {folder / file}.")
        return folder
    _fetch(name, source.options, folder / OPTIONS)
    if not read_object(folder / OPTIONS).get("char_cnn"):
        _fetch(name, source.vocabulary, folder / VOCABULARY)
    _fetch(name, source.weights, folder / WEIGHTS)
    return folder


def reference(name: str | Path) -> str:
    """What a model directory keeps of a biLM that stays where it is: the name of a published one, or the absolute path."""
    if str(name).startswith(TFHUB):
        handle = str(name).removeprefix(TFHUB)
        return TFHUB + (str(Path(handle).absolute()) if Path(handle).is_dir() else handle)
    return str(Path(name).absolute()) if _source(str(name)) is None else str(name)


def is_offline() -> bool:
    return os.environ.get(OFFLINE, "") not in ("", "0")


def go_offline() -> None:
    """For `--offline`: as if NER_ELMO_OFFLINE were set."""
    os.environ[OFFLINE] = "1"


def _source(name: str) -> Source | None:
    """None: a path of this machine."""
    if Path(name).exists() or name.startswith(TFHUB):
        return None
    if name.startswith("hf:"):
        return _hugging_face(name)
    if name.startswith(("http://", "https://")):
        return _from_url(name)
    return PUBLISHED.get(name)


def _hugging_face(name: str) -> Source:
    repository, _, revision = name.removeprefix("hf:").partition("@")
    if repository.count("/") != 1 or not all(repository.split("/")):
        raise InputError(f"{name}: must be hf:OWNER/REPO, or hf:OWNER/REPO@REVISION.")
    root = os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")
    return _beside(f"{root}/{repository}/resolve/{revision or 'main'}/")


def _from_url(name: str) -> Source:
    url = urlsplit(name)
    if not url.path.endswith(("/", WEIGHTS)):
        raise InputError(f"{name}: a URL of weights must end in {WEIGHTS}, or in / for the directory that holds it.")
    return _beside(url._replace(path=url.path.removesuffix(WEIGHTS)).geturl())


def _beside(stem: str) -> Source:
    url = urlsplit(stem)
    options, weights, vocabulary = (
        Remote(url._replace(path=url.path + name).geturl()) for name in (OPTIONS, WEIGHTS, VOCABULARY)
    )
    return Source(options, weights, vocabulary)


def _folder(name: str) -> Path:
    root = Path(os.environ.get("KERAS_HOME") or Path.home() / ".keras") / "models" / "elmo"
    if name in PUBLISHED:
        return root / name
    if name.startswith("hf:"):
        return root / name.replace("hf:", "hf--").replace("/", "--")
    return root / f"{urlsplit(name).hostname}-{hashlib.sha256(name.encode()).hexdigest()[:16]}"


def _fetch(name: str | Path, remote: Remote, path: Path) -> None:
    check = {OPTIONS: _check_options, WEIGHTS: _check_weights}.get(path.name, lambda partial, remote: None)
    with progress(f"{name}: {path.name}") as report:
        fetch(remote, path, lambda partial: check(partial, remote), report)


def _check_options(partial: Path, remote: Remote) -> None:
    """A page that a proxy sends in the place of the file is no JSON object."""
    try:
        read_object(partial)
    except InputError as error:
        raise InputError(f"{remote.url}: must be an options.json. Nothing was kept. {error}") from None


def _check_weights(partial: Path, remote: Remote) -> None:
    import h5py

    try:
        h5py.File(partial, "r").close()
    except OSError as error:
        raise InputError(f"{remote.url}: must be a whole HDF5 file. Nothing was kept. {error}.") from None
