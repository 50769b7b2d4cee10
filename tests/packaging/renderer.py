"""Renders the chart with Helm: as a library where it is installed, else the program.

The library is Go, with a runtime of its own, so it gets a process of its own: this
file is that program too.
"""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import yaml

__all__ = ["CHART", "RefusedError", "has_helm", "lint", "render", "render_notes"]

CHART = Path(__file__).resolve().parents[2] / "deploy" / "helm" / "st8d"
_LIBRARY = "helm_python"


class RefusedError(Exception):
    """Helm does not render it; the message is Helm's."""


def has_helm() -> bool:
    """Return whether anything here can render a chart."""
    return _has_library() or shutil.which("helm") is not None


def _has_library() -> bool:
    return importlib.util.find_spec(_LIBRARY) is not None


def render(values: dict[str, Any]) -> list[dict[str, Any]]:
    """Return what the chart makes of ``values``, as release demo in namespace prod.

    Raises:
        RefusedError: Helm, or the chart, does not take them.
    """
    if _has_library():
        files: dict[str, str] = _ask({"values": values})
        texts = [text for name, text in files.items() if name.endswith(".yaml")]
    else:
        texts = [_helm("template", "demo", "--namespace=prod", values=values)]
    return [found for text in texts for found in yaml.safe_load_all(text) if found]


def render_notes(values: dict[str, Any]) -> str:
    """Return what Helm says after it has installed the chart; the library only."""
    files: dict[str, str] = _ask({"values": values})
    return next(text for name, text in files.items() if name.endswith("/NOTES.txt"))


def lint(values: dict[str, Any]) -> list[str]:
    """Return what Helm would have otherwise, mere advice apart."""
    if not _has_library():
        text = _helm("lint", "--strict", "--quiet", values=values)
        return [line for line in text.splitlines() if "[ERROR]" in line]
    found: list[str] = _ask({"values": values, "lint": True})
    return found


def _ask(question: dict[str, Any]) -> Any:
    done = subprocess.run(
        [sys.executable, __file__],
        input=json.dumps(question),
        capture_output=True,
        text=True,
        check=True,
    )
    answer = json.loads(done.stdout)
    if "refused" in answer:
        raise RefusedError(answer["refused"])
    return answer["done"]


def _helm(command: str, *arguments: str, values: dict[str, Any]) -> str:
    done = subprocess.run(
        ["helm", command, *arguments, str(CHART), "--values=/dev/stdin"],
        input=json.dumps(values),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RefusedError(done.stderr)
    return done.stdout


def _main() -> None:
    question = json.load(sys.stdin)
    helm = import_module(_LIBRARY)
    answer: dict[str, Any]
    try:
        if question.get("lint"):
            report = helm.lint(str(CHART), question["values"], strict=True)
            advice = 1
            found = [m["error"] for m in report["messages"] if m["severity"] > advice]
            answer = {"done": [*found, *report["errors"]]}
        else:
            with helm.Chart.load(str(CHART)) as chart:
                answer = {
                    "done": chart.render(
                        question["values"], name="demo", namespace="prod"
                    )
                }
    except helm.HelmError as error:
        answer = {"refused": str(error)}
    json.dump(answer, sys.stdout)


if __name__ == "__main__":
    _main()
