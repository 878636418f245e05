"""The blobs on disk: whether their bytes are still the ones that their names say."""

import hashlib
from pathlib import Path

from node.blobs import blob_named
from node.doctor.findings import Finding, Findings, doubt, fine, problem

MOST_READ = 4 * 1024 * 1024 * 1024
"""Bytes of blobs that are read, the newest first."""


def examine_blobs(data: Path) -> Findings:
    """Whether the bytes of each blob are still the ones that its name says."""
    folder = data / "blobs"
    if not folder.exists():
        return (fine("blobs", "there are none yet"),)
    if not folder.is_dir():
        return (problem("blobs", f"{folder} is no directory", "check `data`"),)
    files = [file for file in folder.iterdir() if file.is_file() and blob_named(file) is not None]
    files.sort(key=lambda file: file.stat().st_mtime, reverse=True)
    rotten: list[Finding] = []
    whole = read = 0
    for file in files:
        try:
            read += file.stat().st_size
            if read > MOST_READ:
                break
            with file.open("rb") as opened:
                digest = hashlib.file_digest(opened, "sha256").hexdigest()
        except FileNotFoundError:
            continue  # a running daemon has just forgotten it
        except OSError as error:
            rotten.append(problem("blobs", f"{file} cannot be read: {error.strerror}", "check the disk"))
            continue
        whole += digest == file.name
        if digest != file.name:
            said = f"{file} does not hold the bytes that its name says"
            rotten.append(doubt("blobs", said, "check the disk; the daemon fetches the blob again"))
    return (*rotten, fine("blobs", f"{whole} blobs are whole"))
