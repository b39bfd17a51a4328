"""SleepViT: sleep staging from EEG as Hugging Face Transformers models.

Importing the package registers its configurations, models, feature extractor and the pipeline "sleep-staging" with
Transformers, so that AutoConfig, AutoModel, AutoFeatureExtractor and pipeline() know them.
"""

from transformers import (
    AutoConfig,
    AutoFeatureExtractor,
    AutoModel,
    AutoModelForAudioClassification,
    AutoModelForAudioFrameClassification,
)
from transformers.pipelines import PIPELINE_REGISTRY

from .configuration_sleepvit import SleepViTConfig, SleepViTSequenceConfig
from .embedded import embedded_checkpoint
from .errors import SleepViTError
from .explain_sleepvit import Explanation, explain, explain_night
from .feature_extraction_sleepvit import SleepViTFeatureExtractor
from .hypnogram import Hypnogram
from .modeling_sleepvit import (
    SleepViTForAudioClassification,
    SleepViTForAudioFrameClassification,
    SleepViTModel,
    SleepViTSequenceModel,
)
from .pipeline_sleepvit import SleepStagingPipeline
from .recordings import Recording, read_recording
from .stages import STAGES, UNSCORED


for _config in (SleepViTConfig, SleepViTSequenceConfig):
    AutoConfig.register(_config.model_type, _config, exist_ok=True)
    AutoFeatureExtractor.register(_config, SleepViTFeatureExtractor, exist_ok=True)
AutoModel.register(SleepViTConfig, SleepViTModel, exist_ok=True)
AutoModel.register(SleepViTSequenceConfig, SleepViTSequenceModel, exist_ok=True)
AutoModelForAudioClassification.register(SleepViTConfig, SleepViTForAudioClassification, exist_ok=True)
AutoModelForAudioFrameClassification.register(
    SleepViTSequenceConfig, SleepViTForAudioFrameClassification, exist_ok=True
)
SleepViTFeatureExtractor.register_for_auto_class()
PIPELINE_REGISTRY.register_pipeline(
    "sleep-staging",
    pipeline_class=SleepStagingPipeline,
    pt_model=(AutoModelForAudioFrameClassification, AutoModelForAudioClassification),
    type="audio",
)

__all__ = [
    "STAGES",
    "UNSCORED",
    "Explanation",
    "Hypnogram",
    "Recording",
    "SleepStagingPipeline",
    "SleepViTConfig",
    "SleepViTError",
    "SleepViTFeatureExtractor",
    "SleepViTForAudioClassification",
    "SleepViTForAudioFrameClassification",
    "SleepViTModel",
    "SleepViTSequenceConfig",
    "SleepViTSequenceModel",
    "embedded_checkpoint",
    "explain",
    "explain_night",
    "read_recording",
]
