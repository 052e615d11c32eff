"""The tables of a store, as a list of migrations: number n brings a store of version n to version n + 1.

A migration that has been released is never changed; another one is added. The words in braces differ between
databases.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

_FIRST: Final = (
    """
    CREATE TABLE memories (
        number {number}, name TEXT NOT NULL UNIQUE,
        readout TEXT NOT NULL, random_features INTEGER NOT NULL, seed BIGINT NOT NULL, beta {real} NOT NULL,
        unknown_level {real} NOT NULL, keep TEXT NOT NULL,
        model TEXT NOT NULL, fingerprint TEXT NOT NULL, dim INTEGER NOT NULL, centre {bytes},
        created {real} NOT NULL, revision BIGINT NOT NULL, examples BIGINT NOT NULL, bytes BIGINT NOT NULL)
    """,
    """
    CREATE TABLE examples (
        number {number}, memory BIGINT NOT NULL REFERENCES memories (number), id TEXT NOT NULL, label TEXT NOT NULL,
        source TEXT NOT NULL, teacher TEXT NOT NULL, sha256 TEXT NOT NULL, created {real} NOT NULL,
        revision BIGINT NOT NULL, size BIGINT NOT NULL, key {bytes} NOT NULL, UNIQUE (memory, id))
    """,
    "CREATE INDEX examples_by_revision ON examples (memory, revision)",
    "CREATE INDEX examples_by_label ON examples (memory, label)",
    "CREATE INDEX examples_by_source ON examples (memory, source)",
    "CREATE INDEX examples_by_file ON examples (memory, sha256)",
    # Apart from the keys, so that reading all keys does not read all images.
    "CREATE TABLE images (example BIGINT PRIMARY KEY REFERENCES examples (number), thumbnail {bytes}, image {bytes})",
    """
    CREATE TABLE answers (
        memory BIGINT NOT NULL REFERENCES memories (number), key TEXT NOT NULL, digest TEXT NOT NULL,
        answer TEXT NOT NULL, created {real} NOT NULL, PRIMARY KEY (memory, key))
    """,
)

# An answer is claimed while it is being made, and kept without what it says of examples. Those that were kept before
# named examples, also forgotten ones.
_CLAIMED_ANSWERS: Final = (
    "DROP TABLE answers",
    """
    CREATE TABLE answers (
        memory BIGINT NOT NULL REFERENCES memories (number), key TEXT NOT NULL, digest TEXT NOT NULL,
        claim TEXT, answer TEXT, created {real} NOT NULL, PRIMARY KEY (memory, key))
    """,
)

MIGRATIONS: Final[tuple[tuple[str, ...], ...]] = (_FIRST, _CLAIMED_ANSWERS)


def migrate(version: int, migrations: Sequence[Sequence[str]], run: Callable[[str], object], **words: str) -> int:
    """Bring the tables of a store up to date.

    Args:
        version: Of the store; 0 has no tables.
        migrations: All there are.
        run: Runs a statement.
        words: What the braces stand for in this database.

    Returns:
        The version it has now.
    """
    for statements in migrations[version:]:
        for statement in statements:
            run(statement.format(**words))
    return max(version, len(migrations))
