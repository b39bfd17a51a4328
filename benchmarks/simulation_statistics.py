"""Rebuild the statistics of real nights that the simulator of nights draws from.

    python -m benchmarks.simulation_statistics    # writes dataset_builders/simulation/statistics.json

Hypnograms come from all 39 nights of Sleep-EDF-20. Spectra come from the subjects alone that the embedded checkpoint
learned from, so that nothing of its test subjects gets into a simulated signal.
"""

import json
import os
import re
from pathlib import Path

import numpy as np

from dataset_builders.simulation.hypnograms import hypnogram_statistics
from dataset_builders.simulation.signals import BAND_EDGES_HZ, log_band_power
from modeling_sleepvit.stages import STAGES, stages_from_ids
from modeling_sleepvit.whole_files import written_whole


DATA = Path(os.environ.get("SLEEPVIT_DATA", "../shared/data")) / "sleep-edf-20-5s"
OUTPUT = Path(__file__).parents[1] / "dataset_builders" / "simulation" / "statistics.json"
TEST_SUBJECTS = ("SC400", "SC405", "SC410", "SC415")
SAMPLING_RATE = 100
N_COMPONENTS = 6
N_NIGHT_COMPONENTS = 4
LARGEST_SCORE = 3.0
"""Standard deviations; what lies further out is an artefact, and the simulator makes its own."""


def main() -> None:
    """Measure the real nights and write the JSON."""
    paths = sorted(DATA.glob("SC4*.npz"))
    nights = {path: np.load(path) for path in paths}
    learned = [path for path in paths if path.stem[:5] not in TEST_SUBJECTS]
    statistics = {
        "source": "Sleep-EDF Expanded 1.0.0 (PhysioNet, ODC-BY 1.0; Kemp et al. 2000, Goldberger et al. 2000), "
        "the 39 nights of SC400 to SC419, EEG Fpz-Cz, the first 5 s of each epoch. Aggregates alone: no signal and no "
        "scoring of a person can be rebuilt from them.",
        "hypnogram_subjects": sorted({path.stem[:5] for path in paths}),
        "spectrum_subjects": sorted({path.stem[:5] for path in learned}),
        "rebuilt_by": "python -m benchmarks.simulation_statistics",
        "hypnogram": hypnogram_statistics([stages_from_ids(nights[path]["y"]) for path in paths]),
        "spectrum": spectrum_statistics([(nights[path]["x"], stages_from_ids(nights[path]["y"])) for path in learned]),
    }
    text = json.dumps(statistics, indent=1)
    # a list of numbers on one line: the file stays small and its history readable
    text = re.sub(r"\[[^\[\]{}]*\]", lambda numbers: " ".join(numbers[0].split()), text)
    with written_whole(OUTPUT) as partial:
        partial.write_text(text + "\n", encoding="utf-8")
    print(f"{OUTPUT}: {OUTPUT.stat().st_size / 1024:.0f} KiB from {len(paths)} nights")


def spectrum_statistics(nights: list[tuple[np.ndarray, np.ndarray]]) -> dict:
    """Describe the log band power of each stage: its mean, how nights differ and how epochs of a night differ.

    Args:
        nights: windows (n_epochs, samples) in uV at 100 Hz and stages (n_epochs,) of each night.

    Returns:
        `band_edges_hz`; `night_components` (component, band), by which the nights differ in all stages alike; for each
        stage in `stages` its `mean` (band), log10 of uV^2/Hz, `night_components` by which the nights differ in this
        stage besides, `components` (component, band) by which epochs of a night differ, each times a standard normal
        score, and `persistence` (component), the correlation of the scores of neighbouring epochs.
    """
    # the mean of the logarithm lies below the logarithm of the mean, and an estimate scatters: white noise tells both
    noise = log_band_power(np.random.default_rng(0).normal(size=(20_000, 5 * SAMPLING_RATE)), SAMPLING_RATE)
    bias, scatter = noise.mean(axis=0) - np.log10(2 / SAMPLING_RATE), np.cov(noise.T)
    powers = [log_band_power(windows, SAMPLING_RATE) - bias for windows, _ in nights]
    stages = np.concatenate([scored for _, scored in nights])
    unknown = np.full(len(bias), np.nan)
    means = {stage: np.concatenate(powers)[stages == stage].mean(axis=0) for stage in STAGES}
    # (nights, stages, bands); a night without some stage lends it what its other stages differ by
    offsets = np.array(
        [
            [power[scored == stage].mean(axis=0) - means[stage] if stage in scored else unknown for stage in STAGES]
            for power, (_, scored) in zip(powers, nights)
        ]
    )
    offsets = np.where(np.isnan(offsets), np.nanmean(offsets, axis=1, keepdims=True), offsets)
    common = common_covariance(offsets)
    described = {}
    for index, stage in enumerate(STAGES):
        differences = [
            np.where((scored == stage)[:, None], power - means[stage], np.nan)
            for power, (_, scored) in zip(powers, nights)
        ]
        known = np.concatenate(differences)
        known = known[np.isfinite(known[:, 0])]
        limit = LARGEST_SCORE * known.std(axis=0)
        # all variance is that between nights, that within them, and the scatter of the estimate
        between_nights = np.cov(offsets[:, index].T)
        covariance = np.cov(np.clip(known, -limit, limit).T) - between_nights - scatter
        components = principal_components(covariance, N_COMPONENTS)
        rest = [night - offset[index] for night, offset in zip(differences, offsets)]
        inverse = np.linalg.pinv(components)
        persistence = []
        for component in range(N_COMPONENTS):
            before, after = (
                np.concatenate([(night @ inverse)[part, component] for night in rest])
                for part in (slice(None, -1), slice(1, None))
            )
            both = np.isfinite(before) & np.isfinite(after)
            # scores have a variance of 1 without the scatter, and the scatter of two epochs has nothing in common
            persistence.append(np.cov(before[both], after[both])[0, 1])
        described[stage] = {
            "mean": means[stage].round(3).tolist(),
            "night_components": principal_components(between_nights - common, N_NIGHT_COMPONENTS).round(3).tolist(),
            "components": components.round(3).tolist(),
            "persistence": np.clip(persistence, 0.05, 0.95).round(3).tolist(),
        }
    return {
        "band_edges_hz": list(BAND_EDGES_HZ),
        "night_components": principal_components(common, N_NIGHT_COMPONENTS).round(3).tolist(),
        "stages": described,
    }


def common_covariance(offsets: np.ndarray) -> np.ndarray:
    """Find how nights differ in all stages alike: the covariance between different stages.

    Args:
        offsets: (nights, stages, bands) what each stage of each night differs by from the stage's mean.

    Returns:
        (bands, bands).
    """
    n_nights, n_stages, _ = offsets.shape
    offsets = offsets - offsets.mean(axis=0)
    # all pairs of stages, less those of a stage with itself
    total = offsets.sum(axis=1)
    pairs = np.einsum("nb,nc->bc", total, total) - np.einsum("nsb,nsc->bc", offsets, offsets)
    return pairs / (n_stages * (n_stages - 1) * (n_nights - 1))


def principal_components(covariance: np.ndarray, n_components: int) -> np.ndarray:
    """Find the directions of the largest variance.

    Args:
        covariance: (bands, bands).
        n_components: how many.

    Returns:
        (n_components, bands), each as long as its standard deviation and with a positive sum.
    """
    variances, directions = np.linalg.eigh(covariance)
    largest = np.argsort(variances)[::-1][:n_components]
    components = (directions[:, largest] * np.sqrt(np.maximum(variances[largest], 0))).T
    return components * np.where(components.sum(axis=1, keepdims=True) < 0, -1, 1)


if __name__ == "__main__":
    main()
