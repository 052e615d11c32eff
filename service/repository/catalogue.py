"""Keep track of the versions of models on disk: which are wanted, and what became of them."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from ait_lite.checkpoint import bundled_models
from service.repository.folders import (
    Fingerprint,
    Found,
    ModelError,
    ModelFolder,
    ModelKey,
    fingerprint,
    locate,
    read_serving,
    read_version,
    scan,
    unreadable,
)


@dataclass
class Entry:
    """A version on disk.

    Attributes:
        path: Its folder.
        files: What its files were at the last look.
        settled: Whether they were the same at the look before: if not, they may be on their way.
        loaded: What its files were when it was loaded; None if it is not.
        failed: What its files were when loading failed.
        reason: Why it is not loaded, or not loaded again.
        refused: Why it cannot be loaded, whatever its files hold; empty if it may be tried.
    """

    path: Path
    files: Fingerprint
    settled: bool = False
    loaded: Fingerprint | None = None
    failed: Fingerprint | None = None
    reason: str = ""
    refused: str = ""

    @property
    def stale(self) -> bool:
        """True if loading it would change anything."""
        return self.files not in (self.loaded, self.failed)


class Catalogue:
    """The folder of models, and the model that is named apart from it, or all bundled ones where nothing is named.

    Attributes:
        entries: All versions at the last look.
        default: The model that is to answer where a request names none; None if that was not said.
    """

    def __init__(self, model: str | None, root: str | None) -> None:
        """Take the model and the folder of models as in the settings `AIT_MODEL` and `AIT_MODELS`."""
        self.entries: dict[ModelKey, Entry] = {}
        self.default: str | None = None
        self._model = model
        self._root = Path(root).expanduser().resolve() if root is not None else None
        self._fixed: list[ModelFolder] = []
        self._unwanted: set[str] = set()
        self._limits: dict[str, int | None] = {}  # versions of a model that are served
        self._gone: set[ModelKey] = set()  # at the last look but not at the one before
        self._resolved = False

    def look(self) -> None:
        """Look at the disk, which may take a while.

        Raises:
            ModelError: The model that was named is not there.
            OSError: The folder of models cannot be read; nothing has changed.
        """
        if not self._resolved:
            self._resolve()
            self._resolved = True
        found = self._known(scan(self._root)) if self._root else {}
        for fixed in self._fixed:
            found[ModelKey(fixed.name, fixed.version)] = Found(fixed.path)
        entries = {}
        for key, (path, refused) in found.items():
            files: Fingerprint = ()
            try:
                files = files if refused else fingerprint(path)
            except FileNotFoundError:  # removed since
                continue
            except OSError as error:
                refused = unreadable(path, error)
            entry = self.entries.get(key) or Entry(path, files)
            entry.settled = key in self.entries and (entry.path, entry.files) == (path, files)
            if refused or entry.refused:
                entry.reason = refused
            entry.path, entry.files, entry.refused = path, files, refused
            entries[key] = entry
        self._gone = self.entries.keys() - entries.keys()
        self.entries = entries
        self._limits = {name: self._limit(name) for name in {key.name for key in entries}}

    def order(self) -> list[ModelKey]:
        """List the wanted versions: the highest of every model first, then the next of every one."""
        return [key for _, key in sorted(self._ranked())]

    def enough(self, key: ModelKey, kept: Collection[ModelKey]) -> bool:
        """Find out whether as many versions of a model are kept as its settings ask for."""
        limit = self._limits.get(key.name)
        return limit is not None and sum(each.name == key.name for each in kept) >= limit

    def is_gone(self, key: ModelKey) -> bool:
        """Find out whether a version is missing for longer than it takes to replace it."""
        return key not in self.entries and key not in self._gone

    def want(self, name: str) -> None:
        """Take back `reject`, and have versions tried again that could not be loaded."""
        self._unwanted.discard(name)
        for key, entry in self.entries.items():
            if key.name == name:
                entry.failed = None

    def reject(self, name: str) -> None:
        """Leave a model out until it is wanted again."""
        self._unwanted.add(name)

    @property
    def rejected(self) -> list[str]:
        """Names of the models that are left out."""
        return sorted(self._unwanted)

    def wants(self, name: str) -> bool:
        """Find out whether a model is not rejected."""
        return name not in self._unwanted

    def read(self, key: ModelKey) -> ModelFolder:
        """Read the configuration of a version.

        Raises:
            ModelError: The folder is incomplete.
        """
        return read_version(key, self.entries[key].path)

    def relative(self, message: str) -> str:
        """Take the paths of this machine out of a message, for others than the operator."""
        for folder in (self._root, *(fixed.path.parent for fixed in self._fixed)):
            if folder:
                message = message.replace(f"{folder}/", "")
        return message

    def _known(self, found: dict[ModelKey, Found]) -> dict[ModelKey, Found]:
        """Put the versions that were there in place of a model whose folder cannot be read now."""
        known = dict(found)
        for key, (path, refused) in found.items():
            before = [each for each in self.entries if each.name == key.name]
            if refused and self._root and path.parent == self._root and before:
                del known[key]
                known.update({each: Found(self.entries[each].path, refused) for each in before})
        return known

    def _resolve(self) -> None:
        if self._root and not self._root.is_dir():
            raise ModelError(f"AIT_MODELS={self._root} is not a folder. Name one that holds <model>/<version>/.")
        if self._root and (self._model is None or (self._root / self._model).is_dir()):
            self.default = self._model
            return
        if self._root is None and self._model is None:
            self.default = locate(None).name
            self._fixed = [locate(name) for name in bundled_models()]
        else:
            self._fixed = [locate(self._model)]
            self.default = self._fixed[0].name

    def _ranked(self) -> Iterator[tuple[tuple[int, bool, str], ModelKey]]:
        rank: dict[str, int] = {}
        for key in sorted(self.entries, key=lambda key: key.order, reverse=True):
            if key.name not in self._unwanted and not self.entries[key].refused:
                place = rank[key.name] = rank.get(key.name, -1) + 1
                yield (place, key.name != self.default, key.name), key

    def _limit(self, name: str) -> int | None:
        usable = [key for key, entry in self.entries.items() if key.name == name and not entry.refused]
        if not usable:
            return None
        highest = max(usable, key=lambda key: key.order)
        try:
            return read_serving(self.entries[highest].path).versions
        except ModelError:
            return self._limits.get(name)  # said when a version is loaded
