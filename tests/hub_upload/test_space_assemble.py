"""The folder of a Space."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

from brainbert.hub_upload.space.assemble import assemble

FIXTURE = Path(__file__).parents[1] / "fixtures" / "tiny"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return assemble(tmp_path_factory.mktemp("space") / "out", model="lab/brainbert-tiny", revision="v1")


def test_the_card_has_the_metadata_that_the_hub_needs(folder):
    text = (folder / "README.md").read_text(encoding="utf-8")
    metadata = yaml.safe_load(text.split("---")[1])
    assert metadata["sdk"] == "gradio"
    assert (folder / metadata["app_file"]).is_file()
    assert metadata["models"] == ["lab/brainbert-tiny"]
    assert metadata["license"] == "apache-2.0"
    assert len(metadata["short_description"]) <= 60  # the Hub refuses a longer one
    assert "Not a medical device" in text


def test_requirements_are_pinned_to_what_is_installed_and_hold_what_is_imported(folder):
    lines = [line for line in (folder / "requirements.txt").read_text().splitlines() if line[0] not in "#-"]
    pinned = {Requirement(line).name: str(Requirement(line).specifier) for line in lines}
    assert {"gradio", "torch", "transformers", "numpy", "mne", "scipy", "matplotlib"} <= set(pinned)
    assert not {"datasets", "accelerate", "peft", "brainbert"} & set(pinned)
    assert all(version.startswith("==") for version in pinned.values())


def test_the_namespace_has_no_init_and_nothing_that_is_not_needed(folder):
    assert not (folder / "brainbert" / "__init__.py").exists()
    names = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert "brainbert/hub_upload/space/style.css.j2" in names
    assert not [name for name in names if "__pycache__" in name or "assemble" in name or "/training/" in name]


# Runs where no distribution of ours can be found. argv: the folder, a model.
ELSEWHERE = """
import importlib.metadata, sys
folder, model = sys.argv[1:]
sys.path.insert(0, folder)
sys.meta_path = [finder for finder in sys.meta_path if "editable" not in repr(finder).lower()]
installed = importlib.metadata.version

def version(name):
    if name == "brainbert":
        raise importlib.metadata.PackageNotFoundError(name)
    return installed(name)

importlib.metadata.version = version
from brainbert.hub_upload.space import actions, encoder, session

page = actions.Actions(encoder.load_encoder(model), session.Sessions())
visitor = page.take_sample(None, 50, "laplacian")
assert "<svg" in page.draw(visitor, "A4", 0.0)[0]
ours = [module.__file__ for name, module in sys.modules.items() if name.startswith("brainbert.")]
assert len(ours) > 10 and all(file.startswith(folder) for file in ours), ours
"""


@pytest.mark.slow  # a process that imports transformers
def test_the_copy_works_where_the_distribution_is_not_installed(folder, tmp_path):
    result = subprocess.run(
        [sys.executable, "-c", ELSEWHERE, str(folder), str(FIXTURE)],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        timeout=120,
    )
    assert result.returncode == 0, result.stderr[-3000:]


def test_the_program_of_the_space_names_the_model_and_nothing_else(folder):
    tree = ast.parse((folder / "app.py").read_text())
    call = next(node for node in ast.walk(tree) if isinstance(node, ast.Call))
    assert ast.literal_eval(call.args[0]) == "lab/brainbert-tiny"
    assert {word.arg: ast.literal_eval(word.value) for word in call.keywords} == {"revision": "v1", "port": None}


@pytest.mark.parametrize("model", ["tiny", "../model", "/models/tiny", "a/b/c", "lab/x\nmodels: y"])
def test_a_model_that_is_no_id_of_the_hub_is_refused(tmp_path, model):
    with pytest.raises(ValueError, match="give its id on the Hub"):
        assemble(tmp_path / "out", model=model)


def test_a_folder_that_is_there_is_left_alone(tmp_path):
    with pytest.raises(FileExistsError, match="choose a folder that does not"):
        assemble(tmp_path, model="lab/model")
