"""The model directory: JSON, text and HDF5 weights; everything that prediction needs, no pickle.

model.json            types, configuration, scores, versions
tagger.weights.h5     the tagger
bilm/                 options.json + weights.hdf5, unless left out
words.txt             the words that the tagger has learned vectors of
confidence.json       calibration, and the dev entities that a precision is picked on
word_vectors.*        vectors from a file; gazetteers/: lists of names
"""

from __future__ import annotations

import hashlib
from importlib.metadata import version
from pathlib import Path
from typing import Any

from biLM import BiLM, InputError, load_bilm, save_bilm
from biLM.files import check_room, read_lines, whole_directory, write_object
from biLM.hdf5 import finite, numbers, open_hdf5
from biLM.published import TFHUB, reference, resolve
from biLM.tfhub import HubBiLM
from ner_elmo.batching import Features, Words
from ner_elmo.cache import fingerprint
from ner_elmo.confidence import AS_IT_IS, Confidence
from ner_elmo.config import NO_ELMO, TrainConfig
from ner_elmo.gazetteers import Gazetteers
from ner_elmo.model_directory import DESCRIPTION, FORMAT, describe, require_ordinary
from ner_elmo.tagger import Tagger, build_tagger
from ner_elmo.word_vectors import WORD_VECTORS, WordVectors

WORDS = "words.txt"
HDF5_GROUPS = 2**20  # bytes, far more than the groups and names of a tagger take


def save_model(
    directory: Path,
    tagger: Tagger,
    features: Features,
    config: TrainConfig,
    details: dict[str, Any],
    confidence: Confidence = AS_IT_IS,
) -> None:
    """Writes a model directory in place of what is there, whole or not at all. `details` are added to model.json."""
    with whole_directory(directory, replace=True) as partial:
        write_model(partial, tagger, features, config, details, confidence)


def write_model(
    directory: Path,
    tagger: Tagger,
    features: Features,
    config: TrainConfig,
    details: dict[str, Any],
    confidence: Confidence,
) -> None:
    """Fills an empty directory with a model."""
    description: dict[str, Any] = {"format": FORMAT, "types": list(tagger.head.types), "versions": _versions()}
    if features.bilm is not None:
        description["bilm"] = _save_bilm(features.bilm, directory / "bilm", config)
    write_features(directory, features)
    confidence.write(directory)
    _save_weights(tagger, directory / "tagger.weights.h5")
    write_object(directory / DESCRIPTION, description | details | {"config": config.to_dict()})


def _save_weights(tagger: Tagger, path: Path) -> None:
    """Keras opens the file itself, and HDF5 takes the process down where it cannot end a file: room is looked for before."""
    check_room(path, sum(variable.numpy().nbytes for variable in tagger.variables) + HDF5_GROUPS)
    tagger.save_weights(path)


def write_features(directory: Path, features: Features) -> None:
    """Writes what a tagger reads beside its biLM."""
    if features.words is not None:
        (directory / WORDS).write_text("".join(word + "\n" for word in features.words.words), encoding="utf-8")
    for part in (features.word_vectors, features.gazetteers):
        if part is not None:
            part.write(directory)


def read_features(directory: Path, bilm: BiLM | None, casing: bool) -> Features:
    """What `write_features` wrote."""
    return Features(
        bilm,
        Words(read_lines(directory / WORDS)) if (directory / WORDS).is_file() else None,
        word_vectors=WordVectors.of_directory(directory) if (directory / WORD_VECTORS).is_file() else None,
        casing=casing,
        gazetteers=Gazetteers.of_directory(directory) if (directory / "gazetteers").is_dir() else None,
    )


def _save_bilm(bilm: BiLM, directory: Path, config: TrainConfig) -> dict[str, Any]:
    """Copies the biLM, unless it shall stay where it is; returns what model.json says of it."""
    says = {"width": bilm.width, "n_layers": bilm.n_layers, "fingerprint": fingerprint(bilm)}
    if not config.include_bilm or isinstance(bilm, HubBiLM):  # a module stays where its library keeps it
        return says | _where(config)
    save_bilm(bilm, directory)
    return says


def _where(config: TrainConfig) -> dict[str, Any]:
    """Where a biLM is that stays where it is, and the hash of its weights' file."""
    says: dict[str, Any] = {"path": reference(config.elmo)}
    if config.elmo_options:
        says["options"] = str(Path(config.elmo_options).resolve())
    return says if config.elmo.startswith(TFHUB) else says | {"sha256": _sha256(config.elmo)}


def _sha256(elmo: str) -> str:
    path = resolve(elmo, offline=True)
    with open(path / "weights.hdf5" if path.is_dir() else path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def load_model(directory: Path, elmo: str | Path | BiLM | None = None) -> tuple[Tagger, Features, TrainConfig]:
    """The tagger of a model directory, what it reads, and its configuration.

    `elmo` takes the place of its own biLM. Raises InputError for what is no model directory, and where widths differ.
    """
    description = describe(directory)
    config = TrainConfig.from_dict(description["config"], str(directory / DESCRIPTION))
    bilm = None
    if config.elmo != NO_ELMO:
        if description.get("bilm") is None:
            raise InputError(f"{directory / DESCRIPTION}: 'bilm' must say which biLM it stands on. Received: nothing.")
        bilm = _load_bilm(directory, description["bilm"], config, elmo)
    elif elmo is not None:
        raise InputError(f"{directory}: was trained without ELMo, so no biLM can be put into it.")
    features = read_features(directory, bilm, config.casing)
    _check_weights(directory / "tagger.weights.h5", config, features)
    tagger = build_tagger(config, description["types"], **features.sizes)
    try:
        tagger.load_weights(directory / "tagger.weights.h5")
    except (OSError, ValueError) as error:
        raise InputError(
            f"{directory}/tagger.weights.h5: does not fit {DESCRIPTION}: {' '.join(str(error).split())}"
        ) from error
    return tagger, features, config


def _check_weights(path: Path, config: TrainConfig, features: Features) -> None:
    """Raises InputError, before a tagger is built, where all that it needs cannot lie in the file, or is not finite."""
    units, words = config.hidden_size, features.sizes["n_words"]
    recurrent = 4 * config.n_blocks * 4 * units * units  # two BiLSTMs a block, each of two LSTMs
    first = 2 * 4 * units * config.word_dim if words else 0  # of the first BiLSTM, what reads the word vectors
    needs = recurrent + first + words * config.word_dim
    with open_hdf5(path) as datasets:
        holds = sum(dataset.size or 0 for dataset in datasets.values())
        if holds < needs:
            raise InputError(
                f"{path}: does not fit {DESCRIPTION}: hidden_size {units}, n_blocks {config.n_blocks} and word_dim "
                f"{config.word_dim} need {needs:,} numbers or more. Received: {holds:,}. Train the model again."
            )
        for name, dataset in datasets.items():
            finite(path, name, numbers(path, name, dataset))


def _load_bilm(directory: Path, says: dict[str, Any], config: TrainConfig, elmo: str | Path | BiLM | None) -> BiLM:
    how: dict[str, Any] = {"initial_state": config.initial_state, "top_layer": config.top_layer}
    if elmo is None and "path" not in says:
        return load_bilm(directory / "bilm", **how)
    if elmo is None:
        bilm = _noted(directory, says, how)
    else:
        bilm = elmo if isinstance(elmo, BiLM | HubBiLM) else load_bilm(elmo, **how)
    if (bilm.width, bilm.n_layers) != (says["width"], says["n_layers"]):
        raise InputError(
            f"{directory}: needs a biLM of width {says['width']} with {says['n_layers']} layers. "
            f"Received: width {bilm.width}, {bilm.n_layers} layers. Train again: python -m ner_elmo train --elmo WEIGHTS."
        )
    return bilm


def _noted(directory: Path, says: dict[str, Any], how: dict[str, Any]) -> BiLM:
    """The biLM that model.json notes, if that means to read files of this machine: a directory that somebody gave away is
    no reason to fetch anything, nor to run a Hub module, which is a program. It must be the one of the training."""
    path = says["path"]
    if path.startswith(TFHUB):
        raise InputError(f"{directory}: stands on a TF-Hub module, which is a program. Name it yourself: --elmo {path}.")
    try:
        found = resolve(path, offline=True)
    except InputError as error:
        raise InputError(f"{directory}: a model directory fetches nothing by itself: {error} Or --elmo {path}.") from None
    require_ordinary(found)
    if says.get("sha256", "") not in ("", _sha256(path)):
        raise InputError(
            f"{directory}: stands on other weights than those that are in {path} now (model.json has their SHA-256). "
            f"Train it again, or run it on these all the same: --elmo {path}."
        )
    return load_bilm(path, says.get("options"), **how, offline=True)


def _versions() -> dict[str, str]:
    import keras

    return {"keras": keras.__version__, "backend": keras.backend.backend(), "numpy": version("numpy")}
