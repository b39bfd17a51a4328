"""Datasets on the Hub: pushed by the command or by `push_to_hub`, and loaded where this package is not installed.

The Hub is the one in `tests/hub_server.py`; the nights are noise.
"""

import re
import socket

import numpy as np
import pyarrow.parquet as pq
import pytest
from datasets import load_dataset


LOAD = """
import json, sys
import datasets
datasets.config.TORCH_AVAILABLE = False  # it would be imported for nothing, which takes seconds
rows = {}
for name in sys.argv[1:]:
    rows[name] = datasets.load_dataset(name, split="train").to_list()
    assert list(datasets.load_dataset(name, split="train", streaming=True)) == rows[name], "streaming gives other rows"
print(json.dumps(rows))
"""
"""Prints the rows of every dataset that is named, loaded whole and streamed."""


def write_night(folder, recording):
    rng = np.random.default_rng(sum(recording.encode()))
    folder.mkdir(exist_ok=True)
    np.savez(folder / f"{recording}.npz", x=rng.normal(scale=20, size=(4, 500)), y=np.array([0, 1, 2, -1]), fs=100)


def prepare(hub, nights, output, repo, *more, **settings):
    command = ("-m", "train_scripts.cli", "prepare", "npz", nights, "--output", output, "--push", repo, *more)
    return hub.run(command, **settings)


def load_elsewhere(hub, *names):
    """The rows that a process without our packages gets, by name."""
    return hub.run(("-c", LOAD, *names), package=False).json


def rows_of(folder):
    """The rows of a prepared folder, as its files have them."""
    return [row for path in sorted(folder.glob("data/train/*.parquet")) for row in pq.read_table(path).to_pylist()]


def recordings_in(rows):
    return sorted({row["recording"] for row in rows})


@pytest.fixture(scope="module")
def pushed(hub, tmp_path_factory):
    """A folder that was prepared and pushed to owner/nights, and what the command printed."""
    folder = tmp_path_factory.mktemp("pushed")
    for recording in ("SC4001E0", "SC4011E0"):
        write_night(folder / "nights", recording)
    prepare(hub, folder / "nights", folder / "prepared", "owner/first", "--private")
    (folder / "prepared" / "data" / ".DS_Store").write_bytes(b"left by a file manager")
    outcome = prepare(hub, folder / "nights", folder / "prepared", "owner/nights", "--private")
    return folder / "prepared", outcome


def test_the_command_uploads_what_it_prepared(hub, pushed):
    folder, outcome = pushed
    repo = hub.repos["datasets/owner/nights"]
    assert repo.is_private
    assert "uploaded to " + hub.url in outcome.stdout
    parquet = {f"data/train/{recording}.parquet" for recording in ("SC4001E0", "SC4011E0")}
    assert set(repo.files) == parquet | {
        "README.md",
        "preparation.json",
        "preprocessor_config.json",
        "recordings.csv",
    }
    for path, content in repo.files.items():
        assert content == (folder / path).read_bytes(), path
    assert 'load_dataset("owner/nights"' in repo.files["README.md"].decode()


def test_it_loads_where_the_package_is_not_installed(hub, pushed):
    folder, _ = pushed
    rows = load_elsewhere(hub, "owner/nights", str(folder))
    assert rows["owner/nights"] == rows[str(folder)] == rows_of(folder)
    assert len(rows["owner/nights"]) == 8
    assert "ModuleNotFoundError" in hub.run("import modeling_sleepvit", package=False, expect=1).stderr


def test_pushing_again_replaces_the_data(hub, tmp_path):
    nights, output, repo = tmp_path / "nights", tmp_path / "prepared", "owner/changing"

    def parquet():
        return {path for path in hub.repos[f"datasets/{repo}"].files if path.endswith(".parquet")}

    write_night(nights, "SC4001E0")
    write_night(nights, "SC4011E0")
    (nights / "SC4021E0.npz").write_bytes(b"no night")
    outcome = prepare(hub, nights, output, repo, expect=2)
    assert "SC4021E0 was not prepared" in outcome.stderr
    assert "not_prepared.csv" in hub.repos[f"datasets/{repo}"].files
    assert not hub.repos[f"datasets/{repo}"].is_private

    (nights / "SC4001E0.npz").unlink()
    write_night(nights, "SC4021E0")
    prepare(hub, nights, output, repo)
    assert parquet() == {"data/train/SC4011E0.parquet", "data/train/SC4021E0.parquet"}
    assert "not_prepared.csv" not in hub.repos[f"datasets/{repo}"].files
    assert "SC4001E0" not in hub.repos[f"datasets/{repo}"].files["recordings.csv"].decode()
    assert recordings_in(load_elsewhere(hub, repo)[repo]) == ["SC4011E0", "SC4021E0"]

    (nights / "SC4011E0.npz").unlink()
    write_night(nights, "SC4031E0")
    prepare(hub, nights, output, repo)
    assert parquet() == {"data/train/SC4021E0.parquet", "data/train/SC4031E0.parquet"}
    # the cache of the first load is there still
    assert load_elsewhere(hub, repo)[repo] == rows_of(output)


def test_the_dataset_of_a_builder_can_be_pushed(hub, pushed, tmp_path):
    folder, _ = pushed
    hub.run(
        (
            "-c",
            "import sys\n"
            "from dataset_builders.npz_nights import NpzNights\n"
            "builder = NpzNights(folder=sys.argv[1], cache_dir=sys.argv[2])\n"
            "builder.download_and_prepare()\n"
            "builder.as_dataset(split='train').push_to_hub('owner/other')\n",
            folder.parent / "nights",
            tmp_path / "cache",
        )
    )
    assert load_elsewhere(hub, "owner/other")["owner/other"] == rows_of(folder)


def assert_one_sentence(outcome, folder, tmp_path):
    """The user reads one line that says why, and finds the prepared dataset in its place."""
    assert outcome.returncode == 2
    (line,) = outcome.stderr.strip().splitlines()
    assert line.startswith(f"sleepvit: error: {folder} is prepared but ")
    assert load_dataset(str(folder), split="train", cache_dir=tmp_path / "cache").num_rows == 8


@pytest.mark.parametrize(
    ("repo", "refused", "reason"),
    [
        ("owner/unknown", ("create owner/unknown", 401, "Invalid username or password."), "401 .*Invalid username"),
        ("clinic/nights", ("create clinic", 403, "You have no right to create here."), "403 .*You have no right"),
        ("owner/broken", ("create owner/broken", 500, "Internal error"), "500 .*Internal error"),
        ("owner/full", ("owner/full/commit", 500, "No room is left"), "500 .*No room is left"),
    ],
)
def test_a_hub_that_refuses_leaves_the_folder_as_it_is(hub, pushed, tmp_path, repo, refused, reason):
    hub.refuse(*refused)
    folder, _ = pushed
    outcome = prepare(hub, folder.parent / "nights", folder, repo, expect=2)
    assert_one_sentence(outcome, folder, tmp_path)
    assert re.search(reason, outcome.stderr)


def test_nobody_is_shown_what_was_to_be_private(hub, pushed, tmp_path):
    folder, _ = pushed
    hub.run("from huggingface_hub import HfApi; HfApi().create_repo('owner/shown', repo_type='dataset')")
    outcome = prepare(hub, folder.parent / "nights", folder, "owner/shown", "--private", expect=2)
    assert_one_sentence(outcome, folder, tmp_path)
    assert "owner/shown is there already and public" in outcome.stderr
    assert hub.repos["datasets/owner/shown"].files == {}


def test_a_hub_that_cannot_be_reached_leaves_the_folder_as_it_is(hub, pushed, tmp_path):
    folder, _ = pushed
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        closed = {"HF_ENDPOINT": f"http://127.0.0.1:{nobody.getsockname()[1]}"}
        outcome = prepare(hub, folder.parent / "nights", folder, "owner/nights", expect=2, env=closed, warm=False)
    assert_one_sentence(outcome, folder, tmp_path)
    assert "Connection refused" in outcome.stderr
