"""Agreement of several scorers: votes by hand, the published human figures, files and mistakes."""

import json
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.metrics import f1_score

from benchmarks import human_agreement
from modeling_sleepvit.errors import DatasetError, SleepViTError, UnknownStageError
from modeling_sleepvit.hypnogram import Hypnogram
from modeling_sleepvit.metrics_sleepvit import staging_metrics
from train_scripts.running import run_script
from train_scripts.scorer_agreement import (
    agreement_summary,
    agreement_table,
    compared_with_consensus,
    consensus,
    main,
    read_model_stages,
    read_scorings,
    soft_agreement,
)


pytestmark = pytest.mark.filterwarnings("error")

RESULTS = Path(human_agreement.__file__).parent / "results" / "human_agreement.json"
VOTES = st.integers(1, 5).flatmap(
    lambda n_scorers: st.integers(1, 12).flatmap(
        lambda n_epochs: arrays(np.int64, (n_scorers, n_epochs), elements=st.sampled_from([0, 1, 2, 3, 4, -100]))
    )
)


def scorings_of(*votes, record="night") -> dict:
    return {f"scorer_{i}": {record: np.array(stages)} for i, stages in enumerate(votes, start=1)}


@pytest.fixture(scope="module", params=["dodh", "dodo"])
def dreem(request, shared_data) -> tuple[str, dict]:
    return request.param, read_scorings(shared_data / "dod-scorers" / f"{request.param}.json")


class TestConsensus:
    def test_the_majority_wins_and_its_share_is_told(self):
        stages, share = consensus(np.array([[0, 2, 4], [0, 2, 4], [0, 3, 4], [1, 3, 4], [1, 2, 4]]), np.zeros(5))
        assert stages.tolist() == [0, 2, 4]
        assert share.tolist() == [0.6, 0.6, 1.0]

    def test_in_ties_the_most_reliable_scorer_decides(self):
        votes = np.array([[0], [0], [2], [2]])
        assert consensus(votes, [0.9, 0.7, 0.8, 0.6])[0].tolist() == [0]
        assert consensus(votes, [0.7, 0.6, 0.8, 0.9])[0].tolist() == [2]
        assert consensus(votes, [0.8, 0.8, 0.8, 0.8])[0].tolist() == [0]
        assert consensus(np.array([[0], [1], [2], [3]]), [0.1, 0.2, 0.9, 0.3]) == ([2], [0.25])

    def test_a_reliable_scorer_who_stands_alone_decides_no_tie_of_others(self):
        votes = np.array([[4], [0], [0], [2], [2]])
        assert consensus(votes, [0.99, 0.5, 0.5, 0.8, 0.5]) == ([2], [0.4])

    def test_where_most_did_not_score_there_is_no_consensus(self):
        stages, _ = consensus(np.array([[-100, -100], [-1, 2], [3, 2]]), np.zeros(3))
        assert stages.tolist() == [-100, 2]

    @settings(max_examples=50, deadline=None)
    @given(VOTES)
    def test_no_stage_has_more_votes_than_the_consensus(self, votes):
        stages, share = consensus(votes, soft_agreement(votes))
        for epoch, stage in enumerate(stages):
            counts = pd.Series(votes[:, epoch]).value_counts()
            assert counts[stage] == counts.max()
            assert share[epoch] == counts[stage] / len(votes)


class TestSoftAgreement:
    def test_by_hand(self):
        votes = np.array([[0, 0], [0, 2], [0, 2], [1, 3]])
        # scorer 1: in epoch 0 two others vote alike and most others do, in epoch 1 nobody
        # scorer 2: in epoch 1 the others' votes are 0, 2 and 3, so that one vote is as much as any stage has
        assert soft_agreement(votes).tolist() == [0.5, 1.0, 1.0, 0.0]

    def test_a_scorer_who_is_always_with_the_largest_group_has_one(self):
        assert soft_agreement(np.array([[0, 2], [0, 3], [1, 2], [1, 3]]))[0] == pytest.approx((1 / 2 + 1 / 2) / 2)
        assert soft_agreement(np.array([[0, 2]] * 3)).tolist() == [1, 1, 1]

    def test_without_others_or_epochs_it_is_nan(self):
        assert np.isnan(soft_agreement(np.array([[0, 2, 2]]))).all()
        assert np.isnan(soft_agreement(np.empty((3, 0), dtype=int))).all()

    @settings(max_examples=40, deadline=None)
    @given(VOTES)
    def test_it_is_a_share(self, votes):
        agreement = soft_agreement(votes)
        assert np.isnan(agreement).all() if len(votes) == 1 else ((agreement >= 0) & (agreement <= 1)).all()


class TestTable:
    def test_scorers_against_the_others_by_hand(self):
        table = agreement_table(scorings_of([0, 0, 2, 2], [0, 2, 2, 2], [0, 2, 2, 2])).set_index(["scorer", "record"])
        first = table.loc[("scorer_1", "night")]
        assert first["n_epochs"] == 4
        assert first["accuracy"] == 0.75
        assert first["kappa"] == pytest.approx(0.5)
        assert first["f1_N2"] == pytest.approx(0.8)
        assert math.isnan(first["f1_R"])
        # the others split in epoch 1; scorer_2 and scorer_3 are the more reliable
        assert table.loc[("scorer_2", "pooled"), "accuracy"] == 1

    @pytest.mark.parametrize(("others_alone", "accuracy"), [(False, 1), (True, 0)])
    def test_as_published_a_scorer_tips_the_ties_of_the_others(self, others_alone, accuracy):
        # two others say 0, two say 2: whoever votes like the scorer ranks higher, if that vote counts
        table = agreement_table(scorings_of([2], [0], [0], [2], [2]), others_alone=others_alone)
        assert table.set_index(["scorer", "record"]).loc[("scorer_1", "pooled"), "accuracy"] == accuracy

    def test_identical_scorers_agree_perfectly(self):
        summary = agreement_summary(agreement_table(scorings_of(*[[0, 1, 2, 3, 4]] * 5)))
        assert set(summary["mean_of_scorers"].values()) == {1.0}
        assert summary["n_records"] == 1

    def test_pooled_figures_are_those_of_all_epochs_and_not_a_mean(self):
        scorings = {
            "a": {"long": np.array([0, 2] * 10), "short": np.array([0, 0])},
            "b": {"long": np.array([0, 2] * 10), "short": np.array([2, 2])},
            "c": {"long": np.array([0, 2] * 10)},
        }
        table = agreement_table(scorings).set_index(["scorer", "record"])
        assert table.loc[("a", "pooled"), "n_epochs"] == 22
        assert table.loc[("a", "pooled"), "accuracy"] == pytest.approx(20 / 22)
        assert table.loc[("c", "pooled"), "accuracy"] == 1
        assert ("c", "short") not in table.index

    def test_epochs_without_a_stage_on_either_side_are_left_out(self):
        scorings = scorings_of([0, -100, 2, 2], [0, 2, -100, 2], [0, 2, -100, 2])
        table = agreement_table(scorings).set_index(["scorer", "record"])
        assert table.loc[("scorer_1", "night"), "n_epochs"] == 2

    def test_nothing_scored_is_nan(self):
        summary = agreement_summary(agreement_table(scorings_of([-100, -100], [-100, -100])))
        assert math.isnan(summary["mean_of_scorers"]["kappa"])
        assert summary["scorers"]["scorer_1"]["n_epochs"] == 0

    def test_a_model_is_compared_with_all(self):
        scorings = scorings_of([0, 2, 2], [0, 2, 4], [0, 1, 4])
        table = agreement_table(scorings, {"night": np.array([0, 2, 4])}).set_index(["scorer", "record"])
        assert table.loc[("model", "pooled"), "accuracy"] == 1
        summary = agreement_summary(table.reset_index())
        assert summary["model"]["kappa"] == 1
        assert list(summary["scorers"]) == ["scorer_1", "scorer_2", "scorer_3"]


class TestDreemOpenDatasets:
    def test_the_published_human_figures_follow_when_epochs_are_weighted_as_published(self, dreem):
        """Guillot et al. (2020): the scorers' weighted F1 is 86.8 % (DOD-H) and 84.8 % (DOD-O) on average."""
        name, scorings = dreem
        values = []
        for _, _, _, stages, agreed, votes in compared_with_consensus(scorings):
            kept = agreed >= 0
            values.append(
                f1_score(
                    agreed[kept],
                    stages[kept],
                    labels=range(5),
                    average="weighted",
                    sample_weight=votes[kept],
                    zero_division=0,
                )
            )
        assert len(values) == {"dodh": 125, "dodo": 275}[name]
        assert 100 * np.mean(values) == pytest.approx({"dodh": 86.8, "dodo": 84.8}[name], abs=0.3)

    def test_the_committed_figures_are_theirs(self, dreem):
        name, scorings = dreem
        committed = json.loads(RESULTS.read_text())[name]
        summary = agreement_summary(agreement_table(scorings))
        assert committed.pop("nights")
        assert committed["mean_of_scorers"] == pytest.approx(summary["mean_of_scorers"])
        assert committed["mean_with_others_alone"]["kappa"] < summary["mean_of_scorers"]["kappa"]
        assert committed["scorers"]["scorer_5"].pop("per_record")
        for key, value in committed["scorers"]["scorer_5"].items():
            assert summary["scorers"]["scorer_5"][key] == pytest.approx(value)

    def test_a_scorer_put_in_for_the_model_agrees_more_since_it_votes_itself(self, dreem):
        _, scorings = dreem
        table = agreement_table(scorings, scorings["scorer_1"]).set_index(["scorer", "record"])
        assert table.loc[("model", "pooled"), "kappa"] > table.loc[("scorer_1", "pooled"), "kappa"]


class TestCommand:
    @pytest.fixture
    def names(self, tmp_path) -> Path:
        """Scorings in names of stages, older ones among them."""
        path = tmp_path / "scorers.json"
        records = {"a": ["W", "N2", "REM", "?"], "b": ["Wake", "S2", "R", "N1"], "c": ["W", "N2", "R", "N1"]}
        path.write_text(json.dumps({scorer: {"night": stages} for scorer, stages in records.items()}))
        return path

    def test_names_and_ids_are_read_alike(self, names, tmp_path):
        ids = tmp_path / "ids.json"
        ids.write_text('{"a": {"night": [0, 2, 4, -1]}, "b": {"night": [0, 2, 4, 1]}}')
        for scorer in "ab":
            assert read_scorings(ids)[scorer]["night"].tolist() == read_scorings(names)[scorer]["night"].tolist()

    def test_it_prints_and_writes_both_files(self, names, tmp_path, capsys):
        output = tmp_path / "new" / "out"
        main([str(names), "--output", str(output)])
        assert sorted(path.name for path in output.iterdir()) == ["scorer_agreement.csv", "scorer_agreement.json"]
        table = pd.read_csv(output / "scorer_agreement.csv")
        assert table["record"].tolist() == ["night"] * 3 + ["pooled"] * 3
        summary = json.loads((output / "scorer_agreement.json").read_text())
        assert summary["file"] == "scorers.json"
        assert summary["scorers"]["a"]["accuracy"] == 1
        assert summary["scorers"]["a"]["f1_N3"] is None
        printed = capsys.readouterr().out
        assert "1 records, each scorer against the consensus of the others" in printed
        assert "mean of scorers" in printed

    def test_a_model_from_a_folder_of_hypnograms_or_a_file(self, names, tmp_path, capsys):
        staged = tmp_path / "staged"
        staged.mkdir()
        Hypnogram(["W", "N2", "R", "N1"]).to_csv(staged / "night_hypnogram.csv")
        file = tmp_path / "model.json"
        file.write_text('{"night": ["W", "N2", "R", "N1"]}')
        assert read_model_stages(staged)["night"].tolist() == read_model_stages(file)["night"].tolist() == [0, 2, 4, 1]
        main([str(names), "--model", str(staged), "--output", str(tmp_path / "out")])
        assert json.loads((tmp_path / "out" / "scorer_agreement.json").read_text())["model"]["kappa"] == 1
        assert "model against all" in capsys.readouterr().out

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            (None, "is not a file: expected a JSON"),
            ("{", "is not JSON: expected {scorer: {record: \\[stages\\]}}"),
            ("[]", "holds a list: expected {scorer"),
            ('{"a": [0, 1]}', "holds a list for a: expected {scorer"),
            ('{"a": {"night": 3}}', "a, night holds a int: expected a list"),
            ("{}", "no record has two scorers"),
            ('{"a": {"n": [0]}, "b": {"m": [0]}}', "no record has two scorers"),
            ('{"a": {"n": [0]}, "b": {"n": [0, 1]}}', "scorings of n differ .* found a 1, b 2"),
            ('{"a": {"n": [0, 7]}, "b": {"n": [0, 1]}}', "a, n holds 7 in epoch 1: expected 0 to 4"),
            ('{"a": {"n": [0, 1.5]}, "b": {"n": [0, 1]}}', "a, n holds 1.5 in epoch 1"),
            ('{"a": {"n": ["W", "X"]}, "b": {"n": [0, 1]}}', "a, n: unknown sleep stage 'X'"),
        ],
    )
    def test_a_file_that_cannot_be_used_is_named(self, content, message, tmp_path):
        path = tmp_path / "bad.json"
        if content is not None:
            path.write_text(content)
        with pytest.raises(SleepViTError, match=rf"bad\.json.*{message}"):
            read_scorings(path)
        assert run_script(main, [str(path), "--output", str(tmp_path / "out")]) == 2
        assert not (tmp_path / "out").exists()

    @pytest.mark.parametrize(
        ("model", "message"),
        [
            ({"other": [0]}, "staged none of the scored records: expected some of night"),
            ({"night": [0]}, "staged 1 epochs of night: expected 4"),
        ],
    )
    def test_a_model_that_does_not_fit_is_refused(self, names, model, message):
        with pytest.raises(DatasetError, match=message):
            agreement_table(read_scorings(names), {record: np.array(ids) for record, ids in model.items()})

    def test_other_mistakes(self, names, tmp_path):
        with pytest.raises(DatasetError, match="holds no file RECORD_hypnogram"):
            read_model_stages(tmp_path)
        scorings = {"model": read_scorings(names)["a"], "b": read_scorings(names)["b"]}
        with pytest.raises(DatasetError, match="a scorer is called model"):
            agreement_table(scorings, scorings["b"])
        with pytest.raises(UnknownStageError):
            staging_metrics([9], [0])
