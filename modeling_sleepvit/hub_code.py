"""Checkpoints that carry their code, so that they work where this package is not installed.

Transformers finds the classes of such a checkpoint by the names in its `config.json`, in the files beside it. Where
this package is installed its own classes are taken, and nobody is asked whether the files can be trusted.
"""

import shutil
from pathlib import Path

from transformers.dynamic_module_utils import get_relative_imports
from transformers.utils import TRANSFORMERS_DYNAMIC_MODULE_NAME, cached_file


CODE = Path(__file__).parent
IS_INSTALLED = not __name__.startswith(f"{TRANSFORMERS_DYNAMIC_MODULE_NAME}.")
"""False for the copy of this file that came with a checkpoint."""

FEATURE_EXTRACTOR = {"AutoFeatureExtractor": "feature_extraction_sleepvit.SleepViTFeatureExtractor"}
PIPELINES = {
    "sleep-staging": {
        "impl": "pipeline_sleepvit.SleepStagingPipeline",
        "pt": ["AutoModelForAudioFrameClassification", "AutoModelForAudioClassification"],
        "type": "audio",
    }
}


def named_code(auto_classes: dict[str, str], origin: str = "") -> dict[str, dict]:
    """Name the code of a checkpoint as `config.json` does.

    Args:
        auto_classes: "module.Class" of its configuration and models by Auto class.
        origin: folder or Hub id that a checkpoint was loaded from, for the copy of this file that came with it.

    Returns:
        `auto_map` and `custom_pipelines`, without classes whose file cannot be found.
    """
    return {
        "auto_map": {
            name: path for name, path in (auto_classes | FEATURE_EXTRACTOR).items() if _find(_module_of(path), origin)
        },
        "custom_pipelines": {
            task: dict(entry) for task, entry in PIPELINES.items() if _find(_module_of(entry["impl"]), origin)
        },
    }


def copy_code(named: dict[str, dict], folder: str | Path, origin: str = "") -> None:
    """Copy the files of the named code, and the siblings they import, into the folder of a checkpoint.

    Args:
        named: as `named_code` gives it.
        folder: of the checkpoint.
        origin: as for `named_code`.
    """
    pipelines = [entry["impl"] for entry in named["custom_pipelines"].values()]
    todo = [_module_of(path) for path in (*named["auto_map"].values(), *pipelines)]
    done = set()
    while todo:
        module = todo.pop()
        file = _find(module, origin)
        if module not in done and file is not None:
            done.add(module)
            todo += get_relative_imports(file)
            copy = Path(folder) / file.name
            if copy.resolve() != file.resolve():
                shutil.copyfile(file, copy)


def _module_of(path: str) -> str:
    return path.split(".")[0]


def _find(module: str, origin: str) -> Path | None:
    """Find the file of a module.

    Of a checkpoint's code Transformers keeps in one place only what one class needs, in a folder that is named by the
    commit; the rest is where the checkpoint came from.
    """
    file = CODE / f"{module}.py"
    if file.is_file() or IS_INSTALLED or not origin:
        return file if file.is_file() else None
    try:
        return Path(cached_file(origin, file.name, revision=CODE.name))
    except OSError:
        return None
