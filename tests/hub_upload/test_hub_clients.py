"""The Hub's own clients publish, load and stream what is ours, on a Hub on this machine.

Two child processes, each of which imports transformers once: one publishes with this package, one loads without it.
"""

import json
from hashlib import sha256
from pathlib import Path
from types import SimpleNamespace

import datasets
import numpy as np
import pytest
import torch
from omegaconf import OmegaConf

from brainbert.hub_upload.convert_checkpoint import convert
from brainbert.modeling_brainbert import BrainBertConfig, BrainBertFeatureExtractor, BrainBertForPreTraining
from brainbert.processing.corpora import export_shards
from brainbert.processing.corpora.shard import corpus_features, encode_signal

pytestmark = pytest.mark.slow  # two processes that import transformers

FIXTURES = Path(__file__).parents[1] / "fixtures"
SAMPLES = 2048  # of a clip

# argv: model folder, JSON to write. Publishes the model as "lab/pushed" and reads the data sets of the Hub.
PUBLISH = r"""
import json, sys, time
from pathlib import Path
import datasets
from brainbert.modeling_brainbert import BrainBertFeatureExtractor, BrainBertForPreTraining
from brainbert.processing.corpora import StreamedShards, commit_of, load_shards, shards_record

folder, out = sys.argv[1:]
for cls in (BrainBertForPreTraining, BrainBertFeatureExtractor):
    cls.from_pretrained(folder).push_to_hub("lab/pushed", private=True)
rows = datasets.Dataset.from_dict({"number": list(range(10))})
rows.push_to_hub("lab/rows", private=True, num_shards=2)
stream = datasets.load_dataset("lab/clips", split="train", streaming=True)
shards = {revision: StreamedShards("lab/clips", revision=revision) for revision in ("main", "v1")}

def refusal(call):
    try:
        call()
    except (ValueError, OSError) as error:
        return f"{type(error).__name__}: {error}"

time.sleep = lambda seconds: None  # clients wait for seconds before they try again
torn = StreamedShards("lab/torn")
Path(out).write_text(json.dumps({
    "torn": torn.read(0)["start"].to_pylist(),
    "gone": refusal(lambda: StreamedShards("lab/gone")),
    "numbers": datasets.load_dataset("lab/rows", split="train")["number"][:],
    "streamed numbers": [row["number"] for row in datasets.load_dataset("lab/rows", split="train", streaming=True)],
    "map-style": {name: part["start"][:] for name, part in datasets.load_dataset("lab/clips").items()},
    "streamed": [row["start"] for row in stream],
    "signal": next(iter(stream))["signal"],
    "shards": {name: [shards[name].read(n)["start"].to_pylist() for n in range(len(shards[name].group_rows))]
               for name in shards},
    "held out": load_shards("lab/clips", most=3)["start"][:],
    "record": shards_record("lab/clips")["rows"],
    "commits": [commit_of("lab/clips"), commit_of("lab/clips", revision="v1")],
    "no commit": refusal(lambda: commit_of("lab/nothing")),
    "no commit of that name": refusal(lambda: commit_of("lab/clips", revision="v9")),
    "no data set": refusal(lambda: StreamedShards("lab/nothing")),
    "no revision": refusal(lambda: StreamedShards("lab/clips", revision="v9")),
    "no split": refusal(lambda: StreamedShards("lab/clips", split="test")),
}))
"""

# argv: recorded arrays, sha of the first commit of "lab/original", arrays and JSON to write.
LOAD = r"""
import json, sys
from pathlib import Path
import numpy as np, torch, transformers
from transformers import AutoFeatureExtractor, AutoModel, AutoModelForPreTraining, pipeline

recorded, sha, arrays_out, out = sys.argv[1:]
torch.set_num_threads(1)
recorded = np.load(recorded)
waveform, padding = recorded["waveform"], torch.from_numpy(recorded["pad_mask"])
arrays, said = {}, {}
with torch.inference_mode():
    for name, repository, revision in (
        ("original", "lab/original", None), ("tag", "lab/original", "v0"), ("sha", "lab/original", sha),
        ("pushed", "lab/pushed", None),
    ):
        given = {"trust_remote_code": True} | ({"revision": revision} if revision else {})
        extractor = AutoFeatureExtractor.from_pretrained(repository, **given)
        batch = extractor(waveform, sampling_rate=2048)
        arrays[f"{name}/input"] = batch["input_values"]
        batch["attention_mask"][padding] = 0
        for auto_class, output in ((AutoModel, "last_hidden_state"), (AutoModelForPreTraining, "logits")):
            model = auto_class.from_pretrained(repository, **given)
            arrays[f"{name}/{output}"] = model(**batch)[output]
            said[f"{name}/{output}"] = [type(model).__name__, type(model).__module__.split(".")[0]]
    pipe = pipeline("feature-extraction", model="lab/original", trust_remote_code=True)
    arrays["pipeline"] = torch.tensor(pipe(waveform, sampling_rate=2048))
    model = AutoModel.from_pretrained("lab/original", trust_remote_code=True)
    arrays["pooled"] = model(**extractor(waveform, sampling_rate=2048)).pooler_output
for name, repository, given in (
    ("no repository", "lab/nothing", {}), ("no revision", "lab/original", {"revision": "v9"}),
    ("bad token", "lab/original", {"token": "hf_bad"}), ("no token", "lab/original", {"token": False}),
):
    try:
        AutoModel.from_pretrained(repository, trust_remote_code=True, cache_dir="empty", **given)
    except Exception as error:
        said[name] = f"{type(error).__name__}: {error}"
said["brainbert"] = sorted(name for name, module in sys.modules.items() if module and name.split(".")[0] == "brainbert")
np.savez(arrays_out, **{name: array.numpy() for name, array in arrays.items()})
Path(out).write_text(json.dumps(said))
"""


def converted(folder: Path, recorded: dict[str, np.ndarray]) -> Path:
    """The authors' recorded weights as their code saves them, converted to a folder for the Hub."""
    weights = {name[7:]: torch.from_numpy(array) for name, array in recorded.items() if name.startswith("weight/")}
    settings = {"name": "masked_tf_model", "nhead": 4}
    checkpoint = folder.with_name("stft_tiny.pth")
    torch.save({"model": weights, "optim": {}, "scheduler": None, "model_cfg": OmegaConf.create(settings)}, checkpoint)
    convert(checkpoint, folder)
    return folder


def clips(rows: int, first: int) -> datasets.Dataset:
    """Rows of a corpus, numbered by their start; clip n has a voltage of about n."""
    numbers = np.arange(first, first + rows)
    voltage = (numbers[:, None] + np.linspace(-0.4, 0.4, SAMPLES)).astype(np.float32)
    signal, scale, offset, _ = encode_signal(voltage, "int16")
    same = {"recording": "r", "subject": "s", "session": "", "contact": "A1", "sampling_rate": 2048.0}
    same |= {"original_sampling_rate": 512.0, "band_hz": [0.5, 240.0]}
    columns = {name: [value] * rows for name, value in same.items()}
    columns |= {"start": numbers, "signal": signal, "scale": scale, "offset": offset}
    return datasets.Dataset.from_dict(columns, features=corpus_features(SAMPLES, "int16"))


@pytest.fixture(scope="module")
def recorded() -> dict[str, np.ndarray]:
    with np.load(FIXTURES / "original_tiny.npz") as arrays:
        return dict(arrays)


@pytest.fixture(scope="module")
def published(hub, api, recorded, run_client, tmp_path_factory) -> SimpleNamespace:
    """What the two clients reported, after "lab/original", its untrained first version "v0", and "lab/clips"."""
    root = tmp_path_factory.mktemp("published")
    folder = converted(root / "model", recorded)
    torch.manual_seed(0)
    BrainBertForPreTraining(BrainBertConfig.from_pretrained(folder)).save_pretrained(root / "untrained")
    BrainBertFeatureExtractor().save_pretrained(root / "untrained")
    api.create_repo("lab/original", private=True)
    first = api.upload_folder(repo_id="lab/original", folder_path=root / "untrained")
    api.create_tag("lab/original", tag="v0")
    api.upload_folder(repo_id="lab/original", folder_path=folder)

    # 250 rows in three shards: row groups of 83 or 84.
    export_shards(clips(250, 0), clips(5, 1000), root / "clips", corpora=[], split={}, shards=3, progress=False)
    api.create_repo("lab/clips", repo_type="dataset", private=True)
    api.upload_folder(repo_id="lab/clips", repo_type="dataset", folder_path=root / "clips")
    api.create_tag("lab/clips", repo_type="dataset", tag="v1")

    for number, (name, times) in enumerate((("torn", 2), ("gone", 1000))):
        export_shards(
            clips(3, 2000 + 10 * number),
            clips(1, 2009 + 10 * number),
            root / name,
            corpora=[],
            split={},
            progress=False,
        )
        api.create_repo(f"lab/{name}", repo_type="dataset")
        api.upload_folder(repo_id=f"lab/{name}", repo_type="dataset", folder_path=root / name)
        shard = sha256((root / name / "data" / "train-00000-of-00001.parquet").read_bytes()).hexdigest()
        hub.drop_connection("GET", f"/stored/{shard}", after_bytes=1000, times=times)

    ended = run_client(PUBLISH, folder, root / "publish.json")
    assert ended.returncode == 0, ended.stderr
    ended = run_client(
        LOAD, FIXTURES / "original_tiny.npz", first.oid, root / "loaded.npz", root / "loaded.json", without_package=True
    )
    assert ended.returncode == 0, ended.stderr
    with np.load(root / "loaded.npz") as arrays:
        return SimpleNamespace(
            root=root,
            folder=folder,
            by_package=json.loads((root / "publish.json").read_text()),
            arrays=dict(arrays),
            said=json.loads((root / "loaded.json").read_text()),
        )


def test_the_converted_original_gives_the_recorded_numbers_by_its_repository_id_without_this_package(
    published, recorded
):
    arrays, valid = published.arrays, ~recorded["pad_mask"]
    np.testing.assert_allclose(arrays["original/input"], recorded["stft"], atol=1e-5, rtol=0)
    hidden, logits = arrays["original/last_hidden_state"], arrays["original/logits"]
    np.testing.assert_allclose(hidden[valid], recorded["hidden"][valid], atol=1e-5, rtol=0)
    np.testing.assert_allclose(logits[valid], recorded["prediction"][valid], atol=1e-5, rtol=0)
    assert published.said["original/last_hidden_state"] == ["BrainBertModel", "transformers_modules"]
    assert published.said["original/logits"] == ["BrainBertForPreTraining", "transformers_modules"]
    assert published.said["brainbert"] == []


def test_a_tag_and_a_commit_give_the_version_that_they_name(published, recorded):
    model = BrainBertForPreTraining.from_pretrained(published.root / "untrained").eval()
    valid = torch.from_numpy(~recorded["pad_mask"])
    with torch.inference_mode():
        logits = model(torch.from_numpy(published.arrays["tag/input"]), attention_mask=valid.long()).logits
    for name in ("tag", "sha"):
        np.testing.assert_allclose(published.arrays[f"{name}/logits"], logits, atol=1e-5, rtol=0)
    assert np.abs(published.arrays["original/logits"] - published.arrays["tag/logits"]).max() > 0.1


def test_push_to_hub_publishes_model_and_feature_extractor_with_their_code(hub, published):
    files = hub.repositories["model", "lab/pushed"].files
    wanted = {path.name for path in published.folder.iterdir()} - {"conversion_report.json"}
    assert wanted <= set(files)
    assert hub.repositories["model", "lab/pushed"].private
    for name in ("input", "last_hidden_state", "logits"):
        np.testing.assert_array_equal(published.arrays[f"pushed/{name}"], published.arrays[f"original/{name}"])


def test_the_pipeline_of_a_repository_gives_the_models_embeddings(published):
    np.testing.assert_allclose(published.arrays["pipeline"], published.arrays["pooled"], atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("case", "message"),
    [
        ("no repository", "OSError: lab/nothing is not a local folder and is not a valid model identifier"),
        ("no revision", "OSError: v9 is not a valid git identifier"),
        ("bad token", "Invalid credentials in Authorization header"),
        ("no token", "OSError: lab/original is not a local folder and is not a valid model identifier"),
    ],
)
def test_transformers_says_why_a_repository_cannot_be_loaded(published, case, message):
    assert message in published.said[case]


def test_load_dataset_reads_a_pushed_data_set_by_its_id(published):
    assert published.by_package["numbers"] == list(range(10))
    assert published.by_package["streamed numbers"] == list(range(10))


def test_load_dataset_reads_a_corpus_by_its_id(published):
    parts = published.by_package["map-style"]
    assert sorted(parts["train"]) == list(range(250))
    assert sorted(parts["validation"]) == list(range(1000, 1005))
    assert published.by_package["streamed"] == parts["train"]
    assert len(published.by_package["signal"]) == SAMPLES


@pytest.mark.parametrize("revision", ["main", "v1"])
def test_our_loader_streams_a_corpus_by_its_id_and_revision(published, revision):
    groups = published.by_package["shards"][revision]
    assert [len(group) for group in groups] == [84, 83, 83]
    assert [start for group in groups for start in group] == published.by_package["map-style"]["train"]


def test_a_branch_and_a_tag_stand_for_commits(published, api):
    found = api.dataset_info("lab/clips").sha
    assert published.by_package["commits"] == [found, found]


def test_held_out_clips_and_the_record_come_by_the_id_too(published):
    assert published.by_package["held out"] == published.by_package["map-style"]["validation"][:3]
    assert published.by_package["record"] == {"train": 250, "validation": 5}


@pytest.mark.parametrize(
    ("case", "message"),
    [
        ("no data set", "Dataset 'lab/nothing' doesn't exist on the Hub or cannot be accessed."),
        ("no revision", "Revision 'v9' doesn't exist for dataset 'lab/clips' on the Hub."),
        ("no commit", "There is no folder lab/nothing, and no data set of this name on the Hub that you may read"),
        ("no commit of that name", "The data set lab/clips has no revision 'v9': give a commit, tag or branch."),
        ("no split", "lab/clips has no split test: it has train, validation."),
    ],
)
def test_our_loader_says_why_a_corpus_cannot_be_streamed(published, case, message):
    assert message in published.by_package[case]


def test_a_stream_that_is_cut_off_goes_on(published):
    assert sorted(published.by_package["torn"]) == [2000, 2001, 2002]


def test_a_stream_that_is_cut_off_for_good_ends_in_a_sentence(published):
    assert published.by_package["gone"].startswith(
        "ValueError: The shard train-00000-of-00001.parquet of lab/gone cannot be read ("
    )
    assert "): if the connection was lost, go on later; if the shard" in published.by_package["gone"]
