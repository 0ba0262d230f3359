"""Nights of DREAMT, generated in the format that is published, small and with or without a signal planted."""

import csv
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
from numpy.typing import NDArray
from tqdm import tqdm

RATE, EPOCH_S = 64, 30  # Hz, s
PREPARATION_S = 24  # before the first epoch: the grid of epochs does not begin with the file
WAKE_EVERY = 5  # one epoch is wake to four of sleep
PULSE = {"sleep": 55.0, "wake": 75.0}  # beats a minute
MOVEMENT = {"sleep": 0.4, "wake": 8.0}  # 1/64 g, deviation of each axis
TEMPERATURE_C = 33.0
TEMPERATURE_SPREAD_C = 0.6  # of what the pulse wave's strength tells
TEMPERATURE_NOISE_C = 0.2  # of what nothing tells: no decoder has a smaller error
STRENGTH_SPREAD = 0.8  # of the log of the pulse wave's amplitude
COLUMNS = (
    "TIMESTAMP", "BVP", "ACC_X", "ACC_Y", "ACC_Z", "TEMP", "EDA", "HR", "IBI", "Sleep_Stage",
    "Obstructive_Apnea", "Central_Apnea", "Hypopnea", "Multiple_Events",
)  # fmt: skip
PEOPLE_COLUMNS = (
    "SID", "AGE", "GENDER", "BMI", "OAHI", "AHI", "Mean_SaO2", "Arousal Index", "MEDICAL_HISTORY", "Sleep_Disorders",
)  # fmt: skip

FAULTS = {
    "missing-column": "the first night has no BVP",
    "truncated-line": "the first night ends within a line",
    "wrong-rate": "the first night has 100 rows a second",
    "unknown-stage": "one epoch of the first night is staged N4",
    "without-labels": "one more participant, all of whose stages are missing (is left out with a warning)",
    "without-file": "one more participant, who is in participant_info.csv only (is left out with a warning)",
    "text-in-a-number": "one BVP of the first night is a word",
    "path-as-code": "participant_info.csv names a participant ../../S666",
    "empty-file": "the first night has no bytes",
}


def generate(
    out: Path, *, planted: bool = True, seed: int = 0, progress: bool = False, participants: int = 10, epochs: int = 25
) -> None:
    """Write data_64Hz/S002_whole_df.csv and so on, and participant_info.csv.

    planted: sleep has a slower pulse and a still arm; and the median temperature of an epoch is TEMPERATURE_C, plus
        TEMPERATURE_SPREAD_C for each deviation of the log of the pulse wave's amplitude, plus noise of
        TEMPERATURE_NOISE_C. Otherwise stages and temperatures are drawn without looking at the signals.
    epochs: of 30 s; one in five is wake, and one more is Missing.
    About 95 kB an epoch. Strengths have the same mean and spread in each night, so that normalising a night loses
    nothing of them.
    """
    (out / "data_64Hz").mkdir(parents=True, exist_ok=True)
    codes = [f"S{number:03}" for number in range(2, participants + 2)]
    for number, code in enumerate(tqdm(codes, desc="nights", disable=not progress)):
        rng = np.random.default_rng([seed, number])
        _write(out / "data_64Hz" / f"{code}_whole_df.csv", _night(rng, epochs, planted=planted))
    with (out / "participant_info.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(PEOPLE_COLUMNS)
        for number, code in enumerate(codes):
            table.writerow((code, 40 + number, "FM"[number % 2], 27, 5, 6, "96%", 12, "Asthma, GERD", "OSA"))


def _night(rng: np.random.Generator, epochs: int, *, planted: bool) -> pa.Table:
    """Return the rows of one night."""
    state, told = _states(rng, epochs), _standard(rng, epochs)
    strength = told  # what the signals have; stages and temperatures are told by `state` and `told`
    shown = state
    if not planted:
        shown, strength = _states(rng, epochs), _standard(rng, epochs)
    stages = np.where(state == "wake", "W", rng.choice(["N1", "N2", "N3", "R"], epochs)).astype(object)
    stages = np.insert(stages, epochs // 2, "Missing")
    shown = np.insert(shown, epochs // 2, "sleep")
    strength, told = (np.insert(values, epochs // 2, 0.0) for values in (strength, told))
    temperature = TEMPERATURE_C + TEMPERATURE_SPREAD_C * told + TEMPERATURE_NOISE_C * rng.standard_normal(len(told))

    before, rows = PREPARATION_S * RATE, EPOCH_S * RATE
    total = before + len(stages) * rows

    def of_rows(values: NDArray, preparation: object) -> NDArray:
        return np.concatenate([np.full(before, preparation, dtype=values.dtype), np.repeat(values, rows)])

    awake = of_rows(shown, "wake") == "wake"
    rate = np.array([PULSE[name] for name in shown]) + 2 * rng.standard_normal(len(shown))
    per_minute = of_rows(rate, PULSE["wake"])
    beats = np.cumsum(per_minute / 60 / RATE)
    wave = sum(np.sin(2 * np.pi * order * beats) / order**1.5 for order in (1, 2, 3))
    breathing = np.sin(2 * np.pi * 0.25 * np.arange(total) / RATE + rng.uniform(0, 2 * np.pi))
    amplitude = 50 * np.exp(STRENGTH_SPREAD * of_rows(strength, 0.0))
    bvp = amplitude * (wave + 0.2 * breathing + 0.2 * rng.standard_normal(total))
    # The accelerometer measures at 32 Hz in whole 1/64 g; each value stands in two rows.
    moving = np.where(awake, MOVEMENT["wake"], MOVEMENT["sleep"])[::2, None]
    axes = np.rint(np.array([12.0, 0.0, 62.0]) + moving * rng.standard_normal((total // 2, 3)))
    axes = np.repeat(axes, 2, axis=0).astype(np.int64)
    number = np.arange(total)
    nothing = pa.nulls(total, pa.int64())
    columns = [
        number / RATE,
        np.round(bvp, 1),
        *axes.T,
        np.round(of_rows(temperature, TEMPERATURE_C), 2),
        np.round(0.3 + 0.1 * (number // (RATE // 4) % 7) / 7, 2),
        np.rint(per_minute),
        pa.array(np.round(60 / per_minute, 2), mask=number < RATE),  # none before the first beats
        of_rows(stages, "P"),
        *[nothing] * 4,
    ]
    return pa.table([pa.array(column) for column in columns], names=COLUMNS)


def _states(rng: np.random.Generator, epochs: int) -> NDArray[np.str_]:
    states = np.array(["sleep"] * epochs)
    states[: max(1, round(epochs / WAKE_EVERY))] = "wake"
    return rng.permutation(states)


def _standard(rng: np.random.Generator, epochs: int) -> NDArray[np.float64]:
    values = rng.standard_normal(epochs)
    return (values - values.mean()) / values.std()


def _write(path: Path, night: pa.Table) -> None:
    with path.open("wb") as file:
        file.write((",".join(COLUMNS) + "\n").encode())
        pa_csv.write_csv(night, file, pa_csv.WriteOptions(include_header=False, quoting_style="none"))


def spoil(root: Path, fault: str) -> None:
    """Damage a generated root in one of the ways of FAULTS."""
    if fault not in FAULTS:
        raise ValueError(f"There is no fault {fault!r}: choose from {', '.join(FAULTS)}.")
    first = sorted((root / "data_64Hz").glob("*_whole_df.csv"))[0]
    if fault == "path-as-code":
        _add_person(root, "../../S666")
    elif fault == "without-file":
        _add_person(root, "S900")
    elif fault == "without-labels":
        _add_person(root, "S901")
        lines = first.read_text().splitlines()
        rows = [line.split(",") for line in lines[1:]]
        text = "\n".join([lines[0], *(",".join([*row[:9], "Missing", *row[10:]]) for row in rows)])
        first.with_name("S901_whole_df.csv").write_text(text + "\n")
    elif fault == "empty-file":
        first.write_bytes(b"")
    elif fault == "truncated-line":
        first.write_bytes(first.read_bytes().rstrip()[:-20])
    else:
        lines = first.read_text().splitlines()
        rows = [line.split(",") for line in lines]
        if fault == "missing-column":
            rows = [[*row[:1], *row[2:]] for row in rows]
        elif fault == "wrong-rate":
            rows[1:] = [[f"{number / 100:.2f}", *row[1:]] for number, row in enumerate(rows[1:])]
        elif fault == "text-in-a-number":
            rows[1000][1] = "loose"  # line 1001 of the file
        else:
            for row in rows[3000:3100]:
                row[9] = "N4"
        first.write_text("\n".join(",".join(row) for row in rows) + "\n")


def _add_person(root: Path, code: str) -> None:
    with (root / "participant_info.csv").open("a", newline="", encoding="utf-8") as file:
        csv.writer(file).writerow((code, 50, "F", 27, 5, 6, "96%", 12, "", ""))
