"""What is measured of explanations: deletion in a given order, areas, ranks, and weights that are randomised."""

import copy
import json

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr

from benchmarks import faithfulness_measures as measures
from benchmarks import faithfulness_tables
from benchmarks.faithfulness import FIGURE, RESULTS, SubjectMeans, draw_epochs
from model_cards.build_cards import PROJECT
from modeling_sleepvit import SleepViTForAudioFrameClassification
from modeling_sleepvit.attributions import METHODS
from modeling_sleepvit.explain_sleepvit import DEFAULT_METHOD

from .test_figures import figures_in


@pytest.fixture(scope="module")
def model(tiny_checkpoints):
    model = SleepViTForAudioFrameClassification.from_pretrained(tiny_checkpoints["sequence"]).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1 if parameter.dim() == 1 else 8)
    return model


@pytest.fixture(scope="module")
def night() -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).normal(size=(12, 1, 20, 5))).float()


def test_curves_are_what_is_left_of_the_probability(model, night):
    epochs, targets = np.array([1, 6]), np.array([2, 4])
    order = np.random.default_rng(1).permuted(np.tile(np.arange(25), (2, 1)), axis=1)
    curve = measures.deletion_curves(model, night, epochs, targets, [("some", "order", order)])["some", "order"]
    assert curve.shape == (2, 6)
    changed = night.clone()
    for patch in order[1, : round(measures.SHARES_DELETED[1] * 25)]:
        band, second = divmod(patch, 5)
        changed[6, 0, 4 * band : 4 * band + 4, second] = 0
    with torch.no_grad():
        # the window of 8 epochs around epoch 6 begins with epoch 2
        before, after = (model(values[None, 2:10]).logits[0, 4].softmax(-1)[4].item() for values in (night, changed))
    assert curve[1, 2] == pytest.approx(after / before, rel=1e-4)
    assert curve[:, 0] == pytest.approx(1)


def test_orders_begin_with_the_most_relevant_patch(model, night):
    explanations = measures.explain_by_all_methods(model, night, np.array([3, 4]), np.array([0, 1]))
    orders = list(measures.orders_of_patches(explanations, np.random.default_rng(0)))
    assert len(orders) == 2 * len(explanations) + 2 * measures.N_RANDOM_ORDERS
    for name, direction, order in orders:
        assert np.sort(order, axis=1).tolist() == [list(range(25))] * 2
        if name != "random":
            relevance = explanations[name].relevance.reshape(2, -1)
            first = relevance.max(axis=1) if direction == "most relevant first" else relevance.min(axis=1)
            assert relevance[[0, 1], order[:, 0]].tolist() == first.tolist()


def test_areas_and_shares():
    assert measures.area_under(np.ones((3, 6))) == pytest.approx(1)
    assert measures.area_under(1 - np.array([0, *measures.SHARES_DELETED, 1])) == pytest.approx(0.5)
    counts = [round(share * 25) for share in measures.SHARES_DELETED]
    assert counts == [25 - count for count in reversed(counts)]  # so that insertion is deletion read from its end


def test_rank_correlation_is_spearman():
    one, other = np.random.default_rng(0).normal(size=(2, 4, 5, 5))
    expected = [spearmanr(a.ravel(), b.ravel()).statistic for a, b in zip(one, other)]
    assert measures.rank_correlation(one, other) == pytest.approx(expected)


def test_weights_are_randomised_from_the_head_down(tiny_checkpoints):
    model = SleepViTForAudioFrameClassification.from_pretrained(tiny_checkpoints["sequence"])
    before = copy.deepcopy(model.state_dict())
    n_changed = []
    for _, randomised in measures.randomised_layer_by_layer(model):
        after = randomised.state_dict()
        n_changed.append(sum(not torch.equal(before[name], after[name]) for name in before if after[name].dim() > 1))
    assert n_changed == sorted(set(n_changed))
    assert n_changed[-1] == sum(tensor.dim() > 1 for tensor in before.values())
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_epochs_are_drawn_evenly_from_what_the_model_decides(model, night):
    decided = [measures.window_decisions(model, night), np.zeros(30, dtype=int)]
    drawn = draw_epochs(decided, np.random.default_rng(0), n_per_stage=3)
    stages = np.concatenate([stages[epochs] for stages, epochs in zip(decided, drawn)])
    counts = {stage: min(3, int((np.concatenate(decided) == stage).sum())) for stage in range(5)}
    assert {stage: int((stages == stage).sum()) for stage in range(5)} == counts


def test_intervals_draw_subjects():
    """Two subjects, each with epochs that are all alike: a mean is theirs or half-way, whatever the epochs' number."""
    mean = SubjectMeans(np.repeat(["a", "b"], [100, 100]))
    figures = mean.with_interval(np.repeat([0.0, 1.0], [100, 100]), np.ones(200, dtype=bool))
    assert figures == {"mean": 0.5, "interval": [0.0, 1.0]}


# The published results


@pytest.fixture(scope="module")
def results() -> dict:
    return json.loads(RESULTS.read_text(encoding="utf-8"))


def test_the_tables_are_those_of_the_results(results):
    full = figures_in(PROJECT / "benchmarks" / "README.md", "faithfulness")
    assert full == faithfulness_tables.full_tables(results)
    assert figures_in(PROJECT / "README.md", "faithfulness") == faithfulness_tables.short_table(results)
    assert FIGURE.is_file()


def test_the_default_explanation_is_the_one_that_deletes_best(results):
    areas = {name: results["deletion"][name]["all"]["most_relevant_first"]["mean"] for name in METHODS}
    assert min(areas, key=areas.get) == DEFAULT_METHOD
    assert results["n_epochs"] >= 2000
    assert results["n_subjects"] == len(results["subjects"])


def test_the_text_says_for_which_stages_the_default_is_not_told_from_random_order(results):
    told = faithfulness_tables.beats_random(results)
    for stage, n_epochs in results["n_epochs_of_stage"].items():
        default, random = (
            results["deletion"][name][stage]["most_relevant_first"]["interval"] for name in (DEFAULT_METHOD, "random")
        )
        is_listed = stage in told.partition(" overlap")[0].rpartition("For ")[2].replace(",", "").split()
        assert is_listed == (n_epochs > 200 and default[1] >= random[0])
