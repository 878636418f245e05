"""A virtual environment with colearn's last PyPI release, made once and kept."""

import subprocess
import sys
from pathlib import Path

RELEASE = "colearn==0.2.8"
# The release asks for Python below 3.9 and libraries of 2021. It runs, unchanged, with these on 3.11.
BESIDE = (
    "click",
    "grpcio",
    "matplotlib",
    "numpy",
    "prometheus-client==0.12.0",
    "protobuf==3.20.3",
    "pydantic>=1.10,<2",
    "scikit-learn",
)
TORCH = "torch==2.13.0"


def python_of(venv: Path) -> Path:
    """The interpreter of the environment, which is made when it is not there. Raises CalledProcessError."""
    python, mark = venv / "bin" / "python", venv / "made"
    if not mark.exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(venv)], check=True)
        pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        for arguments in ([TORCH], [*BESIDE], ["--no-deps", "--ignore-requires-python", RELEASE]):
            subprocess.run([*pip, *arguments], check=True)
        mark.write_text(f"{RELEASE} {TORCH}\n")
    return python
