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
from ner_elmo.model_directory import DESCRIPTION, FORMAT, describe
from ner_elmo.tagger import Tagger, build_tagger


def save_model(
    directory: Path,
    tagger: Tagger,
    source: Source,
    config: TrainConfig,
    details: dict[str, Any],
) -> None:
    """Writes a model directory; it appears whole, or not at all. `details` are added to model.json."""
    directory.absolute().parent.mkdir(parents=True, exist_ok=True)
    partial = directory.absolute().with_name(f".{directory.name}.{os.getpid()}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    try:
        description: dict[str, Any] = {"format": FORMAT, "types": list(tagger.head.types), "versions": _versions()}
        if isinstance(source, ElmoSource):
            bilm = source.bilm
            description |= {"width": bilm.width, "n_layers": bilm.n_layers}
            description["bilm"] = {"included": config.include_bilm, "fingerprint": fingerprint(bilm)}
            if config.include_bilm:
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


def load_model(directory: Path, elmo: str | Path | BiLM | None = None) -> tuple[Tagger, Source, TrainConfig]:
    """The tagger of a model directory, what makes its inputs, and its configuration.

    `elmo` takes the place of its own biLM. Raises InputError for what is no model directory, and where widths differ.
    """
    description = describe(directory)
    config = TrainConfig.from_dict(description["config"], str(directory / DESCRIPTION))
    types, shape = description["types"], {}
    source: ElmoSource | WordSource
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
    return tagger, source, config


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
