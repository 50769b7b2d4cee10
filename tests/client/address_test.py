"""Addresses of daemons: what is taken, what is refused, and how it is shown."""

from __future__ import annotations

import pytest

from st8.client import Client
from st8.client._address import Address
from st8.core.errors import InvalidValue


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://127.0.0.1:8748", Address(False, "127.0.0.1", 8748)),
        ("http://127.0.0.1:8748/", Address(False, "127.0.0.1", 8748)),
        ("https://st8d.example", Address(True, "st8d.example", 443)),
        ("http://st8d.example/a/b/", Address(False, "st8d.example", 80, "/a/b")),
        ("http://[::1]:8748", Address(False, "::1", 8748)),
        ("HTTP://Host:1", Address(False, "host", 1)),
        ("unix:/run/st8d.sock", Address(False, "localhost", 80, "", "/run/st8d.sock")),
        (
            "unix:///run/st8d.sock",
            Address(False, "localhost", 80, "", "/run/st8d.sock"),
        ),
        ("unix:st8d.sock", Address(False, "localhost", 80, "", "st8d.sock")),
    ],
)
def test_address(url: str, expected: Address) -> None:
    """A URL is taken apart, defaults filled in."""
    assert expected == Address.parse(url)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "127.0.0.1:8748",
        "localhost:8748",
        "ftp://host",
        "unix:",
        "unix:///",
        "unix://host/run/st8d.sock",
        "unix:/a\0b",
        "unix:/a\ud800",
        "http://a..b",
        "http://" + "a" * 64,
        "http://",
        "http://host:99999",
        "http://host:x",
        "http://[::1",
        "http://host/?token=x",
        "http://host/#x",
        "http://höst",
        "http://ho st",
        "http://host/a b",
        "http://host\r\nx: y",
    ],
)
def test_what_is_no_address(url: str) -> None:
    """What is no address is refused before anything is sent."""
    with pytest.raises(InvalidValue, match=r"^server url: "):
        Client(url)


def test_password_in_an_address() -> None:
    """A password has no place in an address, and is not shown."""
    with pytest.raises(InvalidValue) as raised:
        Client("http://user:s3cret@host")

    assert (
        "server url: must not hold a user name or password; use a token"
    ) == raised.value.detail


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://st8d.example/", "https://st8d.example:443"),
        ("http://[::1]:8748", "http://[::1]:8748"),
        ("http://a/b/", "http://a:80/b"),
        ("unix:///run/st8d.sock", "unix:/run/st8d.sock"),
    ],
)
def test_shown(url: str, expected: str) -> None:
    """An address is shown as a URL that leads to the same place."""
    assert expected == Address.parse(url).url
    assert Address.parse(url) == Address.parse(expected)
    assert f"Client({expected!r}, namespace='n', branch='main')" == repr(
        Client(url, namespace="n")
    )


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"timeout_s": 0.0}, "timeout_s: must be more than 0; None for no limit"),
        ({"timeout_s": -1.0}, "timeout_s: must be more than 0; None for no limit"),
        ({"timeout_s": float("nan")}, "timeout_s: must be more than 0; None for no"),
        ({"retries": -1}, "retries: must not be negative"),
        ({"namespace": "a\n"}, "namespace: "),
        ({"branch": "x" * 257}, "branch of 257 bytes"),
    ],
)
def test_settings_that_can_not_be_right(
    settings: dict[str, object], message: str
) -> None:
    """A client is not made with what could never work."""
    with pytest.raises(Exception, match=message):
        Client("http://127.0.0.1:1", **settings)  # type: ignore[arg-type]
