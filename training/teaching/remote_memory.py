"""A memory of classes on a server: the same as `training.teaching.memory` on files, over HTTP.

The server does the work, so nothing here needs the model.
"""

import json
import os
from collections.abc import Iterator, Sequence
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final
from urllib.error import HTTPError, URLError
from urllib.parse import quote, urlencode
from urllib.request import Request, urlopen

from training.errors import DataError
from training.teaching.answers import EvidenceFile, Recalled, Taught
from training.teaching.files import LabelledFile, Progress

KEY: Final = "AIT_KEY"  # the variable with the API key
_SECONDS: Final = 120
_FILES: Final = 8  # images of one request; more would show less progress
_BYTES: Final = 8_000_000  # of them together, well below what servers accept


class RemoteMemory:
    """A memory of a server.

    Args:
        url: Where the server is, such as http://localhost:8000.
        name: Of the memory.
        key: API key; None takes that of the variable AIT_KEY, if there is one.
    """

    def __init__(self, url: str, name: str, key: str | None = None) -> None:
        self._root = url.rstrip("/")
        self._path = f"/v1/memories/{quote(name, safe='')}"
        self._key = key or os.environ.get(KEY)

    def create(self, **options: Any) -> tuple[dict[str, Any], bool]:
        """Create the memory; options are those of ``PUT /v1/memories/{memory}``.

        Returns:
            Its description, and whether it is new: one of these options may have been there.

        Raises:
            DataError: The server refuses it, as all methods may; the message is the server's own.
        """
        status, described = self._send("PUT", body=json.dumps(options).encode())
        return json.loads(described), status == HTTPStatus.CREATED

    def describe(self) -> dict[str, Any]:
        """Describe the memory."""
        return self._ask("GET")

    def teach(
        self, files: Sequence[LabelledFile], *, skip_broken: bool = False, progress: Progress | None = None
    ) -> Taught:
        """Teach labelled image files; an image that is known already is taught its new label.

        Args:
            files: The files.
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
            query = urlencode({"label": label})
            answer = self._ask("POST", f"/examples?{query}", body=body, content_type=content_type)
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

    def forget(self, *, ids: Sequence[str] = (), labels: Sequence[str] = ()) -> int:
        """Forget examples exactly; return how many they were."""
        which = [f"/examples/{quote(each, safe='')}" for each in ids]
        which += [f"/examples?{urlencode({'label': label})}" for label in labels]
        return sum(int(self._ask("DELETE", each)["forgotten"]) for each in which)

    def verify(self) -> dict[str, Any]:
        """Have the server build the memory anew and compare it: `digest`, and whether it is `equal` and `erased`."""
        return self._ask("POST", "/verify")

    def export(self) -> bytes:
        """Read the file of the memory, as `ait_lite.class_memory.ClassMemory` reads it."""
        return self._read("GET", "/file")

    def _ask(self, method: str, path: str = "", **options: Any) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(self._read(method, path, **options))
        return answer

    def _read(self, method: str, path: str = "", **options: Any) -> bytes:
        return self._send(method, path, **options)[1]

    def _send(
        self, method: str, path: str = "", *, body: bytes | None = None, content_type: str = "application/octet-stream"
    ) -> tuple[int, bytes]:
        """Ask the server; return the status and the body of its answer."""
        headers = {"Content-Type": content_type}
        if self._key:
            headers["Authorization"] = f"Bearer {self._key}"
        try:
            request = Request(self._root + self._path + path, data=body, headers=headers, method=method)
            with urlopen(request, timeout=_SECONDS) as answer:
                return answer.status, answer.read()
        except HTTPError as error:
            raise DataError(_detail(error)) from None
        except (URLError, OSError, ValueError) as error:
            reason = getattr(error, "reason", error)
            if not self._root.startswith(("http://", "https://")):
                raise DataError(f"{self._root} is no address of a server: begin with http:// or https://") from None
            raise DataError(f"{self._root} does not answer: {reason}. Is a server running there?") from None


def _detail(error: HTTPError) -> str:
    try:
        detail = json.loads(error.read())["detail"]
    except (ValueError, KeyError, TypeError):
        return f"the server answered with status {error.code}"
    return f"{detail} ({KEY} may hold a key)" if error.code == 401 else str(detail)


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
