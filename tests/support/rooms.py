"""The rooms of the harness and their imports, as text and as the picture in docs/architecture.md.

`python tests/support/rooms.py` prints the picture that the imports of today give.
"""

import ast
from pathlib import Path

ROOT = Path(__file__).parents[2]
# The order of the pipeline: a room imports those before it.
ROOMS = (
    "boundary",
    "system",
    "datasets",
    "metrics",
    "rows",
    "packs",
    "plan",
    "measure",
    "analysis",
    "published",
    "figures",
    "check",
    "audit",
    "report",
    "paper",
    "page",
    "interface",
    "commands",
)
BOUNDARY = ("codec", "codec_spec", "errors", "option", "registry", "protocol", "user_file")
INTERFACE = ("__init__", "interface")
LABELS = {
    "boundary": "boundary: codec, codec_spec, errors, option, registry, protocol, user_file",
    "interface": "interface: import benchmark",
    "commands": "commands, cli",
}


def room_of(source: Path) -> str:
    """Return the room of a file of the harness, by its path."""
    first = source.relative_to(ROOT / "benchmark").with_suffix("").parts[0]
    if first in BOUNDARY:
        return "boundary"
    if first in INTERFACE:
        return "interface"
    return "commands" if first in ("cli", "__main__") else first


def imported_rooms(source: Path) -> set[str]:
    """Return the other rooms whose modules a file imports, wherever in the file it does."""
    found = set()
    for node in ast.walk(ast.parse(source.read_text())):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        for name in names:
            parts = name.split(".")
            if parts[0] == "benchmark":
                part = parts[1] if len(parts) > 1 else "__init__"
                found.add(room_of(ROOT / "benchmark" / part))
    return found - {room_of(source)}


def imports_between_rooms() -> dict[str, set[str]]:
    """Return the rooms that each room imports."""
    edges: dict[str, set[str]] = {room: set() for room in ROOMS}
    for source in (ROOT / "benchmark").rglob("*.py"):
        edges.setdefault(room_of(source), set()).update(imported_rooms(source))
    return edges


def arrows() -> list[tuple[str, str]]:
    """Return the arrows of the picture, data flowing along them: (imported room, importing room).

    An import that a path over other rooms already implies has no arrow of its own.
    """
    edges = imports_between_rooms()

    def reaches(room: str) -> set[str]:
        found: set[str] = set()
        open_rooms = set(edges[room])
        while open_rooms:
            found |= open_rooms
            open_rooms = {far for near in open_rooms for far in edges[near]} - found
        return found

    found = []
    for room in ROOMS:
        implied = {far for near in edges[room] for far in reaches(near)}
        found += [(other, room) for other in edges[room] - implied]
    return sorted(found, key=lambda pair: (ROOMS.index(pair[0]), ROOMS.index(pair[1])))


def picture() -> str:
    """Return the picture as a mermaid flow chart."""
    lines = ["flowchart LR"]
    lines += [f'  {room}["{LABELS.get(room, room)}"]' for room in ROOMS]
    lines += [f"  {first} --> {second}" for first, second in arrows()]
    return "\n".join(lines)


if __name__ == "__main__":
    print(picture())
