"""How every script runs: a user's mistake ends with one sentence and exit code 2, never with a traceback."""

import os
import sys
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path

from huggingface_hub.utils import httpx

from modeling_sleepvit.errors import SettingError, SleepViTError
from modeling_sleepvit.hub_errors import hub_refusal


USER_ERROR = 2
INTERRUPTED = 130


def run_script(main: Callable[[list[str] | None], int | None], argv: list[str] | None = None) -> int:
    """Run a script's `main` and turn what a user can cause into a sentence on stderr.

    Args:
        main: takes the arguments after the script's name and returns an exit code or None.
        argv: the arguments; None reads the command line.

    Returns:
        the exit code: 0, 2 after a user's mistake, 130 after Ctrl-C.
    """
    # a letter that the font of a picture lacks is drawn as a box; the warning names a line of code and no remedy
    warnings.filterwarnings("ignore", r"Glyph \d+ .* missing from font", UserWarning)
    try:
        code = main(argv) or 0
        leave_process_group()
        return code
    except SleepViTError as error:
        report_error(error)
        return USER_ERROR
    except BrokenPipeError:
        # the reader of our output, for example `head`, has seen enough; nothing more can be printed
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except httpx.HTTPError as error:
        reason = hub_refusal(error, "write") or f"{type(error).__name__}: {error}"
        report_error(f"the Hub: {reason}; what was written on this machine is kept.")
        return USER_ERROR
    except OSError as error:
        report_error(sentence_about(error))
        return USER_ERROR
    except KeyboardInterrupt:
        report_error("interrupted; what was finished before is kept.")
        return INTERRUPTED


def leave_process_group() -> None:
    """Part from the processes of a distributed training that is done, so that its threads end before Python does.

    A thread of Gloo that lets go of its last tensor while the interpreter shuts down aborts the process now and then,
    and the launcher calls a finished training a failed one.
    """
    distributed = sys.modules.get("torch.distributed")  # not imported: no script need wait for PyTorch here
    if distributed is not None and distributed.is_available() and distributed.is_initialized():
        distributed.destroy_process_group()


def check_output(output: Path) -> None:
    """Refuse a folder for results that could not be written, before the work and not after it.

    Args:
        output: the folder, which is not made here.

    Raises:
        SettingError: a file stands in its place or above it, or nothing can be written there.
    """
    nearest = next(place for place in (output, *output.absolute().parents) if os.path.lexists(place))
    if not nearest.is_dir():
        raise SettingError(f"--output {output}: expected a folder, found a file at {nearest}; choose another place.")
    try:
        tempfile.TemporaryFile(dir=nearest).close()  # permissions alone do not tell: disks are full or read-only
    except OSError as error:
        raise SettingError(
            f"--output {output}: expected a folder that can be written to, found {nearest} "
            f"({error.strerror or error}); choose another place."
        ) from error


def counted(count: int, what: str) -> str:
    """Put a number before what it counts, with an s behind all but one.

    Args:
        count: how many.
        what: for example "recording".

    Returns:
        text.
    """
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def sentence_about(error: OSError) -> str:
    """Say which file the system refused and why.

    Args:
        error: of the operating system: no permission, no space, a file in the place of a folder.

    Returns:
        one sentence.
    """
    where = error.filename or "the output"
    return f"{where}: {error.strerror or error}; check that the place exists, has room and can be written to."


def report_error(error: Exception | str) -> None:
    """Print one line on stderr.

    Args:
        error: its text, whose line breaks are folded.
    """
    print(f"sleepvit: error: {' '.join(str(error).split())}", file=sys.stderr)
