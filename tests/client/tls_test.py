"""TLS: spoken with whom the authorities vouch for, and with nobody else."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from st8.client import Client
from st8.core.errors import InvalidValue, Unreachable
from tests.client.certified import Certified
from tests.client.scripted import always, answer, scripted

if TYPE_CHECKING:
    from pathlib import Path

STATE = answer({"revision": 1, "objects": {"k": "v"}})


def test_trusted_daemon(tmp_path: Path) -> None:
    """A daemon whose authority is named is spoken with, on a kept connection."""
    certified = Certified(tmp_path, "127.0.0.1")
    with (
        scripted(always(STATE), tls=certified.server) as server,
        Client(server.url, ca_file=certified.ca_file) as client,
    ):
        values = [client.get("k"), client.get("k")]

    assert (["v", "v"], 1) == (values, server.connections)


def test_unknown_authority(tmp_path: Path) -> None:
    """A certificate that nobody vouches for gets no request, and no second try."""
    certified = Certified(tmp_path, "127.0.0.1")
    with (
        scripted(always(STATE), tls=certified.server) as server,
        Client(server.url, token="s3cret") as client,
        pytest.raises(Unreachable, match=r"certificate is not trusted.*ca file"),
    ):
        client.apply({"k": "v"})

    assert [] == server.requests


def test_certificate_of_another_host(tmp_path: Path) -> None:
    """A certificate must be for the host of the address."""
    certified = Certified(tmp_path, "elsewhere.example")
    with (
        scripted(always(STATE), tls=certified.server) as server,
        Client(server.url, ca_file=certified.ca_file) as client,
        pytest.raises(Unreachable, match="certificate is for another name"),
    ):
        client.get("k")

    assert [] == server.requests


def test_daemon_without_tls() -> None:
    """An https address of a daemon that speaks plain HTTP is told apart."""
    with (
        scripted(always(b"HTTP/1.1 400 No\r\ncontent-length: 0\r\n\r\n")) as server,
        Client(server.url.replace("http:", "https:")) as client,
        pytest.raises(Unreachable, match="does it speak TLS there"),
    ):
        client.get("k")


def test_file_of_authorities_that_is_not_there(tmp_path: Path) -> None:
    """A missing or broken file of authorities is named."""
    (tmp_path / "broken.pem").write_text("no certificate")
    for name in ("missing.pem", "broken.pem"):
        with (
            Client("https://127.0.0.1:1", ca_file=tmp_path / name) as client,
            pytest.raises(InvalidValue, match=name),
        ):
            client.get("k")
