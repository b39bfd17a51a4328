"""The one argument of benchmarks whose measuring takes long: where the trainings lie, if they are to be measured."""

import argparse
from pathlib import Path


def named_folder(argv: list[str] | None, description: str, name: str, meaning: str) -> Path | None:
    """Read the argument.

    Args:
        argv: of the benchmark; None reads the command line.
        description: the head of its module, whose first line is shown.
        name: of the argument.
        meaning: of the argument.

    Returns:
        the folder; None stands for making tables of the committed results alone.
    """
    parser = argparse.ArgumentParser(description=description.split("\n")[0])
    parser.add_argument("folder", type=Path, nargs="?", metavar=name, help=meaning)
    return parser.parse_args(argv).folder
