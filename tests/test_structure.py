"""The folders import each other in one direction, and the wheel holds one package."""

import ast
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

# Folder → what its files may import besides the standard library and their own folder. huggingface_hub comes with
# transformers, and its @strict makes the configuration.
ALLOWED = {
    "modeling_brainbert": {"torch", "numpy", "transformers", "huggingface_hub"},
    "processing": {
        "torch", "numpy", "transformers", "huggingface_hub", "datasets", "pyarrow", "filelock", "scipy", "mne",
        "mne_bids", "h5py", "tqdm", "matplotlib", "accelerate", "safetensors", "sklearn", "skdim", "joblib", "jinja2",
        "peft", "threadpoolctl",
    },
    "hub_upload": {
        "torch", "numpy", "transformers", "huggingface_hub", "brainbert.modeling_brainbert", "brainbert.processing",
        "safetensors", "jinja2", "markupsafe", "pyarrow", "yaml", "matplotlib", "anyio", "starlette", "uvicorn",
        "gradio",
    },
}  # fmt: skip


def imports_of(path: Path) -> list[tuple[int, str]]:
    """(level of a relative import, module) of every import in a file."""
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found += [(0, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            found.append((node.level, node.module or ""))
    return found


@pytest.mark.parametrize("folder", ALLOWED)
def test_imports_go_in_the_allowed_direction(folder):
    for path in sorted((ROOT / folder).rglob("*.py")):
        depth = len(path.relative_to(ROOT / folder).parts)  # a relative import this deep or deeper leaves the folder
        for level, module in imports_of(path):
            where = f"{path.relative_to(ROOT)} imports {'.' * level}{module}"
            assert level <= depth, where
            if level == 0 and module.split(".")[0] not in sys.stdlib_module_names:
                assert any(module == name or module.startswith(f"{name}.") for name in ALLOWED[folder]), where


def test_what_ships_to_the_hub_is_flat_and_names_its_siblings():
    folder = ROOT / "modeling_brainbert"
    assert not [path.name for path in folder.iterdir() if path.is_dir() and path.name != "__pycache__"]
    for path in folder.glob("*.py"):
        for level, module in imports_of(path):
            if level:  # `from . import x` and `from .a.b import x` are not copied by save_pretrained
                assert level == 1, path
                assert (folder / f"{module}.py").is_file(), f"{path.name} imports .{module}"


def test_importing_the_model_needs_torch_numpy_and_transformers_only():
    absent = ("scipy", "mne", "mne_bids", "datasets", "accelerate", "matplotlib", "pandas", "pyarrow")
    # None in sys.modules makes a module look as if it were not installed.
    program = f"import sys; sys.modules.update(dict.fromkeys({absent})); import brainbert.modeling_brainbert"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


def test_every_package_is_in_the_wheel_and_nothing_else(tmp_path):
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", tmp_path, ROOT],
        check=True,
        capture_output=True,
    )
    (wheel,) = tmp_path.glob("*.whl")
    names = [name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name]
    assert all(name.startswith("brainbert/") for name in names)
    assert "brainbert/__init__.py" not in names
    expected = {
        f"brainbert/{path.relative_to(ROOT)}"
        for folder in ALLOWED
        for path in (ROOT / folder).rglob("*.py")
        if "__pycache__" not in path.parts
    }
    assert {name for name in names if name.endswith(".py")} == expected
