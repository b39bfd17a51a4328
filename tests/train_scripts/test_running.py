"""How every script ends: what a distributed training started is over before Python is."""

import io
from pathlib import Path

import pytest
import torch.distributed as distributed
from matplotlib.figure import Figure

from modeling_sleepvit.errors import SettingError
from train_scripts.cli import main
from train_scripts.running import check_output, run_script


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


def test_a_letter_that_a_font_lacks_is_no_message_to_a_user(recwarn):
    def draw(argv):
        figure = Figure()
        figure.suptitle("\u591c, the night of a recording")
        figure.savefig(io.BytesIO())

    assert run_script(draw, []) == 0
    assert not [warning for warning in recwarn if "font" in str(warning.message)]


def test_a_script_that_fails_does_not_wait_for_the_other_processes(process_group):
    def fail(argv):
        raise SettingError("no such subject")

    assert run_script(fail, []) == 2
    assert distributed.is_initialized()  # to leave in good order would be to wait for what was begun together


ABSENT = "absent"  # nothing of that name is there, which would be told if it were looked for first


@pytest.mark.parametrize(
    "command",
    [
        ("stage", ABSENT),
        ("explain", ABSENT, "--epoch", "0"),
        ("evaluate", ABSENT, ABSENT),
        ("export", ABSENT, "--format", "onnx"),
        ("prepare", "cohort", ABSENT),
    ],
    ids=lambda command: command[0],
)
@pytest.mark.parametrize("below", ["", "results"])
def test_an_output_that_cannot_be_written_is_refused_before_the_work(command, below, tmp_path, capsys):
    file = tmp_path / "file"
    file.write_text("what is here already")
    assert main([*command, "--output", str(file / below)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line == (
        f"sleepvit: error: --output {file / below}: expected a folder, found a file at {file}; choose another place."
    )
    assert file.read_text() == "what is here already"


def test_an_output_that_can_be_written_is_not_made_before_the_work(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for output in (tmp_path / "new" / "folder", Path("new"), Path()):
        check_output(output)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_where_nothing_can_be_written_is_no_output():
    with pytest.raises(SettingError, match=r"--output /proc/new: expected a folder that can be written to"):
        check_output(Path("/proc/new"))
