"""Tables and figure of what `benchmarks.faithfulness` measured."""

import pandas as pd
from matplotlib.figure import Figure

from dataset_builders.markdown_tables import markdown_table
from modeling_sleepvit.attributions import METHODS
from modeling_sleepvit.explain_sleepvit import DEFAULT_METHOD
from modeling_sleepvit.stages import STAGES


BAND_NAMES = {"delta": "0-4 Hz", "theta": "4-8 Hz", "alpha": "8-12 Hz", "sigma": "12-16 Hz", "beta": "16-32 Hz"}

EXPECTED_BANDS = {
    "W": ("alpha", "beta"),
    "N1": ("theta",),
    "N2": ("delta", "sigma"),
    "N3": ("delta",),
    "R": ("theta", "beta"),
}
"""Where the rhythms are by which sleep medicine tells the stages."""

METHOD_NAMES = {
    "rollout": "rollout",
    "gradient_rollout": "gradient rollout",
    "relevance": "relevance",
    "integrated_gradients": "integrated gradients",
    "occlusion": "occlusion",
    "random": "random order",
}

COLOURS = {
    "rollout": "#9AA1AB",
    "gradient_rollout": "#8CC6D7",
    "relevance": "#4A86C5",
    "integrated_gradients": "#27407E",
    "occlusion": "#C2453D",
    "random": "#E3A72F",
}


def short_table(results: dict) -> str:
    """Say on one table, and in one paragraph, which method is the default and why.

    Args:
        results: as `benchmarks.faithfulness` wrote them.

    Returns:
        Markdown.
    """
    rows = []
    for name in METHOD_NAMES:
        figures = results["deletion"][name]["all"]
        most, least = figures["most_relevant_first"], figures.get("least_relevant_first")
        time = results["runtime"].get(name, {})
        rows.append(
            {
                "method": _named(name),
                "left when the most relevant go first": _percent(most),
                "when the least relevant go first": "" if least is None else _percent(least),
                "ms per epoch": f"{time['ms_in_batches']:.1f}" if time else "",
                "ms for one alone": f"{time['ms_alone']:.0f}" if time else "",
            }
        )
    return "\n\n".join(
        [
            markdown_table(pd.DataFrame(rows)),
            f"{measured_on(results)} {beats_random(results)} Processor time of one core for a whole epoch of 30 s.",
            f"Does {METHOD_NAMES[DEFAULT_METHOD]} lie in the bands where a stage's rhythms are ({expectations()})? "
            f"{physiology(results)}",
        ]
    )


def full_tables(results: dict) -> str:
    """Make all tables.

    Args:
        results: as `benchmarks.faithfulness` wrote them.

    Returns:
        Markdown: deletion by stage, both ends; random weights; agreement; processor time; bands.
    """
    parts = [
        measured_on(results),
        "Most relevant patches deleted first: percent of the probability that is left, less is better.",
        deletion_table(results, "most_relevant_first"),
        "Least relevant patches deleted first, more is better; read from its end, this is the insertion curve of the "
        "most relevant patches, with the same area.",
        deletion_table(results, "least_relevant_first"),
        "How far below random order, the same epochs compared, in points of percent.",
        deletion_table(results, "below_random"),
        beats_random(results),
        "Rank correlation with the explanation of the trained model, after more and more of its layers, from the head "
        f"down, were given random weights; {results['n_epochs_randomised']} epochs.",
        randomised_table(results),
        "Rank correlation between the methods, over the patches of an epoch.",
        agreement_table(results),
        "Processor time on one core for a whole epoch of 30 s with 150 patches (SIMULATED values), medians of three.",
        runtime_table(results),
        f"Where {METHOD_NAMES[DEFAULT_METHOD]} lies: percent of what speaks for the stage.",
        bands_table(results, DEFAULT_METHOD),
        expectation_table(results),
        physiology(results),
    ]
    return "\n\n".join(parts)


def measured_on(results: dict) -> str:
    """Say what was measured on whom."""
    by_stage = ", ".join(f"{n:,} {stage}" for stage, n in results["n_epochs_of_stage"].items())
    return (
        f"{results['n_epochs']:,} epochs ({by_stage}, as staged by the model) of {results['n_subjects']} subjects of "
        "Sleep-EDF-20, each explained by the model of leave-one-subject-out that had not seen them; only the first "
        "5 s of each epoch, 25 patches of 4 rows x 1 s. Percent of the probability of the stage that is left, "
        "averaged over how many of the epoch's patches are deleted; a deleted patch holds 0, the centre of its rows, "
        "and the neighbours stay as they are. In brackets 95 % intervals over subjects."
    )


def beats_random(results: dict) -> str:
    """Say for which stages the default method is told apart from random order, and for which it is not."""
    apart, not_apart = [], []
    for stage, n_epochs in results["n_epochs_of_stage"].items():
        most, random = (
            results["deletion"][name][stage]["most_relevant_first"]["interval"] for name in (DEFAULT_METHOD, "random")
        )
        if n_epochs > 200:
            (apart if most[1] < random[0] else not_apart).append(stage)
    name = METHOD_NAMES[DEFAULT_METHOD]
    if not not_apart:
        return f"For every stage, the interval of {name} lies below that of random order."
    paired = [
        stage for stage in not_apart if results["deletion"][DEFAULT_METHOD][stage]["below_random"]["interval"][0] > 0
    ]
    sentence = f"The interval of {name} lies below that of random order for {_and(apart) or 'no stage'}."
    sentence += f" For {_and(not_apart)} the two intervals overlap"
    if paired:
        sentence += f"; the same epochs compared, it is better than random order for {_and(paired)}"
    return f"{sentence}."


def deletion_table(results: dict, what: str) -> str:
    """Make a table with a row per method and a column per stage."""
    rows = [
        {"method": _named(name)} | {group: _percent(figures[what]) for group, figures in by_group.items()}
        for name, by_group in results["deletion"].items()
        if what in by_group["all"]
    ]
    return markdown_table(pd.DataFrame(rows))


def randomised_table(results: dict) -> str:
    """Make a table with a row per method and a column per step."""
    rows = [
        {"method": _named(name)} | {step: f"{value:.2f}" for step, value in steps.items()}
        for name, steps in results["randomised"].items()
    ]
    return markdown_table(pd.DataFrame(rows))


def agreement_table(results: dict) -> str:
    """Make a square table of the methods."""
    rows = [
        {"method": _named(one)} | {METHOD_NAMES[other]: f"{value:.2f}" for other, value in row.items()}
        for one, row in results["agreement"].items()
    ]
    return markdown_table(pd.DataFrame(rows))


def runtime_table(results: dict) -> str:
    """Make a table of processor time."""
    rows = [
        {
            "method": _named(name),
            "one epoch alone (ms)": f"{figures['ms_alone']:.0f}",
            "one of many (ms)": f"{figures['ms_in_batches']:.1f}",
            "as many plain decisions": f"{figures['decisions']:.0f}",
        }
        for name, figures in results["runtime"].items()
        if name in METHODS
    ]
    return markdown_table(pd.DataFrame(rows))


def bands_table(results: dict, name: str) -> str:
    """Make a table of a method's band profiles, a row per stage."""
    rows = [
        {"stage": stage}
        | {
            f"{band} {edges}": _percent(figures)
            for (band, edges), figures in zip(BAND_NAMES.items(), results["bands"][name][stage]["bands"])
        }
        for stage in STAGES
    ]
    return markdown_table(pd.DataFrame(rows))


def expectation_table(results: dict) -> str:
    """Make a table of where a stage's rhythms are and how much of the relevance lies there, for each method."""
    rows = []
    for stage in STAGES:
        row = {"stage": stage, "expected in": " and ".join(EXPECTED_BANDS[stage])}
        for name in METHODS:
            expected = results["bands"][name][stage]["expected"]
            row["equal share"] = f"{100 * expected['equal_share']:.0f}"
            row[METHOD_NAMES[name]] = _percent(expected)
        rows.append(row)
    return markdown_table(pd.DataFrame(rows))


def expectations() -> str:
    """Name the bands where each stage's rhythms are."""
    return "; ".join(f"{stage}: {_and(list(bands))}" for stage, bands in EXPECTED_BANDS.items())


def physiology(results: dict) -> str:
    """Say for which stages the default method looks where the stage's rhythms are, and for which it does not."""
    more, less, neither, also_beyond = [], [], [], []
    for stage in STAGES:
        expected = results["bands"][DEFAULT_METHOD][stage]["expected"]
        low, high = expected["interval"]
        is_more, is_less = low > expected["equal_share"], high < expected["equal_share"]
        (more if is_more else less if is_less else neither).append(stage)
        if is_more and expected["beyond_other_stages"]["interval"][0] > 0:
            also_beyond.append(stage)
    sentences = []
    if more:
        sentences.append(f"It fits for {_and(more)}: the expected bands hold more than an equal share.")
    if also_beyond:
        sentences.append(f"They hold more than for the other stages together, too, for {_and(also_beyond)}.")
    if neither:
        sentences.append(f"For {_and(neither)}, their share cannot be told from an equal one.")
    if less:
        sentences.append(f"It does not fit for {_and(less)}, where they hold less than that.")
    bands = {stage: results["bands"][DEFAULT_METHOD][stage]["bands"] for stage in STAGES}
    alone = [
        f"{band} for {stage}"
        for stage in STAGES
        for band in EXPECTED_BANDS[stage]
        if bands[stage][list(BAND_NAMES).index(band)]["interval"][1] < 1 / len(BAND_NAMES)
    ]
    if alone:
        sentences.append(f"Of these bands, less than a fifth is held by {_and(alone)}.")
    return " ".join(sentences)


def figure_of(results: dict) -> Figure:
    """Draw deletion curves, areas by stage and band profiles.

    Args:
        results: as `benchmarks.faithfulness` wrote them.

    Returns:
        the figure.
    """
    figure = Figure(figsize=(13, 4.8), layout="constrained")
    curves, areas, bands = figure.subplots(1, 3, width_ratios=[1.1, 1.3, 1])
    _draw_curves(curves, results)
    _draw_areas(areas, results)
    _draw_bands(bands, results)
    figure.legend(
        *curves.get_legend_handles_labels(), loc="outside upper center", ncols=len(METHOD_NAMES), frameon=False
    )
    figure.supxlabel(
        f"{results['n_epochs']:,} held-out epochs of {results['n_subjects']} subjects, Sleep-EDF-20, first 5 s of "
        "each epoch; bars: 95 % intervals over subjects; bold: bands where the stage's rhythms are",
        fontsize=8,
        color="#6A707A",
    )
    return figure


def _draw_curves(axes, results: dict) -> None:
    shares = [100 * share for share in results["shares_deleted"]]
    for name, label in METHOD_NAMES.items():
        colour = COLOURS[name]
        most = [100 * value for value in results["curves"][f"{name} most relevant first"]]
        axes.plot(shares, most, color=colour, label=label, linestyle="--" if name == "random" else "-", marker=".")
        if name in METHODS:
            least = [100 * value for value in results["curves"][f"{name} least relevant first"]]
            axes.plot(shares, least, color=colour, linewidth=1, linestyle=":")
    axes.set_title("Deleting patches of the epoch", loc="left", fontsize=10)
    axes.set_xlabel("Patches deleted (%); dotted: least relevant first")
    axes.set_ylabel("Probability of the stage that is left (%)")
    axes.set_xlim(0, 100)
    axes.spines[["top", "right"]].set_visible(False)


def _draw_areas(axes, results: dict) -> None:
    n_methods = len(METHOD_NAMES)
    for number, name in enumerate(METHOD_NAMES):
        figures = [results["deletion"][name][stage]["most_relevant_first"] for stage in STAGES]
        means = [100 * figure["mean"] for figure in figures]
        reach = [
            [100 * (figure["mean"] - figure["interval"][0]) for figure in figures],
            [100 * (figure["interval"][1] - figure["mean"]) for figure in figures],
        ]
        places = [stage + (number - (n_methods - 1) / 2) * 0.12 for stage in range(len(STAGES))]
        axes.errorbar(places, means, yerr=reach, fmt="o", markersize=4, color=COLOURS[name], linewidth=1.2)
    axes.set_xticks(range(len(STAGES)), STAGES)
    axes.set_title("Area under the curve, most relevant first (lower is better)", loc="left", fontsize=10)
    axes.set_ylabel("Left on average (%)")
    axes.spines[["top", "right"]].set_visible(False)


def _draw_bands(axes, results: dict) -> None:
    shares = [[100 * band["mean"] for band in results["bands"][DEFAULT_METHOD][stage]["bands"]] for stage in STAGES]
    image = axes.imshow(shares, cmap="Blues", vmin=0, aspect="auto")
    for stage, row in enumerate(shares):
        for band, share in enumerate(row):
            is_expected = list(BAND_NAMES)[band] in EXPECTED_BANDS[STAGES[stage]]
            axes.text(
                band,
                stage,
                f"{share:.0f}",
                ha="center",
                va="center",
                fontweight="bold" if is_expected else "normal",
                color="white" if share > 0.6 * image.norm.vmax else "#2B2F36",
            )
    axes.set_xticks(range(len(BAND_NAMES)), [f"{band}\n{edges}" for band, edges in BAND_NAMES.items()], fontsize=8)
    axes.set_yticks(range(len(STAGES)), STAGES)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.set_title(f"Share of the bands (%), {METHOD_NAMES[DEFAULT_METHOD]}", loc="left", fontsize=10)


def _named(name: str) -> str:
    return f"{METHOD_NAMES[name]} (default)" if name == DEFAULT_METHOD else METHOD_NAMES[name]


def _percent(figures: dict) -> str:
    low, high = (100 * end for end in figures["interval"])
    return f"{100 * figures['mean']:.1f} ({low:.1f} to {high:.1f})"


def _and(names: list[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
