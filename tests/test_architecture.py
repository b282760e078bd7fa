"""Checks which module imports which, how long files are, and what is loaded at the start.

Listing the studies and `import study` must load little.
"""

import ast
import graphlib
import json
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
HOUSE = ("study", "trainables", "search_spaces")
HEAVY = ("torch", "ray", "mlflow", "optuna", "pandas", "matplotlib")
MOST_LINES = 300
# The rooms of study/ (its packages and top modules) by floor, the lowest first. A module may import
# from its own room and from rooms on lower floors only.
FLOORS = (
    {"errors", "notebook"},
    {"records"},
    {"metrics.core"},
    {"metrics"},
    {"planning"},
    {"engine", "tracking", "report"},
    {"check", "door"},
)
DOORS = {
    "study.run",
    "study.__main__",
    "study.api",
    "study.images",
    "study.verify_cell",
    "study.dry_run",
    "study.early_verdicts",
    "study.listing",
    "study.ui",
    "study.console",
    "study.arguments",
    "study.report.__main__",
}


def files(folder: str) -> list[Path]:
    found = sorted((ROOT / folder).rglob("*.py"))
    assert found, f"{folder} holds no Python files: this test would pass for nothing"
    return found


def imports(path: Path, everywhere: bool = True) -> set[str]:
    """The top-level packages that a file imports. `everywhere` includes imports inside functions.

    Imports under TYPE_CHECKING are left out, because they never run.
    """
    found: set[str] = set()

    def visit(node: ast.AST) -> None:
        if isinstance(node, ast.Import):
            found.update(alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import hides where it leads"
            found.add((node.module or "").partition(".")[0])
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            if not everywhere:
                return
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            for child in node.orelse:
                visit(child)
            return
        for child in ast.iter_child_nodes(node):
            visit(child)

    visit(ast.parse(path.read_text()))
    return found


def module_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def modules() -> dict[str, Path]:
    return {module_of(path): path for folder in HOUSE for path in files(folder)}


def arrows() -> dict[str, set[str]]:
    """For each module in HOUSE, the other modules in HOUSE that it imports.

    Imports at its top, in functions and under TYPE_CHECKING all count, because a reader follows all
    of them.
    """
    known = modules()
    found: dict[str, set[str]] = {}
    for name, path in known.items():
        found[name] = set()
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                targets = {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                within = {f"{node.module}.{alias.name}" for alias in node.names}
                targets = (within & known.keys()) or {node.module or ""}
            else:
                continue
            found[name] |= targets & known.keys() - {name}
    return found


def circles(graph: Mapping[str, set[str]]) -> list[str]:
    """One circle of imports, in words. The list is empty if there is no circle."""
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        return [" -> ".join(reversed(error.args[1]))]
    return []


def room_of(module: str) -> str:
    """The room of a module of study/: "door" for the modules in DOORS and for study itself."""
    if module == "study" or module in DOORS:
        return "door"
    parts = module.split(".")
    return ".".join(parts[1:3]) if parts[1:3] == ["metrics", "core"] else parts[1]


def floor_of(module: str) -> int:
    """The floor that a module of study/ is on, counted from 0. The doors are on the top floor.

    Raises:
        StopIteration: FLOORS does not name the module's room.
    """
    return next(n for n, rooms in enumerate(FLOORS) if room_of(module) in rooms)


def upward(graph: Mapping[str, set[str]]) -> list[str]:
    """Imports within study/ of a room on a higher floor, or of another room on the same floor."""
    return [
        f"{name} -> {other}"
        for name, others in graph.items()
        for other in sorted(others)
        if name.startswith("study.") and other.partition(".")[0] == "study"
        if room_of(name) != room_of(other) and floor_of(name) <= floor_of(other)
    ]


def offenders(folder: str, forbidden: set[str], everywhere: bool = True) -> list[str]:
    return [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in files(folder)
        for name in sorted(imports(path, everywhere) & forbidden)
    ]


def test_two_files_need_each_other() -> None:
    """Neither file could be read, tested or moved alone."""
    graph = arrows()
    assert circles(graph) == []
    back = {**graph, "study.errors": {"study.run"}}
    assert circles(back), "a circle would not be seen"


def test_arrow_between_rooms_runs_up() -> None:
    """A lower room would depend on a room that is built on it."""
    graph = arrows()
    assert upward(graph) == []
    for low, high in [
        ("study.records.records", "study.metrics.fcd"),
        ("study.metrics.core.view", "study.planning.plan"),
        ("study.planning.plan", "study.engine.cell"),
        ("study.engine.cell", "study.run"),
        ("study.engine.cell", "study"),
        ("study.metrics.core.view", "study.metrics.fcd"),
        ("study.engine.cell", "study.tracking.register"),
    ]:
        assert upward({low: {high}}), f"{low} -> {high} would not be seen"


def test_room_is_unknown() -> None:
    """A new folder or file in study/ is on no floor, so nobody would check its imports."""
    for name in modules():
        if name.startswith("study."):
            floor_of(name)


def test_trainables_know_the_system_around_them() -> None:
    """A variant could no longer be used, or tested, without Ray and the rest."""
    assert not offenders("trainables", {"study", "search_spaces", "ray", "optuna", "mlflow"})


def test_data_need_torch() -> None:
    """Refusing bad data would take seconds, for imports that this does not need."""
    assert not offenders("trainables/data", {"torch", "torchvision"}, everywhere=False)
    within = offenders("trainables/data", {"torch", "torchvision"})
    assert within == ["trainables/data/held.py imports torchvision"]  # of torchvision:NAME


def test_declarations_load_something_heavy() -> None:
    """`--list` would take seconds, or a study would be tied to a variant's code."""
    heavy = {"torch", "ray", "mlflow", "optuna", "trainables", "study"}
    assert not offenders("search_spaces", heavy, everywhere=False)


def test_declarations_reach_into_the_engine() -> None:
    assert not offenders("search_spaces", {"study", "trainables", "ray", "mlflow"})


@pytest.mark.parametrize("folder", HOUSE)
def test_file_too_long_to_read_at_once(folder: str) -> None:
    long = {
        str(path.relative_to(ROOT)): n
        for path in files(folder)
        if (n := len(path.read_text().splitlines())) >= MOST_LINES
    }
    assert not long


def test_house_imports_something_undeclared() -> None:
    """An installation by pyproject.toml alone would miss a package."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    names = {line.split("[")[0].split(">")[0].split("=")[0] for line in project["dependencies"]}
    names = {n.strip().lower().replace("-", "_") for n in names}
    names |= {"PIL", "sklearn"}  # pillow's and scikit-learn's modules
    names |= {"markupsafe", "upath", "fsspec"}  # dependencies of jinja2 and universal-pathlib
    optional = project["optional-dependencies"]["s3"]
    assert [line.split(">")[0] for line in optional] == ["s3fs"]
    names |= {
        "s3fs",
        "botocore",
        "aiohttp",
    }  # imported by study/records/s3.py, which is loaded only if a store is used
    own = {*HOUSE, *sys.stdlib_module_names}
    used = {name for folder in HOUSE for path in files(folder) for name in imports(path)}
    assert used - own <= names


def fresh(code: str) -> list[Any]:
    """Run code in a new interpreter; the JSON list that it prints last."""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    found: list[Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_public_names_load_something_heavy() -> None:
    """`import study` would take seconds, or a name in its `__all__` would be missing."""
    loaded, places, offered = fresh(
        "import json, sys, study\n"
        f"loaded = [name for name in {HEAVY} if name in sys.modules]\n"
        "print(json.dumps([loaded, study._MODULES, study.__all__]))\n"
    )
    assert loaded == []
    assert sorted(places) == sorted(offered)
    for name, module in places.items():
        tree = ast.parse(modules()[module].read_text())
        defined = {getattr(node, "name", None) for node in tree.body}
        assert name in defined, f"{module} has no {name}"


def test_list_is_slow() -> None:
    """`--list` would load torch or the like, or take 0.7 s of processor time or more."""
    code, loaded, seconds, said = fresh(
        "import contextlib, io, json, resource, sys, study.run\n"
        "with contextlib.redirect_stdout(io.StringIO()) as said:\n"
        "    code = study.run.main(['--list'])\n"
        "use = resource.getrusage(resource.RUSAGE_SELF)\n"
        f"loaded = [name for name in {HEAVY} if name in sys.modules]\n"
        "print(json.dumps([code, loaded, use.ru_utime + use.ru_stime, said.getvalue()]))\n"
    )
    assert code == 0
    assert loaded == []
    assert "acgan_kmnist_classes" in said
    assert seconds < 0.7
