"""Several processes: `accelerate launch` with two on the CPU learns what one learns with twice the batch."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file


PROJECT = Path(__file__).resolve().parents[2]


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def logged(run: Path, name: str) -> list[float]:
    history = json.loads((run / "trainer_state.json").read_text())["log_history"]
    return [entry[name] for entry in history if name in entry]


def losses_of(run: Path) -> list[float]:
    return logged(run, "loss")


@pytest.fixture
def same_everywhere(settings):
    """Nothing is drawn at random but the order of the examples, and every step is logged."""
    for part in (settings["model"], settings["model"]["epoch_config"]):
        part["hidden_dropout_prob"] = 0.0
    return settings | {
        "augmentation": {},
        "random_shift": False,
        "num_train_epochs": 3,
        "logging_strategy": "steps",
        "logging_steps": 1,
        "save_strategy": "no",
        # a last batch that is not full is filled up with examples of the first, by processes and by them alone
        "dataloader_drop_last": True,
        "lr_scheduler_type": "constant",
    }


def launch(settings: dict, folder: Path, n_processes: int) -> Path:
    settings = settings | {"output_dir": str(folder / f"run-{n_processes}")}
    path = folder / f"settings-{n_processes}.json"
    path.write_text(json.dumps(settings))
    launcher = ["--num_processes", str(n_processes), "--num_machines", "1", "--mixed_precision", "no"]
    if n_processes > 1:
        # the launcher's name for "one process per device here"; use_cpu in the settings makes them CPU processes
        launcher += ["--multi_gpu", "--main_process_port", str(free_port())]
    command = [sys.executable, "-m", "accelerate.commands.launch", *launcher, "--dynamo_backend", "no", "-m"]
    environment = {**os.environ, "PYTHONPATH": str(PROJECT), "OMP_NUM_THREADS": "1"}
    command += ["train_scripts.run_sleep_staging", str(path)]
    done = subprocess.run(
        command, check=False, env=environment, cwd=folder, timeout=300, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "find_unused_parameters" not in done.stderr, "PyTorch warns of a default that does not fit"
    return Path(settings["output_dir"])


def test_two_processes_learn_what_one_learns_with_twice_the_batch(same_everywhere, tmp_path):
    one = launch(same_everywhere | {"per_device_train_batch_size": 4}, tmp_path, 1)
    two = launch(same_everywhere | {"per_device_train_batch_size": 2}, tmp_path, 2)
    losses = losses_of(one)
    assert len(losses) == len(losses_of(two)) == 12, "two processes take no fewer steps: they do not work together"
    assert losses[-1] < losses[0]
    assert losses_of(two) == pytest.approx(losses, rel=1e-4)
    for run in (one, two):
        assert logged(run, "eval_n_epochs") == [100] * 3, "validation leaves epochs out, or counts some twice"
    assert logged(two, "eval_kappa") == pytest.approx(logged(one, "eval_kappa"), abs=1e-3)
    weights, others = load_file(one / "model.safetensors"), load_file(two / "model.safetensors")
    for name, tensor in weights.items():
        torch.testing.assert_close(others[name], tensor, atol=2e-4, rtol=1e-3, msg=name)


def test_accumulated_batches_learn_what_one_batch_learns(same_everywhere, tmp_path):
    one = launch(same_everywhere | {"per_device_train_batch_size": 4}, tmp_path, 1)
    accumulating = {"per_device_train_batch_size": 2, "gradient_accumulation_steps": 2}
    (tmp_path / "accumulated").mkdir()
    accumulated = launch(same_everywhere | accumulating, tmp_path / "accumulated", 1)
    # nine batches a pass: the fifth step of the accumulating training has one of them only
    assert losses_of(accumulated)[:4] == pytest.approx(losses_of(one)[:4], rel=1e-4)
