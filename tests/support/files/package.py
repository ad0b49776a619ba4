"""A package as pip lays one into a folder of packages."""

from pathlib import Path


def install(site: Path, name: str, files: dict[str, str], points: str) -> None:
    """Write a package's modules and its entry points into a folder of packages."""
    for file, text in files.items():
        path = site / name / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    about = site / f"{name}-1.2.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.2\n")
    (about / "entry_points.txt").write_text(points)
