"""Where the demo keeps things: everything below one directory, which the next run there replaces."""

import fcntl
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

MARKER = ".roundabout-demo"
RESULTS = ("audit.json", "summary.json", "topic.json", "processes.json", "report.html", "rounds.png")


class DemoError(Exception):
    """The demo could not be run; the message names cause and remedy."""


@dataclass(frozen=True, slots=True)
class Layout:
    """The files of one demo run."""

    out: Path

    @property
    def localnet(self) -> Path:
        """The embedded network's journal, key and localnet.json."""
        return self.out / "run" / "localnet"

    def node(self, place: int) -> Path:
        """The data directory of one member, with its key file and configuration beside."""
        return self.out / "run" / f"node-{place}"

    def log(self, name: str) -> Path:
        """The log of one process: JSON lines."""
        return self.out / "logs" / f"{name}.jsonl"

    @contextmanager
    def prepared(self) -> Iterator[None]:
        """Room for a new run, held for this process alone.

        Raises DemoError rather than touch a directory that is not a demo's, or one whose demo is running.
        """
        if self.out.exists() and not self.out.is_dir():
            raise DemoError(f"{self.out} is a file; name a directory with --out")
        if self.out.is_dir() and any(self.out.iterdir()) and not (self.out / MARKER).exists():
            raise DemoError(f"{self.out} holds something else; name an empty or a new directory with --out")
        try:
            self.out.mkdir(parents=True, exist_ok=True)
            marker = (self.out / MARKER).open("w")
        except OSError as error:
            raise self._unusable(error) from None
        with marker:
            try:
                fcntl.flock(marker, fcntl.LOCK_EX | fcntl.LOCK_NB)
                self._clear()
            except BlockingIOError:
                raise DemoError(
                    f"another demo is running in {self.out}; stop it, or name another directory with --out"
                ) from None
            except OSError as error:
                raise self._unusable(error) from None
            yield

    def _clear(self) -> None:
        for name in ("run", "logs"):
            shutil.rmtree(self.out / name, ignore_errors=True)
            (self.out / name).mkdir()
        for name in RESULTS:
            (self.out / name).unlink(missing_ok=True)

    def _unusable(self, error: OSError) -> DemoError:
        return DemoError(f"cannot write to {self.out}: {error.strerror}; name another directory with --out")
