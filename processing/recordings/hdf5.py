"""Open HDF5 files from elsewhere: nothing in them may lead to another file.

HDF5 can do so by external links, by external storage and by virtual data sets, and all are refused before anything is
read; references are followed only to objects that were looked at.
"""

from pathlib import Path
from typing import Any

import h5py


class Refusal(ValueError):
    """A sentence of ours, to be told from what h5py raises."""


def refuse_ways_out(file: h5py.File, path: Path) -> frozenset[int]:
    """Look at every object of the file and return their addresses; refuse all that HDF5 would follow to another file.

    Soft links stay inside, where all that they can lead to is looked at here.
    """
    own: set[int] = set()
    waiting = [h5py.h5g.open(file.id, b"/")]
    while waiting:
        group = waiting.pop()
        for name in group:
            kind = group.links.get_info(name).type
            if kind == h5py.h5l.TYPE_SOFT:
                continue
            if kind != h5py.h5l.TYPE_HARD:
                raise _way_out(path, "a link", name)
            found = h5py.h5o.open(group, name)
            address = h5py.h5o.get_info(found).addr
            if address in own:
                continue
            own.add(address)
            if isinstance(found, h5py.h5g.GroupID):
                waiting.append(found)
            elif isinstance(found, h5py.h5d.DatasetID):
                # Asked of how it was made: asking a virtual data set for its shape may already open its sources.
                made = found.get_create_plist()
                if made.get_external_count() or made.get_layout() == h5py.h5d.VIRTUAL:
                    raise _way_out(path, "data", name)
    return frozenset(own)


def _way_out(path: Path, what: str, name: bytes) -> Refusal:
    return Refusal(
        f"{path.name!r} has {what} ({name.decode(errors='replace')!r}) that leads to another file, which is not "
        "followed; write a copy of the file that holds everything itself."
    )


def followed(file: h5py.File, reference: h5py.Reference, *, own: frozenset[int]) -> Any:
    """Return what a reference points to; a made-up one may point to something that no link leads to."""
    found = file[reference]
    if h5py.h5o.get_info(found.id).addr not in own:
        raise Refusal("A reference in the file leads to something that is no part of it; write the file anew.")
    return found
