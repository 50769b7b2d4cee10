"""The bugs that the rigs have to find, each named with the rig that is there for it.

Some are switches of the rig's own test. The others are changes of a line of the source:
the tests of the rig are run against a copy in which it is changed, and have to fail.
"""

from __future__ import annotations

from typing import Final, NamedTuple

__all__ = ["PLANTED", "Patch", "Planted"]


class Patch(NamedTuple):
    """A change of the source.

    Attributes:
        file: Below ``src/st8``.
        old: What stands there once.
        new: What stands there instead.
        tests: What of the rig is run, as pytest has it.
    """

    file: str
    old: str
    new: str
    tests: tuple[str, ...]


class Planted(NamedTuple):
    """A bug.

    Attributes:
        name: What is wrong.
        rig: The rig that is there for it.
        found_by: The patch, or the test that plants it, as ``file::test``.
    """

    name: str
    rig: str
    found_by: Patch | str


PLANTED: Final = (
    Planted(
        "NORMAL sync",
        "power",
        "tests/crash/power_test.py::test_the_rig_finds_a_planted_bug",
    ),
    Planted(
        "acknowledge before commit",
        "crash",
        "tests/crash/kill_test.py::test_the_rig_finds_a_planted_bug",
    ),
    Planted(
        "revision taken outside the lock",
        "linear",
        Patch(
            # The other stores have a constraint beside, which would not let it pass.
            "store/memory.py",
            "if self._last.get(name, 0) != expected:",
            "if False:",
            ("tests/linear/rig_test.py::test_in_memory",),
        ),
    ),
    Planted(
        "batch in two commits",
        "faults",
        "tests/crash/faults_test.py::test_the_rig_finds_a_planted_bug",
    ),
    Planted(
        "watch registers after the state snapshot",
        "watch",
        "tests/watch/rig_test.py::test_the_rig_finds_a_planted_bug",
    ),
    Planted(
        "resume from n instead of n+1",
        "watch",
        "tests/watch/rig_test.py::test_the_rig_finds_a_planted_bug",
    ),
    Planted(
        "lossy UTF-8",
        "abuse",
        Patch(
            "http/query_string.py",
            "return raw.decode()",
            'return raw.decode(errors="replace")',
            ("tests/http_abuse/bodies_test.py",),
        ),
    ),
    Planted(
        "hash skipped on read",
        "corrupt",
        "tests/corrupt/rig_test.py::test_a_planted_bug_is_found",
    ),
    Planted(
        "revision row outside the chain",
        "corrupt",
        "tests/corrupt/rig_test.py::test_a_planted_bug_is_found",
    ),
    Planted(
        "retry after fsync error",
        "faults",
        "tests/crash/faults_test.py::test_the_rig_finds_a_planted_bug",
    ),
    Planted(
        "`==` on tokens",
        "access",
        Patch(
            "auth/tokens.py",
            "if not hmac.compare_digest(entry.digest, digest):",
            "if entry.digest != digest:",
            ("tests/auth/comparing_test.py",),
        ),
    ),
    Planted(
        "`startswith` scope",
        "access",
        Patch(
            "auth/globs.py",
            "re.DOTALL).fullmatch",
            "re.DOTALL).match",
            ("tests/auth/authoriser_test.py", "tests/auth/policy_file_test.py"),
        ),
    ),
    Planted(
        "unbounded queue",
        "bounds",
        "tests/bounds/memory_test.py::test_what_is_not_bounded_is_found",
    ),
    Planted(
        "migration without transaction",
        "upgrade",
        "tests/upgrade/upgrade_test.py::test_the_rig_finds_a_planted_bug",
    ),
)
"""In the order of the plan."""
