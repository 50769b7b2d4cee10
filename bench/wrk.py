"""Runs wrk, which makes the load, and reads what it says."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Final, NamedTuple

__all__ = ["Load", "apply", "present", "run"]

_APPLY: Final = Path(__file__).resolve().with_name("apply.lua")

_UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0}


class Load(NamedTuple):
    """What one run of wrk saw.

    Attributes:
        requests: Answered requests.
        rate: Of these a second.
        failed: Those that were not 200 or 304, and broken connections.
        median_s, p99_s, longest_s: How long an answer took.
    """

    requests: int
    rate: float
    failed: int
    median_s: float
    p99_s: float
    longest_s: float


def present() -> bool:
    """Return whether wrk is installed."""
    return shutil.which("wrk") is not None


def run(
    url: str,
    clients: int,
    seconds: float,
    *,
    script: Path | None = None,
    argument: str = "",
    headers: tuple[str, ...] = (),
) -> Load:
    """Send requests over ``clients`` keep-alive connections for some seconds.

    One thread makes them all: it can do several times what a daemon answers.
    """
    command = ["wrk", "-t1", f"-c{clients}", f"-d{seconds:g}s", "--latency"]
    for header in headers:
        command += ["-H", header]
    if script is not None:
        command += ["-s", str(script)]
    command += [url, "--", argument]
    done = subprocess.run(command, capture_output=True, check=True, text=True)
    return _read(done.stdout)


def _read(text: str) -> Load:
    requests = re.search(r"(\d+) requests in", text)
    rate = re.search(r"Requests/sec:\s+([\d.]+)", text)
    assert requests is not None, text
    assert rate is not None, text
    failed = re.search(r"Non-2xx or 3xx responses: (\d+)", text)
    errors = re.search(r"Socket errors: (.*)", text)
    broken = sum(map(int, re.findall(r"\d+", errors[1]))) if errors else 0
    return Load(
        int(requests[1]),
        float(rate[1]),
        broken + (int(failed[1]) if failed else 0),
        _percentile(text, 50),
        _percentile(text, 99),
        _longest(text),
    )


def apply(daemon_url: str, clients: int, seconds: float, turn: int) -> Load:
    """Send applies to a daemon, others in each turn; none of them fails."""
    load = run(
        f"{daemon_url}/v1/apply",
        clients,
        seconds,
        script=_APPLY,
        argument=str(turn),
    )
    assert not load.failed, load
    return load


def _percentile(text: str, percent: int) -> float:
    found = re.search(rf"^\s+{percent}%\s+([\d.]+)(us|ms|s|m)$", text, re.MULTILINE)
    return float(found[1]) * _UNITS[found[2]] if found else 0.0


def _longest(text: str) -> float:
    found = re.search(
        r"Latency(?:\s+[\d.]+(?:us|ms|s|m)){2}\s+([\d.]+)(us|ms|s|m)", text
    )
    return float(found[1]) * _UNITS[found[2]] if found else 0.0
