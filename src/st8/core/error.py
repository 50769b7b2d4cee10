"""What every error of st8 has; :mod:`st8.core.errors` has the tree of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["BY_STATUS", "CLASSES", "Outcome", "St8Error", "did_you_mean"]

Outcome = Literal["none", "unknown"]

CLASSES: dict[str, type[St8Error]] = {}
"""Every class by its code."""


class St8Error(Exception):
    """Root of the tree.

    Attributes:
        detail: One sentence: what was wrong, where, and what would be right.
        fields: The facts behind the sentence, by name; JSON values only. Each
            is also an attribute of the error.
    """

    code: ClassVar[str] = "error"
    title: ClassVar[str] = "Error"
    http_status: ClassVar[int] = 500
    exit_code: ClassVar[int] = 1
    retryable: ClassVar[bool] = False
    outcome: ClassVar[Outcome] = "none"

    def __init_subclass__(cls) -> None:
        """Have the class found by its code, if it has one of its own."""
        super().__init_subclass__()
        if "code" in vars(cls):
            CLASSES.setdefault(cls.code, cls)

    def __init__(self, detail: str, /, **fields: object) -> None:
        """Make the error; ``fields`` become attributes."""
        super().__init__(detail)
        self.__dict__.update(fields)
        self.detail = detail
        self.fields: dict[str, object] = fields

    def problem(self) -> dict[str, object]:
        """Return the RFC 9457 problem object; ``detail`` comes first.

        The Go client prints the body as it came, so the sentence leads.
        """
        body: dict[str, object] = {
            "detail": self.detail,
            "code": self.code,
            "title": self.title,
            "status": self.http_status,
            "retryable": self.retryable,
            "outcome": self.outcome,
        }
        body.update({k: v for k, v in self.fields.items() if k not in body})
        return body

    @staticmethod
    def from_problem(problem: Mapping[str, object]) -> St8Error:
        """Rebuild the error that a server rendered.

        A ``code`` this version does not know gives the nearest class by status,
        so an old client still tells a conflict from a missing key.
        """
        code = problem.get("code")
        status = problem.get("status")
        cls = CLASSES.get(code) if isinstance(code, str) else None
        if cls is None:
            cls = BY_STATUS.get(status, St8Error) if isinstance(status, int) else None
        if cls is None:
            cls = St8Error
        known = {"detail", "code", "title", "status", "retryable", "outcome", "type"}
        error = cls.__new__(cls)
        detail = problem.get("detail")
        St8Error.__init__(
            error,
            detail if isinstance(detail, str) else "the server gave no detail",
            **{
                name: value
                for name, value in problem.items()
                if name not in known and not hasattr(cls, name)
            },
        )
        return error


CLASSES[St8Error.code] = St8Error

BY_STATUS: dict[int, type[St8Error]] = {}
"""The class for a code that is not known, by HTTP status; the module that has them fills it."""


def did_you_mean(name: str, known: list[str]) -> str:
    """Return the end of a sentence that offers the nearest of ``known``."""
    import difflib  # noqa: PLC0415 - only needed on a mistake; keeps start-up short

    near = difflib.get_close_matches(name, known, n=1)
    if near:
        return f"did you mean {near[0]!r}?"
    return "known are " + ", ".join(known) if known else "it takes none"
