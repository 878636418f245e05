"""Who may import whom: the lines of the architecture, read from the source of every file."""

import ast
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("protocol", "ledger", "learners", "node")
MAY_IMPORT = {
    "protocol": {"protocol"},
    "ledger": {"ledger", "protocol"},
    "learners": {"learners", "protocol"},
    "node": {"node", "ledger", "learners", "protocol"},
}
# No I/O, clock, randomness, threads or torch: nothing that could make two folds differ.
PURE = {
    "base58",
    "binascii",
    "bisect",
    "coincurve",
    "collections.abc",
    "contextlib",
    "contextvars",  # in signing and fold alone: who finds an answer out, not what it is
    "dataclasses",
    "enum",
    "functools",
    "hashlib",
    "itertools",
    "orjson",
    "pydantic",
    "pydantic_core",
    "re",
    "typing",
}
IMPORTERS = {
    "libp2p": "node/net/wire/",
    "multiaddr": "node/net/wire/",
    "hiero_sdk_python": "ledger/hiero.py",
    "pyarrow": "learners/data/",
    "metadrive": "learners/metadrive/simulator.py",
}
# What an auditor or a daemon loads without the learner's framework and without the Hedera SDK.
LIGHT = (
    "learners/client.py",
    "learners/learner.py",
    "learners/registry.py",
    "ledger/audit.py",
    "ledger/mirror.py",
    "node/reading.py",
)
HEAVY = {"torch", "hiero_sdk_python", "ledger.hiero"}
UNSAFE = {"pickle", "cPickle", "_pickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"}
FOREIGN = {
    *("anyio", "base58", "click", "coincurve", "cryptography", "eth_hash", "google", "grpc", "gymnasium"),
    *("hiero_sdk_python", "httpx", "hypercorn", "hypothesis", "libp2p", "matplotlib", "multiaddr", "numpy"),
    *("playwright", "prometheus_client", "psutil", "pydantic", "pydantic_core", "pytest", "rfc8785", "rich"),
    *("safetensors", "starlette", "structlog", "torch", "trio", "examples", "interop", "stubs", "docs"),
    *("orjson", "pyarrow", "PIL"),
}

FILES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))


def name_of(path: Path) -> str:
    """The dotted name of a module of ours."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports_of(path: Path, tree: ast.AST) -> Iterator[str]:
    """The dotted names that one syntax tree imports, `from a import b` as both a and a.b."""
    package = name_of(path).split(".")
    if path.name != "__init__.py":
        package = package[:-1]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            yield module
            yield from (f"{module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if called in ("import_module", "__import__"):
                yield str(node.args[0].value)


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


@cache
def all_imports(path: Path) -> frozenset[str]:
    """Everything a file imports, wherever in it."""
    return frozenset(imports_of(path, tree_of(path)))


@cache
def imports_when_loaded(path: Path) -> frozenset[str]:
    """What importing a file imports: not what its functions do later, nor what only type checkers see."""
    found: set[str] = set()
    waiting: list[ast.stmt] = list(tree_of(path).body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            waiting += node.orelse
        elif inner := [child for child in ast.iter_child_nodes(node) if isinstance(child, ast.stmt)]:
            waiting += inner
        else:
            found |= set(imports_of(path, node))
    return frozenset(found)


def top(name: str) -> str:
    return name.split(".")[0]


def path_of(module: str) -> Path | None:
    """The file of a module of ours, or None."""
    base = ROOT.joinpath(*module.split("."))
    return next((p for p in (base.with_suffix(".py"), base / "__init__.py") if p.is_file()), None)


def closure(path: Path) -> set[str]:
    """All that is imported, through files of ours, when one of them is."""
    seen, names, waiting = {path}, set(), [path]
    while waiting:
        for name in imports_when_loaded(waiting.pop()):
            names.add(name)
            parts = name.split(".")
            for end in range(1, len(parts) + 1):
                file = path_of(".".join(parts[:end])) if parts[0] in PACKAGES else None
                if file is not None and file not in seen:
                    seen.add(file)
                    waiting.append(file)
    return names


def shown(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def test_there_is_something_to_look_at():
    assert {top(name_of(path)) for path in FILES} == set(PACKAGES)
    assert "protocol.errors" in all_imports(ROOT / "protocol/fold.py")
    assert "coincurve" in closure(ROOT / "protocol/fold.py")


@pytest.mark.parametrize("path", FILES, ids=shown)
def test_packages_keep_their_lines(path):
    ours = {top(name) for name in all_imports(path)} & set(PACKAGES)
    assert ours <= MAY_IMPORT[top(name_of(path))]


@pytest.mark.parametrize("path", [p for p in FILES if top(name_of(p)) == "protocol"], ids=shown)
def test_the_protocol_is_pure(path):
    for name in all_imports(path):
        parts = name.split(".")
        prefixes = {".".join(parts[:end]) for end in range(1, len(parts) + 1)}
        assert prefixes & (PURE | {"protocol"}), f"{shown(path)} imports {name}"
    for node in ast.walk(tree_of(path)):
        called = getattr(node.func, "id", "") if isinstance(node, ast.Call) else ""
        assert called not in ("open", "print", "input", "exec", "eval", "__import__", "id")


@pytest.mark.parametrize(("library", "home"), IMPORTERS.items())
def test_foreign_networks_are_imported_in_one_place(library, home):
    importers = {shown(path) for path in FILES if library in map(top, all_imports(path))}
    assert importers
    assert all(importer.startswith(home) for importer in importers)


@pytest.mark.parametrize("file", LIGHT)
def test_readers_need_no_framework_and_no_sdk(file):
    path = ROOT / file
    if not path.is_file():
        pytest.skip("not written yet")
    names = closure(path)
    assert not {name for name in names if name in HEAVY or top(name) in HEAVY}


@pytest.mark.parametrize("path", FILES, ids=shown)
def test_nothing_unpickles(path):
    assert not {top(name) for name in all_imports(path)} & UNSAFE


@pytest.mark.parametrize("path", FILES, ids=shown)
def test_no_module_takes_the_name_of_another_s(path):
    assert name_of(path).split(".")[-1] not in set(sys.stdlib_module_names) | FOREIGN
