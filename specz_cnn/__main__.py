"""``python -m specz_cnn``: the same as the command ``specz-cnn``."""

from __future__ import annotations

import sys

from specz_cnn.cli import main

if __name__ == "__main__":
    sys.exit(main())
