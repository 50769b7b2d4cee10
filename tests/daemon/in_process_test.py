"""The daemon inside another process: quiet, quick, and gone afterwards."""

from __future__ import annotations

import json
import threading
import urllib.error
import urllib.request
from typing import TYPE_CHECKING

import pytest

from st8.core.documents import Document
from st8.core.errors import StateDirectoryInUse
from st8.core.ids import BranchName, Key, Namespace, Scope
from st8.daemon import serve_in_thread
from st8.engine.requests import Apply
from st8.testing.server import running_server

if TYPE_CHECKING:
    from pathlib import Path


def get(url: str, token: str | None = None) -> bytes:
    """Return the body of a GET."""
    request = urllib.request.Request(url)  # noqa: S310 - our own
    if token is not None:
        request.add_header("Authorization", f"Bearer {token}")
    with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310
        body: bytes = answer.read()
        return body


def test_store_outlives_the_server(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """What one server stored the next one serves, and neither says anything."""
    with serve_in_thread(tmp_path) as url:
        body = b'{"documents":[{"key":"a","content":"b"}]}'
        urllib.request.urlopen(url + "/v1/apply", body, 10).close()  # noqa: S310
    with serve_in_thread(tmp_path) as url:
        assert {"a": "b"} == json.loads(get(url + "/v1/state"))["objects"]
    assert ("", "") == capfd.readouterr()


def test_state_directory_in_use(tmp_path: Path) -> None:
    """A state directory that is served can't be served again; then it can."""
    with (
        serve_in_thread(tmp_path),
        pytest.raises(StateDirectoryInUse),
        serve_in_thread(tmp_path),
    ):
        pass
    with serve_in_thread(tmp_path) as url:
        assert b"ok\n" == get(url + "/healthz")


def test_token(tmp_path: Path) -> None:
    """A token that is given is asked for."""
    with serve_in_thread(tmp_path, token="t0ken") as url:
        assert b"revision" in get(url + "/v1/state", "t0ken")
        with pytest.raises(urllib.error.HTTPError) as refused:
            get(url + "/v1/state")
        assert 401 == refused.value.code
        refused.value.close()


def test_no_thread_is_left(tmp_path: Path) -> None:
    """All threads end with the block, also when it raises."""
    before = set(threading.enumerate())
    with pytest.raises(ZeroDivisionError), serve_in_thread(tmp_path):
        raise ZeroDivisionError

    assert set() == set(threading.enumerate()) - before


def test_running_server() -> None:
    """The server for tests and its engine are the same store."""
    with running_server() as server:
        scope = Scope(Namespace("n"), BranchName("b"))
        server.engine.apply(Apply(scope, (Document(Key("k"), "v"),)))
        state = json.loads(get(server.url + "/v1/state?namespace=n&branch=b"))

    assert {"k": "v"} == state["objects"]
