"""What pretraining costs: masks, the input pipeline, a training step, and all of it together. `benchmark.py` has more.

Each function returns rows for `as_text`, of contenders that took turns.
"""

import argparse
import gc
import itertools
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow as pa
import torch
from accelerate import Accelerator
from accelerate.utils import send_to_device
from datasets.arrow_writer import ArrowWriter
from generated_clips import CLIP_SAMPLES, RATE, generate_clips
from measurement import Contender, CpuCounted, alternate, summarise
from other_pretraining import (
    ADAPTIVE,
    STATIC,
    NpyClips,
    Original,
    adaptive_by_loop,
    in_workers,
    load_original,
    static_by_loop,
    write_manifest,
)

from brainbert.hub_upload.convert_checkpoint import convert_state_dict
from brainbert.modeling_brainbert import BrainBertConfig, BrainBertFeatureExtractor, BrainBertForPreTraining
from brainbert.processing.corpora.shard import corpus_features
from brainbert.processing.training import (
    CorpusLoader,
    Lamb,
    accumulate_gradients,
    mask_adaptive,
    mask_seeds,
    mask_static,
    masked_batch,
)

Step = Callable[[dict[str, torch.Tensor]], Any]

STATIC_FRAMES, ADAPTIVE_FRAMES = 186, 195  # of 5 s: STFT and superlets
LEARNING_RATE, CLIP_GRADIENT = 1e-4, 1.0  # the original's
ORIGINAL_WORKERS = 2
PRODUCTS = 10  # in a call, so that launching them takes no time to speak of


def measure_pretraining(args: argparse.Namespace) -> list[dict]:
    """Return the rows of the parts asked for."""
    if args.clips % max(args.batch) or args.clips < args.steps * args.step_batch:
        raise ValueError(
            f"--clips {args.clips} must be a multiple of {max(args.batch)}, the largest --batch, and make up --steps "
            f"batches of --step-batch: {args.steps} of {args.step_batch} clips."
        )
    original = load_original(args.original) if args.original else None
    torch.manual_seed(args.seed)
    parts = {"masks": measure_masks, "input": measure_input, "step": measure_step, "together": measure_together}
    rows = []
    for part in args.part:
        rows += parts[part](args, original)
        gc.collect()  # models and workers of the part before
    return rows


def measure_masks(args: argparse.Namespace, original: Original | None) -> list[dict]:
    """Return the rows of static and of adaptive masks for each batch size; loops work on the CPU."""
    results = []
    for name, ours, by_loop, settings, frames in (
        ("static", mask_static, static_by_loop, STATIC, STATIC_FRAMES),
        ("adaptive", mask_adaptive, adaptive_by_loop, ADAPTIVE, ADAPTIVE_FRAMES),
    ):
        for batch in args.batch:
            images = torch.randn(batch, frames, 40, generator=torch.Generator().manual_seed(args.seed))
            on_device, valid = images.to(args.device), torch.ones(batch, frames, dtype=torch.long, device=args.device)
            rows, rng = torch.arange(batch, device=args.device), random.Random(args.seed)

            def call_ours(ours=ours, image=on_device, valid=valid, rows=rows) -> object:
                return ours(image, valid, seeds=mask_seeds(rows, seed=args.seed, epoch=0))

            contenders = {
                "ours": Contender(call_ours, batch),
                "NumPy, clip by clip": Contender(
                    lambda by_loop=by_loop, images=images, rng=rng: [by_loop(image, rng) for image in images.numpy()],
                    batch,
                ),
            }
            if original:
                contenders["original, clip by clip"] = Contender(
                    lambda images=images, settings=settings: [original.mask(image, settings) for image in images],
                    batch,
                )
            calls = {who: each.call for who, each in contenders.items()}
            seconds = alternate(calls, rounds=args.rounds, device=args.device)
            task = {"task": f"{name} masks, a clip of 5 s", "batch": batch}
            results += [{**task, **row} for row in summarise(contenders, seconds)]
    return results


def measure_input(args: argparse.Namespace, original: Original | None) -> list[dict]:
    """Return the rows of an epoch from stored voltage to masked batches on the device, with the CPU time they take."""
    batch = max(args.batch)
    with tempfile.TemporaryDirectory() as folder:
        clips = Path(folder)
        corpus, files = write_clips(clips, args.clips, seed=args.seed)
        load = prepared_batches(corpus, args, batch_size=batch)
        calls: dict[str, Callable[[], object]] = {"ours": lambda: consume(load())}
        loaders = {f"SciPy and NumPy, {ORIGINAL_WORKERS} workers": (NpyClips(files), {})}
        if original:
            write_manifest(clips, files, samples=CLIP_SAMPLES)
            loaders[f"original, {ORIGINAL_WORKERS} workers"] = (
                original.dataset(clips),
                {"collate_fn": original.collate},
            )
        for who, (dataset, how) in loaders.items():
            loader = in_workers(dataset, batch_size=batch, workers=ORIGINAL_WORKERS, **how)
            calls[who] = lambda loader=loader: consume(
                send_to_device(found, args.device, non_blocking=True) for found in loader
            )
        counted = {who: CpuCounted(call) for who, call in calls.items()}
        contenders = {who: Contender(call, args.clips) for who, call in counted.items()}
        seconds = alternate(counted, rounds=args.rounds, device=args.device)
    rows = summarise(contenders, seconds)
    for row in rows:
        row["median_cpu_s"] = statistics.median(counted[row["contender"]].seconds[2:]) / args.clips  # after warming up
        row["cpu_ratio"] = row["median_cpu_s"] / rows[0]["median_cpu_s"]
    return [{"task": "from stored voltage to masked batch, a clip of 5 s", "batch": batch, **row} for row in rows]


def measure_step(args: argparse.Namespace, original: Original | None) -> list[dict]:
    """Return the rows of a training step on one batch; "difference" is that of the losses with equal weights."""
    config = step_config(args.preset)
    voltage = torch.from_numpy(generate_clips(args.step_batch, seed=args.seed).astype(np.float32)).to(args.device)
    stored = {"voltage": voltage, "row": torch.arange(args.step_batch, device=args.device)}
    batch = masked_batch(stored, BrainBertFeatureExtractor(), seed=args.seed, epoch=0)
    model, step = our_step(config, args, compile=args.compile)
    contenders = {"ours": Contender(lambda: step(batch), args.step_batch)}
    if original:
        theirs = original.model(config).to(args.device)
        model.load_state_dict(convert_state_dict(theirs.state_dict()))
        their_batch = {
            "masked_input": batch["input_values"],
            "target": batch["labels"],
            "mask_label": batch["mask"],
            "attn_mask": ~batch["attention_mask"].bool(),
            "wavs": list(voltage.cpu()),
        }

        def their_loss() -> torch.Tensor:
            with torch.autocast(args.device, dtype=torch.bfloat16, enabled=args.bf16):
                return original.loss(theirs, their_batch, args.device)

        model.eval(), theirs.eval()
        with torch.no_grad():
            difference = float((model(**batch).loss - their_loss()).abs())
        model.train(), theirs.train()
        optimizer = original.optimizer(theirs, LEARNING_RATE)

        def their_step() -> None:
            their_loss().backward()
            torch.nn.utils.clip_grad_norm_(theirs.parameters(), CLIP_GRADIENT).item()
            optimizer.step()
            optimizer.zero_grad()

        contenders["original"] = Contender(their_step, args.step_batch, difference)
    product, rate = step_product(config, args)
    calls = {who: each.call for who, each in contenders.items()}
    seconds = alternate({**calls, "product": product}, rounds=args.rounds, device=args.device)
    rows = summarise(contenders, seconds)
    return with_share_of_product(rows, config, model, rate(seconds), f"training step, {args.preset}", args)


def measure_together(args: argparse.Namespace, original: Original | None) -> list[dict]:
    """Return the rows of the loader with masks, of the step, and of both as they run one after the other."""
    config = step_config(args.preset)
    model, step = our_step(config, args, compile=args.compile)
    waited: list[float] = []  # share of each turn that the process spent on getting batches
    with tempfile.TemporaryDirectory() as folder:
        corpus, _ = write_clips(Path(folder), args.clips, seed=args.seed)
        load = prepared_batches(corpus, args, batch_size=args.step_batch, num_workers=args.num_workers)
        (same,) = itertools.islice(load(), 1)

        def together() -> None:
            started, waiting = time.perf_counter(), 0.0
            batches = itertools.islice(load(), args.steps)
            for _ in range(args.steps):
                asked = time.perf_counter()
                batch = next(batches)
                waiting += time.perf_counter() - asked
                step(batch)
            waited.append(waiting / (time.perf_counter() - started))

        clips = args.steps * args.step_batch
        contenders = {
            "voltage to optimiser step": Contender(together, clips),
            "step alone": Contender(lambda: [step(same) for _ in range(args.steps)], clips),
            "voltage to masked batch": Contender(lambda: consume(itertools.islice(load(), args.steps)), clips),
        }
        together()  # compiles, makes the optimiser's state
        peak = {}
        if args.device == "cuda":
            torch.cuda.reset_peak_memory_stats()
            together()
            peak["peak_gigabytes"] = torch.cuda.max_memory_allocated() / 1e9
        product, rate = step_product(config, args)
        calls = {who: each.call for who, each in contenders.items()}
        waited.clear()
        seconds = alternate({**calls, "product": product}, rounds=args.rounds, device=args.device)
        rows = summarise(contenders, seconds)
        rows[0] |= {"percent_waiting": 100 * statistics.median(waited[2:]), **peak}
    task = f"pretraining, {args.preset}, loader with {args.num_workers or 'no'} workers"
    timed = with_share_of_product(rows[:2], config, model, rate(seconds), task, args)
    return [*timed, {**rows[2], "task": task, "batch": args.step_batch}]


def with_share_of_product(
    rows: list[dict],
    config: BrainBertConfig,
    model: torch.nn.Module,
    product_rate: float,
    task: str,
    args: argparse.Namespace,
) -> list[dict]:
    """Return the rows with their operations a second, and that as a share of the product's."""
    parameters = sum(parameter.numel() for parameter in model.parameters())
    operations = count_step(config, parameters, STATIC_FRAMES)
    note = (
        f"{task}, batch {args.step_batch}: {operations / 1e9:.3g} billion operations a clip; a "
        f"{'bfloat16' if args.bf16 else 'float32'} product of {args.step_batch * STATIC_FRAMES} × {config.hidden_size} "
        f"and {config.hidden_size} × {config.intermediate_size} runs at {product_rate / 1e9:,.4g} GFLOP/s."
    )
    return [
        {
            "task": task,
            "batch": args.step_batch,
            **row,
            "percent_of_product": 100 * operations / row["median_s"] / product_rate,
            "operations": operations,
            "operations/s": operations / row["median_s"],
            "product operations/s": product_rate,
            "note": note,
        }
        for row in rows
    ]


def count_step(config: BrainBertConfig, parameters: int, frames: int) -> int:
    """Return the operations of a training step on a clip: the formula in benchmark.py."""
    attention = 12 * config.num_hidden_layers * config.hidden_size * frames**2
    return 6 * parameters * frames + attention


def step_product(
    config: BrainBertConfig, args: argparse.Namespace
) -> tuple[Callable[[], object], Callable[[dict[str, list[float]]], float]]:
    """Return the step's largest matrix product, to alternate with, and what turns its seconds into operations/s."""
    dtype = torch.bfloat16 if args.bf16 else torch.float32
    rows, inner, columns = args.step_batch * STATIC_FRAMES, config.hidden_size, config.intermediate_size
    left = torch.randn(rows, inner, device=args.device).to(dtype)
    right = torch.randn(inner, columns, device=args.device).to(dtype)
    out = torch.empty(rows, columns, device=args.device, dtype=dtype)

    def call() -> None:
        for _ in range(PRODUCTS):
            torch.mm(left, right, out=out)

    return call, lambda seconds: PRODUCTS * 2 * rows * inner * columns / statistics.median(seconds["product"])


def step_config(preset: str) -> BrainBertConfig:
    """Return the configuration of a preset with the original's dropout, which the tiny one goes without."""
    return BrainBertConfig.from_preset(preset, hidden_dropout_prob=0.1, attention_probs_dropout_prob=0.1)


def our_step(
    config: BrainBertConfig, args: argparse.Namespace, *, compile: bool
) -> tuple[BrainBertForPreTraining, Step]:
    """Return a model and the step that pretrain.py makes with it, as it makes it."""
    accelerator = Accelerator(
        cpu=args.device == "cpu",
        mixed_precision="bf16" if args.bf16 else "no",
        dynamo_backend="inductor" if compile else None,
    )
    model = BrainBertForPreTraining(config)
    prepared, optimizer = accelerator.prepare(model, Lamb(model.parameters(), LEARNING_RATE))
    weighing = {"content_weight": config.content_weight, "content_threshold": config.content_threshold}

    def step(batch: dict[str, torch.Tensor]) -> None:
        sums = accumulate_gradients(accelerator, prepared, [batch], **weighing)
        norm = accelerator.clip_grad_norm_(prepared.parameters(), CLIP_GRADIENT)
        torch.stack((*sums, norm)).tolist()  # the device is waited for here, and nowhere else
        optimizer.step()
        optimizer.zero_grad()

    return model.train(), step


def prepared_batches(
    corpus: datasets.Dataset, args: argparse.Namespace, *, batch_size: int, num_workers: int = 0
) -> Callable[[], Iterator[dict[str, torch.Tensor]]]:
    """Return a function that begins an epoch of masked batches on the device, as pretrain.py makes them."""
    loader = CorpusLoader(corpus, batch_size=batch_size, seed=args.seed, num_workers=num_workers)
    extractor = BrainBertFeatureExtractor()

    def load() -> Iterator[dict[str, torch.Tensor]]:
        for batch in loader.batches(0):
            yield masked_batch(
                send_to_device(batch, args.device, non_blocking=True), extractor, seed=args.seed, epoch=0
            )

    return load


def write_clips(folder: Path, count: int, *, seed: int) -> tuple[datasets.Dataset, list[Path]]:
    """Write generated clips to a corpus, in one Arrow file as build_corpus does, and to one .npy file each."""
    features = corpus_features(CLIP_SAMPLES, "float32")
    writer = ArrowWriter(path=str(folder / "clips.arrow"), features=features)
    files = []
    for first in range(0, count, 256):
        clips = generate_clips(min(256, count - first), seed=seed + first).astype(np.float32)
        rows = len(clips)
        columns: dict[str, Any] = {name: ["generated"] * rows for name in ("recording", "subject", "session")}
        columns |= {"contact": ["A1"] * rows, "start": CLIP_SAMPLES * (first + np.arange(rows))}
        columns |= {name: [float(RATE)] * rows for name in ("sampling_rate", "original_sampling_rate")}
        columns |= {"band_hz": [[np.nan, np.nan]] * rows, "scale": [1.0] * rows, "offset": [0.0] * rows}
        columns["signal"] = pa.FixedSizeListArray.from_arrays(pa.array(clips.reshape(-1)), CLIP_SAMPLES)
        writer.write_table(pa.table({field.name: columns[field.name] for field in features.arrow_schema}))
        for clip in clips:
            files.append(folder / f"{len(files):06d}.npy")
            np.save(files[-1], clip)
    writer.finalize()
    return datasets.Dataset.from_file(str(folder / "clips.arrow")), files


def consume(batches: Iterable[object]) -> None:
    for _ in batches:
        pass
