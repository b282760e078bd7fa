"""Python files from anywhere: collect a file with the files beside it that it imports, and import.

What was collected is text. The driver sends it to the workers, which import it from memory. So a
worker on another node runs the same code as the driver, without the file.
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
import sys
import threading
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

    Raises:
        BadInputError: a file is missing, cannot be read, or is no Python.
    """
    path = path.absolute()
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
        try:
            text = file.read_text(encoding="utf-8")
            tree = ast.parse(text)
        except (OSError, SyntaxError, ValueError) as error:  # a ValueError: it is not UTF-8
            why = getattr(error, "strerror", None) or error
            raise BadInputError(f"{file} cannot be read: {why}") from None
        found[module] = File(str(file), file.relative_to(root).as_posix(), text)
        for name in _imported(tree) - {*sys.stdlib_module_names, *OURS}:
            if (root / name / "__init__.py").is_file():
                wanted += sorted((root / name).rglob("*.py"))
            elif (root / f"{name}.py").is_file():
                wanted.append(root / f"{name}.py")
    return found


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
        self.lock = threading.Lock()

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

    A file that was changed since it was imported is imported anew, with all that it imports.

    Raises:
        BadInputError: another module of the same name is in use.
    """
    with _memory.lock:
        if _memory not in sys.meta_path:
            sys.meta_path.insert(0, _memory)
        for name, file in files.items():
            known = _memory.files.get(name)
            loaded = known.path if known else getattr(sys.modules.get(name), "__file__", file.path)
            if loaded != file.path:
                raise BadInputError(
                    f"{file.path}: a module {name!r} is in use already, {loaded}: rename the file"
                )
        if any(_memory.files.get(name) != file for name, file in files.items()):
            for name in files:
                sys.modules.pop(name, None)
        _memory.files.update(files)


def is_collected(name: str) -> bool:
    """Whether a module is a collected file."""
    return name in _memory.files


def run(name: str) -> ModuleType:
    """Import a module, and name the line if it cannot be.

    Raises:
        BadInputError: one line.
    """
    try:
        return importlib.import_module(name)
    except BadInputError:
        raise
    except Exception as error:  # a stranger's file may raise anything
        raise BadInputError(f"{name} cannot be imported: {explain(error)}") from error


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
