"""A folder of label maps as prepared anatomies: few are held in memory, of many the rest is read when it is needed."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from .atlas_cache import fill_cache, load_subject, prepare, read_organs
from .label_files import LabelSource, find_label_sources
from .preparation import PREPARED_SPACING_MM, PreparedAnatomy
from .structures import TARGET_OF_STRUCTURE

MEMORY_GB = 4.0  # about 55 scans of the abdomen at 2 mm
TURN_WITHOUT_ORGANS = 10  # at most every tenth patch is made of a map without organs; judgement


class Atlas:
    """Prepared anatomies of a folder, in the order of their names.

    As many as fit into the memory allowed are held from the beginning; each of the others is read from the cache every
    time it is asked for. Copies for other processes (pickling) hold none and read them all.

    Attributes:
        names: Names of the subjects, known without reading them.
        with_organs: Numbers of the subjects that show pancreas, spleen or a kidney, in part at least.
        without_organs: Numbers of the others: heads, legs, chests.
    """

    def __init__(
        self, sources: Sequence[LabelSource], cache_folder: Path | None, spacing_mm: float, memory_gb: float
    ) -> None:
        self.names = tuple(source.name for source in sources)
        self._sources, self._cache_folder, self._spacing_mm = tuple(sources), cache_folder, spacing_mm
        self._held: dict[int, PreparedAnatomy] = {}
        room = memory_gb * 1e9
        for number in range(len(sources)):
            if room <= 0 and cache_folder:
                break
            anatomy = self._load(number)
            room -= anatomy.nbytes
            if room >= 0 or not cache_folder:
                self._held[number] = anatomy
        self.with_organs = tuple(number for number in range(len(sources)) if self._shows_organs(number))
        self.without_organs = tuple(sorted(set(range(len(sources))) - set(self.with_organs)))

    def turn(self, number: int) -> int:
        """Which subject patch ``number`` is made of. They take turns, those without organs in one of ten at most.

        Args:
            number: Of the patch, not negative.
        """
        few = len(self.without_organs) * TURN_WITHOUT_ORGANS <= len(self)
        if few or not self.with_organs:
            return number % len(self)
        round_, place = divmod(number, TURN_WITHOUT_ORGANS)
        if place == TURN_WITHOUT_ORGANS - 1:
            return self.without_organs[round_ % len(self.without_organs)]
        return self.with_organs[(round_ * (TURN_WITHOUT_ORGANS - 1) + place) % len(self.with_organs)]

    def __len__(self) -> int:
        return len(self._sources)

    def __getitem__(self, number: int) -> PreparedAnatomy:
        number = range(len(self))[number]
        return self._held[number] if number in self._held else self._load(number)

    def __iter__(self) -> Iterator[PreparedAnatomy]:
        return (self[number] for number in range(len(self)))

    def __getstate__(self) -> dict:
        return self.__dict__ | ({"_held": {}} if self._cache_folder else {})

    def _shows_organs(self, number: int) -> bool:
        if number in self._held or self._cache_folder is None:
            return not self[number].organs.keys().isdisjoint(TARGET_OF_STRUCTURE)
        organs = read_organs(self._sources[number], self._cache_folder, self._spacing_mm)
        return not organs.isdisjoint(TARGET_OF_STRUCTURE)

    def _load(self, number: int) -> PreparedAnatomy:
        source = self._sources[number]
        if self._cache_folder is None:
            return prepare(source, self._spacing_mm)
        return load_subject(source, self._cache_folder, self._spacing_mm)


def load_atlas(
    folder: Path | str,
    cache_folder: Path | str | None = None,
    include: Collection[str] | None = None,
    exclude: Collection[str] = (),
    spacing_mm: float = PREPARED_SPACING_MM,
    memory_gb: float = MEMORY_GB,
    processes: int = 1,
) -> Atlas:
    """Load the subjects of a folder, sorted by name.

    Args:
        folder: Folder in one of the layouts of `find_label_sources`.
        cache_folder: Where to keep the prepared subjects; None prepares them anew and holds them all in memory.
        include: Names of the subjects to load; None loads all.
        exclude: Names of subjects to leave out.
        spacing_mm: Voxel size of the preparation.
        memory_gb: How much the subjects held in memory may take; the others are read from the cache when needed.
        processes: How many subjects are prepared side by side, if there is a cache.

    Raises:
        ValueError: If a named subject does not exist, none is left, or some cannot be prepared.
        OSError: If the cache cannot be written.
    """
    sources = choose_sources(folder, include, exclude)
    cache = Path(cache_folder) if cache_folder else None
    if cache:
        fill_cache(sources, cache, spacing_mm, processes)
    return Atlas(sources, cache, spacing_mm, memory_gb)


def choose_sources(
    folder: Path | str, include: Collection[str] | None = None, exclude: Collection[str] = ()
) -> list[LabelSource]:
    """The subjects of a folder that `load_atlas` would load.

    Raises:
        ValueError: If a named subject does not exist or none is left.
    """
    sources = find_label_sources(Path(folder))
    missing = sorted((set(include or ()) | set(exclude)) - {source.name for source in sources})
    if missing:
        raise ValueError(f"Subjects named in include or exclude must exist in {folder}; unknown: {missing}.")
    chosen = [
        source for source in sources if (include is None or source.name in include) and source.name not in exclude
    ]
    if not chosen:
        raise ValueError(f"No subject is left of the {len(sources)} in {folder}.")
    return chosen
