"""What may be published is found publishable, and what may not is refused in a sentence with its remedy."""

import json
import os
import pickle
import shutil
import struct
import zlib
from pathlib import Path

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file, save_file

from brainbert.hub_upload.private_traces import Forbidden, is_pseudonym, machine_path, traces_in_text
from brainbert.hub_upload.publishable import problems_of
from brainbert.processing.corpora import export_shards
from brainbert.processing.corpora.shard import corpus_features

TINY = Path(__file__).parents[1] / "fixtures" / "tiny"
CODE = Path(__file__).parents[2] / "modeling_brainbert"
CARD = "---\nlicense: cc-by-4.0\n---\n\n# Tiny\n\nContact: lab@university.edu. Not a medical device.\n"


def write_model(folder: Path) -> Path:
    """The committed tiny model, modules of code and a card."""
    shutil.copytree(TINY, folder)
    (folder / "configuration_brainbert.py").write_text("from transformers import PreTrainedConfig\n")
    for name in ("modeling_brainbert.py", "pipeline_brainbert.py"):
        (folder / name).write_text("from .configuration_brainbert import PreTrainedConfig\n")
    config = json.loads((folder / "config.json").read_text())
    config |= {"auto_map": {"AutoModel": "modeling_brainbert.BrainBertModel"}}
    config |= {"custom_pipelines": {"feature-extraction": {"impl": "pipeline_brainbert.X", "pt": ["AutoModel"]}}}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "README.md").write_text(CARD)
    return folder


def clips(rows: int, first: int = 0, recording: str = "0123456789") -> datasets.Dataset:
    columns = {
        **{"recording": [recording] * rows, "subject": ["abcdef0123"] * rows, "session": [""] * rows},
        **{"contact": ["LA1"] * rows, "start": [64 * (first + row) for row in range(rows)]},
        **{"sampling_rate": [2048.0] * rows, "original_sampling_rate": [2000.0] * rows, "band_hz": [[0.1, 500]] * rows},
        **{"signal": np.ones((rows, 64), np.float32).tolist(), "scale": [1.0] * rows, "offset": [0.0] * rows},
    }
    return datasets.Dataset.from_dict(columns, features=corpus_features(64, "float32"))


def write_shards(folder: Path, recording: str = "0123456789") -> Path:
    train, validation = clips(6, recording=recording), clips(2, 100, recording)
    export_shards(train, validation, folder, corpora=[], split={"by": "time"}, shards=2, progress=False)
    card = folder / "README.md"
    card.write_text(card.read_text().replace("---\n", "---\nlicense: cc0-1.0\n", 1))
    return folder


def picture(*chunks: tuple[bytes, bytes]) -> bytes:
    """A PNG of one pixel with further chunks."""
    content = b"\x89PNG\r\n\x1a\n"
    header, pixels = struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0), zlib.compress(b"\0\0")
    for name, data in ((b"IHDR", header), *chunks, (b"IDAT", pixels), (b"IEND", b"")):
        content += struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
    return content


@pytest.fixture
def model(tmp_path) -> Path:
    return write_model(tmp_path / "model")


@pytest.fixture
def shards(tmp_path) -> Path:
    return write_shards(tmp_path / "shards")


def only_problem(folder: Path, kind="model", forbidden=None) -> str:
    problems = problems_of(folder, kind=kind, forbidden=forbidden)
    assert len(problems) == 1, problems
    return problems[0]


def test_a_model_with_our_code_and_a_licensed_card_may_be_published(model):
    for path in CODE.glob("*_brainbert.py"):
        shutil.copy(path, model)
    (model / "figures").mkdir()
    (model / "figures" / "curve.png").write_bytes(picture((b"tEXt", b"Software\0Matplotlib, https://matplotlib.org/")))
    (model / "training_record.json").write_text('{"settings": {"bins": "a/b"}, "shards": "data/train-00000.parquet"}')
    (model / ".eval_results").mkdir()
    (model / ".eval_results" / "speech.yaml").write_text("- value: 0.6\n  date: '2026-01-01'\n")
    assert problems_of(model, kind="model") == []


def test_exported_shards_with_a_licensed_card_may_be_published(shards):
    assert problems_of(shards, kind="dataset") == []


@pytest.mark.parametrize(
    ("metadata", "said"),
    [
        ("tags: [brainbert]", "no licence of the weights"),
        ("license: unknown", "no licence of the weights"),
        ("license: other", 'licence "other" needs license_name and license_link'),
        ("license: Creative Commons 4.0", "is no identifier: give one such as cc-by-4.0"),
        (
            "license: other\nlicense_name: lab\nlicense_link: TERMS.md",
            "license_link is TERMS.md: give an https address",
        ),
        ("license: [", "cannot be read"),
        ("- license", "cannot be read"),
        ("license: mit\npipeline_tag: text-generation", ""),
    ],
)
def test_the_card_must_say_a_licence_that_the_hub_knows_how_to_show(model, metadata, said):
    (model / "README.md").write_text(f"---\n{metadata}\n---\n\n# Tiny\n")
    if said:
        assert said in only_problem(model)
    else:
        assert problems_of(model, kind="model") == []


def test_a_folder_without_card_says_how_to_write_one(model):
    (model / "README.md").unlink()
    assert only_problem(model).endswith("write one with python -m brainbert.hub_upload.model_card.")


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("pytorch_model.bin", b"weights", "is a pickle, which can run code"),
        ("notes.md", pickle.dumps({"a": 1}), "notes.md is a pickle, which can run code"),
        ("weights.safetensors", b"PK\x03\x04 not a zip", "is an archive by its content"),
        ("notes.md", b"\x1f\x8b\x08", "is an archive by its content"),
        ("night1.edf", b"0       X X X X", "has the ending of a recording"),
        ("embeddings.parquet", b"PAR1", "does not belong in a model's folder"),
        (".DS_Store", b"\0", ".DS_Store is hidden"),
        (".git/config", b"", ".git is hidden"),
        (".model.1234.part", b"", "half-written"),
        ("checkpoints/step-1/model.safetensors", b"", "checkpoints is left over from working"),
        ("notes.md", b"\xff\xfe", "is not the UTF-8 text that its name says"),
        ("record.json", b'{"a": 1', "record.json is not JSON"),
        ("probe_brainbert.py", b"def f(:", "is not Python"),
        ("probe_brainbert.py", b"from .helpers_brainbert import x", "imports .helpers_brainbert, which is not here"),
        ("figure.png", b"GIF89a", "is not the picture that its name says"),
        ("figure.png", picture()[:-3], "is damaged (its last chunk is cut)"),
        ("figure.png", picture((b"eXIf", b"II*\0")), "carries EXIF"),
        ("figure.png", picture((b"tEXt", b"Source\0/home/jane/fig.svg")), "a path of a machine (/home/jane/fig.svg)"),
        ("figure.png", picture((b"zTXt", b"Source\0\0" + zlib.compress(b"/home/jane/x"))), "(/home/jane/x)"),
        ("figure.png", picture((b"iTXt", b"Source\0\0\0\0\0/home/jane/x")), "(/home/jane/x)"),
        ("figure.jpg", b"\xff\xd8\xff\xe1\0\x10Exif\0\0", "carries EXIF, XMP"),
        ("other.safetensors", b"\xff" * 16, "is not safetensors"),
    ],
)
def test_files_that_do_not_belong_are_named_with_the_reason(model, name, content, said):
    (model / name).parent.mkdir(parents=True, exist_ok=True)
    (model / name).write_bytes(content)
    assert said in only_problem(model)


def test_a_zip_with_a_pickle_is_one_under_any_name(model):
    torch.save({"weight": torch.ones(2)}, model / "record.json")
    assert "record.json is an archive with a pickle" in only_problem(model)


def test_links_are_named_and_not_followed(model, tmp_path):
    (tmp_path / "secret.txt").write_text("/home/jane/secret")
    (model / "notes.txt").symlink_to(tmp_path / "secret.txt")
    (model / "corpora").symlink_to(tmp_path)
    os.mkfifo(model / "pipe")  # opening it would wait for ever
    problems = problems_of(model, kind="model")
    assert [problem.split()[0] for problem in problems] == ["corpora", "notes.txt", "pipe"]
    assert "notes.txt is a link: put a copy of the file in its place." in problems


def test_weights_that_are_no_numbers_are_refused(model):
    weights = load_file(model / "model.safetensors")
    next(iter(weights.values())).view(-1)[3] = float("nan")
    save_file(weights, model / "model.safetensors")
    assert f"holds NaN or infinity in {next(iter(weights))}" in only_problem(model)


def test_other_than_fp32_must_be_said_in_the_card(model):
    save_file({"a": torch.ones(2, dtype=torch.bfloat16)}, model / "model.safetensors")
    assert "model.safetensors holds BF16, not fp32" in only_problem(model)
    (model / "README.md").write_text(CARD + "\nThe weights are bfloat16.\n")
    assert problems_of(model, kind="model") == []


def test_what_the_configuration_names_must_be_there(model):
    (model / "modeling_brainbert.py").unlink()
    config = json.loads((model / "config.json").read_text())
    config["custom_pipelines"]["feature-extraction"]["impl"] = "lab/other--pipeline.X"
    (model / "config.json").write_text(json.dumps(config))
    (model / "preprocessor_config.json").unlink()
    problems = problems_of(model, kind="model")
    assert "config.json names modeling_brainbert.BrainBertModel, whose file is not here" in problems[1]
    assert "takes lab/other--pipeline.X from another repository" in problems[2]
    assert problems[0] == "There is no preprocessor_config.json: save the feature extractor with save_pretrained."


def test_a_task_in_the_card_needs_its_pipeline(model):
    (model / "README.md").write_text(CARD.replace("---\n", "---\npipeline_tag: feature-extraction\n", 1))
    assert problems_of(model, kind="model") == []
    config = json.loads((model / "config.json").read_text())
    del config["custom_pipelines"]
    (model / "config.json").write_text(json.dumps(config))
    assert "config.json has no such custom pipeline" in only_problem(model)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("trained on /home/jane/corpus", "/home/jane/corpus"),
        ("`/Users/jane/x`", "/Users/jane/x"),
        ("/gpfs/lab/home/jane/x", "/gpfs/lab/home/jane/x"),
        ("/cm/shared/home/jane", "/cm/shared/home/jane"),
        ("(/mnt/data2/x)", "/mnt/data2/x"),
        ("see file:///etc/x", "file:///etc/x"),
        ("C:\\Users\\jane", "C:\\Users\\jane"),
        ("d:/lab/corpus", "d:/lab/corpus"),
        ("\\\\server\\share\\x", "\\\\server\\share"),
        ("https://example.org/data/x and https://example.org/home/x", None),
        ("data/train-*.parquet, shards/data/x, ../tmp/x, ./tmp/x", None),
        ("20/30 µV/mm, and/or, 1/f, training_record.json#/data/x", None),
        ("at 12:30, ratio a:b, key: value", None),
    ],
)
def test_paths_of_machines_are_told_from_addresses_and_relative_paths(text, found):
    assert machine_path(text, form="prose") == found


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"source": "/cluster9/lab/x"}, "a path of a machine (/cluster9/lab/x)"),
        ({"a": [{"b": "C:\\Users\\jane"}]}, "a path of a machine (C:\\Users\\jane)"),
        ({"subject": {"name": "Jane Doe"}}, "a person's detail (name: Jane Doe)"),
        ({"Patient-Name": "Doe^Jane"}, "a person's detail (Patient-Name: Doe^Jane)"),
        ({"birthday": 19700101}, "a person's detail (birthday: 19700101)"),
        ({"meas_date": [1551694953, 0]}, "a person's detail (meas_date: [1551694953, 0])"),
        ({"start": "2019-03-04"}, "a date (start: 2019-03-04)"),
        ({"log": "begun 2019-03-04T10:22:33"}, "a date with a clock time (2019-03-04T10:22:33)"),
        ({"log": "jane@hospital.org"}, "an e-mail address outside a contact line (jane@hospital.org)"),
        ({"read": "doe_jane_night1.edf"}, "the name of a recording's file (doe_jane_night1.edf)"),
    ],
)
def test_marks_of_persons_and_machines_in_a_record_are_refused(model, content, said):
    (model / "training_record.json").write_text(json.dumps(content))
    assert only_problem(model) == f"training_record.json gives away {said}: take it out."


@pytest.mark.parametrize(
    "content",
    [
        {"contacts": [{"name": "LA1"}], "subject": "21c587fd11", "patients": 3, "patient": 2, "birthday": None},
        {"release_date": "2026-01-01", "fingerprint": "20190304ab", "name": "Decoding", "device": "x86_64"},
        {"patient_name": "X", "hospital": "unknown", "source": "training_record.json#/clips/train"},
    ],
)
def test_what_only_looks_alike_is_not_refused(model, content):
    (model / "training_record.json").write_text(json.dumps(content))
    assert problems_of(model, kind="model") == []


def test_a_card_may_name_a_contact_but_no_patient(model):
    (model / "README.md").write_text(CARD + "\nDate of birth: 1970\n\njane@hospital.org saw them.\n")
    problems = problems_of(model, kind="model")
    assert [problem.split("gives away ")[1] for problem in problems] == [
        "a person's detail (Date of birth: 1970): take it out.",
        "an e-mail address outside a contact line (jane@hospital.org): take it out.",
    ]


def test_the_contact_that_the_card_gives_may_be_given_elsewhere(model):
    (model / "card_sources.json").write_text('{"shown": "lab@university.edu"}')
    assert problems_of(model, kind="model") == []


def test_metadata_of_weights_are_looked_at_too(model):
    save_file({"a": torch.ones(2)}, model / "model.safetensors", metadata={"source": "/home/jane/x.pth"})
    assert "a path of a machine (/home/jane/x.pth) in its metadata" in only_problem(model)


def test_forbidden_names_are_found_in_any_spelling_and_never_repeated(model, tmp_path):
    (tmp_path / "names.txt").write_text("# patients\nJosé Müller\n\nTS041\nDoe\n", encoding="utf-8")
    forbidden = Forbidden.read(tmp_path / "names.txt")
    (model / "notes.txt").write_text("What he does, TS0412 and undoe name nobody.")
    assert problems_of(model, kind="model", forbidden=forbidden) == []
    (model / "notes.txt").write_text("JOSE_MULLER, ts041")
    (model / "josemuller.json").write_text('{"ts041": [1]}')
    problems = problems_of(model, kind="model", forbidden=forbidden)
    assert [problem.split("line ")[1][0] for problem in problems] == ["2", "4", "2", "4"]
    assert not any(name in " ".join(problems).lower() for name in ("jose", "josé", "müller", "ts041"))


def test_a_corpus_to_work_on_is_not_published_but_its_export_is(tmp_path):
    (tmp_path / "state.json").write_text("{}")
    said = f"{tmp_path.name} is a corpus to work on: publish its export, python examples/export_corpus.py CORPUS"
    assert only_problem(tmp_path, "dataset").startswith(said)


def test_a_run_is_not_published_but_its_model_is(model, tmp_path):
    (tmp_path / "run.json").write_text("{}")
    assert only_problem(tmp_path).endswith("is the folder of a run: publish the folder model in it.")


def test_a_missing_shard_is_noticed(shards):
    (shards / "data" / "train-00001-of-00002.parquet").unlink()
    assert only_problem(shards, "dataset") == "Of 2 shards data/train-* 1 are not here: export the corpus again."


def test_shards_that_the_card_does_not_name_are_noticed(shards):
    shutil.copy(shards / "data" / "validation-00000-of-00001.parquet", shards / "data" / "test.parquet")
    assert "does not name the shard data/test.parquet" in only_problem(shards, "dataset")
    (shards / "README.md").write_text("---\nlicense: cc0-1.0\n---\n\n# Clips\n")
    assert "The card names no shards" in only_problem(shards, "dataset")


def test_the_columns_of_a_corpus_are_expected_of_every_shard(shards):
    path = shards / "data" / "validation-00000-of-00001.parquet"
    table = pq.read_table(path)
    pq.write_table(table.drop_columns("offset").append_column("age", pa.array([40, 40])), path)
    missing, other = problems_of(shards, kind="dataset")
    assert "lacks the columns offset of a corpus" in missing
    assert "has columns that no corpus has (age)" in other


def test_a_date_in_the_name_of_a_recording_is_refused(tmp_path):
    shards = write_shards(tmp_path / "shards", recording="night_20190304")
    assert "gives away a date (20190304): build the corpus again" in problems_of(shards, kind="dataset")[0]


def test_a_space_needs_its_program_and_its_sdk(tmp_path):
    (tmp_path / "README.md").write_text("---\nsdk: docker\napp_file: main.py\n---\n")
    assert problems_of(tmp_path, kind="space") == [
        "The card says no `sdk: gradio` in its metadata: add it, or the Hub runs nothing.",
        "There is no main.py: assemble the Space again.",
        "There is no requirements.txt: assemble the Space again.",
    ]
    (tmp_path / "README.md").write_text("---\nsdk: gradio\n---\n")
    (tmp_path / "app.py").write_text("import gradio\n")
    (tmp_path / "requirements.txt").write_text("torch\n")
    assert problems_of(tmp_path, kind="space") == []


def test_arrays_of_a_space_hold_no_objects(tmp_path):
    (tmp_path / "README.md").write_text("---\nsdk: gradio\n---\n")
    (tmp_path / "app.py").touch()
    (tmp_path / "requirements.txt").touch()
    np.savez(tmp_path / "sample.npz", voltage=np.zeros((2, 8)), names=np.array(["LA1", "LA2"]))
    assert problems_of(tmp_path, kind="space") == []
    np.save(tmp_path / "sample.npy", np.array([{}], dtype=object))
    assert "sample.npy holds Python objects, which are pickles" in only_problem(tmp_path, "space")


@pytest.mark.parametrize(
    ("listed", "text", "found"),
    [
        ("Smith", "smith1.edf", True),
        ("Smith", "Smith2023", True),
        ("Smith", "Smithsonian", False),
        ("Jane Doe", "Doe, Jane", True),
        ("Jane Doe", "JaneDoe_2", True),
        ("Müller", "Mueller", True),
        ("Müller", "muller", True),
        ("李", "李雷", True),
        ("17", "2017", False),
        ("17", "P17", True),
    ],
)
def test_a_listed_name_is_found_as_people_write_it(tmp_path, listed, text, found):
    (tmp_path / "names.txt").write_text(listed, encoding="utf-8")
    assert Forbidden.read(tmp_path / "names.txt").lines_in(text) == [1] * found


@pytest.mark.parametrize(("name", "is_ours"), [("0a1b2c3d4e", True), ("0101701234", False), ("4857773456", False)])
def test_ten_digits_are_a_number_of_somebody_and_no_pseudonym(name, is_ours):
    assert is_pseudonym(name) == is_ours


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("token hf_" + "a" * 34, "a token or key (hf_aaaaa…"),
        ("-----BEGIN RSA PRIVATE KEY-----", "a token or key"),
        ("saved to /oak/stanford/jdoe/x", "a path of a machine"),
        ("from s3://hospital-bucket/Smith", "a path of a machine"),
        ("date of birth: removed, MRN: not collected", None),
    ],
)
def test_secrets_and_paths_are_found_in_prose_and_a_card_may_say_what_was_removed(text, said):
    found = traces_in_text(text, form="prose", forbidden=Forbidden())
    assert (said is None and not found) or (said is not None and said in found[0])


def test_names_in_binary_files_are_found_too(model, tmp_path):
    (tmp_path / "names.txt").write_text("Jane Doe", encoding="utf-8")
    (model / "model.onnx").write_bytes(b"\x08\x0a" + b"Doe, Jane" + bytes(10))
    (model / "figure.jpg").write_bytes(b"\xff\xd8\xff\xfe\x00\x0fJane Doe")
    problems = problems_of(model, kind="model", forbidden=Forbidden.read(tmp_path / "names.txt"))
    assert sorted(problem.split()[0] for problem in problems) == ["figure.jpg", "model.onnx"]
