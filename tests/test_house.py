"""The plan of the house: data flows one way through the rooms of the package."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import specz_cnn

ROOT = Path(specz_cnn.__file__).parent

#: Rooms in the order of the data; those on one floor do not know of each other.
FLOORS = (
    ("io",),
    ("models",),
    ("simulate",),
    ("sdss",),
    ("results",),
    ("redshift",),
    ("survey", "report", "evaluate"),
    ("training",),
    ("commands",),
    ("cli",),
)
#: What every room may stand on.
GROUND = {"config", "example", "on_import", "parallel", "progress", "typing", "velocity", "version"}

FLOOR = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}


def modules():
    """(name below the package, path) of every module but the package's own ``__init__``."""
    for path in sorted(ROOT.rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        if parts != ("__init__",):
            yield parts, path


def imports(path):
    """(module below the package, imported names) of all imports from the package, wherever they stand."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names if alias.name.split(".")[0] == "specz_cnn"]
            yield from ((name.split(".")[1:], []) for name in names)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "specz_cnn":
            yield node.module.split(".")[1:], [alias.name for alias in node.names]


def targets(path):
    """Modules of the package that a file imports, as tuples of parts; () is the package itself."""
    for module, names in imports(path):
        if not module:
            yield from ((name,) if (ROOT / name).is_dir() else () for name in names or [""])
            continue
        for name in names or [""]:
            inner = ROOT.joinpath(*module, name)
            submodule = bool(name) and (inner.with_suffix(".py").exists() or inner.is_dir())
            yield (*module, name) if submodule else tuple(module)


ALL = {parts: set(targets(path)) for parts, path in modules()}


def test_every_room_has_its_floor():
    rooms = {parts[0] for parts in ALL}
    assert rooms == set(FLOOR) | GROUND | ({"__main__"} & rooms)


@pytest.mark.parametrize("room", sorted(FLOOR))
def test_no_import_runs_upward(room):
    found = {
        (".".join(parts), ".".join(target) or "the package itself")
        for parts, wanted in ALL.items()
        if parts[0] == room
        for target in wanted
        if not target
        or not (target[0] == room or target[0] in GROUND or FLOOR.get(target[0], len(FLOORS)) < FLOOR[room])
    }
    assert not found


def test_ground_stands_on_nothing():
    found = {
        (".".join(parts), ".".join(target))
        for parts, wanted in ALL.items()
        if parts[0] in GROUND
        for target in wanted
        if not target or target[0] not in GROUND
    }
    assert not found


def test_no_private_name_goes_through_a_door():
    found = {
        (".".join(parts), name)
        for parts, path in modules()
        for module, names in imports(path)
        for name in names
        if name.startswith("_") and not name.startswith("__") and module[:1] != [parts[0]]
    }
    assert not found


def test_no_circles():
    """Modules can be put in an order in which each imports only those before it (a room's door apart)."""
    known = set(ALL)

    def resolve(target):
        return target if target in known else (*target, "__init__")

    graph = {
        parts: {resolve(target) for target in wanted if target and resolve(target) in known} - {parts}
        for parts, wanted in ALL.items()
        if parts[-1] != "__init__"
    }
    done, path = set(), []

    def visit(node):
        assert node not in path, " -> ".join(".".join(part) for part in [*path, node])
        if node in done:
            return
        path.append(node)
        for following in sorted(graph.get(node, ())):
            visit(following)
        path.pop()
        done.add(node)

    for node in sorted(graph):
        visit(node)


def test_modules_of_different_rooms_have_names_of_their_own():
    """Commands are called as what they run; what two rooms have of the same kind may be called alike."""
    alike = {"compact", "eigenspectra", "metrics", "output", "templates"}
    rooms: dict[str, set[str]] = {}
    for parts in ALL:
        if parts[0] != "commands" and parts[-1] != "__init__":
            rooms.setdefault(parts[-1], set()).add(".".join(parts[:-1]))
    assert {name for name, found in rooms.items() if len(found) > 1} <= alike


def test_the_face_of_the_evaluation_is_short():
    from specz_cnn import evaluate

    assert len(evaluate.__all__) <= 10 and "evaluate" not in evaluate.__all__
