"""Where the files of configs/ are: beside the packages in a checkout, under share/ once installed."""

import sys
from pathlib import Path

from node.config import ConfigError


def preset_file(name: str) -> Path:
    """The file of a preset, by its name without ending. Raises ConfigError."""
    candidates = (
        Path(__file__).parent.parent / "configs" / f"{name}.toml",
        Path(sys.prefix) / "share" / "roundabout" / "configs" / f"{name}.toml",
    )
    for path in candidates:
        if path.is_file():
            return path
    raise ConfigError(
        f"the preset {name} is not installed; install the distribution roundabout-learning anew"
    )
