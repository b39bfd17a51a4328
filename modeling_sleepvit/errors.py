"""The errors a user of the package can cause, one small hierarchy.

Every message is one sentence that names the file, channel or epoch, what was expected, what was found and what to do.
The command line prints the message and ends with exit code 2; Python users catch `SleepViTError` or the built-in
error that each class also is. Programming errors raise the built-in errors alone.
"""


class SleepViTError(Exception):
    """Base of every error that a user's input can cause."""


class RecordingError(SleepViTError, ValueError):
    """A recording cannot be read or does not hold what was asked of it."""


class RecordingNotFoundError(SleepViTError, FileNotFoundError):
    """There is no recording at the given path."""

    # OSError.__str__ rearranges its arguments; the message alone is what the user should read.
    def __str__(self) -> str:
        return str(self.args[0]) if self.args else ""


class ChannelError(RecordingError):
    """A recording has no channel that fits the one that was asked for."""


class CheckpointError(SleepViTError, OSError):
    """A checkpoint is missing or is not one that this package can load."""

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else ""


class UnknownStageError(SleepViTError, ValueError):
    """A stage name is in no vocabulary of this package."""


class HypnogramError(SleepViTError, ValueError):
    """A hypnogram is inconsistent, or does not hold what was asked of it."""


class DatasetError(SleepViTError, ValueError):
    """Training or evaluation data are missing or inconsistent."""


class SettingError(SleepViTError, ValueError):
    """A setting (of a configuration, a script or a command) cannot be used."""
