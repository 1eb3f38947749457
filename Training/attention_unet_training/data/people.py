"""Who is shown by a label map: the person it is of, and who completed it (``attention-unet-train complete``)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from ..preparation.records import read_json

RECORD = "completed.json"  # in a folder of label maps: who gave what to which


@dataclass(frozen=True)
class Shown:
    """Whom a label map shows: whose organs it has, who gave what they lacked, and towards whom it is bent, if it is."""

    person: str
    donor: str
    towards: str = ""

    @property
    def everyone(self) -> set[str]:
        """All of them."""
        return {self.person, self.donor, self.towards} - {""}


def read_people(folder: Path, names: Iterable[str]) -> dict[str, Shown]:
    """Whom each label map of a folder shows, by the folder's record; a map that is not in it is a person by itself.

    Raises:
        ValueError: If there is a record that cannot be used; the message names it.
    """
    path = Path(folder) / RECORD
    record = read_json(path) if path.is_file() else {}
    if not isinstance(record, Mapping):
        raise ValueError(f"{path} must hold an entry for each completed label map")
    return {name: _entry(path, name, record[name]) if name in record else Shown(name, name) for name in names}


def _entry(path: Path, name: str, entry: object) -> Shown:
    if isinstance(entry, Mapping):
        person, donor = entry.get("recipient"), entry.get("donor")
        towards = entry.get("towards", "")
        if isinstance(person, str) and isinstance(donor, str) and isinstance(towards, str):
            return Shown(person, donor, towards)
    raise ValueError(f"{path}: {name} must have a recipient and a donor")


def check_apart(people: Mapping[str, Shown], held_out: Iterable[str], training: Iterable[str]) -> None:
    """Refuse to train on a person who is held out.

    Args:
        people: Whom each label map shows.
        held_out: Names of the maps that are held out.
        training: Names of the maps of training.

    Raises:
        ValueError: If a map of training shows a person of a held-out map, as a whole, by organs or as a donor.
    """
    where = {person: name for name in held_out for person in people[name].everyone}
    shared = [(name, person) for name in training for person in sorted(people[name].everyone)]
    found = {name: person for name, person in shared if person in where}
    if found:
        name, person = min(found.items())
        others = f", and so do {len(found) - 1} more" if len(found) > 1 else ""
        raise ValueError(
            f"training must not show people who are held out: {name} shows {person}, as {where[person]} does{others}; "
            "hold such label maps out too, or name them in data.anatomies.exclude"
        )
