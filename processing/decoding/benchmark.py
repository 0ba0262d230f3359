"""One harness for public benchmarks: people's labelled recordings in, an encoder beside its controls out.

A data set is a `Benchmark`: problems (recordings with labels, and how they are split) and the measures and rows of its
paper. Every problem goes the same way: the same windows, folds and heads for the encoder, its untrained twins, linear
decoders of the spectrogram and of band power, and a constant that knows the training labels only.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from ..corpora.labelled import LabelledRecording
from .contact_heads import HEADS
from .epochs import Epochs
from .finetuning import Recipe
from .splits import Split

CONTROLS = ("spectrogram", "spectrogram-time", "band-power")
LINEAR = "concatenation"  # the head of controls


@dataclass(frozen=True, kw_only=True, eq=False)
class Problem:
    """What is decoded in one go.

    people: recordings at one rate with windows of one length. classes: the second of two is what is looked for; None
        for values.
    split_by: a function of windows, with folds that have their own validation windows.
    measures: of `MEASURES`, the one that is judged first.
    most_contacts: each system has the best so many, chosen in the training windows of each fold; None for all.
    """

    name: str
    people: Sequence[LabelledRecording]
    window_s: float
    classes: tuple[str, ...] | None
    split_by: Callable[[Epochs], Split]
    measures: tuple[str, ...]
    most_contacts: int | None = None


@dataclass(frozen=True, kw_only=True)
class Published:
    """A row of a paper: measure → value, and measure → its spread (what that is, `Benchmark` says)."""

    label: str
    values: Mapping[str, float]
    spread: Mapping[str, float]


@dataclass(frozen=True, kw_only=True, eq=False)
class Benchmark:
    """A data set with its problems and the rows of its paper.

    subjects: whether each problem is one person, so that people are the independent unit of the whole.
    heads: those that it is decoded with by default, the judged one first.
    published, source: rows, and where they are from; spread: what their ± is. notes: sentences that a reader must know.
    """

    name: str
    problems: Sequence[Problem]
    heads: tuple[str, ...] = (LINEAR,)
    subjects: bool = False
    published: Sequence[Published] = ()
    source: str = ""
    spread: str = ""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Conduct:
    """How a benchmark is run.

    heads: of HEADS, the judged one first. seeds: from how many seeds heads and fine-tuned models are trained, whose
    mean counts; a linear head has one. untrained_seeds: twins. controls: of CONTROLS. fine_tuning: how the encoder is
    fine-tuned with the first head, None if not. head_recipe: how network and attention are trained.
    """

    heads: tuple[str, ...] = (LINEAR,)
    seeds: int = 1
    untrained_seeds: int = 3
    controls: tuple[str, ...] = CONTROLS
    fine_tuning: Recipe | None = None
    head_recipe: Recipe | None = None
    draws: int = 2000
    seed: int = 0
    jobs: int = 1

    def __post_init__(self) -> None:
        for name, given, known in (("head", self.heads, HEADS), ("control", self.controls, CONTROLS)):
            if unknown := sorted(set(given) - set(known)):
                raise ValueError(f"There is no {name} {unknown[0]!r}: choose from {', '.join(known)}.")
        if not self.heads or len(set(self.heads)) < len(self.heads):
            raise ValueError(f"heads are {list(self.heads)}; give one or more, each once.")
        if min(self.seeds, self.draws, self.jobs) < 1 or self.untrained_seeds < 0:
            raise ValueError("seeds, draws and jobs must be at least 1, untrained_seeds at least 0.")
