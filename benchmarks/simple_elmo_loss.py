"""Trains with simple_elmo as the script of the other tools does, and adds to its line the loss of the last ten batches.

    PYTHON simple_elmo_loss.py simple_elmo_speed.py train --sentences FILE --steps N

PYTHON has simple_elmo, and nothing of ours. loss: sampled, nats, the mean of both directions, as the tool computes it.
"""

import contextlib
import io
import json
import math
import os
import runpy
import statistics
import sys

os.environ |= {"TF_USE_LEGACY_KERAS": "1", "TF_CPP_MIN_LOG_LEVEL": "3"}  # before TensorFlow is imported

import tensorflow as tf


def main() -> None:
    losses, run = [], tf.compat.v1.Session.run

    def watched(self, *arguments, **named):
        result = run(self, *arguments, **named)
        if isinstance(result, list) and len(result) > 3 and result[0] is None:  # of a step: nothing, summary, perplexity
            losses.append(math.log(result[2]))
        return result

    tf.compat.v1.Session.run = watched
    sys.argv, said = sys.argv[1:], io.StringIO()
    with contextlib.redirect_stdout(said):
        runpy.run_path(sys.argv[0], run_name="__main__")
    print(json.dumps(json.loads(said.getvalue().splitlines()[-1]) | {"loss": statistics.mean(losses[-10:])}))


if __name__ == "__main__":
    main()
