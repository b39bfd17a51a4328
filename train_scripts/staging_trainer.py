"""Trainer as the training of this package needs it: its own card, and a validation that leaves no epoch out."""

from pathlib import Path

from transformers import Trainer

from .training_card import TrainingCard


class StagingTrainer(Trainer):
    """Trainer whose card is that of `TrainingCard`, and whose validation leaves no epoch out.

    Args:
        card: writes it.
        **kwargs: of `Trainer`.
    """

    def __init__(self, card: TrainingCard, callbacks=(), **kwargs):
        super().__init__(callbacks=[card, *callbacks], **kwargs)
        self.card = card

    def get_eval_dataloader(self, eval_dataset=None):
        """Read every epoch that is watched: `dataloader_drop_last` is about the last batch of a pass of training."""
        drop_last, self.args.dataloader_drop_last = self.args.dataloader_drop_last, False
        try:
            return super().get_eval_dataloader(eval_dataset)
        finally:
            self.args.dataloader_drop_last = drop_last

    def create_model_card(self, **kwargs) -> None:
        """Write the card of the training; Trainer calls this when it pushes the final weights."""
        if self.is_world_process_zero():
            self.card.write(
                Path(self.args.output_dir),
                self.args,
                self.state,
                self.accelerator.unwrap_model(self.model),
                self.processing_class,
            )
