"""`bench plan`: what `bench run` with the same options would do, without doing it."""

from pathlib import Path
from typing import Annotated

import typer

from benchmark.commands import options


def plan(
    codecs: options.Codecs = "all",
    dataset: options.DatasetName = "sample",
    points: options.Points = None,
    jobs: options.Jobs = None,
    limit: options.Limit = None,
    results: options.Results = Path("results"),
    data_dir: options.DataDir = None,
    weights_dir: options.WeightsDir = None,
    vtm_dir: options.VtmDir = None,
    packs: options.Packs = None,
    flatten: options.Flatten = False,
    timing: Annotated[bool, typer.Option("--timing", help="As for `bench run --timing`.")] = False,
    nodes: options.Nodes = None,
    workers_per_node: options.WorkersPerNode = 1,
    as_json: options.AsJson = False,
) -> None:
    """Count the cells of a run: all, done, to do, and the time they may take.

    With --nodes, also when a cluster would be done with what is to do. Then neither the dataset nor
    the codecs have to be here, if the sizes of its images are known.
    """
    import json
    from collections import Counter

    from benchmark.commands.outcome import print_problems
    from benchmark.commands.simulation import imagined, simulation, simulation_line
    from benchmark.errors import Unavailable
    from benchmark.plan.estimate import estimate
    from benchmark.plan.matrix import open_matrix
    from benchmark.plan.request import Request
    from benchmark.registry import split_unescaped
    from benchmark.system.machine import cores

    request = Request(
        codecs=tuple(split_unescaped(codecs, ",")),
        dataset=dataset,
        points=tuple(points or ()),
        limit=limit,
        flatten=flatten,
        packs=tuple(packs or ()),
        timing=timing,
        results=results,
        data_dir=data_dir,
        weights_dir=weights_dir,
        vtm_dir=vtm_dir,
    )
    request.use_folders()
    try:
        matrix = open_matrix(request)
    except Unavailable as missing:
        found = imagined(request) if nodes else None
        if found is None or nodes is None:
            raise
        cells, table = found
        told = simulation(cells, table, nodes, workers_per_node)
        if as_json:
            print(json.dumps({"cells": len(cells), "cluster": told}, indent=1))
        else:
            print(f"{len(cells)} cells of typical images, for planning alone: {missing}")
            print(simulation_line(told))
        return
    table = matrix.store.table()
    cluster = simulation(matrix.to_do, table, nodes, workers_per_node) if nodes else None
    lanes = 1 if timing else jobs or cores()
    guess = estimate(matrix.to_do, table)
    total = Counter(cell.codec.label for cell in matrix.cells)
    to_do = Counter(cell.codec.label for cell in matrix.to_do)
    if as_json:
        facts = {
            "dataset": matrix.sources.dataset.name,
            "images": len(matrix.sources.images),
            "cells": len(matrix.cells),
            "to_do": len(matrix.to_do),
            "coding_seconds": guess.seconds / lanes,
            "cells_without_estimate": guess.unknown,
            "cells_by_typical_times": guess.typical,
            "codecs": {label: {"cells": total[label], "to_do": to_do[label]} for label in total},
            "refused": {one.file.name: one.reason for one in matrix.sources.refused},
            "skipped": dict(matrix.selection.skipped),
            **({"cluster": cluster} if cluster else {}),
        }
        print(json.dumps(facts, indent=1))
        return
    print(f"{matrix.sources.dataset.name}: {len(matrix.sources.images)} images")
    for label, count in total.items():
        print(f"  {label:<40} {count:>7} cells {to_do[label]:>7} to do")
    print(f"  {'together':<40} {len(matrix.cells):>7} cells {len(matrix.to_do):>7} to do")
    print(
        f"coding takes about {guess.seconds / lanes:.0f} s with {lanes} at a time, metrics apart"
        + (f"; {guess.typical} cells by typical times" if guess.typical else "")
        + (f"; nothing is known yet about {guess.unknown} cells" if guess.unknown else "")
    )
    if cluster:
        print(simulation_line(cluster))
    print_problems((), [one.reason for one in matrix.sources.refused], matrix.selection.skipped)
