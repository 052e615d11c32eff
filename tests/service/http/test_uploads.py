"""Uploaded forms."""

from __future__ import annotations

from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from tests.support.servers.service_client import IMAGE, labels, post, problem

FUZZ = hypothesis_settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


def test_forms(client: TestClient) -> None:
    problem(client.post("/v1/classify", files={"image": IMAGE}), 400, "no-file")
    problem(client.post("/v1/classify", files={"file": ("a.png", b"")}), 400, "empty-image")
    problem(client.post("/v1/classify", files=[("file", IMAGE)] * 5), 413, "too-many-files")
    problem(client.post("/v1/classify", files={"file": bytes(2_000_000)}), 413, "too-many-bytes")
    assert len(labels(client.post("/v1/classify", files=[("file", IMAGE)] * 4))) == 4
    multipart = {"content-type": "multipart/form-data; boundary=x"}
    whole = b'--x\r\nContent-Disposition: form-data; name="file"\r\n\r\n' + IMAGE + b"\r\n--x--\r\n"
    assert labels(post(client, whole, headers=multipart)) == labels(post(client))
    for broken in (b"", b"--x", b"nonsense", whole[:-30], whole.replace(b"--x--", b"--y--")):
        problem(post(client, broken, headers=multipart), 400, "malformed-form")
    problem(post(client, whole[5:], headers=multipart), 400, "no-file")  # the end of the form is all of it
    problem(post(client, whole, headers={"content-type": "multipart/form-data"}), 400, "malformed-form")


def test_of_several_files_the_bad_one_is_named(client: TestClient) -> None:
    files = [("file", ("good.png", IMAGE)), ("file", ("notes.txt", b"text"))]
    document = problem(client.post("/v1/classify", files=files), 415, "unsupported-format")
    assert document["index"] == 1
    assert document["detail"].startswith("File 2 (notes.txt): ")


@FUZZ
@given(
    body=st.lists(
        st.sampled_from([b"--x", b"--", b"\r\n", b"Content-Disposition: form-data; ", b'name="file"', b"; filename=a"])
        | st.binary(max_size=8)
    )
)
def test_damaged_forms_never_break_the_server(client: TestClient, body: list[bytes]) -> None:
    response = post(client, b"".join(body), headers={"content-type": "multipart/form-data; boundary=x"})
    assert response.status_code in (400, 413, 415, 422), response.text
