"""Training a biLM: batches in, weights out.

Source of the defaults: bilm-tf's training script. What differs: both directions read the same text; the tokens are
counted here; the candidates of the sampled softmax are drawn with NumPy, so that a seed means the same on any backend.
"""

from __future__ import annotations

import csv
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np

from biLM.corpus import Batch, packed_batches, read_sentences, shuffled_sentences
from biLM.errors import InputError
from biLM.language_model import LanguageModel
from biLM.model import BiLM
from biLM.options import BiLMOptions
from biLM.perplexity import Perplexity, perplexity
from biLM.progress import Report
from biLM.softmax import Softmax, draw_candidates
from biLM.training_options import TrainingOptions
from biLM.vocabulary import Vocabulary
from biLM.weights import save_bilm


@dataclass(frozen=True)
class Progress:
    """Where training stands: steps, tokens of one direction, the sampled loss in nats since the last report, tokens/s."""

    step: int
    n_steps: int
    tokens: int
    loss: float
    tokens_per_second: float


def train(
    options: BiLMOptions,
    training: TrainingOptions,
    paths: Sequence[Path],
    out: Path,
    vocabulary: Vocabulary | None = None,
    vocabulary_size: int | None = None,
    report: Callable[[Progress], None] = lambda progress: None,
    report_seconds: float = 10.0,
    save_seconds: float = 600.0,
) -> LanguageModel:
    """Trains a biLM on shards and leaves options.json, weights.hdf5, vocab.txt, softmax.hdf5 and history.csv in `out`.

    The vocabulary is counted from the shards when None, at most `vocabulary_size` words. Weights are saved every
    `save_seconds` and at the end, also after Ctrl-C.
    """
    if vocabulary is None:
        vocabulary = Vocabulary.count(read_sentences(paths), vocabulary_size)
    n_positions = sum(len(sentence) + 1 for sentence in read_sentences(paths))
    per_step = training.batch_size * training.unroll_steps
    n_steps = training.max_steps or training.n_epochs * n_positions // per_step
    if n_steps < 1:
        raise InputError(
            f"the text must hold at least one batch, batch_size * unroll_steps = {per_step} positions. "
            f"Received: {n_positions}. Lower --batch-size."
        )
    keras.utils.set_random_seed(training.seed)
    extra = {key: value for key, value in asdict(training).items() if key not in ("seed", "max_steps", "weights_dtype")}
    extra |= {"n_train_tokens": n_positions, "sample_softmax": True}
    options = replace(options, n_tokens_vocab=len(vocabulary), extra=options.extra | extra)
    bilm = BiLM(options, vocabulary)
    model = LanguageModel(
        bilm, Softmax(len(vocabulary), options.lstm.projection_dim), training.batch_size, training.unroll_steps
    )
    model.compile(optimizer=build_optimizer(training, n_steps), jit_compile=bilm.jit_compile)
    out.mkdir(parents=True, exist_ok=True)
    vocabulary.write(out / "vocab.txt")
    try:
        _fit(model, training, vocabulary, paths, n_steps, out, report, report_seconds, save_seconds)
    except KeyboardInterrupt:
        save(model, out, training.weights_dtype)
        raise
    save(model, out, training.weights_dtype)
    return model


def build_optimizer(training: TrainingOptions, n_steps: int) -> keras.optimizers.Optimizer:
    """Adagrad without epsilon and with initial accumulator 1, as TensorFlow 1 had it, or Adam."""
    if training.optimizer == "adagrad":
        return keras.optimizers.Adagrad(
            training.learning_rate,
            initial_accumulator_value=1.0,
            epsilon=0.0,
            global_clipnorm=training.all_clip_norm_val,
        )
    warmup = min(500, n_steps // 10)
    schedule = keras.optimizers.schedules.CosineDecay(
        0.0, max(1, n_steps - warmup), warmup_target=training.learning_rate, warmup_steps=warmup
    )
    return keras.optimizers.Adam(schedule, global_clipnorm=training.all_clip_norm_val)


def _fit(model, training, vocabulary, paths, n_steps, out, report, report_seconds, save_seconds) -> None:
    sentences = shuffled_sentences(paths, training.seed)
    batches = packed_batches(sentences, vocabulary, training.batch_size, training.unroll_steps)
    per_step = training.batch_size * training.unroll_steps
    with open(out / "history.csv", "w", newline="", encoding="utf-8") as file:
        history = csv.writer(file)
        history.writerow(["step", "tokens", "loss", "tokens_per_second"])
        losses: list[float] = []
        reported, saved, reported_step = time.monotonic(), time.monotonic(), 0
        for step, inputs in enumerate(model_inputs(batches, model, training), 1):
            losses.append(float(model.train_on_batch(inputs)))
            now = time.monotonic()
            if now - reported > report_seconds or step == n_steps:
                rate = (step - reported_step) * per_step / (now - reported)
                loss = float(np.mean(losses)) / training.unroll_steps
                if not np.isfinite(loss):
                    raise InputError(f"the loss is not finite at step {step}. Lower --learning-rate.")
                losses.clear()
                history.writerow([step, step * per_step, round(loss, 5), round(rate, 1)])
                file.flush()
                report(Progress(step, n_steps, step * per_step, loss, rate))
                reported, reported_step = now, step
            if now - saved > save_seconds:
                save(model, out, training.weights_dtype)
                saved = time.monotonic()
            if step == n_steps:
                break


def model_inputs(batches: Iterator[Batch], model: LanguageModel, training: TrainingOptions) -> Iterator[dict[str, Any]]:
    """Batches as `LanguageModel` takes them; the full softmax where there would be as many candidates as words."""
    rng = np.random.default_rng([training.seed, 1])
    n_candidates = training.n_negative_samples_batch
    encode, n_tokens_vocab = model.bilm.token_input(), model.softmax.n_tokens_vocab
    for batch in batches:
        rows = model.bilm.pad_rows(encode(batch.tokens, model.bilm.shape_step))
        keep = (rng.random(training.batch_size) >= training.reset_probability).astype(np.float32)
        inputs: dict[str, Any] = {
            "characters": rows,
            "token_index": batch.token_index,
            "targets": batch.targets,
            "keep": keep,
        }
        if n_candidates < n_tokens_vocab:
            inputs["candidates"], inputs["n_tries"] = draw_candidates(rng, n_tokens_vocab, n_candidates)
        yield inputs


def save(model: LanguageModel, directory: Path, dtype: str = "float32") -> None:
    """Writes the biLM and, in softmax.hdf5, `W` (V, P) and `b` (V,). The warm initial state is found anew."""
    model.bilm.warm_up()
    save_bilm(model.bilm, directory, dtype)
    partial = directory / ".softmax.hdf5.partial"
    with h5py.File(partial, "w") as file:
        file["W"], file["b"] = np.asarray(model.softmax.kernel), np.asarray(model.softmax.bias)
    partial.replace(directory / "softmax.hdf5")


def load_language_model(directory: Path) -> tuple[LanguageModel, Vocabulary]:
    """What `train` left behind, ready for `perplexity`."""
    from biLM.weights import load_bilm

    vocabulary = Vocabulary.read(directory / "vocab.txt")
    bilm = load_bilm(directory, vocabulary=vocabulary)
    softmax = Softmax(len(vocabulary), bilm.options.lstm.projection_dim)
    model = LanguageModel(bilm, softmax)
    path = directory / "softmax.hdf5"
    if not path.is_file():
        raise InputError(f"{path}: no such file. Perplexity needs the softmax that `python -m biLM train` leaves there.")
    with h5py.File(path, "r") as file:
        if file["W"].shape != softmax.kernel.shape:
            raise InputError(f"{path}: W must be {softmax.kernel.shape} for this vocabulary. Received: {file['W'].shape}.")
        softmax.kernel.assign(file["W"][()])
        softmax.bias.assign(file["b"][()])
    return model, vocabulary


def heldout_perplexity(
    directory: Path, paths: Sequence[Path], batch_size: int = 64, report: Report = lambda done, total: None
) -> Perplexity:
    """Perplexity of shards under the model in a directory."""
    model, vocabulary = load_language_model(directory)
    return perplexity(model, vocabulary, list(read_sentences(paths)), batch_size, report)
