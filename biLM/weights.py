"""weights.hdf5 <-> `BiLM`: one rename table, read both ways.

Files are those of bilm-tf and AllenNLP (float32, or float16 where size matters; computing is float32). Ours hold one
group more, `initial_state`, which other readers pass over: the state that sentences start from.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import reduce
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from biLM.errors import InputError
from biLM.hdf5 import finite, listed, new_hdf5, numbers, open_hdf5
from biLM.model import BiLM
from biLM.options import N_CHARACTERS, BiLMOptions
from biLM.published import TFHUB, resolve
from biLM.tfhub import load_hub
from biLM.vocabulary import Vocabulary


@dataclass(frozen=True)
class Row:
    """One dataset of the file: its name and shape, and the path of the variable that it holds, or of a list of them that
    stand side by side in it."""

    name: str
    shape: tuple[int, ...]
    path: str

    def variables(self, bilm: BiLM) -> list[Any]:
        found = reduce(_step, self.path.split("."), bilm)
        return found if isinstance(found, list) else [found]

    def read(self, bilm: BiLM) -> np.ndarray:
        """What the dataset shall hold."""
        return np.concatenate([np.asarray(variable) for variable in self.variables(bilm)], axis=-1).reshape(self.shape)

    def assign(self, bilm: BiLM, array: np.ndarray) -> None:
        variables = self.variables(bilm)
        for variable, part in zip(variables, np.split(array, len(variables), axis=-1), strict=True):
            variable.assign(part.reshape(variable.shape))


def _step(item: Any, name: str) -> Any:
    return item[int(name)] if name.isdigit() else getattr(item, name)


def rename_table(options: BiLMOptions) -> Iterator[Row]:
    """What the file of a biLM of this shape holds."""
    lstm, cnn = options.lstm, options.char_cnn
    dim, projection_dim = lstm.dim, lstm.projection_dim
    if cnn:
        n = cnn.n_filters
        yield Row("char_embed", (N_CHARACTERS, cnn.embedding_dim), "encoder.embedding")
        for i, (width, count) in enumerate(cnn.filters):
            yield Row(f"CNN/W_cnn_{i}", (1, width, cnn.embedding_dim, count), f"encoder.kernels.{i}")
            yield Row(f"CNN/b_cnn_{i}", (count,), f"encoder.biases.{i}")
        for i in range(cnn.n_highway):
            for gate in ("carry", "transform"):
                yield Row(f"CNN_high_{i}/W_{gate}", (n, n), f"encoder.highways.{i}.{gate}_kernel")
                yield Row(f"CNN_high_{i}/b_{gate}", (n,), f"encoder.highways.{i}.{gate}_bias")
        if n != projection_dim:
            yield Row("CNN_proj/W_proj", (n, projection_dim), "encoder.projection_kernel")
            yield Row("CNN_proj/b_proj", (projection_dim,), "encoder.projection_bias")
    else:
        yield Row("embedding", (options.n_tokens_vocab or 0, projection_dim), "encoder.embedding")
    for d in range(options.n_directions):
        for i in range(lstm.n_layers):
            file, cell = f"RNN_{d}/RNN/MultiRNNCell/Cell{i}/LSTMCell", f"directions.{d}.layers.{i}.cell"
            yield Row(f"{file}/W_0", (2 * projection_dim, 4 * dim), f"{cell}.kernels")
            yield Row(f"{file}/B", (4 * dim,), f"{cell}.biases")
            if lstm.has_projection:
                yield Row(f"{file}/W_P_0", (dim, projection_dim), f"{cell}.projection_kernel")


def state_table(options: BiLMOptions) -> Iterator[Row]:
    """The optional group: the state that sentences start from."""
    for d in range(options.n_directions):
        for i in range(options.lstm.n_layers):
            for k, (name, size) in enumerate((("h", options.lstm.projection_dim), ("c", options.lstm.dim))):
                yield Row(f"initial_state/RNN_{d}/Cell{i}/{name}", (size,), f"initial_states.{d}.{i}.{k}")


def find_options(weights: str | Path) -> Path:
    """options.json of a weights file: `X_weights.hdf5` -> `X_options.json`, otherwise options.json beside it."""
    weights = Path(weights)
    named = weights.with_name(weights.name.removesuffix("weights.hdf5") + "options.json")
    beside = weights.with_name("options.json")
    for path in (named, beside):
        if path.is_file():
            return path
    raise InputError(f"{weights}: no options file. Looked for {named} and {beside}. Name it: options=FILE.")


def load_bilm(
    path: str | Path,
    options: str | Path | BiLMOptions | None = None,
    vocabulary: str | Path | Vocabulary | None = None,
    initial_state: str = "warm",
    stateful: bool = False,
    top_layer: int | None = None,
    offline: bool | None = None,
) -> BiLM:
    """Loads a biLM from weights.hdf5 (or a directory that holds one).

    Arguments:
        path: the weights, or their directory, or a name that `biLM.published` knows;
            `tfhub:HANDLE_OR_DIRECTORY` gives a frozen `biLM.tfhub.HubBiLM`.
        options: options.json; found beside the weights when None (see `find_options`).
        vocabulary: for word-id models; vocab.txt beside the weights when None.
        initial_state, stateful, top_layer: see `BiLM`.
        offline: True: nothing is downloaded; None: as the environment says (see `biLM.published`).

    Raises: InputError where a file cannot be read or weights and options differ, with all differences in one message.

    Example: `bilm = load_bilm("elmo_2x1024_128_2048cnn_1xhighway_weights.hdf5")`.
    """
    if str(path).startswith(TFHUB):
        if options is not None or stateful or initial_state != "warm":
            raise InputError(f"{path}: a TF-Hub module takes no options file, initial state or carried state.")
        return load_hub(str(path), top_layer, offline)  # type: ignore[return-value]  # all of a BiLM that frozen use needs
    path = resolve(path, offline)
    if path.is_dir():
        path = path / "weights.hdf5"
    if not path.is_file():
        raise InputError(f"{path}: no such weights file.")
    if not isinstance(options, BiLMOptions):
        options = BiLMOptions.read(options or find_options(path))
    beside = path.with_name("vocab.txt")
    if vocabulary is None and options.char_cnn is None and beside.is_file():
        vocabulary = beside
    if isinstance(vocabulary, str | Path):
        vocabulary = Vocabulary.read(vocabulary)
    with open_hdf5(path) as found:
        datasets = _standard_names(found)
        options = _completed(options, datasets)
        _check(path, options, datasets)
        if vocabulary is not None and options.char_cnn is None and len(vocabulary) != options.n_tokens_vocab:
            needs = f"{options.n_tokens_vocab:,} words, one for each row"
            raise InputError(f"{path}: its vocabulary must hold {needs}. Received: {len(vocabulary):,}.")
        bilm = BiLM(options, vocabulary, initial_state, stateful, top_layer)
        _assign(bilm, path, rename_table(options), datasets)
        if initial_state == "warm":
            rows = list(state_table(options))
            if rows[0].name in datasets:
                _assign(bilm, path, rows, datasets)
            else:
                bilm.warm_up()
    return bilm


def save_bilm(bilm: BiLM, directory: str | Path, dtype: str = "float32") -> Path:
    """Writes options.json and weights.hdf5 (and vocab.txt of a word-id model) into a directory; returns the weights' path.

    `dtype="float16"` halves the file. Each file replaces the one before only when it is whole.
    """
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    rows = [*rename_table(bilm.options), *(state_table(bilm.options) if bilm.initial_state == "warm" else ())]
    path = directory / "weights.hdf5"
    with new_hdf5(path) as file:
        for row in rows:
            kind = "float32" if row.name.startswith("initial_state") else dtype
            file[row.name] = row.read(bilm).astype(kind)
    bilm.options.write(directory / "options.json")
    if bilm.vocabulary is not None:
        bilm.vocabulary.write(directory / "vocab.txt")
    return path


def _standard_names(found: dict[str, h5py.Dataset]) -> dict[str, h5py.Dataset]:
    """bilm-tf leaves a level out of the names of one-layer models."""
    return {name.replace("/RNN/LSTMCell/", "/RNN/MultiRNNCell/Cell0/LSTMCell/"): item for name, item in found.items()}


def _completed(options: BiLMOptions, datasets: dict[str, h5py.Dataset]) -> BiLMOptions:
    """What the file knows and options.json leaves out: the number of words, and that there is no backward direction."""
    if options.char_cnn is None and options.n_tokens_vocab is None and "embedding" in datasets:
        options = replace(options, n_tokens_vocab=datasets["embedding"].shape[0])
    if options.bidirectional and not any(name.startswith("RNN_1/") for name in datasets):
        options = replace(options, bidirectional=False)
    return options


def _check(path: Path, options: BiLMOptions, datasets: dict[str, h5py.Dataset]) -> None:
    expected = {row.name: row.shape for row in rename_table(options)}
    optional = {row.name: row.shape for row in state_table(options)}
    if optional.keys() & datasets.keys():
        expected |= optional
    problems = [f"{name} {shape} is missing" for name, shape in expected.items() if name not in datasets]
    for name, dataset in datasets.items():
        shape = tuple(dataset.shape)
        if name == "char_embed" and shape[1:] == expected.get(name, ())[1:] and shape[0] == N_CHARACTERS + 1:
            continue  # written by tools that train with 262: the last row is never used
        if name not in expected:
            problems.append(f"{name} {shape} is not part of such a model")
        elif shape != expected[name]:
            problems.append(f"{name} is {shape}, options give {expected[name]}")
        elif dataset.dtype.kind != "f":
            problems.append(f"{name} must hold floats, not {dataset.dtype}")
    if problems:
        raise InputError(f"{path} does not match its options: {listed(problems)}.")


def _assign(bilm: BiLM, path: Path, rows: Any, datasets: dict[str, h5py.Dataset]) -> None:
    for row in rows:
        row.assign(bilm, finite(path, row.name, numbers(path, row.name, datasets[row.name])[: row.shape[0]]))
