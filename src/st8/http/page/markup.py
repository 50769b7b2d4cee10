"""HTML as a tree of elements, so that no text can become markup by accident."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, TypeAlias
from xml.etree.ElementTree import Element, tostring

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = [
    "Child",
    "Element",
    "code",
    "element",
    "joined",
    "link",
    "prose",
    "render",
]

Child: TypeAlias = "Element | str"
"""What stands in an element; text is escaped when the page is written."""

_CODE_SPAN = re.compile(r"(?<!`)(`{1,2})(?!`)(.+?)(?<!`)\1(?!`)", re.DOTALL)


def element(tag: str, *children: Child, **attributes: str) -> Element:
    """Return an element; ``class_`` and ``for_`` stand for the words of Python."""
    made = Element(tag, {name.rstrip("_"): text for name, text in attributes.items()})
    last: Element | None = None
    for child in children:
        if not isinstance(child, str):
            made.append(child)
            last = child
        elif last is None:
            made.text = (made.text or "") + child
        else:
            last.tail = (last.tail or "") + child
    return made


def code(text: str) -> Element:
    """Return ``text`` as code."""
    return element("code", text)


def link(target: str, *children: Child) -> Element:
    """Return a link to ``target``."""
    return element("a", *children, href=target)


def prose(text: str) -> list[Child]:
    """Return a text, white space made plain, with what is in backticks as code."""
    children: list[Child] = []
    position = 0
    text = " ".join(text.split())
    for span in _CODE_SPAN.finditer(text):
        children += (text[position : span.start()], code(span[2]))
        position = span.end()
    return [*children, text[position:]]


def render(root: Element) -> str:
    """Return a whole document. Text in ``style`` is written as it is."""
    return "<!doctype html>\n" + tostring(root, encoding="unicode", method="html")


def joined(parts: Iterable[Child], separator: str) -> list[Child]:
    """Return ``parts`` with ``separator`` between them."""
    children: list[Child] = []
    for part in parts:
        children += (separator, part) if children else (part,)
    return children
