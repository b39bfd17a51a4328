"""Checkpoints on the Hub: pushed by the command or by a training, loaded again, and fine-tuned from there.

The Hub is the one in `tests/hub_server.py`.
"""

import json
import re
import shutil
from pathlib import Path

import pytest
from huggingface_hub import ModelCard

from modeling_sleepvit import embedded_checkpoint
from modeling_sleepvit.hub_code import CODE


@pytest.fixture(scope="module")
def checkpoint(tiny_checkpoints, tmp_path_factory):
    """A checkpoint with a card, among files of a training that are nobody else's business."""
    folder = tmp_path_factory.mktemp("trained") / "mine"
    shutil.copytree(tiny_checkpoints["sequence"], folder)
    (folder / "README.md").write_text("---\nlibrary_name: transformers\n---\n\n# mine\n")
    (folder / "optimizer.pt").write_bytes(b"0" * 1000)
    (folder / "training_args.bin").write_bytes(b"a path of this machine")
    return folder


def push(hub, checkpoint, repo, *more, **settings):
    return hub.run(("-m", "train_scripts.cli", "push", checkpoint, repo, *more), **settings)


def test_the_command_uploads_a_checkpoint_and_nothing_else(hub, checkpoint):
    outcome = push(hub, checkpoint, "owner/mine", "--private")
    assert f"uploaded to {hub.url}/owner/mine" in outcome.stdout
    repo = hub.repos["owner/mine"]
    assert repo.is_private
    data = {name for name in repo.files if not name.endswith(".py")}
    assert data - {".gitattributes"} == {"README.md", "config.json", "model.safetensors", "preprocessor_config.json"}
    assert repo.files["README.md"] == (checkpoint / "README.md").read_bytes()
    assert repo.files["pipeline_sleepvit.py"] == (CODE / "pipeline_sleepvit.py").read_bytes()


def test_pushing_again_replaces_code_that_is_no_more(hub, checkpoint):
    upload = "from huggingface_hub import HfApi; api = HfApi(); api.create_repo('owner/grown')\n"
    hub.run(upload + "api.upload_file(path_or_fileobj=b'old', path_in_repo='old.py', repo_id='owner/grown')")
    push(hub, checkpoint, "owner/grown")
    assert "old.py" not in hub.repos["owner/grown"].files
    push(hub, checkpoint, "owner/grown", "--revision", "trial")
    repo = hub.repos["owner/grown"]
    assert set(repo.branches) == {"main", "trial"}


def test_the_embedded_checkpoint_can_be_pushed_with_its_card(hub):
    folder = Path(embedded_checkpoint())
    push(hub, folder, "owner/embedded")
    files = hub.repos["owner/embedded"].files
    for name in ("README.md", "model.safetensors"):
        assert files[name] == (folder / name).read_bytes(), name
    assert "modeling_sleepvit.py" in files


def test_without_a_card_it_gets_one_of_what_it_tells_itself(hub, checkpoint, tmp_path):
    folder = tmp_path / "bare"
    shutil.copytree(checkpoint, folder, ignore=shutil.ignore_patterns("README.md"))
    push(hub, folder, "owner/bare")
    card = hub.repos["owner/bare"].files["README.md"].decode()
    assert "# bare\n" in card
    assert "8 neighbouring epochs are read together" in card
    assert "## Figures" not in card
    assert not (folder / "README.md").exists()


HF = """
import sys
from huggingface_hub.cli.hf import main

commands = (["upload", "owner/by-hand", sys.argv[1], "."], ["download", "owner/by-hand", "--local-dir", "down"])
for command in commands:
    sys.argv = ["hf", *command]
    try:
        main()
    except SystemExit as ended:
        assert not ended.code, command
"""


def test_the_hub_s_own_command_moves_checkpoints_too(hub, checkpoint):
    hub.run(("-c", HF, checkpoint), package=False)
    for path in checkpoint.iterdir():
        assert (hub.work / "down" / path.name).read_bytes() == path.read_bytes(), path.name


def refused(outcome) -> str:
    (line,) = outcome.stderr.strip().splitlines()
    assert line.startswith("sleepvit: error: ")
    return line


@pytest.mark.parametrize(
    ("repo", "refusal", "reason"),
    [
        ("clinic/mine", ("create clinic/mine", 403, "You have no right here"), "is not enough .403 You have no right"),
        ("owner/broken", ("create owner/broken", 500, "Internal error"), "the Hub answers 500 .*Internal error"),
        ("owner/mine of today", None, "expected an id on the Hub .owner/name."),
    ],
)
def test_a_hub_that_refuses_is_a_sentence(hub, checkpoint, repo, refusal, reason):
    if refusal:
        hub.refuse(*refusal)
    outcome = push(hub, checkpoint, repo, expect=2)
    assert re.search(reason, refused(outcome))


@pytest.mark.parametrize("token", ["hf_of_a_stranger", ""])
def test_a_token_that_is_wrong_or_missing_is_a_sentence(hub, checkpoint, token):
    line = refused(push(hub, checkpoint, "owner/tokens", expect=2, env={"HF_TOKEN": token}))
    assert "the access token is missing or not accepted" in line
    assert line.endswith("log in with `hf auth login`, or set HF_TOKEN to a token that may write it.")
    assert "owner/tokens" not in hub.repos


def test_nobody_is_shown_what_was_to_be_private(hub, checkpoint):
    push(hub, checkpoint, "owner/public")
    before = hub.repos["owner/public"].branches["main"]
    line = refused(push(hub, checkpoint, "owner/public", "--private", expect=2))
    assert "owner/public is there already and public" in line
    assert hub.repos["owner/public"].branches["main"] == before


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        ("model.safetensors", "expected a SleepViT checkpoint"),
        ("preprocessor_config.json", "expected a SleepViT checkpoint"),
        (None, "expected the folder of a checkpoint, found none"),
    ],
)
def test_what_is_no_checkpoint_is_refused(hub, checkpoint, tmp_path, missing, message):
    folder = tmp_path / "broken"
    if missing:
        shutil.copytree(checkpoint, folder, ignore=shutil.ignore_patterns(missing))
    line = refused(push(hub, folder, "owner/half", expect=2))
    assert str(folder) in line
    assert message in line
    assert "owner/half" not in hub.repos


# A training that pushes


LOAD_ELSEWHERE = """
import json
import torch
from transformers import AutoModel, AutoModelForAudioFrameClassification, pipeline

trust = {"trust_remote_code": True}
rows = torch.linspace(-2, 2, 4 * 20 * 5).reshape(1, 4, 1, 20, 5)
places = {"main": {}, "first": {"subfolder": "checkpoint-9"}, "second": {"subfolder": "checkpoint-18"}}
found = {}
for name, place in places.items():
    model = AutoModelForAudioFrameClassification.from_pretrained("owner/trained", **place, **trust)
    base = AutoModel.from_pretrained("owner/trained", **place, **trust)
    with torch.no_grad():
        same = torch.equal(base(rows).last_hidden_state, model.sleepvit(rows).last_hidden_state)
        found[name] = {"logits": model(rows).logits.tolist(), "same": same}
pipeline("sleep-staging", model="owner/trained", **trust)
print(json.dumps(found))
"""


@pytest.fixture
def hub_training(settings, hub):
    """Settings of a training that pushes every checkpoint; two passes."""
    return settings | {
        "num_train_epochs": 2,
        "load_best_model_at_end": True,
        "push_to_hub": True,
        "hub_model_id": "owner/trained",
        "hub_strategy": "all_checkpoints",
        "hub_always_push": True,
    }


def train_on(hub, settings, folder: Path, **more):
    path = folder / f"{Path(settings['output_dir']).name}.json"
    path.write_text(json.dumps(settings))
    return hub.run(("-m", "train_scripts.cli", "train", path), **more)


def validations(run: Path) -> list[float]:
    history = json.loads((run / "trainer_state.json").read_text())["log_history"]
    return [entry["eval_kappa"] for entry in history if "eval_kappa" in entry]


@pytest.fixture
def trained(hub, hub_training, tmp_path):
    """The run of a training that pushed to owner/trained; its settings."""
    train_on(hub, hub_training, tmp_path)
    return hub_training


def test_a_training_that_may_not_push_says_so_before_it_begins(hub, hub_training, tmp_path):
    outcome = train_on(hub, hub_training, tmp_path, expect=2, env={"HF_TOKEN": "hf_of_a_stranger"})
    line = outcome.stderr.strip().splitlines()[-1]
    assert line.startswith("sleepvit: error: the Hub: the access token is missing or not accepted")
    assert "Traceback" not in outcome.stderr
    assert not list((tmp_path / "run").glob("checkpoint-*"))


def test_what_a_training_pushes_works_without_the_package_and_can_be_fine_tuned(hub, trained, tmp_path):
    repo, run = hub.repos["owner/trained"], tmp_path / "run"
    assert len(repo.snapshots) >= 3, "every checkpoint and the end are commits"
    for folder in ("", "checkpoint-9/", "checkpoint-18/"):
        for name in ("model.safetensors", "config.json", "preprocessor_config.json", "README.md", "hub_code.py"):
            assert repo.files[folder + name] == (run / folder / name).read_bytes(), folder + name
    found = hub.run(LOAD_ELSEWHERE, package=False).json
    assert all(place["same"] for place in found.values()), "AutoModel reads what the head's checkpoint holds"
    assert found["first"]["logits"] != found["second"]["logits"]
    best = [kappa == max(validations(run)) for kappa in validations(run)].index(True)
    assert found["main"]["logits"] == found[("first", "second")[best]]["logits"]

    # from the Hub, trained on, pushed, loaded again: the validation kappa is the one that was written down
    without = {name: value for name, value in trained.items() if name != "model"}
    tuning = without | {"model_name_or_path": "owner/trained", "num_train_epochs": 1, "hub_model_id": "owner/tuned"}
    train_on(hub, tuning | {"output_dir": str(tmp_path / "tuned")}, tmp_path)
    card = ModelCard(hub.repos["owner/tuned"].files["README.md"].decode())
    assert card.data.base_model == "owner/trained"
    assert "`owner/trained`" in card.content
    again = without | {
        "model_name_or_path": "owner/tuned",
        "output_dir": str(tmp_path / "again"),
        "num_train_epochs": 1,
        "learning_rate": 0.0,
        "push_to_hub": False,
    }
    train_on(hub, again, tmp_path)
    assert validations(tmp_path / "again") == [max(validations(tmp_path / "tuned"))]
