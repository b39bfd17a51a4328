"""Repositories on the Hub: pushed with this package, they work without it, and load with it without a question.

The Hub is the one in `tests/hub_server.py`. Loading takes its processes seconds, so that each does many things.
"""

import ast
import json
import shutil
import socket
import sys

import pytest
from transformers.dynamic_module_utils import get_imports

from modeling_sleepvit import SleepViTConfig, SleepViTSequenceConfig, embedded_checkpoint
from modeling_sleepvit.hub_code import CODE, PIPELINES

from ..hub_clients import PROJECT


ENTRIES = ("configuration_sleepvit", "modeling_sleepvit", "feature_extraction_sleepvit", "pipeline_sleepvit")


def siblings_of(module: str) -> set[str]:
    """The modules that a module imports from beside it."""
    nodes = ast.walk(ast.parse((CODE / f"{module}.py").read_text()))
    return {node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.level}


def with_all_they_import(modules: set[str]) -> set[str]:
    more = modules.union(*map(siblings_of, modules))
    return modules if more == modules else with_all_they_import(more)


CODE_FILES = with_all_they_import(set(ENTRIES))

MODELS = {
    "epoch": "AutoModelForAudioClassification",
    "sequence": "AutoModelForAudioFrameClassification",
    "center": "AutoModelForAudioFrameClassification",
}

PUSH = """
import sys, modeling_sleepvit, transformers
from modeling_sleepvit.stager import load_stager

epoch = load_stager(sys.argv[1])
epoch.model.push_to_hub("owner/epoch", private=True)
epoch.feature_extractor.push_to_hub("owner/epoch")
load_stager(sys.argv[2]).push_to_hub("owner/sequence")
load_stager(sys.argv[3]).push_to_hub("owner/center")
"""

OUTPUTS = """
import json, os, sys
import numpy as np, torch, transformers
from transformers import AutoConfig, AutoFeatureExtractor, AutoModel, pipeline

night = np.random.default_rng(0).normal(scale=20, size=24000)

def outputs(place, head, **trust):
    extractor = AutoFeatureExtractor.from_pretrained(place, **trust)
    rows = torch.from_numpy(extractor(night, sampling_rate=100)["input_values"])
    rows = rows[None, :3] if head.endswith("FrameClassification") else rows
    models = [kind.from_pretrained(place, **trust) for kind in (getattr(transformers, head), AutoModel)]
    with torch.no_grad():
        logits, hidden = models[0](rows).logits, models[1](rows).last_hidden_state
    staged = pipeline("sleep-staging", model=place, **trust)(night, sampling_rate=100)
    config = AutoConfig.from_pretrained(place, **trust)
    return {
        "logits": logits.tolist(), "hidden": hidden.tolist(), "probabilities": staged.probabilities.tolist(),
        "stages": staged.stages.tolist(), "model_type": config.model_type,
        "modules": sorted({type(part).__module__.split(".")[0] for part in (*models, extractor, config, staged)}),
    }
"""

ELSEWHERE = (
    OUTPUTS
    + """
for name in ("mne", "edfio", "matplotlib", "pandas", "sklearn", "datasets", "evaluate", "pooch", "tqdm.contrib"):
    sys.modules[name] = None  # a user of a repository need not have them
try:
    import modeling_sleepvit
    sys.exit("the project can be imported here")
except ImportError:
    pass
trust = {"trust_remote_code": True}
found = {name: outputs(f"owner/{name}", head, **trust) for name, head in json.loads(sys.argv[1]).items()}

# what was loaded here can be pushed on, whole, whatever part of its code was needed
from transformers import AutoModelForAudioClassification
AutoModelForAudioClassification.from_pretrained("owner/epoch", **trust).push_to_hub("owner/epoch-again")
AutoFeatureExtractor.from_pretrained("owner/epoch", **trust).push_to_hub("owner/epoch-again")
pipeline(model="owner/sequence", **trust).push_to_hub("owner/sequence-again")
found["epoch-again"] = outputs("owner/epoch-again", "AutoModelForAudioClassification", **trust)
print(json.dumps(found))
"""
)

HERE = (
    OUTPUTS
    + """
import builtins, modeling_sleepvit

def asked(*args):
    sys.exit("somebody was asked to trust a repository")

builtins.input = asked
places = {**json.loads(sys.argv[1]), **json.loads(sys.argv[2])}
found = {place: outputs(place, head) for place, head in places.items()}
trusting = outputs("owner/sequence", places["owner/sequence"], trust_remote_code=True)
assert trusting["modules"] == ["modeling_sleepvit"], "with trust, other code is taken than without"
print(json.dumps(found))
"""
)


@pytest.fixture(scope="module")
def pushed(hub, tiny_checkpoints):
    """The Hub with the repositories of a model and its extractor, and of two pipelines."""
    hub.run(("-c", PUSH, *(tiny_checkpoints[name] for name in MODELS)))
    return hub


@pytest.fixture(scope="module")
def data_alone(tiny_checkpoints, tmp_path_factory) -> str:
    """A checkpoint whose configuration names code that is not beside it, as those of the package may do."""
    folder = tmp_path_factory.mktemp("data") / "alone"
    shutil.copytree(tiny_checkpoints["sequence"], folder, ignore=shutil.ignore_patterns("*.py"))
    return str(folder)


@pytest.fixture(scope="module")
def elsewhere(pushed):
    """What the repositories give in a process that cannot import this package, by name."""
    return pushed.run(("-c", ELSEWHERE, json.dumps(MODELS)), package=False).json


@pytest.fixture(scope="module")
def here(pushed, tiny_checkpoints, data_alone):
    """What repositories, folders and the embedded checkpoint give where this package is installed, by place."""
    repositories = {f"owner/{name}": head for name, head in MODELS.items()}
    folders = {str(tiny_checkpoints[name]): head for name, head in MODELS.items()}
    folders |= {embedded_checkpoint(): MODELS["sequence"], data_alone: MODELS["sequence"]}
    return pushed.run(("-c", HERE, json.dumps(repositories), json.dumps(folders))).json


@pytest.mark.parametrize("name", [*MODELS, "epoch-again", "sequence-again"])
def test_a_repository_holds_the_code_it_needs_and_no_more(pushed, elsewhere, name):
    files = pushed.repos[f"owner/{name}"].files
    data = {"README.md", "config.json", "model.safetensors", "preprocessor_config.json"}
    assert set(files) - {".gitattributes"} == data | {f"{module}.py" for module in CODE_FILES}
    assert CODE_FILES.isdisjoint({"stager", "embedded", "night_figure", "hub_errors"})
    for module in CODE_FILES:
        assert files[f"{module}.py"] == (CODE / f"{module}.py").read_bytes(), module


@pytest.mark.parametrize("name", [*MODELS, "epoch-again", "sequence-again"])
def test_its_configuration_names_every_auto_class_and_the_pipeline(pushed, elsewhere, name):
    files = pushed.repos[f"owner/{name}"].files
    config = json.loads(files["config.json"])
    kind = SleepViTConfig if name.startswith("epoch") else SleepViTSequenceConfig
    extractor = {"AutoFeatureExtractor": "feature_extraction_sleepvit.SleepViTFeatureExtractor"}
    assert config["auto_map"] == kind.AUTO_CLASSES | extractor
    assert config["custom_pipelines"] == PIPELINES
    assert json.loads(files["preprocessor_config.json"])["auto_map"] == extractor
    for path in (*config["auto_map"].values(), PIPELINES["sleep-staging"]["impl"]):
        module, name_of_class = path.split(".")
        assert f"class {name_of_class}(" in files[f"{module}.py"].decode()
    assert "auto_map" not in config.get("epoch_config", {})


@pytest.mark.parametrize("name", [*MODELS, "epoch-again"])
def test_a_new_repository_begins_with_a_card_that_is_true(pushed, elsewhere, name):
    card = pushed.repos[f"owner/{name}"].files["README.md"].decode()
    assert f'pipeline("sleep-staging", model="owner/{name}", trust_remote_code=True)' in card
    assert "not a medical device" in card
    assert "More Information Needed" not in card


@pytest.mark.parametrize("name", MODELS)
def test_it_gives_the_same_without_the_package(elsewhere, here, tiny_checkpoints, name):
    there, at_home = elsewhere[name], here[str(tiny_checkpoints[name])]
    assert there["modules"] == ["transformers_modules"]
    for what in ("logits", "hidden", "probabilities", "stages", "model_type"):
        assert there[what] == at_home[what], what
    assert len(there["stages"]) == 8


def test_pushed_on_without_the_package_it_gives_the_same(elsewhere):
    assert elsewhere["epoch-again"] == elsewhere["epoch"]


@pytest.mark.parametrize("name", MODELS)
def test_with_the_package_it_is_loaded_without_a_question(here, tiny_checkpoints, name):
    assert here[f"owner/{name}"]["modules"] == ["modeling_sleepvit"]
    assert here[f"owner/{name}"] == here[str(tiny_checkpoints[name])]


def test_code_that_is_named_and_not_there_does_no_harm_to_the_package(here, tiny_checkpoints, data_alone):
    assert here[data_alone] == here[str(tiny_checkpoints["sequence"])]


def test_what_a_repository_asks_of_its_user_is_little():
    """Libraries that are imported without `try` have to be there, or Transformers refuses the repository."""
    needed = {name for module in CODE_FILES for name in get_imports(CODE / f"{module}.py")}
    installed = {"huggingface_hub", "numpy", "scipy", "torch", "transformers"}
    assert needed & installed == installed
    assert needed - installed <= set(sys.stdlib_module_names)


def test_checkpoints_in_the_package_are_data_alone():
    """Their code is the package's own; a copy beside the weights would grow old."""
    assert not list((PROJECT / "modeling_sleepvit" / "checkpoints").rglob("*.py"))


REFUSED = """
import json
from huggingface_hub import HfApi
from modeling_sleepvit.stager import load_stager
from modeling_sleepvit.errors import SleepViTError
from dataset_builders.nights_builder import extractor_settings

def refused(load, place):
    try:
        load(place)
    except SleepViTError as error:
        return str(error)
    return "not refused"

HfApi().create_tag("owner/sequence", tag="v1")
print(json.dumps({
    "missing": refused(load_stager, "owner/none"), "revision": refused(load_stager, "owner/sequence@v9"),
    "tag": refused(load_stager, "owner/sequence@v1"), "private": refused(load_stager, "owner/epoch"),
    "extractor": refused(extractor_settings, "owner/epoch"),
    "extractor's tag": refused(extractor_settings, "owner/sequence@v1"),
}))
"""


def test_what_the_hub_refuses_is_a_sentence(pushed):
    known = pushed.run(REFUSED).json
    stranger = pushed.run(REFUSED.replace("HfApi().create_tag", "#"), env={"HF_TOKEN": "hf_of_a_stranger"}).json
    assert known["tag"] == known["private"] == known["extractor"] == known["extractor's tag"] == "not refused"
    assert known["missing"].startswith("owner/none: the Hub has no such repository, or it is private; check its name")
    assert known["revision"].startswith("owner/sequence@v9: the Hub has no such revision of it")
    for what in ("private", "extractor"):
        assert stranger[what].startswith("owner/epoch: the Hub has no such repository, or it is private")
        assert stranger[what].endswith("set HF_TOKEN to a token that may read it.")
    assert stranger["tag"] == "not refused"


UNREACHABLE = """
import json
from modeling_sleepvit.stager import load_stager
from modeling_sleepvit.errors import CheckpointError
from dataset_builders.nights_builder import extractor_settings

def refused(load, place):
    try:
        load(place)
    except CheckpointError as error:
        return str(error)

print(json.dumps([refused(load_stager, "runs/mine@v1"), refused(extractor_settings, "runs/mine")]))
"""


def test_where_the_hub_cannot_be_reached_nobody_goes_on_trying(hub):
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        nobody = f"http://127.0.0.1:{listener.getsockname()[1]}"  # taken, so that nobody else can listen there
        done = hub.run(UNREACHABLE, env={"HF_ENDPOINT": nobody}, warm=False)
    for sentence in done.json:
        assert sentence.startswith(f"runs/mine: no such folder here, and {nobody} cannot be reached")
        assert sentence.endswith("check the path, or the network.")
    assert "Retry" not in done.stderr, "the client's own retries, which take half a minute"
