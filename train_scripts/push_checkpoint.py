"""Upload a checkpoint to the Hub as a repository that works without this package.

sleepvit push runs/mine owner/name --private
"""

import argparse
import shutil
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from modeling_sleepvit.errors import CheckpointError
from modeling_sleepvit.recordings import printable
from modeling_sleepvit.stager import load_stager

from .hub_upload import check_repo_id, upload_folder
from .running import run_script


CARD = "README.md"


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
    card = args.checkpoint / CARD
    if not card.is_file():
        raise CheckpointError(
            f"{args.checkpoint}: expected a card ({CARD}) that says what the model learned from and how well it does, "
            "found none; a training by sleepvit train writes one."
        )
    with TemporaryDirectory() as folder:
        stager.save_pretrained(folder)
        shutil.copyfile(card, Path(folder) / CARD)
        url = upload_folder(
            Path(folder),
            args.repo,
            is_private=args.private,
            revision=args.revision,
            name=printable(str(args.checkpoint)),
            delete_patterns=["*.py", "*.safetensors*"],  # of a version before this one
        )
    print(f"uploaded to {url}")


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
