"""Recordings of others, read into a dataset: one module a format."""

from collections.abc import Callable
from pathlib import Path

from learners.data.importing.donkeycar import DonkeycarRecording
from learners.data.importing.lerobot import LerobotRecording
from learners.data.importing.recording import Recording
from learners.data.importing.udacity import UdacityRecording

FORMATS: dict[str, Callable[[Path], Recording]] = {
    "udacity": UdacityRecording,
    "donkeycar": DonkeycarRecording,
    "lerobot": LerobotRecording,
}
"""Opens a recording, by the name of its format. Raises DataError."""
