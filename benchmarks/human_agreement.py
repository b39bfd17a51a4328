"""Measure how well human experts agree on the nights of the Dreem Open Datasets.

    python -m benchmarks.human_agreement    # writes benchmarks/results/human_agreement.json

Needs the five-scorer files `dodh.json` and `dodo.json` in `dod-scorers/` of SLEEPVIT_DATA or of ../shared/data.
"""

import os
import sys
from pathlib import Path

from modeling_sleepvit.whole_files import written_whole
from train_scripts.running import run_script
from train_scripts.scorer_agreement import agreement_summary, agreement_table, read_scorings, summary_text
from train_scripts.subject_metrics import json_text


DATA = Path(os.environ.get("SLEEPVIT_DATA", "../shared/data")) / "dod-scorers"
OUTPUT = Path(__file__).parent / "results" / "human_agreement.json"
COHORTS = {
    "dodh": "25 nights of healthy volunteers",
    "dodo": "55 nights of patients with obstructive sleep apnoea",
}
PROTOCOL = (
    "Each of five scorers against the consensus of the other four: majority vote, in ties the stage of the most "
    "reliable scorer of that record (Guillot et al. 2020). Whole recordings, every epoch with a stage in both counts "
    "once, all epochs of a cohort pooled; per_record: the same figures in each record. As published, the scorer who "
    "is compared has a say in how reliable the others are, and so in ties; mean_with_others_alone: without that."
)


def main(argv: list[str] | None = None) -> None:
    """Measure both cohorts, print their tables and write the JSON.

    Args:
        argv: not used.

    Raises:
        DatasetError: the files of the scorers are missing.
    """
    results = {"protocol": PROTOCOL, "source": "Dreem Open Datasets (Guillot et al. 2020, MIT), scorings alone"}
    for cohort, nights in COHORTS.items():
        scorings = read_scorings(DATA / f"{cohort}.json")
        independent = agreement_summary(agreement_table(scorings, others_alone=True))["mean_of_scorers"]
        results[cohort] = {
            "nights": nights,
            **agreement_summary(agreement_table(scorings)),
            "mean_with_others_alone": independent,
        }
        print(f"{cohort}: {nights}\n{summary_text(results[cohort])}")
        print(f"mean kappa where the scorer has no say in ties: {independent['kappa']:.3f}\n")
    with written_whole(OUTPUT) as partial:
        partial.write_text(json_text(results), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(run_script(main))
