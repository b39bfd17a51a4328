"""Loading the staging pipeline of a checkpoint, with errors a user understands."""

from pathlib import Path

from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError
from transformers import AutoConfig, AutoFeatureExtractor, pipeline

from .configuration_sleepvit import SleepViTConfig, SleepViTSequenceConfig
from .embedded import embedded_checkpoint, embedded_names
from .errors import CheckpointError, SleepViTError
from .hub_errors import hub_refusal, refuse_unreachable
from .modeling_sleepvit import SleepViTForAudioClassification, SleepViTForAudioFrameClassification
from .onnx_sleepvit import OnnxSleepViT
from .pipeline_sleepvit import SleepStagingPipeline


HEAD_OF = {
    SleepViTConfig.model_type: SleepViTForAudioClassification,
    SleepViTSequenceConfig.model_type: SleepViTForAudioFrameClassification,
}
_LOADING_ERRORS = (
    OSError, ValueError, KeyError, TypeError, AttributeError, RuntimeError, SafetensorError, StrictDataclassError
)  # fmt: skip


def folder_or_id(model: str | Path | None = None) -> tuple[str, dict[str, str]]:
    """Check the name of a checkpoint before anybody loads it.

    Args:
        model: folder of a checkpoint, its id on the Hub ("owner/name", "owner/name@revision"), or the name of one that
            comes with the package; None stands for the default of these.

    Returns:
        the folder or id, and the `revision` where one is named, both to be handed to `from_pretrained`.

    Raises:
        CheckpointError: there is no such folder, and it is no id either or the Hub cannot be reached.
    """
    if model is None:
        return embedded_checkpoint(), {}
    if Path(model).is_dir():
        return str(model), {}
    if str(model) in embedded_names():
        return embedded_checkpoint(str(model)), {}
    name, _, revision = str(model).partition("@")
    if name.count("/") != 1 or name.startswith((".", "/", "~")):
        raise CheckpointError(
            f"{model}: no such folder here: expected a folder with a SleepViT checkpoint, or the id of one on the Hub "
            "(owner/name); check the path."
        )
    refuse_unreachable(name, revision or None)
    return name, {"revision": revision} if revision else {}


def load_stager(model: str | Path | None = None, runtime: str = "torch", **kwargs) -> SleepStagingPipeline:
    """Load the pipeline for a checkpoint and refuse one that would stage with weights that were never trained.

    Args:
        model: folder of a checkpoint, or its id on the Hub ("owner/name", "owner/name@revision"); None stands for the
            embedded checkpoint.
        runtime: "torch", or "onnx" for what `sleepvit export --format onnx` wrote.
        **kwargs: further arguments of `transformers.pipeline`, for example `device`.

    Returns:
        the pipeline "sleep-staging".

    Raises:
        CheckpointError: there is no such checkpoint, or it is not one for sleep staging.
        SettingError: ONNX Runtime is asked for and not installed.
    """
    place, revision = folder_or_id(model)
    model = place if model is None else model
    try:
        config = AutoConfig.from_pretrained(place, **revision)
        if config.model_type not in HEAD_OF:
            raise CheckpointError(
                f"{model}: expected a SleepViT checkpoint ({' or '.join(HEAD_OF)}), found {config.model_type}."
            )
        if runtime == "onnx":
            loaded, unset = OnnxSleepViT.from_pretrained(place, config, **revision), []
        else:
            loaded, report = HEAD_OF[config.model_type].from_pretrained(place, output_loading_info=True, **revision)
            unset = sorted({*report["missing_keys"], *(key for key, *_ in report["mismatched_keys"])})
        extractor = AutoFeatureExtractor.from_pretrained(place, **revision)
    except SleepViTError:
        raise
    except _LOADING_ERRORS as error:
        if refusal := hub_refusal(error):
            raise CheckpointError(f"{model}: {refusal}.") from error
        reason = " ".join(str(error).split())
        raise CheckpointError(
            f"{model}: expected a SleepViT checkpoint (config.json, preprocessor_config.json and model.safetensors), "
            f"found none that loads: {reason}"
        ) from error
    if unset:
        raise CheckpointError(
            f"{model}: expected the weights of a {type(loaded).__name__}, found none for {len(unset)} tensors, among "
            f"them {unset[0]}; save the model with its stage head."
        )
    return pipeline("sleep-staging", model=loaded, feature_extractor=extractor, **kwargs)
