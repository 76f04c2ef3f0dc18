"""A tagger that two devices train together is the one that one device trains."""

import json
import os
import subprocess
import sys

import numpy as np
import oracle
import pytest
from conftest import PROJECT, write_bilm

import train_ner
from biLM import InputError
from biLM.errors import run_command
from ner_elmo.config import TrainConfig


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """What two_devices.py found, with a biLM without dropout."""
    options = oracle.random_options() | {"dropout": 0.0}
    weights = write_bilm(tmp_path_factory.mktemp("bilm"), options, oracle.random_weights(options))
    command = [sys.executable, str(PROJECT / "tests" / "two_devices.py"), str(weights)]
    environment = {
        "PYTHONPATH": f"{PROJECT}{os.pathsep}{PROJECT / 'tests'}",
        "XLA_FLAGS": "--xla_force_host_platform_device_count=2",
    }
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | environment, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.slow
@pytest.mark.parametrize("case", ["frozen", "fine_tuned"])
def test_losses_of_the_first_steps_are_those_of_one_device(found, case):
    one, two = (run["losses"][:3] for run in found[case])
    np.testing.assert_allclose(one, two, rtol=0, atol=1e-4)
    assert one[0] - one[2] > 0.1  # the steps moved something


@pytest.mark.slow
def test_f1_is_that_of_one_device(found):
    assert [run["f1"] for run in found["frozen"]] == [1.0, 1.0]


@pytest.mark.slow
def test_every_input_can_be_shared(found):
    losses = found["all_inputs"]["losses"]
    assert losses[2] < losses[1] < losses[0]


@pytest.mark.slow
def test_more_devices_than_there_are(found):
    assert found["too_many"] == "--devices must be at most 2: this machine has cpu:0, cpu:1. Received: 3."


def test_the_command_says_what_the_machine_has(tmp_path, capsys):
    arguments = ["--devices", "99", "--output", str(tmp_path / "model")]
    assert run_command("train_ner.py", lambda: train_ner.main(train_ner.parse(arguments))) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("train_ner.py: error: --devices must be at most ")
    assert last.endswith("Received: 99.")


def test_no_device_at_all_is_refused():
    with pytest.raises(InputError, match="devices must be at least 1. Received: 0"):
        TrainConfig(devices=0)
