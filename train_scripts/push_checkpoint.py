"""Upload a checkpoint to the Hub as a repository that works without this package.

sleepvit push runs/mine owner/name --private
"""

import argparse
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from modeling_sleepvit import SleepStagingPipeline
from modeling_sleepvit.errors import CheckpointError
from modeling_sleepvit.hub_card import CARD_FILE
from modeling_sleepvit.recordings import printable
from modeling_sleepvit.stager import load_stager

from .hub_upload import check_repo_id, upload_folder
from .model_card import model_card
from .running import run_script
from .training_record import read_record


def main(argv: list[str] | None = None) -> None:
    """Upload weights, configuration, feature extractor, code and card of a checkpoint, and nothing else of its folder.

    Args:
        argv: see `--help`; None reads the command line.

    Raises:
        SleepViTError: the folder is no whole checkpoint, the id is none, or the Hub refuses.
    """
    args = parse_arguments(argv)
    check_repo_id(args.repo, args.repo)
    if not args.checkpoint.is_dir():
        raise CheckpointError(f"{args.checkpoint}: expected the folder of a checkpoint, found none; check the path.")
    stager = load_stager(args.checkpoint)
    with TemporaryDirectory() as folder:
        stager.save_pretrained(folder)
        (Path(folder) / CARD_FILE).write_text(card_of(args.checkpoint, stager), encoding="utf-8")
        url = upload_folder(
            Path(folder),
            args.repo,
            is_private=args.private,
            revision=args.revision,
            name=printable(str(args.checkpoint)),
            delete_patterns=["*.py", "*.safetensors*"],  # of a version before this one
        )
    print(f"uploaded to {url}")


def card_of(checkpoint: Path, stager: SleepStagingPipeline) -> str:
    """Read the card of a checkpoint, or write one that says what the checkpoint itself tells.

    Args:
        checkpoint: its folder.
        stager: its pipeline.

    Returns:
        the card.
    """
    path = checkpoint / CARD_FILE
    if path.is_file():
        return path.read_text(encoding="utf-8")
    return model_card(checkpoint.resolve().name, stager.model, stager.feature_extractor, read_record(checkpoint))


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    """Read the arguments of the command."""
    parser = argparse.ArgumentParser(
        prog="sleepvit push",
        description="Upload a checkpoint to the Hub as a repository that works without this package.",
    )
    parser.add_argument("checkpoint", type=Path, metavar="CHECKPOINT", help="folder of the checkpoint")
    parser.add_argument("repo", metavar="REPO", help="id of the repository on the Hub, owner/name")
    parser.add_argument("--private", action="store_true", help="make the repository a private one")
    parser.add_argument("--revision", metavar="BRANCH", help="branch to upload to (default: main)")
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(run_script(main))
