"""`TrainingOptions`: how a biLM is trained; named as in options.json, which they are written to."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from typing import Literal

from biLM.errors import InputError
from biLM.flags import option


@dataclass(frozen=True, kw_only=True)
class TrainingOptions:
    """The training keys of options.json, and ours."""

    unroll_steps: int = option(20, "positions of one batch row, truncated backpropagation (bilm-tf)")
    batch_size: int = option(128, "rows of a batch (bilm-tf)")
    n_epochs: int = option(10, "passes over the text (bilm-tf)")
    max_steps: int | None = option(None, "so many batches, whatever n_epochs says; the learning rate is laid out for them")
    sample_softmax: bool = option(True, "train with the sampled softmax, or the full one (bilm-tf)")
    n_negative_samples_batch: int = option(
        8192, "candidates of the sampled softmax (bilm-tf); the full softmax where the vocabulary holds no more words"
    )
    all_clip_norm_val: float = option(10.0, "global norm that gradients are clipped to (bilm-tf)")
    learning_rate: float | None = option(None, "0.2 for Adagrad (bilm-tf) and 0.002 for Adam when not given")
    optimizer: Literal["adagrad", "adam"] = option(
        "adagrad", "adagrad as in bilm-tf; adam warms up for 500 steps and then falls to 0 along a cosine"
    )
    share_embedding_softmax: bool = option(False, "one matrix for word-id input and softmax (bilm-tf)")
    reset_probability: float = option(
        0.1, "chance that a row's carried state starts anew from zeros at a batch (0: bilm-tf)"
    )
    freeze: tuple[Literal["characters", "lstm"], ...] = option(
        (), "parts that stay as they are: characters (or the embedding of word ids), lstm"
    )
    warmup_steps: int = option(0, "first steps that train the softmax alone")
    eval_steps: int = option(500, "batches between two rows of history.csv, each with held-out perplexity")
    heldout_sentences: int = option(1000, "sentences of the held-out text, drawn at random, that each row measures")
    patience: int | None = option(None, "stop after this many rows without a better held-out perplexity")
    save_minutes: float = option(10.0, "minutes between two checkpoints; each row of history.csv makes one too")
    tensorboard: bool = option(False, "write the figures of history.csv for TensorBoard too")
    compute_dtype: Literal["float32", "bfloat16"] = option(
        "float32", "what the network computes in; weights, the softmax and what is measured are float32 with bfloat16, too"
    )
    weights_dtype: Literal["float32", "float16"] = option("float32", "how weights.hdf5 is written; training is float32")
    seed: int = option(0, "of weights, order, dropout and candidates")

    @property
    def rate(self) -> float:
        """The learning rate, given or the optimiser's own."""
        return self.learning_rate or {"adagrad": 0.2, "adam": 0.002}[self.optimizer]

    def n_candidates(self, n_tokens_vocab: int) -> int:
        """Words that a step's softmax is over: V itself where it is the full one."""
        return min(self.n_negative_samples_batch, n_tokens_vocab) if self.sample_softmax else n_tokens_vocab

    def __post_init__(self) -> None:
        for name in ("unroll_steps", "batch_size", "n_epochs", "n_negative_samples_batch", "eval_steps"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} must be at least 1. Received: {getattr(self, name)}.")
        for name in ("max_steps", "patience"):
            if getattr(self, name) is not None and getattr(self, name) < 1:
                raise InputError(f"{name} must be at least 1. Received: {getattr(self, name)}.")
        for name in ("warmup_steps", "heldout_sentences"):
            if getattr(self, name) < 0:
                raise InputError(f"{name} must be at least 0. Received: {getattr(self, name)}.")
        if not 0 <= self.seed < 2**32:
            raise InputError(f"seed must be from 0 to {2**32 - 1}. Received: {self.seed}.")
        for name in ("learning_rate", "all_clip_norm_val"):
            if (value := getattr(self, name)) is not None and not value > 0:
                raise InputError(f"{name} must be above 0. Received: {value}.")
        if self.tensorboard and find_spec("tensorboard") is None:
            raise InputError("--tensorboard needs the package tensorboard: pip install 'ner-elmo[tensorboard]'.")
        if not 0 <= self.reset_probability <= 1:
            raise InputError(f"reset_probability must be from 0 to 1. Received: {self.reset_probability}.")
