"""docs/architecture.md names every dependency, and every decision has its page."""

from __future__ import annotations

import re
import tomllib
from importlib.metadata import packages_distributions

from tests.docs.shell import ROOT

PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")


def _dependencies() -> list[str]:
    """Return the names of what st8 needs to run."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    lines: list[str] = project["project"]["dependencies"]
    for extra in project["project"]["optional-dependencies"].values():
        lines += extra
    return [re.split(r"[<>=;\[ ]", line)[0] for line in lines]


def _normal(name: str) -> str:
    """Return a distribution's name as package indexes compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def test_every_dependency_has_its_reason() -> None:
    """Each dependency has a row of the table, with a purpose and a reason."""
    _, _, section = PAGE.partition("## Dependencies\n")
    table, _, _ = section.partition("\n## ")
    rows = re.findall(r"^\| `([\w-]+)` \| ([^|]+) \| ([^|]+) \|$", table, re.MULTILINE)

    assert sorted(_dependencies()) == [name for name, _, _ in rows]
    assert all(purpose.strip() and reason.strip() for _, purpose, reason in rows)


def test_every_dependency_is_used() -> None:
    """No dependency is there that no module of st8 imports."""
    source = "\n".join(
        path.read_text(encoding="utf-8") for path in (ROOT / "src").rglob("*.py")
    )
    imported = set(re.findall(r"^\s*(?:from|import) (\w+)", source, re.MULTILINE))
    modules: dict[str, set[str]] = {}
    for module, distributions in packages_distributions().items():
        for distribution in distributions:
            modules.setdefault(_normal(distribution), set()).add(module)

    assert [] == [
        name for name in _dependencies() if not modules[_normal(name)] & imported
    ]


def test_every_decision_is_listed() -> None:
    """Each page of docs/design is linked, under its own title."""
    linked = re.findall(r"^\| \[\d+\]\((design/.+?)\) \| (.+) \|$", PAGE, re.MULTILINE)
    pages = sorted((ROOT / "docs" / "design").glob("*.md"))
    titles = [
        (f"design/{page.name}", page.read_text(encoding="utf-8").splitlines()[0])
        for page in pages
    ]

    assert [
        (link, f"# {number}. {title}") for number, (link, title) in enumerate(linked, 1)
    ] == titles


def test_every_module_of_the_map_is_there() -> None:
    """The map names folders and modules that exist, and every folder of st8."""
    named = set(re.findall(r"`((?:\w+/)+(?:\w+\.py)?|\w+\.py)`", PAGE))
    source = ROOT / "src" / "st8"
    packages = {f"{path.parent.name}/" for path in source.glob("*/__init__.py")}

    assert [] == [name for name in sorted(named) if not (source / name).exists()]
    assert set() == packages - named
