"""Publish a model, Parquet shards of a corpus or a Space on the Hub: a dry run first, then one commit.

    python -m brainbert.hub_upload.push model lab/brainbert --tag v1.0            # shows all, sends nothing
    python -m brainbert.hub_upload.push model lab/brainbert --tag v1.0 --upload   # private, unless --public is given
    python -m brainbert.hub_upload.push shards lab/clips --kind dataset --forbid names.txt --upload

Without --upload the network is not touched. Nothing is uploaded while there is a problem. The token is that of
`hf auth login`, or HF_TOKEN.
"""

import argparse
import re
import shlex
import sys
from pathlib import Path
from typing import TypedDict, get_args

import yaml  # type: ignore[import-untyped]
from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id

from brainbert.processing.program import HelpFormatter, run

from .planned_files import PlannedFile, plan
from .private_traces import Forbidden
from .publishable import problems_of, read_card
from .publishable_arrays import chosen_names
from .publishable_files import Kind
from .upload import upload

_CARD_LINES = 24  # of metadata, and of text: a screen
_USE = {
    "model": (
        "from transformers import AutoFeatureExtractor, AutoModel",
        'extractor = AutoFeatureExtractor.from_pretrained("{repository}"{revision}, trust_remote_code=True)',
        'model = AutoModel.from_pretrained("{repository}"{revision}, trust_remote_code=True)',
    ),
    "dataset": (
        "from datasets import load_dataset",
        'clips = load_dataset("{repository}"{revision}, split="train", streaming=True)',
        "clip = next(iter(clips))",
    ),
    "space": (),
}


class _Where(TypedDict):
    kind: Kind
    private: bool
    tag: str | None


def push(
    folder: Path,
    repository: str,
    *,
    kind: Kind = "model",
    private: bool = True,
    tag: str | None = None,
    message: str | None = None,
    forbidden: Forbidden | None = None,
    with_handler: bool = True,
    mirror: bool = False,
    endpoint: str | None = None,
    token: str | None = None,
) -> str:
    """Upload `folder` to `repository` ("user/name") in one commit, tag it, and return the URL of the commit.

    private: of a new repository. tag: a new one. with_handler: add the endpoint's handler.py to a model without one.
    mirror: delete in the same commit what is there and not in the folder. endpoint, token: of another Hub, or account.
    Raises ValueError when the folder may not be published (problems_of says why), and for all that `upload` refuses.
    """
    _refuse_names(repository, tag)
    files = plan(folder, with_handler=with_handler and kind == "model")
    if problems := problems_of(folder, kind=kind, forbidden=forbidden):
        raise ValueError(" ".join(problems))
    return upload(
        files,
        repository,
        kind=kind,
        private=private,
        tag=tag,
        message=message or _message(folder, tag),
        mirror=mirror,
        endpoint=endpoint,
        token=token,
    )


def describe(
    folder: Path, repository: str, *, kind: Kind, private: bool, tag: str | None, files: list[PlannedFile]
) -> str:
    """Return what an upload would do: where to, every file with size and hash, names in a corpus, the card."""
    visibility = "private if it is new" if private else "public if it is new"
    lines = [f"{folder} → {repository} ({kind}, {visibility}, {f'tag {tag}' if tag else 'no tag'})", ""]
    width = max([4, *(len(file.path) for file in files)])
    lines += [f"{'file':<{width}}  {'bytes':>13}  {'sha256':<12}  stored"]
    for file in files:
        stored = ("LFS" if file.lfs else "plain") + (
            "" if file.source.is_relative_to(folder) else ", added for endpoints"
        )
        lines.append(f"{file.path:<{width}}  {file.size:>13,}  {file.sha256[:12]}  {stored}")
    large = sum(file.size for file in files if file.lfs)
    lines += [f"{len(files)} files, {sum(file.size for file in files):,} bytes, {large:,} of them as LFS", ""]
    if kind == "dataset":
        for column, names in _chosen_names(folder).items():
            shown = ", ".join(names[:20]) + (f" and {len(names) - 20} more" if len(names) > 20 else "")
            lines += [f"Names of your own, not pseudonyms, as {column}: {shown}. Make sure that they name nobody.", ""]
    return "\n".join([*lines, *_card_lines(folder)])


def _chosen_names(folder: Path) -> dict[str, list[str]]:
    try:
        return chosen_names(folder)
    except (ValueError, OSError):
        return {}  # a shard cannot be read: that is among the problems


def _card_lines(folder: Path) -> list[str]:
    try:
        metadata, text = read_card(folder)
    except (ValueError, OSError):
        return []
    shown = []
    parts = yaml.safe_dump(metadata, sort_keys=False, allow_unicode=True) if metadata else "", text
    for title, part in zip(("Card, metadata", "Card"), parts, strict=True):
        lines = part.strip().splitlines()
        more = [f"… {len(lines) - _CARD_LINES} more lines"] if len(lines) > _CARD_LINES else []
        shown += [f"── {title} ──", *lines[:_CARD_LINES], *more, ""]
    return shown


def _message(folder: Path, tag: str | None) -> str:
    return f"Publish {tag or folder.resolve().name}"


def _refuse_names(repository: str, tag: str | None) -> None:
    try:
        validate_repo_id(repository)
    except HFValidationError:
        repository = ""
    if repository.count("/") != 1:
        raise ValueError("REPO is not a name on the Hub: give USER/NAME or ORGANISATION/NAME, such as lab/brainbert.")
    if tag is not None and (not re.fullmatch(r"\w[\w.-]*", tag) or tag == "main" or tag.endswith((".", ".lock"))):
        raise ValueError(f"The tag {tag!r} is none: use letters, digits, dots and hyphens, such as v1.0.")


def main() -> None:
    args = parse_arguments()
    _refuse_names(args.repository, args.tag)
    forbidden = Forbidden.read(args.forbid) if args.forbid else Forbidden()
    if args.forbid and args.forbid.resolve().is_relative_to(args.folder.resolve()):
        raise ValueError(f"{args.forbid.name} lies in the folder that is published: move it out.")
    # What is looked at for problems, and then sent, is what was read here: its hash says so.
    files = plan(args.folder, with_handler=args.endpoint and args.kind == "model")
    problems = problems_of(args.folder, kind=args.kind, forbidden=forbidden)
    where: _Where = {"kind": args.kind, "private": not args.public, "tag": args.tag}
    print(forbidden.masked(describe(args.folder, args.repository, files=files, **where)))
    if problems:
        print("\n".join(["Problems:", *(f"- {problem}" for problem in problems)]))
        raise ValueError(f"{len(problems)} problem{'s' * (len(problems) > 1)} to solve before this can be uploaded.")
    print("Problems: none.")
    if not args.upload:
        print("This was a dry run: nothing was sent. To upload:")
        print(f"  python -m brainbert.hub_upload.push {shlex.join(sys.argv[1:])} --upload")
        return
    message = args.message or _message(args.folder, args.tag)
    url = upload(files, args.repository, message=message, mirror=args.mirror, endpoint=None, token=None, **where)
    print("\n".join([f"Uploaded, and compared with what is here: {url}", *use(args.repository, args.kind, args.tag)]))


def use(repository: str, kind: Kind, tag: str | None) -> list[str]:
    """Return the lines of Python that open what was published."""
    revision = f', revision="{tag}"' if tag else ""
    return [f"  {line.format(repository=repository, revision=revision)}" for line in _USE[kind]]


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], formatter_class=HelpFormatter)
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="of a model, of Parquet shards, or of a Space")
    parser.add_argument("repository", metavar="REPO", help="USER/NAME or ORGANISATION/NAME; created if there is none")
    parser.add_argument("--kind", choices=get_args(Kind), default="model", help="what FOLDER holds")
    parser.add_argument("--upload", action="store_true", help="send it; else a dry run that touches no network")
    parser.add_argument("--public", action="store_true", help="a new repository is public; an old one stays as it is")
    parser.add_argument("--tag", help="of the commit, such as v1.0; it must be new")
    parser.add_argument("--message", help="of the commit; the tag or the folder's name if not given")
    parser.add_argument(
        "--forbid", type=Path, metavar="FILE", help="names and codes, one a line, that no file may hold"
    )
    parser.add_argument(
        "--mirror",
        action="store_true",
        help="delete, in the same commit, files of REPO that FOLDER lacks; else they stay",
    )
    parser.add_argument(
        "--no-endpoint",
        dest="endpoint",
        action="store_false",
        help="add no handler.py and requirements.txt of Inference Endpoints",
    )
    return parser.parse_args()


if __name__ == "__main__":
    run(main)
