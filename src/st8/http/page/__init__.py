"""The page at ``/docs``: the API as people read it, made from the same table.

It is one file without scripts that asks no other host for anything, so it works
wherever the daemon does.
"""

from st8.http.page.reference import DocsPage, make_page

__all__ = ["DocsPage", "make_page"]
