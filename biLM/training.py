"""Training a biLM: shards in, options.json + weights.hdf5 + vocab.txt + softmax.hdf5 out.

A run is its directory: training.json says what was started, checkpoints/ where it stands, history.csv how it went. A run
that goes on from a checkpoint takes the same steps as one that was never interrupted.

Source of the defaults: bilm-tf's training script. What differs: both directions read the same text; the tokens are
counted here; the candidates of the sampled softmax are drawn with NumPy, so that a seed means the same on any backend.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import keras
import numpy as np

from biLM.checkpoint import checkpoints, read_checkpoint, write_checkpoint
from biLM.corpus import PackedBatches, Position, SentenceStream, read_sentences
from biLM.distribution import ALONE, Placement
from biLM.errors import InputError, Stopped
from biLM.flags import from_mapping
from biLM.history import Row, append_history, start_history, tensorboard
from biLM.language_model import LanguageModel
from biLM.model import BiLM
from biLM.options import BiLMOptions
from biLM.perplexity import Perplexity, perplexity
from biLM.row_table import RowTable
from biLM.run import read_run
from biLM.softmax import Softmax
from biLM.trained import save
from biLM.training_inputs import TrainingInputs
from biLM.training_options import TrainingOptions
from biLM.vocabulary import Vocabulary


@dataclass(frozen=True)
class Progress:
    """Where training stands. loss: sampled, nats, mean since the last row of history.csv, which `row` is where this step
    made one; tokens/s over the last steps."""

    step: int
    n_steps: int
    loss: float
    tokens_per_second: float
    row: Row | None = None


class Training:
    """A run at work, from where its last checkpoint left it, or from the start.

    Arguments:
        directory: of the run (see `start_run`).
        begin: the run is being made, and its first weights are still to come (see `biLM.tuning`).
        placement: the devices and processes that take part.
    """

    def __init__(self, directory: Path, begin: bool = False, placement: Placement = ALONE):
        self.directory, self.placement = directory, placement
        if placement.is_first:
            self._sweep()
        self.run = run = read_run(directory)
        self.training = training = from_mapping(TrainingOptions, run.training, str(directory / "training.json"))
        placement.check(training.batch_size)
        self.vocabulary = Vocabulary.read(directory / "vocab.txt")
        self.options = BiLMOptions.read(directory / "options.json")
        self.paths = [Path(path) for path in run.train]
        keras.utils.set_random_seed(training.seed)
        with placement.scope():
            self._build()
        self.reader = self.model  # what measures: on this process's device alone, in float32
        if placement.distribution is not None or training.compute_dtype != "float32":
            self.reader = LanguageModel(BiLM(self.options, self.vocabulary))
        self.stream = SentenceStream(self.paths, training.seed)
        self.batches = PackedBatches(self.stream, self.vocabulary, training.batch_size, training.unroll_steps)
        self.step, self.losses = 0, [0.0, 0]
        self.best: float | None = None
        self.rows_since_best = 0
        self.sample = sample_sentences(map(Path, run.heldout), training.heldout_sentences, training.seed)
        self._restore()
        if run.tuned_from and not begin and not checkpoints(directory / "checkpoints"):
            raise InputError(f"{directory}: was cut off before its first checkpoint. Remove it and start `tune` again.")

    def _sweep(self) -> None:
        """Removes what a killed process was writing."""
        for left in [*self.directory.glob(".*.partial"), *self.directory.glob("checkpoints/.*.partial")]:
            left.unlink()

    def _build(self) -> None:
        training, n_words = self.training, len(self.vocabulary)
        policy = {"float32": "float32", "bfloat16": "mixed_bfloat16"}[training.compute_dtype]
        bilm = BiLM(self.options, self.vocabulary, dtype=policy)
        self.inputs = TrainingInputs(bilm, training, n_words, self.placement)
        n_rows, n_word_rows = self.inputs.n_softmax_rows, self.inputs.n_word_rows
        self.model = LanguageModel(bilm, n_rows, n_word_rows, training.batch_size, training.unroll_steps)
        self._freeze(training.freeze)
        optimizer = build_optimizer(training, self.run.n_steps)
        optimizer.build(self.model.trainable_variables)
        self.model.compile(optimizer=optimizer, jit_compile=bilm.jit_compile)
        self.softmax = Softmax.initial(n_words, self.options.lstm.projection_dim, training.seed)
        variables = self.model.row_variables
        matrices = [self.softmax.kernel, self.softmax.bias]
        self.softmax_rows = RowTable("softmax", list(zip(variables, matrices, strict=False)), optimizer)
        self.word_rows, self.words = None, self.softmax.kernel
        if n_word_rows:
            self.words = np.array(bilm.encoder.embedding)
            self.word_rows = RowTable("words", [(variables[2], self.words)], optimizer)

    def _freeze(self, parts: Sequence[str]) -> None:
        bilm = self.model.bilm
        # the rows of word ids are trained in `LanguageModel.words`, or are those of the softmax
        bilm.encoder.trainable = self.options.char_cnn is not None and "characters" not in parts
        if self.model.words is not None:
            self.model.words.trainable = "characters" not in parts
        for stack in bilm.directions:
            stack.trainable = "lstm" not in parts

    # -- steps -----------------------------------------------------------------------------------------------------

    def go_on(
        self, report: Callable[[Progress], None] = lambda progress: None, stop: Callable[[], str | None] = lambda: None
    ) -> None:
        """Trains to the end and leaves the best weights, or the last without held-out text, in the directory.

        `stop()` is asked after every step; where it returns a reason, a checkpoint is written and `Stopped` raised.
        """
        if self.placement.is_first:
            start_history(self.directory / "history.csv", self.step)
        wanted = self.training.tensorboard and self.placement.is_first
        with tensorboard(self.directory / "tensorboard" if wanted else None) as board:
            self._take_steps(report, stop, board)

    def _take_steps(self, report, stop, board) -> None:
        per_step = self.training.batch_size * self.training.unroll_steps
        saved = timed = time.monotonic()
        first, rate = self.step, 0.0
        while self.step < self.run.n_steps and not self._out_of_patience():
            begin = time.monotonic()
            self.take_step()
            seconds = time.monotonic() - begin
            rate = per_step / seconds if rate == 0 else 0.9 * rate + 0.1 * per_step / seconds
            row = None
            if self.step % self.training.eval_steps == 0 or self.step in (self.run.n_steps, self.training.warmup_steps):
                average = (self.step - first) * per_step / (time.monotonic() - timed)
                row = self._end_row(average)
                board(row.step, row.figures)
                saved = timed = time.monotonic()
                first = self.step
            elif time.monotonic() - saved > 60 * self.training.save_minutes:
                self.save_checkpoint()
                saved = time.monotonic()
            report(Progress(self.step, self.run.n_steps, self._mean_loss(row), rate, row))
            if reason := stop():
                if row is None:
                    self.save_checkpoint()
                raise Stopped(f"{reason} at step {self.step}. Go on with: `python -m biLM train --resume {self.directory}`.")

    def take_step(self) -> float:
        """One batch; returns its loss in nats a prediction."""
        inputs = self.inputs(next(self.batches), self.step)
        with self.placement.scope():
            self.softmax_rows.load(inputs.softmax_rows)
            if self.word_rows:
                self.word_rows.load(inputs.word_rows)
            loss = float(self.model.train_on_batch(inputs.tensors)) / self.training.unroll_steps
        self.step += 1
        if not np.isfinite(loss):
            raise InputError(f"the loss is not finite at step {self.step}: {loss}. Lower --learning-rate.")
        self.softmax_rows.store(inputs.softmax_rows)
        if self.word_rows:
            self.word_rows.store(inputs.word_rows)
        self.losses = [self.losses[0] + loss, self.losses[1] + 1]
        return loss

    # -- what is measured and kept -----------------------------------------------------------------------------------

    def _end_row(self, tokens_per_second: float) -> Row:
        """Measures the held-out sample, keeps the weights if they are the best so far, writes a row and a checkpoint."""
        self._require_finite()
        training, found = self.training, self.evaluate()
        row = Row(
            step=self.step,
            epoch=self.stream.position.epoch,
            tokens=self.step * training.batch_size * training.unroll_steps,
            loss=self._mean_loss(None),
            heldout_forward=found.forward if found else None,
            heldout_backward=found.backward if found else None,
            heldout_both=found.both if found else None,
            tokens_per_second=tokens_per_second,
            learning_rate=float(self.model.optimizer.learning_rate),
        )
        self.losses = [0.0, 0]
        self.rows_since_best += 1
        if found is None or self.best is None or found.both < self.best:
            self.best, self.rows_since_best = row.heldout_both, 0
            if self.placement.is_first:
                save(self.reader.bilm, self.softmax, self.directory, training.weights_dtype)
        if self.placement.is_first:
            append_history(self.directory / "history.csv", row)
        self.save_checkpoint()
        return row

    def _require_finite(self) -> None:
        """Raises InputError for weights that the last step spoiled: without another one, no loss would show it."""
        if not all(np.isfinite(array).all() for _, array in self._arrays()):
            raise InputError(f"the weights are not finite at step {self.step}. Lower --learning-rate.")

    def prepare_to_evaluate(self) -> None:
        """Finds the state that sentences start from anew, and gives word-id input its trained rows."""
        bilm = self.reader.bilm
        if self.reader is not self.model:
            for variable, trained in zip(bilm.variables, self.model.bilm.variables, strict=True):
                variable.assign(np.asarray(trained))
        if not self.options.char_cnn:
            bilm.encoder.embedding.assign(self.words)
        bilm.warm_up()

    def evaluate(self) -> Perplexity | None:
        """Perplexity of the held-out sample."""
        self.prepare_to_evaluate()
        return perplexity(self.reader, self.softmax, self.vocabulary, self.sample) if self.sample else None

    def _mean_loss(self, row: Row | None) -> float:
        return row.loss if row else self.losses[0] / max(1, self.losses[1])

    def _out_of_patience(self) -> bool:
        return self.training.patience is not None and self.rows_since_best >= self.training.patience

    # -- checkpoints -------------------------------------------------------------------------------------------------

    def save_checkpoint(self) -> None:
        if not self.placement.is_first:
            return
        self._require_finite()
        state = {
            "step": self.step, "losses": self.losses, "best": self.best, "rows_since_best": self.rows_since_best,
            "position": asdict(self.stream.position), "rows": self.batches.rows,
        }  # fmt: skip
        write_checkpoint(self.directory / "checkpoints", self.step, dict(self._arrays()), state)

    def _tables(self) -> list[RowTable]:
        return [self.softmax_rows, self.word_rows] if self.word_rows else [self.softmax_rows]

    def _variables(self) -> Iterator[tuple[str, keras.Variable]]:
        """All variables but those that hold rows of a table: what is in them between two steps has no meaning."""
        rows = {id(variable) for table in self._tables() for variable, _ in table.held}
        for kind, owner in (("model", self.model), ("optimizer", self.model.optimizer)):
            for number, variable in enumerate(v for v in owner.variables if id(v) not in rows):
                yield f"{kind}/{number:03d}", variable

    def _arrays(self) -> Iterator[tuple[str, np.ndarray]]:
        for name, variable in self._variables():
            yield name, np.asarray(variable)
        for table in self._tables():
            yield from table.arrays()

    def _restore(self) -> None:
        """Goes to the last checkpoint that is whole; to the start where there is none."""
        problems = []
        for path in reversed(checkpoints(self.directory / "checkpoints")):
            try:
                arrays, state = read_checkpoint(path)
            except InputError as error:
                problems.append(str(error))
                continue
            self._assign(path, arrays)
            self.step, self.losses = state["step"], state["losses"]
            self.best, self.rows_since_best = state["best"], state["rows_since_best"]
            self.stream = SentenceStream(self.paths, self.training.seed, Position(**state["position"]))
            self.batches.sentences, self.batches.rows = self.stream, state["rows"]
            break
        else:
            if problems:
                raise InputError(f"{problems[-1]} No checkpoint is whole: remove {self.directory} and begin anew.")
        self.notices = problems

    def _assign(self, path: Path, arrays: dict[str, np.ndarray]) -> None:
        here = dict(self._arrays())
        wrong = [name for name in here.keys() | arrays.keys() if _shape(here, name) != _shape(arrays, name)]
        if wrong:
            name = min(wrong)
            raise InputError(
                f"{path}: a checkpoint of another shape: {name} must be {_shape(here, name)}. "
                f"Received: {_shape(arrays, name)}. options.json or vocab.txt were changed after the run began."
            )
        with self.placement.scope():
            for name, variable in self._variables():
                variable.assign(arrays[name])
        for table in self._tables():
            for name, matrix in table.arrays():
                matrix[...] = arrays[name]


def _shape(arrays: dict[str, np.ndarray], name: str) -> tuple[int, ...] | None:
    return arrays[name].shape if name in arrays else None


def build_optimizer(training: TrainingOptions, n_steps: int) -> keras.optimizers.Optimizer:
    """Adagrad without epsilon and with initial accumulator 1, as TensorFlow 1 had it, or Adam."""
    if training.optimizer == "adagrad":
        return keras.optimizers.Adagrad(
            training.rate,
            initial_accumulator_value=1.0,
            epsilon=0.0,
            global_clipnorm=training.all_clip_norm_val,
        )
    warmup = min(500, n_steps // 10)
    schedule = keras.optimizers.schedules.CosineDecay(
        0.0, max(1, n_steps - warmup), warmup_target=training.rate, warmup_steps=warmup
    )
    return keras.optimizers.Adam(schedule, global_clipnorm=training.all_clip_norm_val)


def sample_sentences(paths: Iterable[Path], size: int, seed: int) -> list[list[str]]:
    """At most `size` sentences drawn at random, each equally likely, in one pass (reservoir sampling)."""
    rng, sample = random.Random(seed), []
    for number, sentence in enumerate(read_sentences(paths)):
        if number < size:
            sample.append(sentence)
        elif (place := rng.randrange(number + 1)) < size:
            sample[place] = sentence
    return sample
