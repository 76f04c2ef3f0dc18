"""The model directory: JSON, text and HDF5 weights; everything that prediction needs, no pickle.

model.json            types, configuration, scores, versions
tagger.weights.h5     the tagger
bilm/                 options.json + weights.hdf5, unless left out
words.txt             the words of a tagger without ELMo
"""

from __future__ import annotations

import json
import os
import shutil
from importlib.metadata import version
from pathlib import Path
from typing import Any

from biLM import BiLM, InputError, load_bilm, save_bilm
from ner_elmo.batching import ElmoSource, Source, WordSource
from ner_elmo.cache import fingerprint
from ner_elmo.config import NO_ELMO, TrainConfig
from ner_elmo.predictor import NerTagger
from ner_elmo.tagger import Tagger, build_tagger
from ner_elmo.text import Tokenizer

FORMAT = 1
DESCRIPTION = "model.json"


def check_output(directory: Path, overwrite: bool) -> None:
    """Raises InputError before any work where the directory could not be written or holds something already."""
    if directory.exists() and not directory.is_dir():
        raise InputError(f"{directory}: must be a directory. Received: a file.")
    if directory.is_dir() and any(directory.iterdir()):
        if not (directory / DESCRIPTION).is_file():
            raise InputError(f"{directory}: must be empty or hold a model. Name another --output.")
        if not overwrite:
            raise InputError(f"{directory}: holds a model already. Name another --output, or --overwrite it.")
    parent = directory.absolute()
    while not parent.exists():
        parent = parent.parent
    if not os.access(parent, os.W_OK | os.X_OK):
        raise InputError(f"{directory}: cannot be written. Name another --output.")


def save_model(
    directory: Path,
    tagger: Tagger,
    source: Source,
    config: TrainConfig,
    details: dict[str, Any],
    include_bilm: bool = True,
) -> None:
    """Writes a model directory; it appears whole, or not at all."""
    directory.absolute().parent.mkdir(parents=True, exist_ok=True)
    partial = directory.absolute().with_name(f".{directory.name}.{os.getpid()}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    try:
        description = {"format": FORMAT, "types": list(tagger.head.types), "versions": _versions()}
        if isinstance(source, ElmoSource):
            bilm = source.bilm
            description |= {"width": bilm.width, "n_layers": bilm.n_layers}
            description["bilm"] = {"included": include_bilm, "fingerprint": fingerprint(bilm)}
            if include_bilm:
                save_bilm(bilm, partial / "bilm")
            else:
                description["bilm"]["path"] = str(Path(config.elmo).absolute())
        elif isinstance(source, WordSource):
            (partial / "words.txt").write_text("".join(word + "\n" for word in source.words), encoding="utf-8")
        tagger.save_weights(partial / "tagger.weights.h5")
        description |= details | {"config": config.to_dict()}
        (partial / DESCRIPTION).write_text(json.dumps(description, indent=1, ensure_ascii=False) + "\n", "utf-8")
        if directory.exists():
            shutil.rmtree(directory)
        os.replace(partial, directory)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def remember(directory: Path) -> None:
    """Notes, in models/LAST, which model was trained last in this working directory."""
    Path("models").mkdir(exist_ok=True)
    (Path("models") / "LAST").write_text(f"{directory.absolute()}\n", encoding="utf-8")


def last_model() -> Path:
    """The model trained last in this working directory."""
    note = Path("models") / "LAST"
    if not note.is_file():
        raise InputError("no model was trained here yet. Train one (python train_ner.py) or name one: --model DIR.")
    return Path(note.read_text(encoding="utf-8").strip())


def load_model(directory: str | Path, elmo: str | Path | BiLM | None = None) -> NerTagger:
    """See `NerTagger.load`. Raises InputError for what is no model directory, and for a biLM of another width."""
    directory = Path(directory)
    description = _describe(directory)
    config = TrainConfig.from_dict(description["config"], str(directory / DESCRIPTION))
    types, source, shape = description["types"], None, {}
    if config.elmo == NO_ELMO:
        if elmo is not None:
            raise InputError(f"{directory}: was trained without ELMo, so no biLM can be put into it.")
        source = WordSource((directory / "words.txt").read_text(encoding="utf-8").split("\n")[:-1])
        shape = {"width": 0, "n_words": source.n_words}
    else:
        source = ElmoSource(_bilm(directory, description, config, elmo))
        shape = {"width": description["width"], "n_layers": description["n_layers"]}
    tagger = build_tagger(config, types, **shape)
    try:
        tagger.load_weights(directory / "tagger.weights.h5")
    except (OSError, ValueError) as error:
        raise InputError(
            f"{directory}/tagger.weights.h5: does not fit {DESCRIPTION}: {' '.join(str(error).split())}"
        ) from error
    return NerTagger(tagger, source, Tokenizer(description.get("lang", "en")))


def _describe(directory: Path) -> dict[str, Any]:
    path = directory / DESCRIPTION
    if not path.is_file():
        raise InputError(
            f"{directory}: is no model directory, {DESCRIPTION} is missing. Train one: python train_ner.py."
        )
    try:
        description = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not a JSON file: {error}.") from error
    if description.get("format") != FORMAT:
        raise InputError(f"{path}: format must be {FORMAT}. Received: {description.get('format')!r}. Update ner-elmo.")
    return description


def _bilm(directory: Path, description: dict[str, Any], config: TrainConfig, elmo: str | Path | BiLM | None) -> BiLM:
    if elmo is None:
        elmo = directory / "bilm" if description["bilm"]["included"] else description["bilm"]["path"]
        options = None if description["bilm"]["included"] else config.elmo_options
        return load_bilm(elmo, options, initial_state=config.initial_state)
    bilm = elmo if isinstance(elmo, BiLM) else load_bilm(elmo, initial_state=config.initial_state)
    expected = description["width"], description["n_layers"]
    if (bilm.width, bilm.n_layers) != expected:
        raise InputError(
            f"{directory}: needs a biLM of width {expected[0]} with {expected[1]} layers. "
            f"Received: width {bilm.width}, {bilm.n_layers} layers. Train again: python train_ner.py --elmo WEIGHTS."
        )
    return bilm


def _versions() -> dict[str, str]:
    import keras

    return {"keras": keras.__version__, "backend": keras.backend.backend(), "numpy": version("numpy")}
