"""docs/access-control.md says what the policy file has, all of it and nothing else."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from st8.auth import policy_file, provider_fields, rule_fields
from st8.auth.certificates import KINDS
from st8.auth.key_ring import ALGORITHMS
from st8.auth.policy_file import read_policy
from tests.docs.shell import ROOT, Block, blocks_of

if TYPE_CHECKING:
    from pathlib import Path

PAGE = ROOT / "docs" / "access-control.md"
TEXT = PAGE.read_text(encoding="utf-8")
EXAMPLES = [block for block in blocks_of(PAGE) if block.language == "yaml"]


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.heading)
def test_examples_are_read(tmp_path: Path, example: Block) -> None:
    """Every example of the page is a policy file."""
    path = tmp_path / "policy.yaml"
    path.write_text(example.text, encoding="utf-8")
    policy = read_policy(path)

    assert policy.tokens or policy.providers
    for token in policy.tokens:
        assert token.principal.access.somewhere("read")


def test_sections_are_those_of_the_file() -> None:
    """The first example has every section, and a heading follows for each."""
    sections = tuple(re.findall(r"^(\w+):", EXAMPLES[0].text, re.MULTILINE))

    assert sections == policy_file._FILE


@pytest.mark.parametrize(
    ("head", "fields"),
    [
        ("rule", rule_fields._RULE),
        ("token", policy_file._TOKEN),
        ("certificate", (*policy_file._ENTRY, *KINDS)),
        ("provider", provider_fields._PROVIDER),
        ("claim rule", provider_fields._CLAIM_RULE),
        ("protection", policy_file._PROTECTED),
    ],
)
def test_tables_have_every_field(head: str, fields: tuple[str, ...]) -> None:
    """Each table has the fields of its part of the file, in their order."""
    table = re.search(rf"^\| {head} \|.*\n\|.*\n((?:\|.*\n)+)", TEXT, re.MULTILINE)
    assert table is not None

    assert list(fields) == re.findall(r"^\| `(\w+)` \|", table[1], re.MULTILINE)


def test_algorithms_are_named() -> None:
    """The signatures that are taken are those of the page."""
    assert ", ".join(ALGORITHMS) in TEXT
