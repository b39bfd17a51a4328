"""A card for every checkpoint of a training, written from the training's own state."""

from pathlib import Path

from transformers import TrainerCallback
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR

from .model_card import write_card
from .training_record import progress_of_training, write_record


class TrainingCard(TrainerCallback):
    """Writes card and record into the folder of a training and of its checkpoints.

    Args:
        record: what is known before the training begins, see `record_of_training`.
    """

    def __init__(self, record: dict):
        self.record = record
        self.is_over = False

    def on_train_end(self, args, state, control, **kwargs):
        """From here on the weights are the best ones, where they are kept."""
        self.is_over = True

    def on_push_begin(self, args, state, control, model=None, processing_class=None, **kwargs):
        """Complete what is uploaded: of a checkpoint, Trainer copies the weights there, but neither code nor card."""
        if state.is_world_process_zero:
            model.config.save_pretrained(args.output_dir)
            self.on_save(args, state, control, model=model, processing_class=processing_class)
            self.write(Path(args.output_dir), args, state, model, processing_class)

    def on_save(self, args, state, control, model=None, processing_class=None, **kwargs):
        """Write the card of a checkpoint."""
        folder = Path(args.output_dir) / f"{PREFIX_CHECKPOINT_DIR}-{state.global_step}"
        if state.is_world_process_zero and folder.is_dir():
            self.write(folder, args, state, model, processing_class)

    def write(self, folder: Path, args, state, model, feature_extractor) -> None:
        """Write card and record.

        Args:
            folder: of a checkpoint or of the training.
            args: of the training.
            state: of the training.
            model: whose weights are there.
            feature_extractor: that is beside them.
        """
        output_dir = Path(args.output_dir)
        progress = progress_of_training(state, self.is_over and args.load_best_model_at_end, output_dir)
        record = {**self.record, **progress}
        write_record(record, folder)
        write_card(folder, output_dir.resolve().name, model, feature_extractor, record)
