"""A memory of classes on a server: the same as `training.teaching.memory` on files, over HTTP.

The server does the work, so nothing here needs the model.
"""

import json
import os
from collections.abc import Iterator, Sequence
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, urlencode

from training.errors import DataError
from training.teaching.answers import EvidenceFile, Listed, Recalled, Taught
from training.teaching.files import LabelledFile, Progress
from training.teaching.server import Server

_PAGE: Final = 1000  # examples of one answer that lists them
_FILES: Final = 8  # images of one request; more would show less progress
_BYTES: Final = 8_000_000  # of them together, well below what servers accept
_MEMORIES: Final = "/v1/memories"


def list_memories(url: str, key: str | None = None) -> list[dict[str, Any]]:
    """List the memories of a server by name.

    Args:
        url: Where the server is, such as http://localhost:8000.
        key: API key; None takes that of the variable AIT_KEY, if there is one.
    """
    listed: list[dict[str, Any]] = Server(url, key).ask("GET", _MEMORIES)["memories"]
    return listed


class RemoteMemory:
    """A memory of a server.

    Args:
        url: Where the server is, such as http://localhost:8000.
        name: Of the memory.
        key: API key; None takes that of the variable AIT_KEY, if there is one.
    """

    def __init__(self, url: str, name: str, key: str | None = None) -> None:
        self._server = Server(url, key)
        self._path = f"{_MEMORIES}/{quote(name, safe='')}"

    def create(self, **options: Any) -> tuple[dict[str, Any], bool]:
        """Create the memory; options are those of ``PUT /v1/memories/{memory}``.

        Returns:
            Its description, and whether it is new: one of these options may have been there.

        Raises:
            DataError: The server refuses it, as all methods may; the message is the server's own.
        """
        status, described = self._server.send("PUT", self._path, body=json.dumps(options).encode())
        return json.loads(described), status == HTTPStatus.CREATED

    def describe(self) -> dict[str, Any]:
        """Describe the memory."""
        return self._ask("GET")

    def teach(
        self,
        files: Sequence[LabelledFile],
        *,
        source: str = "",
        skip_broken: bool = False,
        progress: Progress | None = None,
    ) -> Taught:
        """Teach labelled image files; an image that is known already is taught its new label.

        Args:
            files: The files.
            source: Where they come from, to forget them by.
            skip_broken: Leave out what the server refuses; else the first refusal ends it, and what was taught
                before stays.
            progress: Told how many images are done.

        Raises:
            DataError: A file is refused.
        """
        outcomes = {"created": 0, "replaced": 0, "unchanged": 0}
        skipped: list[str] = []
        done = 0
        for label, paths in _parts(files):
            body, content_type = _form(paths)
            query = urlencode({"label": label} | ({"source": source} if source else {}))
            answer = self._ask("POST", f"/examples?{query}", body=body, content_type=content_type, once=True)
            for path, result in zip(paths, answer["results"], strict=True):
                if result["outcome"] != "refused":
                    outcomes[result["outcome"]] += 1
                    continue
                reason = f"{path}: {result['problem']['detail']}"
                if not skip_broken:
                    remedy = "Repair or remove it, or leave it out with --skip-broken; what has been taught stays."
                    raise DataError(f"{reason} {remedy}")
                skipped.append(reason)
            done += len(paths)
            if progress is not None:
                progress(done, len(files))
        described = self.describe()
        return Taught(
            outcomes["created"],
            outcomes["replaced"],
            outcomes["unchanged"],
            tuple(skipped),
            described["examples"],
            described["labels"],
        )

    def recall(
        self, paths: Sequence[Path], *, top_k: int = 5, evidence: int = 3, progress: Progress | None = None
    ) -> list[Recalled]:
        """Ask what image files show; one that the server refuses does not stop the others.

        Args:
            paths: The files.
            top_k: Labels per image.
            evidence: Taught images to name per image.
            progress: Told how many images are done.
        """
        query = urlencode({"top_k": top_k, "evidence": evidence})
        answers = []
        for done, path in enumerate(paths, 1):
            try:
                answer = self._ask("POST", f"/recall?{query}", body=path.read_bytes())
                answers.append(_recalled(path, answer["predictions"][0]))
            except DataError as error:
                answers.append(Recalled(str(path), error=f"{path}: {error}"))
            if progress is not None:
                progress(done, len(paths))
        return answers

    def examples(self, *, label: str | None = None, source: str | None = None) -> list[Listed]:
        """List the examples by identifier, of a label or of a source if one is given."""
        query: dict[str, Any] = {"limit": _PAGE}
        if label is not None:
            query["label"] = label
        if source is not None:
            query["source"] = source
        listed: list[Listed] = []
        while True:
            page = self._ask("GET", f"/examples?{urlencode(query)}")
            listed += [
                Listed(each["id"], each["label"], each["negative"], each["source"], each["sha256"], each["taught"])
                for each in page["examples"]
            ]
            if page["next"] is None:
                return listed
            query["after"] = page["next"]

    def correct(self, ids: Sequence[str], label: str, *, negative: bool = False) -> int:
        """Correct what examples show, or say what they do not show; return how many they are.

        Args:
            ids: Of the examples.
            label: What they show.
            negative: It is what they do not show.
        """
        body = json.dumps({"not" if negative else "label": label}).encode()
        for each in ids:
            self._ask("PATCH", f"/examples/{quote(each, safe='')}", body=body)
        return len(ids)

    def forget(self, *, ids: Sequence[str] = (), labels: Sequence[str] = (), sources: Sequence[str] = ()) -> int:
        """Forget examples exactly; return how many they were."""
        which = [f"/examples/{quote(each, safe='')}" for each in ids]
        which += [f"/examples?{urlencode({'label': label})}" for label in labels]
        which += [f"/examples?{urlencode({'source': source})}" for source in sources]
        return sum(int(self._ask("DELETE", each)["forgotten"]) for each in which)

    def verify(self) -> dict[str, Any]:
        """Have the server build the memory anew and compare it: `digest`, and whether it is `equal` and `erased`."""
        return self._ask("POST", "/verify")

    def health(self) -> dict[str, Any]:
        """Examine the memory: what it confuses and doubts, and where more images would help."""
        return self._ask("GET", "/health")

    def export(self) -> bytes:
        """Read the file of the memory, as `ait_lite.class_memory.ClassMemory` reads it."""
        return self._server.send("GET", f"{self._path}/file")[1]

    def import_file(
        self, data: bytes, *, model: str | None = None, keep: str | None = None, replace: bool = False
    ) -> dict[str, Any]:
        """Make the memory of a file, as `export` gives it; return its description.

        Args:
            data: The file.
            model: The model that it belongs to; None is that of the memory that is replaced, or the default one.
            keep: What a new memory keeps of images that it is taught; None is as the server does by default.
            replace: Put it in the place of all that the memory holds; else none of this name may be there.
        """
        query = urlencode({name: value for name, value in (("model", model), ("keep", keep)) if value is not None})
        headers = {} if replace else {"If-None-Match": "*"}
        return self._ask("PUT", f"/file?{query}", body=data, headers=headers)

    def rebind(self, model: str | None = None) -> dict[str, Any]:
        """Have another model look at the kept images, and bind the memory to it; return its description.

        Args:
            model: The model; None is the one of the same name that is served now.
        """
        query = urlencode({} if model is None else {"model": model})
        return self._ask("POST", f"/rebind?{query}")

    def delete(self) -> None:
        """Delete the memory with all that it holds."""
        self._server.send("DELETE", self._path)

    def _ask(self, method: str, path: str = "", **options: Any) -> dict[str, Any]:
        return self._server.ask(method, self._path + path, **options)


def _parts(files: Sequence[LabelledFile]) -> Iterator[tuple[str, list[Path]]]:
    """Split files into requests of one label each."""
    label, paths, size = "", list[Path](), 0
    for file in files:
        length = file.path.stat().st_size
        if paths and (file.label != label or len(paths) == _FILES or size + length > _BYTES):
            yield label, paths
            paths, size = [], 0
        label, size = file.label, size + length
        paths.append(file.path)
    if paths:
        yield label, paths


def _form(paths: Sequence[Path]) -> tuple[bytes, str]:
    """Write files as a multipart form; return it and its content type."""
    boundary = os.urandom(16).hex()
    parts = []
    for path in paths:
        name = path.name.replace("\\", "_").replace('"', "_").replace("\r", "_").replace("\n", "_")
        head = f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n\r\n'
        parts += [head.encode("utf-8", "replace"), path.read_bytes(), b"\r\n"]
    parts.append(f"--{boundary}--\r\n".encode())
    return b"".join(parts), f"multipart/form-data; boundary={boundary}"


def _recalled(path: Path, prediction: dict[str, Any]) -> Recalled:
    without = prediction["without_strongest"] or {}
    return Recalled(
        path=str(path),
        labels=tuple((each["label"], each["score"]) for each in prediction["labels"]),
        unknown=prediction["unknown"],
        reason=prediction["reason"],
        p_value=prediction["p_value"],
        evidence=tuple(
            EvidenceFile(each["id"], each["label"], "", each["similarity"], each["weight"], each["negative"])
            for each in prediction["evidence"]
        ),
        strongest=without.get("id"),
        label_without_strongest=without.get("label"),
    )
