import pytest

from modeling_sleepvit.channels import (
    PREFERRED_CHANNELS,
    Channel,
    canonical_channel,
    choose_channels,
    eye_of,
    uv_per_unit,
)
from modeling_sleepvit.errors import ChannelError


def channels(*labels):
    return [Channel(label, "uV", 100.0) for label in labels]


class TestSpelling:
    @pytest.mark.parametrize(
        ("label", "canonical"),
        [
            ("EEG Fpz-Cz", "FPZ-CZ"),
            ("C4-A1", "C4-M1"),
            ("EEG C4-A1", "C4-M1"),
            ("EEG-C4-A1", "C4-M1"),
            ("C4A1", "C4-M1"),
            (" c4 - m1 ", "C4-M1"),
            ("C4:M1", "C4-M1"),
            ("C4/A1", "C4-M1"),
            ("EEG", "C4-M1"),
            ("EEG(sec)", "C3-M2"),
            ("EEG sec", "C3-M2"),
            ("EEG 2", "C3-M2"),
            ("EEG T3-REF", "T7"),
            ("EEG O1-LE", "O1"),
            ("C3-A1A2", "C3"),
            ("Fp1-Ref", "FP1"),
            ("EOG horizontal", None),
            ("C4 Impedance", None),
            ("C4-M1 (Imp)", None),
            ("EMG submental", None),
            ("SpO2", None),
            ("1-2", None),
            ("", None),
        ],
    )
    def test_labels_have_one_spelling(self, label, canonical):
        assert canonical_channel(label) == canonical

    def test_every_preferred_channel_is_one_that_can_be_found(self):
        assert all(canonical_channel(name) == name.upper() for name in PREFERRED_CHANNELS)

    @pytest.mark.parametrize(
        ("unit", "uv"),
        [("uV", 1), (" mV ", 1e3), ("V", 1e6), ("nV", 1e-3), ("\xb5V", 1), ("\u03bcV", 1), ("\x83\xcaV", 1)],
    )
    def test_units_of_voltage_are_known(self, unit, uv):
        assert uv_per_unit(unit) == uv

    @pytest.mark.parametrize("unit", ["", "Ohm", "%", "V/s", "bpm", "\xb0"])
    def test_other_units_are_no_voltage(self, unit):
        assert uv_per_unit(unit) is None


class TestChoice:
    @pytest.mark.parametrize(
        ("labels", "asked", "found"),
        [
            (["c4-m1", "C4-M1"], "C4-M1", "C4-M1"),  # the exact label wins
            (["EEG C4-A1", "c4-m1"], "C4-M1", "c4-m1"),  # then another case, then another name
            (["EEG(sec)", "EEG"], "C4-M1", "EEG"),
            (["EEG(sec)", "EEG"], "C3-A2", "EEG(sec)"),
            (["EEG2", "EEG"], "C3-M2", "EEG2"),
            (["EEG T3-A2"], "T7-M2", "EEG T3-A2"),
            (["Fpz-Cz"], "EEG Fpz-Cz", "Fpz-Cz"),
            (["EOG L", "C4-M1"], "eog l", "EOG L"),
        ],
    )
    def test_a_named_channel_is_found(self, labels, asked, found):
        (source,) = choose_channels(channels(*labels), asked, "x.edf")
        assert labels[source.index] == source.name == found

    @pytest.mark.parametrize(
        ("labels", "chosen"),
        [
            (["EOG L", "C4-M1", "EEG Fpz-Cz"], "EEG Fpz-Cz"),
            (["O2-A1", "C3-A2", "C4-A1", "EMG"], "C4-A1"),
            (["ECG", "EEG(sec)", "EOG(L)", "EEG"], "EEG"),
            (["A1", "A2", "C3", "C4"], "C4-M1"),  # computed
            (["Fpz", "C4-M1"], "C4-M1"),  # a derivation before an electrode without reference
            (["M1", "EOG", "F3"], "F3"),
            (["SpO2", "P4-O2", "P3"], "P4-O2"),
            (["SpO2", "P3", "P4"], "P3"),
            (["EOG EEG", "EMG", "EEG 7"], "EEG 7"),
        ],
    )
    def test_without_a_name_the_best_eeg_channel_is_chosen_and_noted(self, labels, chosen):
        (source,) = choose_channels(channels(*labels), None, "x.edf")
        assert source.name == chosen
        assert source.notes[0].startswith("No channel was named: ")

    def test_a_derivation_is_one_electrode_less_the_other(self):
        (source,) = choose_channels(channels("EOG", "A1", "EEG C4-REF"), "C4-M1", "x.edf")
        assert (source.name, source.index, source.minus) == ("C4-M1", 2, 1)

    def test_electrodes_of_different_rates_are_an_error_only_if_asked_for(self):
        there = [Channel("C4", "uV", 100.0), Channel("M1", "uV", 50.0)]
        with pytest.raises(ChannelError, match=r'C4-M1 is "C4" minus "M1", expected equal .* 100 and 50 Hz'):
            choose_channels(there, "C4-M1", "x.edf")
        (source,) = choose_channels(there, None, "x.edf")
        assert source.name == "C4"

    @pytest.mark.parametrize("asked", ["C4-M1", None])
    def test_an_alias_never_leads_to_an_impedance_or_an_oximeter(self, asked):
        there = [Channel("C4", "Ohm", 100.0), Channel("O2", "%", 100.0), Channel("M1", "uV", 100.0)]
        with pytest.raises(ChannelError):
            choose_channels(there, asked, "x.edf")

    @pytest.mark.parametrize(
        ("asked", "message"),
        [
            ("C4-M2", r'x.edf has no channel "C4-M2": did you mean C4-M1\? name one of its channels: C4-M1, EOG, EMG'),
            ("zzz", r'x.edf has no channel "zzz": name one of its channels: C4-M1'),
            ([], "x.edf: no channel was asked for"),
            (["C4-M1", "EMG"], r"different sampling rates \(C4-M1 100 Hz, EMG 50 Hz\)"),
        ],
    )
    def test_what_cannot_be_found_names_what_is_there(self, asked, message):
        with pytest.raises(ChannelError, match=message):
            choose_channels([*channels("C4-M1", "EOG"), Channel("EMG", "uV", 50.0)], asked, "x.edf")

    def test_eye_and_muscle_channels_are_never_chosen_in_silence(self):
        there = channels("EOG L", "EMG chin", "ECG", "SpO2", "A1", "E1-M2", "EEG A1-A2", "Flow")
        with pytest.raises(ChannelError, match=r"no channel that is EEG by its label: name .* one of EOG L, EMG chin"):
            choose_channels(there, None, "x.edf")


class TestEOG:
    @pytest.mark.parametrize(
        ("label", "eye"),
        [
            ("E1-M2", "left"),
            ("EOG E2-M2", "right"),
            ("EOG(L)", "left"),
            ("EOG(R)", "right"),
            ("LOC-A2", "left"),
            ("ROC", "right"),
            ("EOG Left", "left"),
            ("REOG", "right"),
            ("EOG2", "right"),
            ("EOG horizontal", "both"),
            ("L", None),
            ("E12", None),
            ("EEG Fpz-Cz", None),
            ("EMG submental", None),
        ],
    )
    def test_labels_tell_the_eye(self, label, eye):
        assert eye_of(label) == eye

    @pytest.mark.parametrize(
        ("labels", "n_eog", "found"),
        [
            (["C4-M1", "ROC", "LOC", "EOG"], 2, ["LOC", "ROC"]),
            (["C4-M1", "ROC", "LOC", "EOG"], 1, ["EOG"]),
            (["EOG horizontal", "EOG vertical", "E1"], 2, ["EOG horizontal", "EOG vertical"]),
            (["C4-M1", "E2-M1"], 1, ["E2-M1"]),
        ],
    )
    def test_without_names_both_eyes_are_read(self, labels, n_eog, found):
        sources = choose_channels(channels(*labels), None, "night", n_eog)
        assert [source.name for source in sources] == found
        assert sources[0].notes[0].startswith("No EOG channel was named")

    def test_slow_channels_and_those_without_a_voltage_are_passed_over(self):
        recorded = [Channel("EOG(L)", "uV", 25.0), Channel("LOC", "uV", 50.0), Channel("ROC", "Ohm", 50.0)]
        assert choose_channels(recorded, None, "night", 1)[0].name == "LOC"

    @pytest.mark.parametrize(
        ("asked", "message"),
        [
            (None, "expected 2 channels that are EOG by their labels, found 1"),
            (["LOC"], "reads 2 EOG channels, found 1"),
        ],
    )
    def test_too_few_are_refused(self, asked, message):
        with pytest.raises(ChannelError, match=message):
            choose_channels(channels("C4-M1", "LOC"), asked, "night", 2)
