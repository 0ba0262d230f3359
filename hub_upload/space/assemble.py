"""Write the folder of a Space for a model: card, program, requirements and a copy of the code that it needs.

    python -m brainbert.hub_upload.space.assemble OUT --model user/name

`python -m brainbert.hub_upload.push OUT user/space --kind space` publishes it.
"""

import argparse
import ast
import platform
import re
import shutil
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from brainbert.processing.atomic import written_whole
from brainbert.processing.program import HelpFormatter, run

from . import child, preparation, uploads

# What the page imports, and no more: the distribution is on no package index, so a copy goes along.
COPIED = (
    "modeling_brainbert",
    "processing/__init__.py",
    "processing/program.py",
    "processing/recordings",
    "hub_upload/__init__.py",
    "hub_upload/handler.py",
    "hub_upload/space",
)
NOT_NEEDED = ("assemble.py", "README.md.j2", "__pycache__", "py.typed")
# distribution → module; requirements are those that the copied code imports.
_DISTRIBUTIONS = {"jinja2": "Jinja2", "mne_bids": "mne-bids"}
_APP = '''"""The page of a Space; see README.md."""

from brainbert.hub_upload.space.app import serve

if __name__ == "__main__":
    serve({model!r}, revision={revision!r}, port=None)  # the Hub says which by the environment
'''
_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


def assemble(
    out: Path,
    *,
    model: str,
    title: str | None = None,
    license: str = "apache-2.0",
    revision: str | None = None,
    torch_index: str | None = None,
) -> Path:
    """Write the folder of a Space, whole or not at all, and return it.

    model: id on the Hub, "user/name". revision: of the model, a tag or commit; by default its main branch.
    license: of the Space, which holds this project's code (Apache 2.0); the weights have their own.
    torch_index: address of PyTorch's package index for CPUs; without it, a Space installs gigabytes for GPUs.
    Raises ValueError for another form of id and FileExistsError for a folder that is there already.
    """
    if not _NAME.fullmatch(model):
        raise ValueError(f"The model is {model!r}: give its id on the Hub, such as lab/brainbert-small.")
    if out.exists():
        raise FileExistsError(f"{out} exists: choose a folder that does not, so that nothing is lost.")
    templates = Environment(
        loader=PackageLoader("brainbert.hub_upload.space", "."),
        undefined=StrictUndefined,
        autoescape=False,
        keep_trailing_newline=True,
    )
    with written_whole(out) as folder:
        folder.mkdir()
        copy_code(folder / "brainbert")
        requirements = requirements_of(folder / "brainbert", torch_index=torch_index)
        card = templates.get_template("README.md.j2").render(
            title=title or f"BrainBERT: {model.rpartition('/')[2]}",
            model=model,
            license=license,
            short_description="Look at intracranial voltage through a BrainBERT",
            gradio=version("gradio"),
            python=".".join(platform.python_version_tuple()[:2]),
            version=version("brainbert"),
            seconds=child.SECONDS,
            memory=child.MEMORY_BYTES // 2**30,
            megabytes=uploads.MAX_UPLOAD_BYTES // 2**20,
            minutes=preparation.MAX_MINUTES,
        )
        for name, text in (
            ("README.md", card),
            ("app.py", _APP.format(model=model, revision=revision)),
            ("requirements.txt", requirements),
        ):
            (folder / name).write_text(text, encoding="utf-8")
    return out


def copy_code(folder: Path) -> None:
    """Copy the parts of this installation that the page needs; `folder` becomes the namespace `brainbert`."""
    installed = Path(__file__).parents[2]
    for name in COPIED:
        source, target = installed / name, folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns(*NOT_NEEDED))
        else:
            shutil.copyfile(source, target)


def requirements_of(folder: Path, *, torch_index: str | None = None) -> str:
    """Return requirements.txt for the code in a folder: what it imports, at the versions that are installed here."""
    modules = sorted({name for path in folder.rglob("*.py") for name in _imports(path)})
    lines = ["# The versions that this was assembled with."]
    lines += [f"--extra-index-url {torch_index}"] if torch_index else []
    for module in modules:
        name = _DISTRIBUTIONS.get(module, module)
        lines.append(f"{name}=={version(name).partition('+')[0]}")
    return "\n".join(lines) + "\n"


def _imports(path: Path) -> Iterator[str]:
    """Yield the distributions' modules that a file imports, here or in its functions."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and not node.level and node.module:
            names = [node.module]
        for name in names:
            top = name.partition(".")[0]
            if top not in sys.stdlib_module_names and top != "brainbert":
                yield top


def main() -> None:
    """Write a folder and say what is in it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], formatter_class=HelpFormatter)
    parser.add_argument("out", type=Path, help="folder to write; it must not exist")
    parser.add_argument("--model", required=True, help="id of the model on the Hub, such as lab/brainbert-small")
    parser.add_argument("--revision", help="of the model: tag or commit; its main branch if not given")
    parser.add_argument("--title", help="of the Space; BrainBERT and the model's name if not given")
    parser.add_argument("--license", default="apache-2.0", help="of the Space's code; the weights have their own")
    parser.add_argument(
        "--torch-index",
        metavar="URL",
        help="PyTorch's package index for CPUs, as its installation page gives it; without it, gigabytes of CUDA come",
    )
    args = parser.parse_args()
    folder = assemble(
        args.out,
        model=args.model,
        title=args.title,
        license=args.license,
        revision=args.revision,
        torch_index=args.torch_index,
    )
    files = [path for path in folder.rglob("*") if path.is_file()]
    print(f"Wrote {folder}: {len(files)} files, {sum(path.stat().st_size for path in files) / 2**20:.1f} MB.")


if __name__ == "__main__":
    run(main)
