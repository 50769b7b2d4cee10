"""The HTTP API: a table of operations over an engine, as an ASGI application."""

from __future__ import annotations
