"""The memory of classes itself."""

import copy
import hashlib
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ait_lite.checkpoint import atomic_file
from ait_lite.class_memory import file
from ait_lite.class_memory.answers import answer
from ait_lite.class_memory.checks import check_numbers, check_readout, check_texts, checked_centre
from ait_lite.class_memory.derived import Derived
from ait_lite.class_memory.examples.store import ExampleStore
from ait_lite.class_memory.features import RandomFeatures, quantise
from ait_lite.class_memory.fullness import leave_one_out, measure_fullness
from ait_lite.class_memory.readouts import RidgeReadout
from ait_lite.class_memory.results import Fullness, Recall
from ait_lite.class_memory.sums import ExampleSums

_CHUNK = 1024


def _keys_themselves(keys: np.ndarray) -> np.ndarray:
    return keys


class ClassMemory:
    """Labelled feature vectors, recalled by one of four readouts, and forgotten without a trace.

    What a memory answers depends on the set of its examples alone: not on their order, nor on examples that were
    forgotten. Keys are normalised and rounded to multiples of 2^-14, and sums over them are integers in float64, exact
    for 2^25 examples. Only the scores of both Hopfield readouts add up over all examples in float32, and may differ by
    its rounding. Teaching only adds; what depends on all examples is computed when next asked for.

    An example whose label begins with ``¬`` is negative: it says what it does not show, and takes its weight off that
    label's score.

    Not safe for use by several threads at once.

    Args:
        dim: Width d of a feature vector.
        readout: The readout of `recall`, one of ``ridge``, ``hopfield``, ``associative`` and ``prototype``.
        random_features: Number D of random ReLU features that ridge may use in place of the keys, where their
            leave-one-out error is smaller; 0 to have none. Costs 8 D^2 bytes, and a D x D eigenvalue problem for the
            first answer after a change.
        seed: Seed of the random features.
        centre: Vector subtracted from every feature vector, shape (d,), such as a mean over unlabelled images.
        beta: Inverse temperature of both Hopfield readouts.
        unknown_level: A query is unknown where its p-value is at most this: the share of known queries that are
            turned away.

    Raises:
        ValueError: If an argument is out of range.
    """

    def __init__(
        self,
        dim: int,
        *,
        readout: str = "ridge",
        random_features: int = 0,
        seed: int = 0,
        centre: np.ndarray | None = None,
        beta: float = 20.0,
        unknown_level: float = 0.01,
    ) -> None:
        check_numbers(dim, random_features, seed, beta, unknown_level)
        check_readout(readout)
        self.dim = dim
        self.readout = readout
        self.random_features = random_features
        self.seed = seed
        self.beta = float(beta)
        self.unknown_level = float(unknown_level)
        self.centre = checked_centre(centre, dim)
        self._store = ExampleStore(dim)
        self._sums = [ExampleSums(dim, _keys_themselves)]
        if random_features:
            self._sums.append(ExampleSums(random_features, RandomFeatures(dim, random_features, seed)))
        self._derived = Derived(self._store, self._sums)

    def __len__(self) -> int:
        return len(self._store)

    def __contains__(self, identifier: object) -> bool:
        return identifier in self._store.rows

    @property
    def labels(self) -> tuple[str, ...]:
        """Labels that have examples, sorted."""
        return self._sums[0].labels

    @property
    def counts(self) -> dict[str, int]:
        """Number of examples per label."""
        return self._sums[0].counts

    @property
    def unpromised(self) -> str:
        """Why no query can be called unknown by now, in words; empty where one can."""
        if not len(self):
            return "Nothing has been taught yet."
        if self.unknown_level <= 0:
            return "The memory's unknown_level is 0: nothing is called unknown."
        needed = math.ceil(1 / self.unknown_level - 1 - 1e-9)  # 1 / (n + 1) is the least p-value
        if len(self) >= needed:
            return ""
        return f"It takes {needed} examples to promise a level of {self.unknown_level:g}, and there are {len(self)}."

    def copy(self) -> "ClassMemory":
        """Copy the memory, in little time; neither changes with the other, and each may be used by another thread."""
        copied = copy.copy(self)
        copied._store, copied._sums = self._store.copy(), [sums.copy() for sums in self._sums]
        copied._derived = Derived(copied._store, copied._sums)
        return copied

    def ids(self, label: str | None = None) -> list[str]:
        """List the examples, of one label if given, by sorted identifier."""
        pairs = zip(self._store.ids, self._store.labels, strict=True)
        return sorted(identifier for identifier, own in pairs if label is None or own == label)

    def label_of(self, identifier: str) -> str:
        """Look up the label of an example.

        Raises:
            KeyError: If there is no such example.
        """
        return self._store.labels[self._store.rows[identifier]]

    def write(self, ids: Sequence[str], vectors: np.ndarray, labels: Sequence[str]) -> None:
        """Teach examples. One whose identifier is stored already is replaced.

        Args:
            ids: Identifiers, n of them, distinct.
            vectors: Feature vectors, shape (n, d).
            labels: Labels, n of them.

        Raises:
            ValueError: If lengths differ, an identifier comes twice, an identifier or label is empty or not valid
                Unicode, or a vector is not finite or is zero. Nothing is written then.
        """
        keys = self._quantised(vectors)
        if not len(ids) == len(labels) == len(keys):
            raise ValueError(f"Got {len(ids)} identifiers, {len(keys)} vectors and {len(labels)} labels.")
        if len(set(ids)) != len(ids):
            raise ValueError("An identifier comes twice.")
        check_texts([*ids, *labels])
        self._write(ids, keys, labels)

    def write_keys(self, ids: Sequence[str], keys: np.ndarray, labels: Sequence[str]) -> None:
        """Teach examples by keys that `ait_lite.class_memory.features.quantise` made, as `write` does by vectors.

        Args:
            ids: Identifiers, n of them, distinct.
            keys: Integer keys, shape (n, d).
            labels: Labels, n of them.

        Raises:
            ValueError: As `write`.
        """
        if not (len(ids) == len(labels) == len(keys) == len(set(ids)) and keys.shape[1:] == (self.dim,)):
            raise ValueError(f"Got {len(ids)} identifiers, {len(labels)} labels and keys of shape {keys.shape}.")
        check_texts([*ids, *labels])
        self._write(ids, keys.astype(np.float64), labels)

    def keys(self, ids: Sequence[str]) -> np.ndarray:
        """Look up the integer keys of examples, float64 of shape (n, d).

        Raises:
            KeyError: If one is not stored, or comes twice.
        """
        return self._store.keys(self._rows(ids))

    def _write(self, ids: Sequence[str], keys: np.ndarray, labels: Sequence[str]) -> None:
        known = [identifier for identifier in ids if identifier in self]
        if known:
            self.forget(known)
        for start in range(0, len(ids), _CHUNK):
            part = slice(start, start + _CHUNK)
            for sums in self._sums:
                sums.add(keys[part], labels[part])
        self._store.add(ids, labels, keys)
        self._derived.drop()

    def forget(self, ids: Sequence[str]) -> None:
        """Remove examples; the memory is then, to the bit, as if they had never been written.

        Raises:
            KeyError: If one is not stored, or comes twice. Nothing is removed then.
        """
        rows = self._rows(ids)
        labels = [self._store.labels[row] for row in rows]
        for start in range(0, len(rows), _CHUNK):
            part = slice(start, start + _CHUNK)
            keys = self._store.keys(rows[part])
            for sums in self._sums:
                sums.remove(keys, labels[part])
        self._store.remove(ids)
        self._derived.drop()

    def relabel(self, identifier: str, label: str) -> None:
        """Correct the label of an example.

        Raises:
            KeyError: If it is not stored.
            ValueError: If the label is empty or not valid Unicode.
        """
        check_texts([label])
        row = self._rows([identifier])[0]
        old = self._store.labels[row]
        if label != old:
            key = self._store.keys(np.array([row]))[0]
            for sums in self._sums:
                sums.relabel(key, old, label)
            self._store.relabel(int(row), label)
            self._derived.drop()

    def merge(self, other: "ClassMemory") -> None:
        """Add the examples of another memory.

        Raises:
            ValueError: If the memories differ in width, centre or random features, or hold different examples under
                the same identifier. Nothing is added then.
        """
        if self._configuration_digest() != other._configuration_digest():
            raise ValueError("Memories merge only with the same width, centre, random features and seed.")
        new = []
        for identifier, row in other._store.rows.items():
            own = self._store.rows.get(identifier)
            if own is None:
                new.append(row)
            elif self._store.digests[own] != other._store.digests[row]:
                raise ValueError(f"The memories hold different examples under the identifier {identifier!r}.")
        if new:
            ids, labels = [[column[row] for row in new] for column in (other._store.ids, other._store.labels)]
            self._write(ids, other._store.keys(np.array(new)), labels)

    def recall(self, vectors: np.ndarray, *, evidence: int = 5, readout: str | None = None) -> list[Recall]:
        """Recall labels.

        Args:
            vectors: Feature vectors, shape (b, d).
            evidence: Number of nearest examples to name.
            readout: Readout to use in place of the memory's own.

        Returns:
            One answer per vector.

        Raises:
            ValueError: If the memory is empty, a vector is not finite or is zero, or the readout is unknown.
        """
        return self.recall_keys(self._quantised(vectors), evidence=evidence, readout=readout)

    def recall_keys(self, keys: np.ndarray, *, evidence: int = 5, readout: str | None = None) -> list[Recall]:
        """Recall labels by keys that `ait_lite.class_memory.features.quantise` made, as `recall` does by vectors.

        Args:
            keys: Integer keys, float64 of shape (b, d).
            evidence: Number of nearest examples to name.
            readout: Readout to use in place of the memory's own.

        Raises:
            ValueError: If the memory is empty, the keys have another shape, or the readout is unknown.
        """
        if not len(self):
            raise ValueError("The memory is empty.")
        if keys.ndim != 2 or keys.shape[1] != self.dim:
            raise ValueError(f"Expected keys of shape (n, {self.dim}), got {keys.shape}.")
        readout = readout or self.readout
        check_readout(readout)
        if not len(keys):
            return []
        return answer(
            keys,
            self._store,
            self._derived.readout(readout, self.beta),
            self.counts,
            self._derived.negatives(),
            self._derived.distances(),
            self.unknown_level,
            evidence,
        )

    def is_settled(self, queries: int) -> bool:
        """Return True if what made earlier answers quick is there for so many more queries.

        False where something may be computed of all examples first: after a change, and once where many are asked.

        Args:
            queries: How many are to be asked.
        """
        return self._derived.is_settled() and not self._store.bounds.due(queries, self.dim, len(self))

    def scores(self, vectors: np.ndarray, *, readout: str | None = None) -> np.ndarray:
        """Score labels without looking for evidence: what `recall` gives as `scores`, in less time.

        Args:
            vectors: Feature vectors, shape (b, d).
            readout: Readout to use in place of the memory's own.

        Returns:
            Scores of `labels`, shape (b, C).

        Raises:
            ValueError: If the memory is empty, a vector is not finite or is zero, or the readout is unknown.
        """
        return self.score_keys(self._quantised(vectors), readout=readout)

    def score_keys(self, keys: np.ndarray, *, readout: str | None = None) -> np.ndarray:
        """Score labels by keys that `ait_lite.class_memory.features.quantise` made, as `scores` does by vectors.

        Args:
            keys: Integer keys, float64 of shape (b, d).
            readout: Readout to use in place of the memory's own.

        Returns:
            Scores of `labels`, shape (b, C).

        Raises:
            ValueError: If the memory is empty, or the readout is unknown.
        """
        if not len(self):
            raise ValueError("The memory is empty.")
        readout = readout or self.readout
        check_readout(readout)
        derived = self._derived.readout(readout, self.beta)
        return derived.scores(keys, self._store.cosines(keys) if derived.compares_all else None)

    def fullness(self) -> Fullness:
        """Measure how full the memory is, by the ridge readout's leave-one-out predictions of all examples.

        Raises:
            ValueError: If the memory is empty.
        """
        if not len(self):
            raise ValueError("The memory is empty.")
        ridge, features = self._derived.ridge()
        random_features = 0 if features is _keys_themselves else self.random_features
        return measure_fullness(self._store, RidgeReadout(ridge, features), self.labels, random_features)

    def leave_one_out(self, most: int) -> tuple[list[str], np.ndarray]:
        """Score stored examples by the memory's readout as if each had never been stored.

        Args:
            most: Number of examples; where there are more, a choice that depends on the set of examples alone.

        Returns:
            Identifiers, n of them, and the scores of `labels`, shape (n, C).

        Raises:
            ValueError: If the memory is empty.
        """
        if not len(self):
            raise ValueError("The memory is empty.")
        rows = self._store.sample(most)
        scores = leave_one_out(self._store, rows, self._derived.readout(self.readout, self.beta), self.labels)
        return [self._store.ids[row] for row in rows], scores

    def digest(self) -> str:
        """Hash what the memory holds: the same for every order of the same examples, and after forgetting others.

        Returns:
            SHA-256 in hexadecimal, over width, centre and random features, and all examples.
        """
        digest = hashlib.sha256(self._configuration_digest())
        for example in sorted(self._store.digests):
            digest.update(example)
        return digest.hexdigest()

    def verify(self) -> bool:
        """Rebuild everything from the stored keys and labels, and compare it to the bit with what is kept."""
        rebuilt = ClassMemory(**self._configuration(), centre=self.centre)
        rebuilt._write(self._store.ids, self._store.keys(), self._store.labels)
        return (
            rebuilt.digest() == self.digest()
            and all(own.equals(other) for own, other in zip(self._sums, rebuilt._sums, strict=True))
            and np.array_equal(self._store.nearest(), rebuilt._store.nearest())
        )

    def to_bytes(self) -> bytes:
        """Write the memory as one safetensors file with a JSON description; equal memories give equal bytes."""
        order = np.array([self._store.rows[identifier] for identifier in self._store.sorted_ids()], dtype=np.int64)
        contents = file.Contents(
            configuration=self._configuration(),
            centre=self.centre,
            ids=[self._store.ids[row] for row in order],
            labels=[self._store.labels[row] for row in order],
            keys=self._store.keys(order),
            nearest=self._store.nearest()[order],
            digest=self.digest(),
        )
        return file.encode(contents)

    @classmethod
    def from_bytes(cls, data: bytes) -> "ClassMemory":
        """Read a memory that `to_bytes` wrote.

        Raises:
            ValueError: If the bytes are not such a file, or its examples do not have the digest it states.
        """
        contents = file.decode(data)
        if contents.keys.shape[1] != contents.configuration["dim"]:
            raise ValueError("The keys of the memory file do not have the stated width.")
        memory = cls(**contents.configuration, centre=contents.centre)
        memory._write(contents.ids, contents.keys, contents.labels)
        if memory.digest() != contents.digest:
            raise ValueError("The examples of the memory file do not have the digest that it states.")
        memory._store.restore_nearest(contents.nearest)
        return memory

    def save(self, path: str | Path) -> None:
        """Write the memory to a file, whole or not at all."""
        with atomic_file(Path(path)) as temporary:
            temporary.write_bytes(self.to_bytes())

    @classmethod
    def load(cls, path: str | Path) -> "ClassMemory":
        """Read a memory from a file.

        Raises:
            OSError: If the file cannot be read.
            ValueError: As `from_bytes`.
        """
        return cls.from_bytes(Path(path).read_bytes())

    def _configuration(self) -> dict[str, Any]:
        """Gather the arguments that the memory was made with, but for the centre."""
        return {
            "dim": self.dim,
            "readout": self.readout,
            "random_features": self.random_features,
            "seed": self.seed,
            "beta": self.beta,
            "unknown_level": self.unknown_level,
        }

    def _configuration_digest(self) -> bytes:
        centre = b"" if self.centre is None else self.centre.astype("<f8").tobytes()
        seed = self.seed if self.random_features else 0
        return hashlib.sha256(f"{self.dim} {self.random_features} {seed} ".encode() + centre).digest()

    def _quantised(self, vectors: np.ndarray) -> np.ndarray:
        vectors = np.asarray(vectors)
        if vectors.ndim != 2 or vectors.shape[1] != self.dim:
            raise ValueError(f"Expected vectors of shape (n, {self.dim}), got {vectors.shape}.")
        return quantise(vectors, self.centre)

    def _rows(self, ids: Sequence[str]) -> np.ndarray:
        if len(set(ids)) != len(ids):
            raise KeyError("An identifier comes twice.")
        return np.array([self._store.rows[identifier] for identifier in ids], dtype=np.int64)
