"""`tfhub:HANDLE_OR_DIRECTORY`: an ELMo module of TensorFlow Hub as a frozen biLM.

Modules of the TF1 format (google/elmo/2 and /3) and SavedModels, ours too, through their signature "tokens". What a
module keeps from call to call (the LSTM state, in some) is found by trying, and put back before each call; whether its
results depend on padding or on batch-mates is tried too, and then sentences go in by equal length, or one by one: a
sentence's vectors depend on the sentence alone, as with our own biLM.
"""

from __future__ import annotations

import hashlib
import os
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from threading import Lock
from typing import Any
from urllib.error import HTTPError

import numpy as np

from biLM.batching import batches_by_length, filled, in_order, require_finite, shape_step
from biLM.characters import round_up
from biLM.errors import InputError
from biLM.hub_state import find_state
from biLM.published import TFHUB, is_offline

Sentence = Sequence[str]
POSITIONS_AT_ONCE = 1024  # such modules convolve every position, not each distinct token once
PROBES: tuple[Sentence, ...] = (("The", "end", "."), ("Not", "yet", "!"), ("A", "much", "longer", "sentence", "here", "."))
TOLERANCE = 1e-4  # above what another batch size costs in float32, below what another state changes
PADDED, EQUAL, ALONE = "padded", "equal lengths", "alone"


class HubBiLM:
    """A module with the interface of `BiLM` that the tagger, the cache and `biLM.embed` use; nothing of it is trained.

    Arguments:
        module: what `tensorflow_hub.load` gives. path: its directory. name: how the user calls it.
        top_layer: the highest layer that is wanted; None: all.

    Layer 0 is `word_emb` twice, layer k `lstm_outputs{k}`; the module's own mix `elmo` is not used.
    """

    def __init__(self, module: Any, path: str, name: str, top_layer: int | None = None):
        self.module, self.path, self.name = module, path, name
        self._lock = Lock()  # around what is put back and the call that changes it
        self.function = _tokens_signature(module, name)
        highest = max(k for k in range(100) if not k or f"lstm_outputs{k}" in self.function.structured_outputs)
        self.top_layer = highest if top_layer is None else top_layer
        if not 0 <= self.top_layer <= highest:
            raise InputError(f"`top_layer` must be from 0 to {highest}, the module's layers. Received: {top_layer}.")
        self._put_back: Callable[[], Any] = lambda: None
        self._put_back = find_state(module, self.function, lambda: self._call(PROBES))
        self.together, self.width = self._try_together()

    @property
    def n_layers(self) -> int:
        """L + 1."""
        return self.top_layer + 1

    def fingerprint(self) -> str:
        """A hash of the module's files."""
        digest = hashlib.sha256()
        for path in sorted(Path(self.path).rglob("*")):
            if path.is_file():
                digest.update(f"{path.relative_to(self.path)}\n".encode())
                with open(path, "rb") as file:
                    digest.update(hashlib.file_digest(file, "sha256").digest())
        return digest.hexdigest()

    def token_table(self, capacity: int = 0) -> None:
        """A module computes its token vectors itself."""

    def embed(self, sentences: Sequence[Sentence], batch_size: int | None = None) -> list[np.ndarray]:
        """See `BiLM.embed`."""
        return in_order(self.embed_in_batches(sentences, batch_size), sentences)

    def embed_in_batches(
        self, sentences: Sequence[Sentence], batch_size: int | None = None, table: None = None
    ) -> Iterator[tuple[list[int], np.ndarray]]:
        """See `BiLM.embed_in_batches`; 64 where no batch size is given."""
        for positions in batches_by_length(list(map(len, sentences)), batch_size or 64):
            yield positions, self.embed_batch([sentences[position] for position in positions])

    def embed_batch(self, sentences: Sequence[Sentence], table: None = None) -> np.ndarray:
        """Activations of a batch. Shape: (B, L+1, T, D), T as `BiLM.encode` makes it, less 2; 0 in the padding."""
        longest = max(map(len, filled(sentences, ())), default=0)
        shape = (len(sentences), self.n_layers, round_up(longest + 2, shape_step()) - 2, self.width)
        result = np.zeros(shape, np.float32)
        for group in self._groups(sentences):
            batch = self._call([sentences[position] for position in group])
            for row, position in enumerate(group):
                length = len(sentences[position])
                result[position, :, :length] = batch[row, :, :length]
        return require_finite(result, sentences)

    def _groups(self, sentences: Sequence[Sentence]) -> Iterator[list[int]]:
        """Positions of sentences that may go in together; empty sentences go nowhere."""
        group: list[int] = []
        for position in sorted(range(len(sentences)), key=lambda position: len(sentences[position])):
            length = len(sentences[position])
            full = (len(group) + 1) * (length + 2) > POSITIONS_AT_ONCE
            other = self.together == EQUAL and group and len(sentences[group[0]]) != length
            if group and (full or other or self.together == ALONE):
                yield group
                group = []
            if length:
                group.append(position)
        if group:
            yield group

    def _call(self, sentences: Sequence[Sentence]) -> np.ndarray:
        """Activations of sentences of one token at least, from the state that the module was saved with."""
        import tensorflow as tf

        lengths = np.array([len(sentence) for sentence in sentences], np.int32)
        tokens = np.full((len(sentences), lengths.max()), b"", object)
        for row, sentence in enumerate(sentences):
            tokens[row, : len(sentence)] = [token.encode("utf-8", "surrogatepass") for token in sentence]
        with self._lock:
            self._put_back()
            outputs = self.function(tokens=tf.constant(tokens, tf.string), sequence_len=tf.constant(lengths))
        words = outputs["word_emb"].numpy()
        layers = [np.concatenate([words, words], axis=-1)]
        layers += [outputs[f"lstm_outputs{k}"].numpy() for k in range(1, self.n_layers)]
        if len({layer.shape for layer in layers}) > 1:
            shapes = ", ".join(str(layer.shape) for layer in layers)
            raise InputError(f"{self.name}: all layers must be of one width, word_emb of half of it. Received: {shapes}.")
        return np.stack(layers, axis=1)

    def _try_together(self) -> tuple[str, int]:
        """How sentences may be batched, and D."""
        alone = [self._call([sentence])[0] for sentence in PROBES]
        if not _same(self._call(PROBES[:1]), alone[:1]):
            raise InputError(f"{self.name}: must give the same vectors for the same sentence. It does not.")
        width = alone[0].shape[-1]
        if _same(self._call(PROBES), alone):
            return PADDED, width
        return EQUAL if _same(self._call(PROBES[:2]), alone[:2]) else ALONE, width


def load_hub(name: str, top_layer: int | None = None, offline: bool | None = None) -> HubBiLM:
    """Loads `tfhub:HANDLE_OR_DIRECTORY`; tensorflow_hub finds and keeps what a handle names. offline: as in `resolve`.

    Raises: InputError where there is no such module, where it is no ELMo, and where it is not here and must not be fetched.
    """
    handle = name.removeprefix(TFHUB)
    if "://" not in handle and not Path(handle).is_dir():
        raise InputError(f"{name}: must be a URL or a directory. Received: {handle!r}, which is neither.")
    try:
        import tensorflow as tf

        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "pkg_resources is deprecated", UserWarning)  # it is bounded in pyproject.toml
            import tensorflow_hub as hub
    except ImportError as error:
        raise InputError(f"{name}: needs TensorFlow and tensorflow-hub: {error}.") from error
    if (is_offline() if offline is None else offline) and "://" in handle:
        _check_cached(name, handle)
    try:
        path = hub.resolve(handle)
        module = hub.load(path)
    except (OSError, ValueError, RuntimeError, LookupError, tf.errors.OpError) as error:  # what it raises for damaged files
        if isinstance(error, HTTPError):
            error.close()
        raise InputError(f"{name}: cannot be loaded: {' '.join(str(error).split())}") from error
    return HubBiLM(module, os.fsdecode(path), name, top_layer)


def _check_cached(name: str, handle: str) -> None:
    """The library keeps a module in a directory named by the SHA-1 of its handle."""
    from tensorflow_hub import resolver

    place = Path(resolver.tfhub_cache_dir(use_temp=True)) / hashlib.sha1(handle.encode()).hexdigest()
    if not place.is_dir():
        raise InputError(f"{name}: is not here, and this is offline. Unpack the module into {place}.")


def _tokens_signature(module: Any, name: str) -> Any:
    signatures = getattr(module, "signatures", {})
    if "tokens" not in signatures:
        found = ", ".join(sorted(signatures)) or "none"
        raise InputError(f"{name}: is no ELMo: it must have the signature 'tokens'. It has: {found}.")
    function = signatures["tokens"]
    takes, gives = set(function.structured_input_signature[1]), set(function.structured_outputs)
    if takes != {"tokens", "sequence_len"} or not {"word_emb", "lstm_outputs1"} <= gives:
        raise InputError(
            f"{name}: is no ELMo: 'tokens' must turn tokens and sequence_len into word_emb, lstm_outputs1 and so on. "
            f"It turns {', '.join(sorted(takes))} into {', '.join(sorted(gives))}."
        )
    dtypes = {key: spec.dtype.name for key, spec in function.structured_input_signature[1].items()}
    if dtypes != {"tokens": "string", "sequence_len": "int32"}:
        says = ", ".join(f"{key} as {dtypes[key]}" for key in sorted(dtypes))
        raise InputError(f"{name}: is no ELMo: 'tokens' must take tokens as string, sequence_len as int32. It takes {says}.")
    return function


def _same(rows: Iterable[np.ndarray], others: Iterable[np.ndarray]) -> bool:
    """Whether rows agree at the positions that both have: the second ones', which are not padded."""
    return all(np.allclose(row[:, : other.shape[1]], other, atol=TOLERANCE) for row, other in zip(rows, others, strict=True))
