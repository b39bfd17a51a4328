"""Checkpoints that carry their code, so that they work where this package is not installed.

Transformers finds the classes of such a checkpoint by the names in its `config.json`, in the files beside it. Where
this package is installed its own classes are taken, and nobody is asked whether the files can be trusted.
"""

import shutil
from pathlib import Path

from transformers.dynamic_module_utils import get_relative_imports
from transformers.utils import TRANSFORMERS_DYNAMIC_MODULE_NAME, cached_file, logging


logger = logging.get_logger(__name__)

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


def named_code(auto_classes: dict[str, str]) -> dict[str, dict]:
    """Name the code of a checkpoint as `config.json` does.

    Args:
        auto_classes: "module.Class" of its configuration and models by Auto class.

    Returns:
        `auto_map` and `custom_pipelines`.
    """
    return {"auto_map": auto_classes | FEATURE_EXTRACTOR, "custom_pipelines": PIPELINES}


def copy_code(auto_classes: dict[str, str], folder: str | Path, origin: str) -> None:
    """Copy the files of the named code, and the siblings they import, into the folder of a checkpoint.

    Args:
        auto_classes: as for `named_code`.
        folder: of the checkpoint.
        origin: folder or Hub id that the checkpoint was loaded from; the copy of this file that came with it needs it.
    """
    paths = [*auto_classes.values(), *FEATURE_EXTRACTOR.values(), *(entry["impl"] for entry in PIPELINES.values())]
    todo, done = [path.split(".")[0] for path in paths], set()
    while todo:
        module = todo.pop()
        if module in done:
            continue
        done.add(module)
        file = _find(module, origin)
        if file is None:
            logger.warning(f"{module}.py of {origin or 'this checkpoint'} cannot be found: {folder} lacks it.")
            continue
        todo += get_relative_imports(file)
        copy = Path(folder) / file.name
        if copy.resolve() != file.resolve():
            shutil.copyfile(file, copy)


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
