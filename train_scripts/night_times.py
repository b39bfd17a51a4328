"""Times of a night in words."""

from datetime import timedelta

from modeling_sleepvit import Hypnogram


def time_label(hypnogram: Hypnogram, seconds: float, with_seconds: bool = True) -> str:
    """Say when something is.

    Args:
        hypnogram: knows the clock time of its first epoch, or does not.
        seconds: s after the first epoch begins.
        with_seconds: whether the seconds are told.

    Returns:
        clock time such as 23:15:30, or 0:12:30 after the start where no clock time is known.
    """
    if hypnogram.start is not None:
        clock = hypnogram.start + timedelta(seconds=round(seconds))
        return clock.strftime("%H:%M:%S" if with_seconds else "%H:%M")
    hours, rest = divmod(round(seconds), 3600)
    label = f"{hours}:{rest // 60:02d}"
    return f"{label}:{rest % 60:02d}" if with_seconds else label
