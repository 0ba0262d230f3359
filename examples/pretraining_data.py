"""What a pretraining run learns from and is measured on: corpora in folders, or shards that are streamed."""

import argparse
import json
import math
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import datasets
import torch
from accelerate import Accelerator
from accelerate.utils import send_to_device
from conditioning import CONDITIONING

from brainbert.modeling_brainbert import BrainBertFeatureExtractor
from brainbert.processing.corpora import (
    commit_of,
    corpus_statistics,
    load_shards,
    recording_statistics,
    shards_record,
    split_corpora,
    statistics_lookup,
    with_statistics,
    write_statistics,
)
from brainbert.processing.training import (
    CorpusLoader,
    StreamLoader,
    held_out_batches,
    mask_adaptive,
    mask_static,
    masked_batch,
)

HELD_OUT = -1  # the epoch of masks of held-out clips


class Source(NamedTuple):
    train: datasets.Dataset | str  # a name: of shards to stream
    held_out: datasets.Dataset
    extractor: BrainBertFeatureExtractor
    statistics: dict | None
    records: list[dict]  # of each corpus what build_corpus.py said, and how it was conditioned
    fingerprints: list[str]
    commit: str | None = None  # of a data set on the Hub


class Data(NamedTuple):
    train: CorpusLoader | StreamLoader
    held_out: Callable[[], Iterator[dict[str, Any]]]  # the same batches each time
    extractor: BrainBertFeatureExtractor
    mask: Callable[[dict[str, Any], int], dict[str, torch.Tensor]]  # (batch, epoch) → arguments of the model
    mask_held_out: Callable[[dict[str, Any]], dict[str, torch.Tensor]]
    micro_batch: int  # clips at a time on each process
    accumulate: int  # batches of a step on each process
    steps_per_epoch: int
    clips: dict[str, int]
    corpora: list[dict]  # what build_corpus.py said of each
    fingerprints: list[str]  # of the corpora, or of the shards
    conditioning: dict  # the settings in which they agree
    commit: str | None  # of a data set on the Hub, the same from beginning to end


def open_data(args: argparse.Namespace, accelerator: Accelerator) -> Data:
    """Open, check and split the corpora, and fit what the normalisation needs on the training part."""
    micro_batch, accumulate = share_batch(args, accelerator.num_processes)
    share = {
        "batch_size": micro_batch,
        "process_index": accelerator.process_index,
        "num_processes": accelerator.num_processes,
    }
    usual = mask_static if args.masks == "static" else mask_adaptive
    masking = usual
    if args.masks == "static":
        masking = partial(
            mask_static,
            start_probability=args.mask_start_probability,
            frame_widths=tuple(args.mask_frames),
            bin_widths=tuple(args.mask_bins),
        )
    source = open_shards if is_shards(args.corpora) else open_corpora
    train, held_out, extractor, statistics, records, fingerprints, commit = source(args, accelerator)

    to_device = partial(send_to_device, device=accelerator.device, non_blocking=True)

    def mask(batch: dict[str, Any], epoch: int) -> dict[str, torch.Tensor]:
        if "labels" in batch:  # a worker has done it
            return {name: value for name, value in to_device(batch).items() if name != "name"}
        return masked_batch(to_device(batch), extractor, seed=args.seed, epoch=epoch, masking=masking)

    def mask_held_out(batch: dict[str, Any]) -> dict[str, torch.Tensor]:
        return masked_batch(to_device(batch), extractor, seed=args.seed, epoch=HELD_OUT, masking=usual)

    loading = {**share, "seed": args.seed, "statistics": statistics, "num_workers": args.num_workers}
    if args.prepare_in_workers:
        loading["prepare"] = Prepare(extractor, args.seed, masking)
    loader = (
        CorpusLoader(train, **loading)
        if isinstance(train, datasets.Dataset)
        else StreamLoader(train, revision=commit, **loading)
    )
    if loader.batches_per_epoch < accumulate:
        raise ValueError(
            f"The training clips do not fill one batch of {args.batch_size}: use a smaller --batch-size, or more data."
        )
    conditioned = [record["conditioning"] or {} for record in records]
    return Data(
        train=loader,
        held_out=partial(held_out_batches, held_out, statistics=statistics, most=args.validation_clips, **share),
        extractor=extractor,
        mask=mask,
        mask_held_out=mask_held_out,
        micro_batch=micro_batch,
        accumulate=accumulate,
        steps_per_epoch=loader.batches_per_epoch // accumulate,
        clips={
            "train": len(train) if isinstance(train, datasets.Dataset) else len(loader.shards),
            "held out": min(len(held_out), args.validation_clips),
        },
        corpora=records,
        fingerprints=fingerprints,
        # What embed.py compares a recording with: the settings in which all corpora agree.
        conditioning={
            name: conditioned[0][name]
            for name in CONDITIONING
            if all(name in each and each[name] == conditioned[0].get(name) for each in conditioned)
        },
        commit=commit,
    )


def open_corpora(args: argparse.Namespace, accelerator: Accelerator) -> Source:
    """Split the corpora, and fit the statistics that the normalisation needs on their training parts."""
    train, held_out = split_corpora(
        args.corpora, by=args.split, validation=args.validation, embargo_s=args.embargo_s, seed=args.seed
    )
    settings = extractor_settings(args, train[0]["sampling_rate"])
    progress = accelerator.is_main_process
    statistics = None
    if args.normalization == "corpus":
        mean, std = corpus_statistics(
            train, BrainBertFeatureExtractor(**settings, normalization="clip"), progress=progress
        )
        settings |= {"mean": mean, "std": std}
    extractor = BrainBertFeatureExtractor(**settings, normalization=args.normalization)
    if args.normalization == "recording":
        # A recording that is held out as a whole has no training part: its own statistics are all there is.
        part = train if args.split == ["time"] else datasets.concatenate_datasets([train, held_out])
        table = recording_statistics(part, extractor, progress=progress)
        # Those of a run that is resumed are there, and another run's must stay.
        if accelerator.is_main_process and not args.dry_run and not (args.out / "run.json").exists():
            write_statistics(table, args.out, extractor)
        statistics = statistics_lookup(table)
        held_out, before = with_statistics(held_out, statistics), len(held_out)
        if len(held_out) < before:
            accelerator.print(
                f"{before - len(held_out)} held-out clips of contacts without training clips are not used."
            )
    records = [
        json.loads((Path(folder) / "corpus.json").read_text(encoding="utf-8"))
        | {"conditioning": json.loads((Path(folder) / "build.json").read_text(encoding="utf-8"))["conditioning"]}
        for folder in args.corpora
    ]
    return Source(train, held_out, extractor, statistics, records, [record["fingerprint"] for record in records])


def open_shards(args: argparse.Namespace, accelerator: Accelerator) -> Source:
    """Open shards that were split when they were exported; what is held out is loaded, the rest is streamed."""
    source = args.corpora[0]
    if args.normalization != "clip":
        raise ValueError(
            f"--normalization {args.normalization} needs statistics of all training clips, which a stream does not "
            "have: train on the corpus itself, or use --normalization clip."
        )
    commit = None if Path(source).is_dir() else started_from(args.out) or commit_of(source, revision=args.revision)
    held_out = load_shards(source, most=args.validation_clips, revision=commit)
    settings = extractor_settings(args, held_out[0]["sampling_rate"])
    extractor = BrainBertFeatureExtractor(**settings, normalization="clip")
    record = shards_record(source, revision=commit)
    records = [{**each, "data_set": source, "commit": commit} if commit else each for each in record["corpora"]]
    return Source(source, held_out, extractor, None, records, [record["fingerprint"]], commit)


def started_from(out: Path) -> str | None:
    """Return the commit that a run which is resumed was started from: its branch may have moved on."""
    path = out / "run.json"
    return json.loads(path.read_text(encoding="utf-8")).get("commit") if path.exists() else None


def is_shards(sources: list[str]) -> bool:
    """Tell whether to stream; raises ValueError when only some of the sources are shards."""
    streamed = [not Path(source).exists() or (Path(source) / "data").is_dir() for source in sources]
    if any(streamed) and len(sources) > 1:
        raise ValueError(
            "Shards are streamed one data set at a time: export all corpora into one with export_corpus.py."
        )
    return streamed[0]


def extractor_settings(args: argparse.Namespace, sampling_rate: float) -> dict[str, Any]:
    """Return the front end's settings; raises ValueError for a corpus of another rate."""
    if not math.isclose(sampling_rate, args.sampling_rate, rel_tol=1e-4):
        raise ValueError(
            f"The clips have {sampling_rate:g} Hz and this run expects {args.sampling_rate:g} (--sampling-rate): build "
            "the corpus at this rate."
        )
    return {
        "sampling_rate": sampling_rate,
        "transform": args.transform,
        "variant": args.variant,
        "scale": args.scale,
    }


class Prepare(NamedTuple):
    """Spectrograms and masks, where a worker can make them."""

    extractor: BrainBertFeatureExtractor
    seed: int
    masking: Callable

    def __call__(self, batch: dict[str, Any], epoch: int) -> dict[str, Any]:
        masked = masked_batch(batch, self.extractor, seed=self.seed, epoch=epoch, masking=self.masking)
        return {**masked, "name": batch["name"]}


def share_batch(args: argparse.Namespace, processes: int) -> tuple[int, int]:
    """Return clips at a time on each process, and how many such batches each makes in a step."""
    if args.batch_size % processes:
        raise ValueError(f"--batch-size {args.batch_size} cannot be shared by {processes} processes: give a multiple.")
    each = args.batch_size // processes
    micro_batch = min(args.micro_batch or each, each)
    if each % micro_batch:
        raise ValueError(
            f"--micro-batch {micro_batch} does not divide the {each} clips of a step on each of {processes} processes."
        )
    return micro_batch, each // micro_batch
