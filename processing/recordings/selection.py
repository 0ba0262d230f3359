"""Choose which channels of a file are read, what they are, and what they are called afterwards."""

import difflib
import sys
from collections.abc import Mapping, Sequence

from .contacts import clean_name, guess_contacts
from .recording import CONTACT_TYPES


def choose_contacts(
    kinds: Mapping[str, str | None], *, contacts: Sequence[str] | Mapping[str, str] | None, guess: bool
) -> tuple[dict[str, str], str]:
    """Return name in the file -> contact type, in the file's order, and where the types come from.

    kinds: name in the file -> "seeg", "ecog", "dbs", "eeg" or another kind of channel; None where the file says none.
    contacts: those wanted, see `read_recording`. By default all that the file types as such, and by their names, if
        `guess`, those that it types as nothing; as EEG only when it types none, because beside contacts EEG may be EEG.
    Prints what was kept by name, or left out in spite of its name.
    Raises ValueError for names that are not there, types that are none, and when there is no contact.
    """
    if contacts is not None:
        return _named_contacts(kinds, contacts), "given"
    typed = {name: kind for name, kind in kinds.items() if kind in CONTACT_TYPES}
    # Typed contacts take part, because a shaft has two at least.
    likely = guess_contacts(name for name, kind in kinds.items() if kind in (*CONTACT_TYPES, "eeg", None))
    likely = [name for name in likely if name not in typed] if guess else []
    guessed = {name for name in likely if kinds[name] is None or not typed}
    chosen = {name: typed.get(name, "seeg") for name in kinds if name in typed or name in guessed}
    if not chosen:
        raise ValueError(
            f"None of the {len(kinds)} channels is a depth, surface or stimulation contact by type"
            f"{' or by name' if guess else ''} ({', '.join(list(kinds)[:8])}{' ...' if len(kinds) > 8 else ''}); "
            "name them: contacts=[...] or contacts={name: 'seeg'}."
        )
    if likely:
        by_name = [name for name in kinds if name in guessed]
        left_out = [name for name in kinds if name not in chosen]
        print(
            f"The file types {f'{len(typed)} of {len(kinds)} channels' if typed else 'no channel'} as intracranial. "
            + (f"Kept by name as sEEG ({len(by_name)}): {', '.join(by_name)}. " if by_name else "")
            + f"Left out ({len(left_out)}): {', '.join(left_out) or 'none'}. Give contacts=[...] to choose yourself.",
            file=sys.stderr,
        )
    return chosen, "file and names" if typed and guessed else "file" if typed else "guessed from names"


def _named_contacts(kinds: Mapping[str, str | None], contacts: Sequence[str] | Mapping[str, str]) -> dict[str, str]:
    if isinstance(contacts, str) or not contacts:
        raise ValueError(f"contacts is {contacts!r}; give a list of names, or a mapping of name to type.")
    chosen = {}
    for wanted in contacts:
        found = [name for name in kinds if wanted == name] or [name for name in kinds if wanted == clean_name(name)]
        if len(found) != 1:
            near = difflib.get_close_matches(wanted, kinds, n=3) or list(kinds)[:6]
            raise ValueError(
                f"{len(found)} channels are called {wanted!r}; names in the file that are near: {', '.join(near)}."
            )
        own = kinds[found[0]]
        chosen[found[0]] = (
            contacts[wanted] if isinstance(contacts, Mapping) else own if own in CONTACT_TYPES else "seeg"
        )
    wrong = sorted(set(chosen.values()) - set(CONTACT_TYPES))
    if wrong:
        raise ValueError(f"Contact types {wrong} are given; use 'seeg', 'ecog' or 'dbs'.")
    return {name: chosen[name] for name in kinds if name in chosen}


def clean_names(names: list[str]) -> dict[str, str]:
    """Map names in the file to cleaned ones; those that would collide stay as they are."""
    cleaned = [clean_name(name) for name in names]
    return {
        name: short if short and cleaned.count(short) == 1 else name for name, short in zip(names, cleaned, strict=True)
    }
