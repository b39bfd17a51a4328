"""Splits by subject: everyone a model learns from, is chosen on or is tested with stands on one side alone.

The splits of a study are drawn once, written to a JSON file and read from there by every run; a library that draws
other numbers in years to come then changes nothing. How the parts are drawn is described at each function.
"""

import json
from collections import defaultdict
from collections.abc import Hashable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from modeling_sleepvit.errors import DatasetError
from modeling_sleepvit.whole_files import written_whole


PARTS = ("train", "validation", "test")
TESTED_ONCE = ("leave-one-subject-out", "k-fold")
"""Protocols whose splits test every subject exactly once."""
PROTOCOLS = (*TESTED_ONCE, "by-fraction", "listed")
"""How splits came to be; "listed" are splits that someone else drew, such as the lists of a publication."""


@dataclass(frozen=True)
class Split:
    """The subjects to learn from, to choose on and to test with; no subject is on two sides.

    Args:
        name: tells the split from others, for example "fold-00".
        train: subject codes; each part is kept in sorted order.
        validation: subject codes, possibly none.
        test: subject codes, possibly none.

    Raises:
        DatasetError: a subject is on two sides or twice on one, a code is not a text, or nobody is left to learn from.
    """

    name: str
    train: tuple[str, ...]
    validation: tuple[str, ...] = ()
    test: tuple[str, ...] = ()

    def __post_init__(self):
        if not isinstance(self.name, str) or not self.name:
            raise DatasetError(f"a split needs a name, a text such as 'fold-00', found: {self.name!r}.")
        places = defaultdict(list)
        for part in PARTS:
            subjects = _codes(getattr(self, part), f"split {self.name}: {part}")
            object.__setattr__(self, part, tuple(sorted(subjects)))  # the way around frozen=True
            for subject in subjects:
                places[subject].append(part)
        for subject, parts in sorted(places.items()):
            if len(parts) > 1:
                raise DatasetError(
                    f"split {self.name}: expected every subject once, on one side, "
                    f"found {subject} in {' and in '.join(parts)}; leave it in one."
                )
        if not self.train:
            raise DatasetError(f"split {self.name}: expected a subject to train with, found none; move some to train.")

    @property
    def subjects(self) -> tuple[str, ...]:
        """Everyone in the split, in sorted order."""
        return tuple(sorted(self._part_by_subject))

    def part_of(self, subject: str) -> str:
        """Tell on which side a subject is.

        Args:
            subject: its code.

        Returns:
            "train", "validation" or "test".

        Raises:
            DatasetError: the split does not know the subject.
        """
        return self.parts_of([subject])[subject]

    def parts_of(self, subjects: Iterable[str]) -> dict[str, str]:
        """Tell for everyone in a dataset on which side they are.

        Args:
            subjects: codes of the subjects that are present, one for each recording or one for each subject.

        Returns:
            subject to "train", "validation" or "test", in the order in which the subjects first stand.

        Raises:
            DatasetError: the split does not know a subject, who would otherwise be left out in silence.
        """
        subjects = _codes(subjects, f"split {self.name}")
        if unknown := sorted(set(subjects) - set(self._part_by_subject)):
            raise DatasetError(
                f"split {self.name}: expected the {len(self._part_by_subject)} subjects it was made for, found also "
                f"{', '.join(unknown)}; draw the split anew with them or leave them out by name."
            )
        return {subject: self._part_by_subject[subject] for subject in subjects}

    @cached_property
    def _part_by_subject(self) -> dict[str, str]:
        return {subject: part for part in PARTS for subject in getattr(self, part)}


@dataclass(frozen=True)
class Splits:
    """The splits of one protocol, checked against what the protocol promises.

    Args:
        protocol: one of `PROTOCOLS`.
        seed: the seed they were drawn with; None where nothing was drawn.
        splits: at least one, each with its own name.

    Raises:
        DatasetError: the protocol is unknown, two splits share a name, or a subject is missing from a split or not
            tested exactly once where the protocol says so.
    """

    protocol: str
    seed: int | None
    splits: tuple[Split, ...]

    def __post_init__(self):
        object.__setattr__(self, "splits", tuple(self.splits))
        if self.protocol not in PROTOCOLS:
            raise DatasetError(f"expected one of the protocols {', '.join(PROTOCOLS)}, found: {self.protocol!r}.")
        if self.seed is not None:
            object.__setattr__(self, "seed", _seed(self.seed))
        if not self.splits:
            raise DatasetError(f"{self.protocol}: expected at least one split, found none.")
        names = [split.name for split in self.splits]
        for name in names:
            if names.count(name) > 1:
                raise DatasetError(f"{self.protocol}: two splits are named {name}; give each its own name.")
        if self.protocol in TESTED_ONCE:
            self._check_everyone_is_tested_once()

    def __len__(self) -> int:
        return len(self.splits)

    def __iter__(self) -> Iterator[Split]:
        return iter(self.splits)

    def named(self, name: str) -> Split:
        """Find a split by its name.

        Args:
            name: for example "fold-00", or the subject's code in leave-one-subject-out.

        Returns:
            the split.

        Raises:
            DatasetError: no split has the name.
        """
        for split in self.splits:
            if split.name == name:
                return split
        names = ", ".join(split.name for split in self.splits)
        raise DatasetError(f"{self.protocol}: there is no split {name!r}; choose one of {names}.")

    def to_json(self, path: str | Path) -> None:
        """Write the splits to a file; equal splits give equal bytes.

        Args:
            path: where to; its folder is made where it is missing, and an existing file is replaced.
        """
        text = json.dumps(asdict(self), indent=2, ensure_ascii=False) + "\n"
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        with written_whole(path) as partial:
            partial.write_text(text, encoding="utf-8", newline="\n")

    @classmethod
    def from_json(cls, path: str | Path) -> "Splits":
        """Read splits from a file and check them again, since files are edited by hand.

        Args:
            path: a file as `to_json` writes it.

        Returns:
            the splits.

        Raises:
            DatasetError: the file is missing, is not such a file, or its splits leak or lose a subject.
        """
        try:
            content = json.loads(Path(path).read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            raise DatasetError(f"{path}: expected a JSON file of splits, found none; check the path.") from error
        except (OSError, ValueError) as error:
            raise DatasetError(f"{path}: expected a JSON file of splits, but it cannot be read: {error}.") from error
        try:
            arguments = _with_keys(content, cls, "the file")
            if not isinstance(arguments["splits"], list):
                raise DatasetError(f"expected splits to be a list, found: {_shortened(arguments['splits'])}.")
            arguments["splits"] = [
                Split(**_with_keys(split, Split, f"split number {number}"))
                for number, split in enumerate(arguments["splits"], start=1)
            ]
            return cls(**arguments)
        except DatasetError as error:
            raise DatasetError(f"{path}: {error}") from error

    def _check_everyone_is_tested_once(self) -> None:
        everyone = sorted({subject for split in self.splits for subject in split.subjects})
        tested_in = defaultdict(list)
        for split in self.splits:
            if missing := sorted(set(everyone) - set(split.subjects)):
                raise DatasetError(
                    f"{self.protocol}: expected every subject in every split, found {split.name} without "
                    f"{', '.join(missing)}; put them on one of its sides."
                )
            if self.protocol == "leave-one-subject-out" and len(split.test) != 1:
                raise DatasetError(
                    f"{self.protocol}: expected one test subject in each split, found {len(split.test)} in "
                    f"{split.name}; 'k-fold' tests several at once."
                )
            for subject in split.test:
                tested_in[subject].append(split.name)
        for subject in everyone:
            if len(tested_in[subject]) != 1:
                found = " and ".join(tested_in[subject]) or "none"
                raise DatasetError(
                    f"{self.protocol}: expected every subject in the test part of one split, found {subject} in that "
                    f"of {found}; the protocol 'listed' asks for no such thing."
                )


def leave_one_subject_out(
    subjects: Iterable[str], n_validation: int, seed: int, strata: Mapping[str, Hashable] | None = None
) -> Splits:
    """Make one split for each subject, who is tested there; the split is named after the subject.

    Args:
        subjects: codes in any order, one for each recording or one for each subject.
        n_validation: how many of the other subjects are set aside for choosing; drawn anew for each split.
        seed: the same seed draws the same splits.
        strata: subject to stratum, for example "young F". The validation subjects are then shared out among the
            strata by their sizes; what does not come out even goes to the largest remainders, ties at random.

    Returns:
        the splits in the order of the subjects' codes.

    Raises:
        DatasetError: there are too few subjects, or a subject has no stratum.
    """
    subjects, generator = _distinct(subjects), np.random.default_rng(_seed(seed))
    tests = {subject: [subject] for subject in subjects}
    return _cross_validation("leave-one-subject-out", subjects, tests, n_validation, seed, generator, strata)


def k_fold(
    subjects: Iterable[str], n_folds: int, n_validation: int, seed: int, strata: Mapping[str, Hashable] | None = None
) -> Splits:
    """Make folds of which each is tested once, named "fold-00" and so on; their sizes differ by one at most.

    Args:
        subjects: codes in any order, one for each recording or one for each subject.
        n_folds: from 2 to the number of subjects.
        n_validation: how many of the other folds' subjects are set aside for choosing; drawn anew for each split. It
            does not change who is tested where.
        seed: the same seed draws the same splits.
        strata: subject to stratum, for example "young F". The folds' shares of a stratum then differ by one at most;
            the validation subjects are shared out as in `leave_one_subject_out`.

    Returns:
        the splits.

    Raises:
        DatasetError: there are too few subjects for so many folds, or a subject has no stratum.
    """
    subjects, generator = _distinct(subjects), np.random.default_rng(_seed(seed))
    if not 2 <= n_folds <= len(subjects):
        raise DatasetError(
            f"k-fold: expected from 2 folds to as many as there are subjects ({len(subjects)}), "
            f"found n_folds {n_folds}; change it."
        )
    groups = _groups(subjects, strata)
    # Dealt like cards with one stratum after the other, so neither the folds nor their shares of a stratum can differ
    # by more than one. scikit-learn's StratifiedGroupKFold promises no equal folds, and its StratifiedKFold refuses
    # strata that are all smaller than n_folds.
    line = [
        groups[index][place]
        for index in generator.permutation(len(groups))
        for place in generator.permutation(len(groups[index]))
    ]
    digits = max(2, len(str(n_folds - 1)))  # so that names sort as numbers do
    tests = {f"fold-{fold:0{digits}d}": line[fold::n_folds] for fold in range(n_folds)}
    return _cross_validation("k-fold", subjects, tests, n_validation, seed, generator, strata)


def by_fraction(
    subjects: Iterable[str],
    fractions: tuple[float, float, float] = (0.7, 0.1, 0.2),
    *,
    seed: int,
    strata: Mapping[str, Hashable] | None = None,
) -> Splits:
    """Make a single split, named "split", whose parts have given shares of the subjects.

    Args:
        subjects: codes in any order, one for each recording or one for each subject.
        fractions: of train, validation and test, which sum to 1. A part gets its share rounded up or down so that all
            parts sum to the number of subjects: the largest remainders are rounded up.
        seed: the same seed draws the same split.
        strata: subject to stratum, for example "young F". The test subjects are shared out among the strata by their
            sizes, then the validation subjects among what is left, as in `leave_one_subject_out`.

    Returns:
        the one split, in `splits[0]`.

    Raises:
        DatasetError: the fractions are not three, are negative, do not sum to 1 or leave a part without a subject
            although its fraction is not zero, or a subject has no stratum.
    """
    subjects, generator = _distinct(subjects), np.random.default_rng(_seed(seed))
    _, n_validation, n_test = _sizes(len(subjects), fractions)
    test = _drawn(subjects, n_test, strata, generator)
    rest = sorted(set(subjects) - set(test))
    validation = _drawn(rest, n_validation, strata, generator)
    train = set(rest) - set(validation)
    return Splits("by-fraction", seed, (Split("split", tuple(train), tuple(validation), tuple(test)),))


def age_sex_strata(table: pd.DataFrame) -> dict[str, str]:
    """Give each subject a stratum of age and sex such as "young F".

    The bands young, middle and old end at the tertiles of the subjects in the table, a third of them in each but for
    equal ages, which share a band. Tertiles fit any cohort and leave strata large enough to share out; they hold for
    the table that is passed, so pass the subjects that are to be split and no others.

    Args:
        table: columns `subject`, `age` (years) and `sex`, one row for each night or for each subject; of several ages
            of a subject the lowest counts.

    Returns:
        subject to stratum, in the order of the codes.

    Raises:
        DatasetError: a column is missing, a subject has no age or no sex, or two sexes.
    """
    columns = ["subject", "age", "sex"]
    if missing := [column for column in columns if column not in table]:
        raise DatasetError(f"expected a table with the columns {', '.join(columns)}, found none named {missing[0]!r}.")
    if table.empty:
        raise DatasetError("expected a table with one row or more for each subject, found no row.")
    if (incomplete := table[columns].isna().any(axis=1)).any():
        subjects = sorted({str(subject) for subject in table.loc[incomplete, "subject"]})
        raise DatasetError(
            f"expected subject, age and sex in every row, found rows without: subject {', '.join(subjects)}; "
            "complete them or leave these subjects out."
        )
    if not pd.api.types.is_numeric_dtype(table["age"]):
        raise DatasetError(f"expected ages in years as numbers, found for example {table['age'].iloc[0]!r}.")
    people = table.groupby("subject").agg(age=("age", "min"), sex=("sex", "first"), sexes=("sex", "nunique"))
    if (people["sexes"] > 1).any():
        raise DatasetError(f"expected one sex for each subject, found two for {people['sexes'].idxmax()}.")
    young, middle = np.quantile(people["age"], (1 / 3, 2 / 3))
    bands = ["young" if age <= young else "middle" if age <= middle else "old" for age in people["age"]]
    return {str(subject): f"{band} {sex}" for subject, band, sex in zip(people.index, bands, people["sex"])}


def _cross_validation(
    protocol: str,
    subjects: list[str],
    tests: dict[str, list[str]],
    n_validation: int,
    seed: int,
    generator: np.random.Generator,
    strata: Mapping[str, Hashable] | None,
) -> Splits:
    """The splits that test each of `tests` and take their validation subjects from everyone else."""
    n_others = len(subjects) - max(map(len, tests.values()))
    if not 0 <= n_validation < n_others:
        raise DatasetError(
            f"{protocol}: expected n_validation to leave a subject to train with, found {n_validation} for validation "
            f"where {len(subjects)} subjects leave {n_others} beside the test; take fewer or add subjects."
        )
    splits = []
    for name, test in tests.items():
        others = sorted(set(subjects) - set(test))
        validation = _drawn(others, n_validation, strata, generator)
        train = set(others) - set(validation)
        splits.append(Split(name, tuple(train), tuple(validation), tuple(test)))
    return Splits(protocol, seed, tuple(splits))


def _drawn(
    subjects: list[str], n_drawn: int, strata: Mapping[str, Hashable] | None, generator: np.random.Generator
) -> list[str]:
    """Draw so many of the subjects, from each stratum its share rounded up or down."""
    groups = _groups(subjects, strata)
    shares = [divmod(len(group) * n_drawn, len(subjects)) for group in groups]  # whole subjects, remainder
    counts = [whole for whole, _ in shares]
    # the order is random before the sort, or the same strata would win every tie in every fold
    by_remainder = sorted(generator.permutation(len(groups)), key=lambda index: shares[index][1], reverse=True)
    for index in by_remainder[: n_drawn - sum(counts)]:
        counts[index] += 1
    return [
        group[place]
        for group, count in zip(groups, counts)
        for place in generator.choice(len(group), count, replace=False)
    ]


def _groups(subjects: list[str], strata: Mapping[str, Hashable] | None) -> list[list[str]]:
    """The subjects of each stratum; strata in the order of their first subjects, which needs no order among strata."""
    if strata is None:
        return [subjects]
    groups = defaultdict(list)
    without = []
    for subject in subjects:
        stratum = strata.get(subject)
        if pd.api.types.is_scalar(stratum) and pd.isna(stratum):  # None, or what tables have for nothing
            without.append(subject)
        else:
            groups[stratum].append(subject)
    if without:
        raise DatasetError(
            f"expected a stratum for each subject, found none for {', '.join(without)}; "
            "give them one or leave them out by name."
        )
    return list(groups.values())


def _sizes(n_subjects: int, fractions: tuple[float, float, float]) -> list[int]:
    """The numbers of subjects in train, validation and test."""
    if len(fractions) != len(PARTS) or not all(fraction >= 0 for fraction in fractions):
        raise DatasetError(
            f"expected three fractions of 0 or more, of train, validation and test, found: {tuple(fractions)}."
        )
    total = sum(fractions)
    if not abs(total - 1) <= 1e-6:
        raise DatasetError(f"expected fractions that sum to 1, found {tuple(fractions)}, which sum to {total:g}.")
    # in whole millionths, since 0.7 * 10 should be 7 sharp and equal remainders equal
    shares = [divmod(round(n_subjects * fraction / total * 10**6), 10**6) for fraction in fractions]
    sizes = [whole for whole, _ in shares]
    # of equal remainders those of test and validation are rounded to the nearest: there a subject weighs more
    by_remainder = sorted(
        range(len(PARTS)), key=lambda part: (-shares[part][1], part if shares[part][1] < 500_000 else -part)
    )
    for part in by_remainder[: n_subjects - sum(sizes)]:
        sizes[part] += 1
    for part, size, fraction in zip(PARTS, sizes, fractions):
        if not size and (fraction or part == "train"):
            raise DatasetError(
                f"expected a subject in {part}, found none: {n_subjects} subjects with the fractions "
                f"{tuple(fractions)} give {' / '.join(map(str, sizes))}; add subjects or change the fractions."
            )
    return sizes


def _distinct(subjects: Iterable[str]) -> list[str]:
    """Everyone once, in sorted order, so that neither the order nor the number of recordings matters."""
    distinct = sorted(set(_codes(subjects, "subjects")))
    if len(distinct) < 2:
        raise DatasetError(f"expected two subjects or more to split, found {', '.join(distinct) or 'none'}.")
    return distinct


def _codes(subjects: Any, where: str) -> list[str]:
    """Subject codes as plain texts."""
    if isinstance(subjects, (str, Mapping)) or not isinstance(subjects, Iterable):
        raise DatasetError(f"{where}: expected a list of subject codes, found: {subjects!r}.")
    subjects = list(subjects)
    for subject in subjects:
        if not isinstance(subject, str) or not subject:
            raise DatasetError(f"{where}: expected subject codes as texts such as 'SC400', found: {subject!r}.")
    return [str(subject) for subject in subjects]  # NumPy's texts too


def _seed(seed: Any) -> int:
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or seed < 0:
        raise DatasetError(f"expected a seed that is a whole number of 0 or more, found: {seed!r}.")
    return int(seed)


def _with_keys(content: Any, made: type, what: str) -> dict[str, Any]:
    """A JSON object that has the fields of the class it is to become, and no others."""
    names = [field.name for field in fields(made)]
    if not isinstance(content, dict) or set(content) != set(names):
        found = ", ".join(content) if isinstance(content, dict) else _shortened(content)
        raise DatasetError(f"expected {what} to have the keys {', '.join(names)}, found: {found or 'none'}.")
    return dict(content)


def _shortened(content: Any) -> str:
    text = repr(content)
    return text if len(text) <= 60 else f"{text[:57]}..."
