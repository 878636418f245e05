"""One target at a time, guided by coverage: `python -m tests.fuzz record --runs 1000000 [--corpus DIR]`.

Needs atheris (the extra `fuzz`). What is found stays in DIR, and so does what reached new code.
"""

import argparse
import sys
import time
from pathlib import Path
from tempfile import mkdtemp

import atheris

with atheris.instrument_imports(include=["protocol", "ledger", "node", "learners"]):
    from tests.fuzz.targets import TARGETS

from tests.fuzz.target import MAX_INPUT, Target


def prepare(target: Target, corpus: Path) -> Path:
    """Put the seeds into the corpus, and the words into a dictionary beside it."""
    corpus.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(target.seeds()):
        (corpus / f"seed-{number}").write_bytes(seed)
    dictionary = corpus.with_name(f"{corpus.name}.dict")
    escaped = ("".join(f"\\x{byte:02x}" for byte in word[:64]) for word in target.words)
    dictionary.write_text("".join(f'"{word}"\n' for word in escaped))
    return dictionary


def main() -> None:
    """Fuzz one target; a finding ends the process with its own status and names the input."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("target", choices=sorted(TARGETS))
    parser.add_argument("--runs", type=int, default=100_000, help="how many inputs")
    parser.add_argument("--corpus", type=Path, help="where inputs that reach new code are kept")
    given = parser.parse_args()
    target = TARGETS[given.target]
    corpus = given.corpus or Path(mkdtemp(prefix="fuzz-corpus-")) / target.name
    dictionary = prepare(target, corpus)
    options = [f"-runs={given.runs}", f"-max_len={MAX_INPUT}", "-timeout=10", "-rss_limit_mb=2048"]
    options += [f"-artifact_prefix={corpus}/found-", "-verbosity=0", "-print_final_stats=1"]
    options += [f"-dict={dictionary}"] if target.words else []  # libFuzzer wants none to be empty
    sys.stderr.write(f"{target.name}: the corpus is in {corpus}, begun at {time.strftime('%H:%M:%S')}\n")
    atheris.Setup([sys.argv[0], *options, str(corpus)], target.run)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
