"""Splits by subject, for any cohort that hypothesis comes up with and for the real one."""

import json
from collections import Counter

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from dataset_builders.sleep_edf_subjects import read_subject_tables
from dataset_builders.splits import (
    PARTS,
    Split,
    Splits,
    age_sex_strata,
    by_fraction,
    k_fold,
    leave_one_subject_out,
)
from modeling_sleepvit.errors import DatasetError


SUBJECTS = [f"S{number:02d}" for number in range(12)]
SEEDS = st.integers(0, 2**32)
CODES = st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=6)
any_cohort = settings(max_examples=80, deadline=None)


@st.composite
def cohorts(draw):
    """Recordings' subjects in any order, one to three each, and their strata of very unequal sizes or none."""
    subjects = draw(st.lists(CODES, min_size=3, max_size=25, unique=True))
    recordings = draw(st.permutations([s for s in subjects for _ in range(draw(st.integers(1, 3)))]))
    strata = draw(st.none() | st.fixed_dictionaries({s: st.sampled_from("aaaabbc") for s in subjects}))
    return recordings, strata


def everyone_in_one_part(split: Split, subjects: set[str]) -> bool:
    return sorted(split.train + split.validation + split.test) == sorted(subjects)


def counts_by_stratum(subjects, strata) -> Counter:
    return Counter(strata[subject] for subject in subjects)


@any_cohort
@given(cohorts(), SEEDS, st.data())
def test_k_folds_test_everyone_once_and_are_balanced(cohort, seed, data):
    recordings, strata = cohort
    subjects = set(recordings)
    n_folds = data.draw(st.integers(2, len(subjects)))
    n_others = len(subjects) - -(-len(subjects) // n_folds)
    n_validation = data.draw(st.integers(0, n_others - 1))
    folds = k_fold(recordings, n_folds, n_validation, seed, strata)

    assert [fold.name for fold in folds] == [f"fold-{number:02d}" for number in range(n_folds)]
    assert sorted(subject for fold in folds for subject in fold.test) == sorted(subjects)
    sizes = [len(fold.test) for fold in folds]
    assert max(sizes) - min(sizes) <= 1
    for fold in folds:
        assert everyone_in_one_part(fold, subjects)
        assert len(fold.validation) == n_validation
    for stratum in set(strata.values()) if strata else ():
        shares = [counts_by_stratum(fold.test, strata)[stratum] for fold in folds]
        assert max(shares) - min(shares) <= 1
        for fold in folds:
            others = counts_by_stratum(fold.train + fold.validation, strata)
            share = others[stratum] * n_validation / sum(others.values())
            assert abs(counts_by_stratum(fold.validation, strata)[stratum] - share) < 1
    # who is tested where does not hang on how many are set aside
    assert [fold.test for fold in k_fold(recordings, n_folds, 0, seed, strata)] == [fold.test for fold in folds]


@any_cohort
@given(cohorts(), SEEDS, st.data())
def test_leave_one_subject_out_tests_each_in_the_split_of_that_name(cohort, seed, data):
    recordings, strata = cohort
    subjects = set(recordings)
    n_validation = data.draw(st.integers(0, len(subjects) - 2))
    splits = leave_one_subject_out(recordings, n_validation, seed, strata)
    assert [split.name for split in splits] == sorted(subjects)
    for split in splits:
        assert split.test == (split.name,)
        assert len(split.validation) == n_validation
        assert everyone_in_one_part(split, subjects)


@any_cohort
@given(cohorts(), SEEDS, st.integers(0, 10), st.integers(0, 10))
def test_fractions_are_met_and_spread_over_the_strata(cohort, seed, validation, test):
    recordings, strata = cohort
    subjects = set(recordings)
    fractions = ((20 - validation - test) / 20, validation / 20, test / 20)
    assume(fractions[0] > 0)
    targets = {part: len(subjects) * fraction for part, fraction in zip(PARTS, fractions)}
    assume(all(target == 0 or target >= 1 for target in targets.values()))
    (split,) = by_fraction(recordings, fractions, seed=seed, strata=strata)
    assert everyone_in_one_part(split, subjects)
    for part, target in targets.items():
        assert abs(len(getattr(split, part)) - target) < 1
    for stratum, size in Counter(strata.values()).items() if strata else ():
        for part, most in zip(PARTS, (2, 2, 1)):
            share = size * len(getattr(split, part)) / len(subjects)
            assert abs(counts_by_stratum(getattr(split, part), strata)[stratum] - share) < most


@any_cohort
@given(cohorts(), SEEDS, st.randoms(use_true_random=False))
def test_neither_the_order_nor_the_number_of_recordings_matters(cohort, seed, random):
    recordings, strata = cohort
    again = [*recordings, *random.sample(recordings, 2)]
    random.shuffle(again)
    reordered = strata and dict(sorted(strata.items(), reverse=True))
    for draw in (
        lambda subjects, strata: k_fold(subjects, 2, 0, seed, strata),
        lambda subjects, strata: leave_one_subject_out(subjects, 1, seed, strata),
        lambda subjects, strata: by_fraction(subjects, (0.5, 0, 0.5), seed=seed, strata=strata),
    ):
        assert draw(recordings, strata) == draw(pd.Series(again), reordered)


@settings(max_examples=30, deadline=None)
@given(cohorts(), SEEDS)
def test_splits_come_back_from_their_file(tmp_path_factory, cohort, seed):
    path = tmp_path_factory.mktemp("splits") / "new folder" / "splits.json"
    splits = leave_one_subject_out(cohort[0], 1, seed)
    splits.to_json(path)
    written = path.read_bytes()
    assert Splits.from_json(path) == splits
    Splits.from_json(path).to_json(path)
    assert path.read_bytes() == written
    assert [file.name for file in path.parent.iterdir()] == ["splits.json"]


def test_a_seed_draws_the_same_splits_everywhere():
    # written out, so that another process, hash seed or release of NumPy that draws otherwise is noticed
    strata = {subject: "even" if int(subject[1:]) % 2 == 0 else "odd" for subject in SUBJECTS}
    folds = k_fold(SUBJECTS, 4, 2, seed=7, strata=strata)
    assert [fold.test for fold in folds] == [
        ("S00", "S07", "S08"),
        ("S01", "S02", "S10"),
        ("S03", "S06", "S09"),
        ("S04", "S05", "S11"),
    ]
    assert [fold.validation for fold in folds] == [("S02", "S11"), ("S00", "S07"), ("S02", "S05"), ("S03", "S08")]
    (split,) = by_fraction(SUBJECTS, seed=7)
    assert (split.validation, split.test) == (("S09",), ("S07", "S10"))
    assert k_fold(SUBJECTS, 4, 2, seed=8, strata=strata) != folds


@pytest.mark.parametrize(
    ("n_subjects", "fractions", "sizes"),
    [
        (78, (0.7, 0.1, 0.2), [54, 8, 16]),
        (12, (0.7, 0.1, 0.2), [9, 1, 2]),
        (10, (0.7, 0.1, 0.2), [7, 1, 2]),
        (10, (0.5, 0.25, 0.25), [5, 2, 3]),
        (7, (1 / 3, 1 / 3, 1 / 3), [3, 2, 2]),
        (5793, (0.7, 0, 0.3), [4055, 0, 1738]),
    ],
)
def test_sizes_are_rounded_and_sum_to_everyone(n_subjects, fractions, sizes):
    (split,) = by_fraction([str(number) for number in range(n_subjects)], fractions, seed=0)
    assert [len(getattr(split, part)) for part in PARTS] == sizes


def test_ties_between_strata_do_not_always_fall_the_same_way():
    strata = {subject: "ab"[int(subject[1:]) % 2] for subject in SUBJECTS}
    splits = [by_fraction(SUBJECTS, (11 / 12, 0, 1 / 12), seed=seed, strata=strata).splits[0] for seed in range(20)]
    assert {strata[split.test[0]] for split in splits} == {"a", "b"}


def test_the_file_is_readable(tmp_path):
    Splits("listed", None, (Split("published", ("SC402", "SC401"), (), ("SC400",)),)).to_json(tmp_path / "s.json")
    assert (
        (tmp_path / "s.json").read_text()
        == """\
{
  "protocol": "listed",
  "seed": null,
  "splits": [
    {
      "name": "published",
      "train": [
        "SC401",
        "SC402"
      ],
      "validation": [],
      "test": [
        "SC400"
      ]
    }
  ]
}
"""
    )


def test_folds_of_the_real_cohort(shared_data):
    table = read_subject_tables(shared_data / "sleep-edf-hypnograms", studies=["SC"])
    strata = age_sex_strata(table)
    assert counts_by_stratum(strata, strata) == {
        "young F": 15, "young M": 13, "middle F": 14, "middle M": 10, "old F": 12, "old M": 14,
    }  # fmt: skip
    assert (strata["SC400"], strata["SC418"], strata["SC461"]) == ("young F", "young M", "old F")
    folds = k_fold(table["subject"], 10, 6, seed=0, strata=strata)
    assert sorted(len(fold.test) for fold in folds) == [7, 7, *[8] * 8]
    for fold in folds:
        assert len(counts_by_stratum(fold.test, strata)) == 6
        assert len(counts_by_stratum(fold.validation, strata)) == 6
    (split,) = by_fraction(table["subject"], seed=0, strata=strata)
    assert [len(split.train), len(split.validation), len(split.test)] == [54, 8, 16]


def test_the_parts_of_a_dataset():
    split = Split("fold-00", ("A", "B"), ("C",), ("D",))
    assert split.subjects == ("A", "B", "C", "D")
    assert split.part_of("C") == "validation"
    assert split.parts_of(np.array(["D", "A", "A"])) == {"D": "test", "A": "train"}
    with pytest.raises(
        DatasetError, match=r"split fold-00: expected the 4 subjects .* found also X, Y; draw the split"
    ):
        split.parts_of(["A", "Y", "X"])
    with pytest.raises(DatasetError, match="found also X"):
        split.part_of("X")


def test_a_split_is_found_by_its_name():
    splits = leave_one_subject_out(["B", "A", "C"], 1, seed=0)
    assert len(splits) == 3
    assert splits.named("B").test == ("B",)
    with pytest.raises(DatasetError, match="there is no split 'D'; choose one of A, B, C"):
        splits.named("D")


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ((["A", "B"], ["C"], ["B"]), "split fold-00: .* found B in train and in test"),
        ((["A", "A"],), "found A in train and in train"),
        (([], ["A"], ["B"]), "split fold-00: expected a subject to train with, found none"),
        (("SC400",), "fold-00: train: expected a list of subject codes, found: 'SC400'"),
        (({"A": 1},), "expected a list of subject codes"),
        ((["A"], [400]), "fold-00: validation: expected subject codes as texts .* found: 400"),
        ((["A", ""],), "found: ''"),
    ],
)
def test_a_split_that_leaks_or_trains_with_nobody_cannot_be_made(parts, message):
    with pytest.raises(DatasetError, match=message):
        Split("fold-00", *parts)


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (lambda: k_fold([], 2, 0, 0), "expected two subjects or more to split, found none"),
        (lambda: by_fraction(["A", "A"], seed=0), "two subjects or more to split, found A"),
        (lambda: k_fold("SC400", 2, 0, 0), "expected a list of subject codes, found: 'SC400'"),
        (lambda: k_fold(SUBJECTS, 1, 0, 0), r"as there are subjects \(12\), found n_folds 1; change it"),
        (lambda: k_fold(SUBJECTS, 13, 0, 0), "found n_folds 13"),
        (lambda: k_fold(SUBJECTS, 4, 9, 0), "found 9 for validation where 12 subjects leave 9 beside the test"),
        (lambda: k_fold(SUBJECTS, 4, -1, 0), "found -1 for validation"),
        (lambda: leave_one_subject_out(["A", "B"], 1, 0), "found 1 for validation where 2 subjects leave 1"),
        (lambda: by_fraction(SUBJECTS, (0.9, 0.3, -0.2), seed=0), r"fractions of 0 or more, .*\(0.9, 0.3, -0.2\)"),
        (lambda: by_fraction(SUBJECTS, (0.8, 0.2), seed=0), "expected three fractions"),
        (lambda: by_fraction(SUBJECTS, (float("nan"), 0.5, 0.5), seed=0), "expected three fractions"),
        (lambda: by_fraction(SUBJECTS, (0.7, 0.2, 0.2), seed=0), r"sum to 1, found \(0.7, 0.2, 0.2\), .* to 1.1"),
        (lambda: by_fraction(SUBJECTS[:3], seed=0), "a subject in validation, found none: 3 subjects .* 2 / 0 / 1"),
        (lambda: by_fraction(SUBJECTS, (0, 0.5, 0.5), seed=0), "a subject in train, found none"),
        (lambda: k_fold(SUBJECTS, 2, 1, -1), "a seed that is a whole number of 0 or more, found: -1"),
        (lambda: k_fold(SUBJECTS, 2, 1, True), "found: True"),
        (
            lambda: k_fold(["A", "B", "C", "D"], 2, 1, 0, {"A": "x", "B": None, "C": float("nan")}),
            "a stratum for each subject, found none for B, C, D",
        ),
    ],
)
def test_what_cannot_be_drawn_is_explained(draw, message):
    with pytest.raises(DatasetError, match=message):
        draw()


def fold(name, train, test, **more):
    return {"name": name, "train": list(train), "validation": [], "test": list(test), **more}


TWO_FOLDS = {"protocol": "k-fold", "seed": 0, "splits": [fold("a", "A", "B"), fold("b", "B", "A")]}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "expected a JSON file of splits, but it cannot be read: Expecting property name"),
        ("[]", r"the file to have the keys protocol, seed, splits, found: \[\]"),
        ({"seed": None}, "keys protocol, seed, splits, found: protocol, splits"),
        ({"splits": "AB"}, "expected splits to be a list, found: 'AB'"),
        ({"splits": []}, "expected at least one split, found none"),
        ({"splits": ["fold-00"]}, "split number 1 to have the keys name, train, validation, test, found: 'fold-00'"),
        ({"splits": [fold("a", "A", "B"), fold("b", "B", "A", extra=1)]}, "split number 2 .* test, extra"),
        ({"splits": [fold("a", "AB", "B")]}, "split a: .* found B in train and in test"),
        ({"splits": [fold("a", "A", "B", validation="C")]}, "validation: expected a list .* found: 'C'"),
        ({"splits": [fold("a", [1], "B")]}, "expected subject codes as texts .* found: 1"),
        ({"splits": [fold(3, "A", "B")]}, "a split needs a name, .* found: 3"),
        ({"protocol": "kfold"}, "one of the protocols .* found: 'kfold'"),
        ({"seed": "0"}, "a whole number of 0 or more, found: '0'"),
        ({"splits": [fold("a", "A", "B"), fold("a", "B", "A")]}, "two splits are named a"),
        ({"splits": [fold("a", "AB", "C"), fold("b", "AB", "C")]}, "found A in that of none"),
        ({"splits": [fold("a", "A", "BC"), fold("b", "B", "AC")]}, "found C in that of a and b"),
        ({"splits": [fold("a", "A", "BC"), fold("b", "B", "A")]}, "found b without C"),
        (
            {"protocol": "leave-one-subject-out", "splits": [fold("a", "A", "BC"), fold("b", "BC", "A")]},
            "expected one test subject in each split, found 2 in a",
        ),
    ],
)
def test_a_file_that_was_spoilt_is_named_with_the_reason(tmp_path, content, message):
    if isinstance(content, dict):
        content = {name: value for name, value in {**TWO_FOLDS, **content}.items() if value is not None}
    path = tmp_path / "splits.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    with pytest.raises(DatasetError, match=rf"splits\.json: .*{message}"):
        Splits.from_json(path)


def test_a_file_that_is_missing_or_a_folder_is_named(tmp_path):
    with pytest.raises(DatasetError, match=r"absent\.json: expected a JSON file of splits, found none"):
        Splits.from_json(tmp_path / "absent.json")
    with pytest.raises(DatasetError, match="expected a JSON file of splits, but it cannot be read"):
        Splits.from_json(tmp_path)


TABLE = pd.DataFrame({"subject": ["A", "A", "B", "C"], "age": [30, 31, 30, 70], "sex": ["F", "F", "M", "F"]})


def test_strata_put_equal_ages_into_one_band():
    assert age_sex_strata(TABLE) == {"A": "young F", "B": "young M", "C": "old F"}
    ages = pd.DataFrame({"subject": list("ABCDEF"), "age": [60, 20, 50, 30, 40, 70], "sex": ["M"] * 6})
    assert [stratum.split()[0] for stratum in age_sex_strata(ages).values()] == [
        "old", "young", "middle", "young", "middle", "old",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (TABLE.drop(columns="sex"), "found none named 'sex'"),
        (TABLE.iloc[:0], "found no row"),
        (TABLE.assign(age=[30, 31, None, 70]), "rows without: subject B"),
        (TABLE.assign(age="old"), "ages in years as numbers, found for example 'old'"),
        (TABLE.assign(sex=["F", "M", "M", "F"]), "one sex for each subject, found two for A"),
    ],
)
def test_a_table_without_strata_is_refused(table, message):
    with pytest.raises(DatasetError, match=message):
        age_sex_strata(table)
