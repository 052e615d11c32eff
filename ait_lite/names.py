"""Names of images: one printable line each, whatever a file system allows in a path."""

import re

# What would end a line, cannot be written as UTF-8 (Python's stand-ins for bytes that are none), or escapes.
_UNPRINTABLE = re.compile("[\\\\\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_ESCAPED = re.compile(r"\\(?:\\|[abfnrtv]|x[0-9a-f]{2}|u[0-9a-f]{4})")


def to_name(path: str) -> str:
    r"""Write a path as a name: a line feed becomes ``\n``, a byte that is no UTF-8 ``\udcff``, a backslash two."""
    return _UNPRINTABLE.sub(lambda found: found[0].encode("unicode_escape").decode("ascii"), path)


def to_path(name: str) -> str:
    """Read the path that `to_name` wrote."""
    return _ESCAPED.sub(lambda found: found[0].encode("ascii").decode("unicode_escape"), name)
