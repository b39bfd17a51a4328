"""A page that stages an uploaded night: hypnogram, statistics, why an epoch was staged as it was, and the CSV.

    python model_cards/space/app.py --port 7860

Uploads and results lie in a folder of their own. What is older than an hour is removed, and at the end all of it.
"""

import argparse
import os
import shutil
import signal
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from dataset_builders.markdown_tables import markdown_table
from modeling_sleepvit import Hypnogram, Recording, SleepStagingPipeline, read_recording
from modeling_sleepvit.errors import SettingError, SleepViTError
from modeling_sleepvit.night_figure import night_figure
from modeling_sleepvit.recordings import read_channel_names
from train_scripts.epoch_explanations import epoch_decibels, explain_epochs
from train_scripts.explain_recording import check_epochs
from train_scripts.explanation_figure import ExplainedEpoch, explanation_figure
from train_scripts.night_report.page import STATISTICS
from train_scripts.running import run_script
from train_scripts.stage_recordings import load_quiet_stager


try:
    import gradio
except ImportError:
    gradio = None

BEST_CHANNEL = "the best EEG channel there is"
LARGEST_FILE_MB = 200
LIFETIME_S = 3600
DPI = 100

INTRODUCTION = f"""# SleepViT stages a night
Upload a recording (EDF or BDF, {LARGEST_FILE_MB} MB at most), choose a channel, and read the hypnogram, its sleep
statistics and why an epoch was staged as it was. **Research use only, not a medical device.** Files are removed after
an hour; upload nothing that names a person."""


@dataclass(frozen=True)
class StagedNight:
    """What the page keeps of a visitor's night.

    Args:
        recording: the signal of the channel.
        prepared: what the pipeline made of it.
        hypnogram: stages and probabilities.
        edges_px: where the time axis of the picture begins and ends, in its pixels.
        folder: of the files to download.
    """

    recording: Recording
    prepared: dict
    hypnogram: Hypnogram
    edges_px: tuple[float, float]
    folder: Path

    def epoch_at(self, x_px: float) -> int:
        """Find the epoch at a place in the picture, the first or the last beyond its axis."""
        left, right = self.edges_px
        epoch = int((x_px - left) / (right - left) * self.hypnogram.n_epochs)
        return min(max(epoch, 0), self.hypnogram.n_epochs - 1)


def main(argv: list[str] | None = None) -> None:
    """Serve the page until it is stopped.

    Args:
        argv: see `--help`; None reads the command line.

    Raises:
        SleepViTError: gradio is not installed, or there is no such checkpoint.
    """
    args = parse_arguments(argv)
    if gradio is None:
        raise SettingError('the page needs gradio; install it with pip install "sleepvit[space]".')
    stager = load_quiet_stager(args.model)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # so that the folder is removed then, too
    with tempfile.TemporaryDirectory(prefix="sleepvit_space_") as folder:
        os.environ["GRADIO_TEMP_DIR"] = folder
        page(stager, Path(folder)).launch(
            server_name=args.host,
            server_port=args.port,
            max_file_size=LARGEST_FILE_MB * 1_000_000,
            theme=gradio.themes.Default(
                font=["system-ui", "sans-serif"], font_mono=["monospace"]
            ),  # none from outside
            footer_links=[],
            ssr_mode=False,
        )


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    """Read the arguments of the script."""
    parser = argparse.ArgumentParser(prog="app.py", description="Serve a page that stages uploaded nights.")
    parser.add_argument("--model", metavar="DIR_OR_ID", help="checkpoint (default: the embedded one)")
    parser.add_argument("--host", help="address to serve at (default: this machine alone; on a Space, all)")
    parser.add_argument("--port", type=int, help="(default: the first free one from 7860)")
    return parser.parse_args(argv)


def page(stager: SleepStagingPipeline, folder: Path):
    """Lay out the page.

    Args:
        stager: the pipeline.
        folder: for the files of all visitors.

    Returns:
        gradio Blocks.
    """
    with gradio.Blocks(
        title="SleepViT", delete_cache=(LIFETIME_S // 6, LIFETIME_S), analytics_enabled=False
    ) as blocks:
        gradio.Markdown(INTRODUCTION)
        night = gradio.State(None, time_to_live=LIFETIME_S, delete_callback=forget)
        with gradio.Row():
            upload = gradio.File(label="Recording", file_types=[".edf", ".bdf"], elem_id="upload", height=150)
            with gradio.Column():
                channel = gradio.Dropdown(
                    [BEST_CHANNEL],
                    value=BEST_CHANNEL,
                    label="Channel, or the difference of two electrodes such as C4-M1",
                    allow_custom_value=True,
                    elem_id="channel",
                )
                stage = gradio.Button("Stage the night", variant="primary", interactive=False, elem_id="stage")
        with gradio.Column(visible=False) as results:
            gradio.Markdown("Click on an epoch to see why it was staged as it was.")
            look = {"show_label": False, "interactive": False, "format": "png", "buttons": ["download", "fullscreen"]}
            picture = gradio.Image(elem_id="night", **look)
            with gradio.Row():
                epoch = gradio.Number(0, label="Epoch, counted from 0", precision=0, elem_id="epoch")
                explain = gradio.Button("Explain this epoch", elem_id="explain")
                download = gradio.DownloadButton("Download the hypnogram (CSV)", elem_id="csv")
            why = gradio.Image(elem_id="why", visible=False, **look)
            with gradio.Row():
                with gradio.Column(min_width=320):
                    statistics = gradio.Markdown(elem_id="statistics")
                with gradio.Column(min_width=320):
                    notes = gradio.Markdown(elem_id="notes")

        explained = {"fn": lambda *inputs: show_why(stager, *inputs), "inputs": [night, epoch], "outputs": why}
        upload.change(offer_channels, upload, [channel, stage, results, why])
        stage.click(
            lambda *inputs: show_night(stager, folder, *inputs),
            [upload, channel, night],
            [night, results, picture, statistics, notes, download, epoch, why],
        )
        picture.select(clicked_epoch, night, epoch).then(**explained)
        explain.click(**explained)
        epoch.submit(**explained)
    return blocks


def offer_channels(path: str | None):
    """List the channels of a file that was uploaded, or clear the page where it was taken away."""
    nothing = [gradio.update(visible=False)] * 2
    if path is None:
        return gradio.update(choices=[BEST_CHANNEL], value=BEST_CHANNEL), gradio.update(interactive=False), *nothing
    with said_on_the_page(Path(path)):
        names = read_channel_names(path)
    return (
        gradio.update(choices=[BEST_CHANNEL, *dict.fromkeys(names)], value=BEST_CHANNEL),
        gradio.update(interactive=True),
        *nothing,
    )


def show_night(stager: SleepStagingPipeline, folder: Path, path: str, channel: str | None, before: StagedNight | None):
    """Stage the uploaded night and fill the page with it."""
    with said_on_the_page(Path(path)):
        is_named = channel and channel != BEST_CHANNEL  # the field may have been emptied
        recording = read_recording(path, [channel] if is_named else None)
        hypnogram = stager(recording)
        prepared = stager.preprocess(recording)
        image, edges_px = drawn(night_figure(recording, hypnogram))
    forget(before)
    files = Path(tempfile.mkdtemp(dir=folder))
    table = files / f"{Path(path).stem}_hypnogram.csv"
    hypnogram.to_csv(table)
    night = StagedNight(recording, prepared, hypnogram, edges_px, files)
    least_certain = int(np.argmin(np.nan_to_num(hypnogram.confidence, nan=np.inf)))
    return (
        night,
        gradio.update(visible=True),
        image,
        statistics_table(hypnogram),
        "\n".join(f"- {note}" for note in (f"Channel: {', '.join(hypnogram.channels)}.", *hypnogram.notes)),
        gradio.update(value=str(table)),
        least_certain,
        gradio.update(visible=False),
    )


def clicked_epoch(night: StagedNight | None, event: "gradio.SelectData") -> int:
    """Find the epoch at the place in the picture that was clicked on."""
    return still_there(night).epoch_at(event.index[0])


def show_why(stager: SleepStagingPipeline, night: StagedNight | None, epoch: int | None):
    """Draw the explanation of an epoch; None stands for a field that was emptied."""
    night = still_there(night)
    recording, hypnogram = night.recording, night.hypnogram
    with said_on_the_page(Path(recording.path)):
        if epoch is None:
            raise SettingError("Name an epoch, counted from 0.")
        check_epochs([epoch], recording, hypnogram, night.prepared, recording.id)
        explanation = explain_epochs(stager, night.prepared, hypnogram, [epoch])
        decibels = epoch_decibels(recording, [epoch], hypnogram.epoch_seconds)[0]
        image, _ = drawn(explanation_figure(ExplainedEpoch(recording, hypnogram, explanation, 0, epoch, decibels)))
    return gradio.update(value=image, visible=True)


def statistics_table(hypnogram: Hypnogram) -> str:
    """Tell the sleep statistics with their units, and the minutes of each stage, as a Markdown table."""
    found = hypnogram.statistics()
    named = [*STATISTICS, *((f"{stage}_min", stage, "min") for stage in ("N1", "N2", "N3", "R"))]
    rows = [
        {
            "sleep statistics": label,
            "this night": "none" if np.isnan(found[name]) else f"{found[name]:.1f}".removesuffix(".0"),
            "unit": unit,
        }
        for name, label, unit in named
    ]
    return markdown_table(pd.DataFrame(rows))


def drawn(figure: Figure) -> tuple[np.ndarray, tuple[float, float]]:
    """Draw a figure.

    Args:
        figure: known to nobody else.

    Returns:
        its picture (height, width, 3), and where the x axis of its first axes begins and ends, in pixels.
    """
    figure.set_dpi(DPI)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    extent = figure.axes[0].get_window_extent()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy(), (extent.x0, extent.x1)


def still_there(night: StagedNight | None) -> StagedNight:
    """Ask for the night again where it was forgotten."""
    if night is None:
        raise gradio.Error("The night is not here any more: upload it again.", duration=None, print_exception=False)
    return night


def forget(night: StagedNight | None) -> None:
    """Remove a night's files."""
    if night is not None:
        shutil.rmtree(night.folder, ignore_errors=True)


class said_on_the_page:
    """Turn a user's mistake into a sentence on the page, which names the file and not its place on this machine.

    Args:
        path: the file.
    """

    def __init__(self, path: Path):
        self.path = path

    def __enter__(self):
        return self

    def __exit__(self, kind, error, traceback) -> None:
        if isinstance(error, SleepViTError):
            sentence = str(error).replace(str(self.path), self.path.name)
            raise gradio.Error(sentence, duration=None, title="This does not work", print_exception=False) from error


if __name__ == "__main__":
    sys.exit(run_script(main))
