"""The checkpoints that come with the package, so that staging needs no network."""

from pathlib import Path

from .errors import CheckpointError


FOLDER = Path(__file__).parent / "checkpoints"
DEFAULT_CHECKPOINT = "sleepvit-sedf20-5s"


def embedded_checkpoint(name: str | None = None) -> str:
    """Find a checkpoint that comes with the package.

    Args:
        name: its folder's name; None stands for the default, trained on Sleep-EDF.

    Returns:
        the folder, to be handed to `from_pretrained` or `pipeline`.

    Raises:
        CheckpointError: there is no checkpoint of that name; the message lists those there are.
    """
    name = name or DEFAULT_CHECKPOINT
    if name not in (names := embedded_names()):
        raise CheckpointError(f"no embedded checkpoint {name!r}: expected one of {', '.join(names) or 'none'}.")
    return str(FOLDER / name)


def embedded_names() -> list[str]:
    """List the checkpoints that come with the package."""
    return sorted(config.parent.name for config in FOLDER.glob("*/config.json"))
