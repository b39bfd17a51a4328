"""Who may import whom: data flows one way, and the files of modeling_sleepvit can be copied into one flat folder."""

import ast
from pathlib import Path

import pytest


PROJECT = Path(__file__).resolve().parents[1]
ROOMS = ("modeling_sleepvit", "dataset_builders", "train_scripts", "model_cards", "benchmarks", "tests")
MAY_IMPORT = {
    "modeling_sleepvit": {"modeling_sleepvit"},
    "dataset_builders": {"dataset_builders", "modeling_sleepvit"},
    "train_scripts": {"train_scripts", "dataset_builders", "modeling_sleepvit"},
    "model_cards": {"model_cards", "train_scripts", "dataset_builders", "modeling_sleepvit"},
}


def imports_of(path: Path) -> list[ast.Import | ast.ImportFrom]:
    return [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, (ast.Import, ast.ImportFrom))]


def names_of(node: ast.Import | ast.ImportFrom) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    return [] if node.level else [node.module]


@pytest.mark.parametrize("room", MAY_IMPORT)
def test_a_room_imports_only_what_lies_below_it(room):
    paths = sorted((PROJECT / room).rglob("*.py"))
    assert paths
    for path in paths:
        for node in imports_of(path):
            rooms = {name.split(".")[0] for name in names_of(node)} & set(ROOMS)
            assert rooms <= MAY_IMPORT[room], f"{path.name}:{node.lineno} imports {rooms}"


def test_modules_of_the_model_import_their_siblings_by_name():
    for path in sorted((PROJECT / "modeling_sleepvit").rglob("*.py")):
        for node in imports_of(path):
            if isinstance(node, ast.ImportFrom) and node.level:
                where = f"{path.name}:{node.lineno}"
                assert node.level == 1, f"{where} reaches out of the folder"
                assert node.module, f"{where} must name one sibling"
                assert "." not in node.module, f"{where} must name one sibling"


def test_modules_of_the_model_form_no_circle():
    folder = PROJECT / "modeling_sleepvit"
    siblings = {
        path.stem: {node.module for node in imports_of(path) if isinstance(node, ast.ImportFrom) and node.level}
        for path in folder.glob("*.py")
        if path.stem != "__init__"
    }
    done: set[str] = set()
    while ready := {name for name, needs in siblings.items() if name not in done and needs <= done}:
        done |= ready
    assert set(siblings) <= done, f"circle among {sorted(set(siblings) - done)}"


@pytest.mark.parametrize("room", ROOMS)
def test_no_file_is_longer_than_a_reader_can_hold(room):
    for path in (PROJECT / room).rglob("*.py"):
        # the models stand in one file, as Transformers has it
        limit = 600 if path.name == "modeling_sleepvit.py" else 500
        assert len(path.read_text().splitlines()) <= limit, path
