"""How every script ends: what a distributed training started is over before Python is."""

from pathlib import Path

import pytest
import torch.distributed as distributed

from modeling_sleepvit.errors import SettingError
from train_scripts.running import run_script


@pytest.fixture
def process_group():
    distributed.init_process_group("gloo", store=distributed.HashStore(), rank=0, world_size=1)
    yield
    if distributed.is_initialized():
        distributed.destroy_process_group()


def gloo_threads() -> list[str]:
    names = [(task / "comm").read_text().strip() for task in Path("/proc/self/task").iterdir()]
    return [name for name in names if "gloo" in name]


def test_threads_of_a_process_group_end_with_the_script(process_group):
    """One that is still at work when Python shuts down aborts a process whose training is done."""
    assert gloo_threads()
    assert run_script(lambda argv: None, []) == 0
    assert not gloo_threads()


def test_a_script_that_fails_does_not_wait_for_the_other_processes(process_group):
    def fail(argv):
        raise SettingError("no such subject")

    assert run_script(fail, []) == 2
    assert distributed.is_initialized()  # to leave in good order would be to wait for what was begun together
