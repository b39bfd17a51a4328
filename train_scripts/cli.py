"""The command `sleepvit`: dispatches to the scripts of this folder."""

import argparse
import importlib
import sys


COMMANDS = {
    "stage": ("stage_recordings", "stage EDF, BDF or FIF recordings: hypnogram, probabilities, statistics, picture"),
    "explain": ("explain_recording", "explain why epochs were staged as they were: pictures and a table"),
    "simulate": ("simulate_night", "write a SIMULATED night and its scoring, for trying things out without data"),
    "prepare": ("prepare_dataset", "prepare recordings and scorings as a dataset for training"),
    "train": ("run_sleep_staging", "train a model on scored nights, as a JSON file of settings says"),
    "evaluate": ("evaluate_checkpoint", "evaluate a checkpoint on scored nights: figures, pictures and a report"),
    "push": ("push_checkpoint", "upload a checkpoint to the Hub as a repository that works without this package"),
    "convert": ("convert_original_checkpoint", "convert a state dict of the paper's authors into a checkpoint"),
    "export": ("export_checkpoint", "export a checkpoint as ONNX graphs or PyTorch programs, quantised if wanted"),
}


def main(argv: list[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: the command and its arguments; None reads the command line.

    Returns:
        the exit code: 0, 2 after a user's mistake, 130 after Ctrl-C.
    """
    argv = sys.argv[1:] if argv is None else argv
    parser = argparse.ArgumentParser(
        prog="sleepvit",
        description="Sleep staging from EEG. Research use only, not a medical device.",
        epilog="sleepvit COMMAND --help tells the arguments of a command.",
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, (_, summary) in COMMANDS.items():
        commands.add_parser(name, help=summary, add_help=False)
    command = parser.parse_args(argv[:1]).command
    # imported only now: `sleepvit --help` need not wait for PyTorch
    script, running = (importlib.import_module(f"{__package__}.{name}") for name in (COMMANDS[command][0], "running"))
    return running.run_script(script.main, argv[1:])


if __name__ == "__main__":
    sys.exit(main())
