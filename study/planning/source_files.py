"""Python files from anywhere: collect a file with the files beside it that it imports, and import.

What was collected is text. The driver sends it to the workers, which import it from memory. So a
worker on another node runs the same code as the driver, without the file.
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
import sys
from collections.abc import Mapping
from importlib.abc import ExecutionLoader, MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from study.errors import BadInputError

OURS = ("search_spaces", "study", "trainables")  # packages of this project


class File(NamedTuple):
    """A Python file that was read."""

    path: str  # where it was read; a worker may not have it
    relative: str  # the path from the folder of the file that was asked for
    text: str


def collect(path: Path) -> dict[str, File]:
    """A Python file and all files and packages in its folder that it imports, by module name.

    Modules of Python itself and of this project are left out, and so is what is not in the folder.
    A folder of Python files without an __init__.py counts as a package with an empty one, unless a
    package of its name is installed.

    Raises:
        BadInputError: a file is missing, cannot be read, or is no Python.
    """
    path = path.parent.resolve() / path.name
    root, found = path.parent, dict[str, File]()
    if not path.stem.isidentifier():
        raise BadInputError(f"{path.name}: a file's name has to be letters, digits and _")
    wanted = [path]
    while wanted:
        file = wanted.pop()
        parts = file.relative_to(root).with_suffix("").parts
        module = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        if module in found:
            continue
        missing = file.name == "__init__.py" and not file.exists()
        try:
            text = "" if missing else file.read_text(encoding="utf-8")
        except (OSError, ValueError) as error:  # a ValueError: it is not UTF-8
            why = getattr(error, "strerror", None) or error
            raise BadInputError(f"{file} cannot be read: {why}") from None
        found[module] = File(str(file), file.relative_to(root).as_posix(), text)
        try:
            names = _imported(ast.parse(text))
        except (SyntaxError, ValueError) as error:
            if file == path:
                raise BadInputError(f"{file} cannot be read: {error}") from None
            continue  # a package may have files that are never imported
        for name in names - {*sys.stdlib_module_names, *OURS}:
            if (root / f"{name}.py").is_file() and not (root / name / "__init__.py").is_file():
                wanted.append(root / f"{name}.py")
            elif _is_package(root / name):
                files = sorted((root / name).rglob("*.py"))
                folders = {
                    f for file in files for f in file.parents if f.is_relative_to(root / name)
                }
                wanted += [*files, *(folder / "__init__.py" for folder in folders)]
    return found


def _is_package(folder: Path) -> bool:
    if (folder / "__init__.py").is_file():
        return True
    if not any(folder.rglob("*.py")):
        return False
    spec = importlib.util.find_spec(folder.name)
    return spec is None or spec.origin is None  # none of this name is installed


def _imported(tree: ast.AST) -> set[str]:
    """The first part of each name that is imported, also in functions."""
    found = set[str]()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.partition(".")[0])
    return found


class _Memory(MetaPathFinder, ExecutionLoader):
    """Imports the collected files of this process."""

    def __init__(self) -> None:
        self.files: dict[str, File] = {}

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        if fullname not in self.files:
            return None
        spec = importlib.util.spec_from_loader(
            fullname, self, origin=self.files[fullname].path, is_package=self.is_package(fullname)
        )
        assert spec is not None
        spec.has_location = True  # tracebacks and warnings name the file
        return spec

    def is_package(self, fullname: str) -> bool:
        return self.files[fullname].relative.endswith("__init__.py")

    def get_source(self, fullname: str) -> str:
        return self.files[fullname].text

    def get_filename(self, fullname: str) -> str:
        return self.files[fullname].path


_memory = _Memory()


def install(files: Mapping[str, File]) -> None:
    """Let this process import the collected files, under their module names.

    They replace collected files of the same names. If any file changes by this, all files are
    imported anew.

    Raises:
        BadInputError: another module of the same name is in use.
    """
    known = _memory.files
    if _memory not in sys.meta_path:
        sys.meta_path.insert(0, _memory)
    for name, file in files.items():
        loaded = getattr(sys.modules.get(name), "__file__", file.path)
        if name not in known and loaded != file.path:
            raise BadInputError(
                f"{file.path}: a module {name!r} is in use already, {loaded}: rename the file"
            )
    changed = any(known.get(name, file) != file for name, file in files.items())
    for name in known if changed else files.keys() - known.keys():
        sys.modules.pop(name, None)
    known.update(files)


def is_collected(name: str) -> bool:
    """Whether a module is a collected file."""
    return name in _memory.files


def run(name: str) -> ModuleType:
    """Import a module, and name the line if it cannot be.

    Raises:
        BadInputError: it cannot be imported, or imports a file of its folder that was not
            collected, so that nobody would notice a change of it.
    """
    before = {*sys.modules}
    try:
        module = importlib.import_module(name)
    except BadInputError:
        raise
    except Exception as error:  # a stranger's file may raise anything
        raise BadInputError(f"{name} cannot be imported: {explain(error)}") from error
    if name in _memory.files:
        root = Path(_memory.files[name].path).parent
        for other in {*sys.modules} - before - _memory.files.keys():
            path = Path(getattr(sys.modules[other], "__file__", None) or "/")
            ours = other.partition(".")[0] in OURS
            if path.is_relative_to(root) and "site-packages" not in path.parts and not ours:
                raise BadInputError(f"{name} imports {path} in a way that is not seen: by its name")
    return module


def explain(error: Exception) -> str:
    """An exception in one line, with the place in a collected file that it comes from."""
    paths = {file.path for file in _memory.files.values()}
    line, trace = f"{type(error).__name__}: {error}".partition("\n")[0], error.__traceback__
    place = ""
    while trace is not None:
        if (path := trace.tb_frame.f_code.co_filename) in paths:
            place = f" ({Path(path).name}, line {trace.tb_lineno})"
        trace = trace.tb_next
    return line + place
