"""Requests made up from the description of the interface; none may bring what the description does not say.

    python -m tests.support.fuzz.interface --examples 300

starts a server, sends it up to that many to each operation, valid and invalid ones, and reports statuses.
"""

from __future__ import annotations

import argparse
import hashlib
from collections import Counter
from collections.abc import Callable
from typing import Any

import httpx
import requests
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from schemathesis import Case, GenerationMode
from schemathesis.openapi import from_dict
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.support.servers.running_server import running_server

CHECKS = [
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
_SENT = ("method", "url", "headers", "files", "data", "params", "auth", "cookies", "json")

Send = Callable[[requests.PreparedRequest], Any]  # an httpx response


def walk(document: dict[str, Any], send: Send, *, examples: int, names: dict[str, str]) -> Counter[str]:
    """Tries all operations.

    Args:
        document: the OpenAPI document.
        send: sends a request to the server that it describes.
        examples: most requests of an operation and kind (valid, invalid).
        names: values that path parameters have in half of them, so that more than what is not there is reached.

    Returns:
        How often each operation gave each status.

    Raises:
        AssertionError: an answer has a status of 500 or one that is not documented, or another content type, headers
            or body than documented.
    """
    statuses: Counter[str] = Counter()
    for result in from_dict(document).get_all_operations():
        operation = result.ok()
        fixed = {name: value for name, value in names.items() if f"{{{name}}}" in operation.path}
        for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
            cases = operation.as_strategy(generation_mode=mode)
            if fixed:
                cases = cases | operation.as_strategy(generation_mode=mode, path_parameters=fixed)
            try:
                _try(cases, send, examples, statuses)
            except Unsatisfiable:  # with nothing to send, nothing can be wrong
                assert mode is GenerationMode.NEGATIVE
    return statuses


def _try(cases: st.SearchStrategy[Case], send: Send, examples: int, statuses: Counter[str]) -> None:
    @seed(0)
    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=cases)
    def run(case: Case) -> None:
        arguments = case.as_transport_kwargs(base_url="http://testserver")
        request = requests.Request(**{name: value for name, value in arguments.items() if name in _SENT}).prepare()
        response = send(request)
        statuses[f"{case.method} {case.path} {response.status_code}"] += 1
        assert response.status_code != 500, (request.method, request.url, request.headers, request.body)
        case.validate_response(response, checks=CHECKS)

    run()


def sender(client: Any, **headers: str) -> Send:
    """Sends with a client of httpx, and these headers where the request has none of the name."""

    def send(request: requests.PreparedRequest) -> Any:
        url = str(request.url).removeprefix("http://testserver")
        return client.request(request.method, url, content=request.body, headers={**headers, **request.headers})

    return send


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--examples", type=int, default=300)
    examples = parser.parse_args().examples
    digest = hashlib.sha256(b"admin").hexdigest()
    with (
        running_server(AIT_ACCESS_LOG="false", AIT_ADMIN_KEY_SHA256=digest) as (url, _),
        httpx.Client(base_url=url, timeout=60) as client,
    ):
        document = client.get("/openapi.json").json()
        names = {"model": client.get("/v1/models").json()["default"], "version": "1"}
        statuses = walk(document, sender(client, authorization="Bearer admin"), examples=examples, names=names)
    for what, count in sorted(statuses.items()):
        print(f"{count:7} {what}")
    print(f"{statuses.total():7} requests, all answered as documented")


if __name__ == "__main__":
    main()
