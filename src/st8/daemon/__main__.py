"""``python -m st8.daemon`` is st8d."""

from __future__ import annotations

import sys

from st8.daemon.program import main

if __name__ == "__main__":
    sys.exit(main())
