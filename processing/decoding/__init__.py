"""From a pretrained encoder to what it can tell about a recording, beside what can be told without it."""

from .description import describe
from .embed import embed_recording
from .epochs import Epochs, make_epochs
from .evaluation import evaluate
from .finetuned import encoder_inputs, finetuned_scores
from .finetuning import Recipe
from .hashes import weights_sha256
from .labels import (
    Labels,
    labels_from_annotations,
    labels_from_array,
    labels_from_bids,
    labels_from_channel,
    labels_from_csv,
)
from .parquet import embed_to_parquet, parts_folder
from .protocol import LEFT_OUT, Plan, decode, make_task
from .report import write_report
from .signals import contact_names
from .splits import (
    Fold,
    LeakageError,
    Split,
    blocked,
    by_recording,
    grouped,
    leave_subject_out,
    paper,
    prove_disjoint,
)
from .systems import CONTROLS, Encoder, Task
from .word_labels import NEUROPROBE_TASKS, PAPER_TASKS, WordTask, word_labels

__all__ = [
    "CONTROLS",
    "LEFT_OUT",
    "NEUROPROBE_TASKS",
    "PAPER_TASKS",
    "Encoder",
    "Epochs",
    "Fold",
    "Labels",
    "LeakageError",
    "Plan",
    "Recipe",
    "Split",
    "Task",
    "WordTask",
    "blocked",
    "by_recording",
    "contact_names",
    "decode",
    "describe",
    "embed_recording",
    "embed_to_parquet",
    "encoder_inputs",
    "evaluate",
    "finetuned_scores",
    "grouped",
    "labels_from_annotations",
    "labels_from_array",
    "labels_from_bids",
    "labels_from_channel",
    "labels_from_csv",
    "leave_subject_out",
    "make_epochs",
    "make_task",
    "paper",
    "parts_folder",
    "prove_disjoint",
    "weights_sha256",
    "word_labels",
    "write_report",
]
