"""Names for what public functions take, for their annotations."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

__all__ = ["Device", "ModelName", "PathLike", "Table"]

PathLike = str | os.PathLike[str]
#: Name or tag of a packaged model, or path of a weights file.
ModelName = str | os.PathLike[str]
#: An astropy table, which has no types of its own.
Table = Any

if TYPE_CHECKING:
    import torch

    Device = str | torch.device | None
else:  # torch takes a second to import
    Device = Any
