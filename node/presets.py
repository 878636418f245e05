"""Where the files of configs/ are: beside the packages in a checkout, under share/ once installed."""

import sys
from pathlib import Path

from node.config import ConfigError


def preset_file(name: str) -> Path:
    """The file of a preset, by its name without ending, or its path with it. Raises ConfigError."""
    if name.endswith(".toml"):
        return Path(name)
    return _installed(Path(f"{name}.toml"), f"the preset {name}")


def network_file(name: str) -> Path:
    """The file of a network's profile, by the network's name. Raises ConfigError."""
    return _installed(Path("networks", f"{name}.toml"), f"the network profile {name}")


def _installed(file: Path, what: str) -> Path:
    candidates = (
        Path(__file__).parent.parent / "configs" / file,
        Path(sys.prefix) / "share" / "roundabout" / "configs" / file,
    )
    for path in candidates:
        if path.is_file():
            return path
    raise ConfigError(f"{what} is not installed; install the distribution roundabout-learning anew")
