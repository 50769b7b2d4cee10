"""Properties of the source that readers trip over and no linter looks at.

Every check collects all it finds and compares it with nothing, so a failure
lists each place to mend.
"""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parent.parent
SOURCE_LINES_MAX = 800  # one sitting; the aim is 500

_TOP = ("src", "tests", "bench", "deploy", "docs", "script", ".ci")
_GENERATED = re.compile(r"(?:^|/)(?:__pycache__|node_modules|\.\w+_cache|\.coverage)")
_UNFINISHED = re.compile(r"\b(?:TO[D]O|FIX[M]E|XX[X])\b(?! \(#\d+\))")
_LINK = re.compile(r"(?<!!)\[[^\]\n]*\]\(([^)\s]+)\)")
_SPAN = re.compile(r"`([^`\n]+)`")
_FENCE = re.compile(r"^(```+|~~~+).*?^\1\s*$", re.MULTILINE | re.DOTALL)
_FILE = re.compile(r"[\w.-]*(?:/[\w.-]+)*\.(?:py|md|toml|lock|gz|sh|sql|html|js|css)")
_OWN_FILE = re.compile(r"`([^`\n]+)`:\n\n```")
_FOLDER = re.compile(r"(?:src|tests|bench|deploy|docs|script)/(?:[\w.-]+/?)*")
_MAKE = re.compile(r"(?:^|`)(?:\$ )?make ([a-z-]+)", re.MULTILINE)


@cache
def _files() -> tuple[Path, ...]:
    """Return every text file of the project that people write."""
    found = [path for path in ROOT.iterdir() if path.is_file()]
    for top in _TOP:
        found += [path for path in (ROOT / top).rglob("*") if path.is_file()]
    return tuple(
        path
        for path in sorted(found)
        if path.name != "uv.lock"
        and not _GENERATED.search(_name(path))
        and path.suffix not in {".gz", ".png", ".pyc"}
    )


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def _name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def _pages() -> list[Path]:
    """Return the pages that people read, the changelog's past apart."""
    return [path for path in _files() if path.suffix == ".md"]


def _modules(top: str) -> Iterator[tuple[Path, ast.Module]]:
    for path in _files():
        if path.suffix == ".py" and _name(path).startswith(f"{top}/"):
            yield path, ast.parse(_text(path), filename=str(path))


def _anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as they are made on the web."""
    seen: dict[str, int] = {}
    anchors: set[str] = set()
    for heading in re.findall(r"^#+ +(.+?) *#*$", _unfenced(page), re.MULTILINE):
        slug = re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        count = seen.get(slug, 0)
        seen[slug] = count + 1
        anchors.add(f"{slug}-{count}" if count else slug)
    return anchors


def _unfenced(page: Path) -> str:
    return _FENCE.sub("", _text(page))


def test_nothing_unfinished_is_left_without_an_issue() -> None:
    """A note that something is still to be done names the issue: (#12)."""
    actual = [
        f"{_name(path)}:{number}: {line.strip()}"
        for path in _files()
        for number, line in enumerate(_text(path).splitlines(), 1)
        if _UNFINISHED.search(line)
    ]

    assert [] == actual


def test_links_between_pages_lead_somewhere() -> None:
    """Every relative link of a page names a file, and a heading in it, that exist."""
    actual: list[str] = []
    for page in _pages():
        for link in _LINK.findall(_unfenced(page)):
            if re.match(r"[a-z][a-z0-9+.-]*:", link):
                continue
            target, _, anchor = link.partition("#")
            path = (page.parent / target).resolve() if target else page
            if not path.exists() or (
                anchor and path.suffix == ".md" and anchor not in _anchors(path)
            ):
                actual.append(f"{_name(page)}: {link}")

    assert [] == actual


def test_files_named_in_pages_exist() -> None:
    """A file or folder in `code type` exists, from the root, the page or st8.

    Or the page itself shows what is in it, in the block that follows.
    """
    names = {path.name for path in _files()} | {"uv.lock"}
    actual: list[str] = []
    for page in _pages():
        bases = (ROOT, page.parent, ROOT / "src" / "st8", ROOT / "src")
        own = set(_OWN_FILE.findall(_text(page)))
        for span in _SPAN.findall(_unfenced(page)):
            if not (_FILE.fullmatch(span) or _FOLDER.fullmatch(span)):
                continue
            if span in own or ("/" not in span and span in names):
                continue
            if not any((base / span).exists() for base in bases):
                actual.append(f"{_name(page)}: {span}")

    assert [] == actual


def test_make_targets_named_in_pages_exist() -> None:
    """Every `make x` that a page shows is a target of the Makefile."""
    targets = set(re.findall(r"^([a-z-]+):", _text(ROOT / "Makefile"), re.MULTILINE))
    actual = [
        f"{_name(page)}: make {target}"
        for page in _pages()
        for target in _MAKE.findall(_text(page))
        if target not in targets
    ]

    assert [] == actual


def test_every_test_states_its_claim() -> None:
    """Every test function has a docstring."""
    actual = [
        f"{_name(path)}:{node.lineno}: {node.name}"
        for path, tree in _modules("tests")
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.name.startswith("test_")
        and not ast.get_docstring(node)
    ]

    assert [] == actual


def test_tests_are_where_pytest_finds_them() -> None:
    """Every file with a test function is named *_test.py."""
    actual = [
        _name(path)
        for path, tree in _modules("tests")
        if not path.name.endswith("_test.py")
        and any(
            isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
            and node.name.startswith("test_")
            for node in tree.body
        )
    ]

    assert [] == actual


def test_exports_are_complete() -> None:
    """What one module of st8 takes from another is in the other's __all__, once.

    That __all__ is sorted, and that its names exist, is ruff's to say.
    """
    trees = dict(_modules("src"))
    exports = {
        ".".join(path.relative_to(ROOT / "src").with_suffix("").parts): names
        for path, tree in trees.items()
        if (names := _exported(tree)) is not None
    }
    taken = {
        f"{node.module}: {alias.name}"
        for tree in trees.values()
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        if alias.name not in exports.get(node.module or "", [alias.name])
    }
    twice = {
        f"{module}: {name}"
        for module, names in exports.items()
        for name in names
        if names.count(name) > 1
    }

    assert [] == sorted(taken | twice)


def _exported(tree: ast.Module) -> list[str] | None:
    """Return a module's __all__, or None where it has none."""
    for node in tree.body:
        if isinstance(node, ast.Assign) and any(
            isinstance(target, ast.Name) and target.id == "__all__"
            for target in node.targets
        ):
            return [str(name) for name in ast.literal_eval(node.value)]
    return None


def test_files_can_be_read_in_one_sitting() -> None:
    """No source file is longer than SOURCE_LINES_MAX."""
    actual = {
        _name(path): lines
        for path in _files()
        if _name(path).startswith("src/")
        and (lines := len(_text(path).splitlines())) > SOURCE_LINES_MAX
    }

    assert {} == actual


def test_file_names_say_what_is_in_them() -> None:
    """No file is named for only being useful."""
    vague = re.compile(r"(?:^|_)(?:utils?|helpers?|misc|common|managers?)(?:_|\.|$)")

    assert [] == [_name(path) for path in _files() if vague.search(path.name)]


def test_text_is_clean() -> None:
    """Lines end in LF, without white space before it; files end in one newline."""
    actual: list[str] = []
    for path in _files():
        text = path.read_bytes().decode("utf-8")
        if not text:
            continue
        if "\r" in text or not text.endswith("\n") or text.endswith("\n\n"):
            actual.append(_name(path))
        actual += [
            f"{_name(path)}:{number}"
            for number, line in enumerate(text.split("\n"), 1)
            if line != line.rstrip(" \t")
        ]

    assert [] == actual


def test_scripts_can_be_run() -> None:
    """Every script has a shebang, the executable bit and says what it does."""
    actual: list[str] = []
    for path in _files():
        if not _name(path).startswith(("script/", ".ci/")):
            continue
        first, second = _text(path).splitlines()[:2]
        if not (
            first.startswith("#!")
            and second.startswith("# ")
            and path.stat().st_mode & 0o111
        ):
            actual.append(_name(path))

    assert [] == actual
