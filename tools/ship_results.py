"""Copy rows from a results folder to the project's results/, as bundled rows.

    bench run --codecs ours,hyperprior:weights=matched --dataset kodak --metrics all --results fresh
    tools/ship_results.py fresh kodak checkpoints ours
    tools/ship_results.py fresh kodak hyperprior hyperprior:weights=matched
    git add -f results/kodak
    tools/ship_results.py ablation/results kodak ablation ours --into results/ablation/results
    tools/ship_results.py whole kodak whole charm --into results/budgets/results

Arguments: results folder, dataset, name, codecs (a label, or a name for all variants). The shard
`shipped-NAME` gets all their rows; records of their runs and values of distribution metrics (which
`bench report` computes) are copied too, features and streams are not.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import polars as pl

from benchmark.rows.edition import label_of
from benchmark.rows.reduce import Reductions
from benchmark.rows.store import Store
from benchmark.spec import CodecSpec
from benchmark.system.atomic import write_file

RESULTS = Path(__file__).parent.parent / "results"


def main(source: Path, dataset: str, name: str, codecs: list[str], into: Path) -> None:
    """Write the shard and the run records; exits if a codec has no rows or a failed row."""
    table = Store(source / dataset).table()
    labels = [
        {codec, label_of(CodecSpec.parse(codec, variant))}
        for codec, variant in table.select("codec", "variant").rows()
    ]
    for codec in codecs:
        if not any(codec in names for names in labels):
            raise SystemExit(f"{source / dataset} has no rows of {codec}")
    rows = table.filter(
        pl.Series([bool(names & set(codecs)) for names in labels], dtype=pl.Boolean)
    )
    if {*rows["status"]} != {"ok"}:
        raise SystemExit(f"{source / dataset} has failed rows of these codecs: run them again")
    target = Store(into / dataset)
    path = target.write_bundled(name, rows)
    if any((source / dataset / "sets").glob("*.parquet")):
        Reductions(target.folder).write_bundled(name, Reductions(source / dataset))
    runs = target.folder / "runs"
    for run in sorted({*rows["run"]}):
        record = json.loads((source / dataset / "runs" / f"{run}.json").read_text())
        text = json.dumps(strip_folders(record), indent=1, sort_keys=True)
        write_file(runs / f"{run}.json", text)
    sys.stdout.write(f"{path}: {rows.height} rows\n")


def strip_folders(record: Any) -> Any:
    """Replace absolute paths in a run record by file names."""
    if isinstance(record, dict):
        return {key: strip_folders(value) for key, value in record.items()}
    if isinstance(record, list):
        return [strip_folders(value) for value in record]
    is_absolute = isinstance(record, str) and record.startswith("/")
    return Path(record).name if is_absolute else record


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("source", type=Path)
    parser.add_argument("dataset")
    parser.add_argument("name")
    parser.add_argument("codecs", nargs="+")
    parser.add_argument("--into", type=Path, default=RESULTS)
    main(**vars(parser.parse_args()))
