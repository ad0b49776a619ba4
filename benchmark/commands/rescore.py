"""`bench rescore`: fill in metrics of finished cells from their kept streams."""

from pathlib import Path

from benchmark.commands import options


def rescore(
    dataset: options.DatasetName = "sample",
    metrics: options.Metrics = "all",
    jobs: options.Jobs = None,
    device: options.DeviceName = "auto",
    limit: options.Limit = None,
    results: options.Results = Path("results"),
    data_dir: options.DataDir = None,
    weights_dir: options.WeightsDir = None,
    flatten: options.Flatten = False,
    as_json: options.AsJson = False,
) -> None:
    """Decode kept streams again and compute the metrics that rows lack; cells stay as they are."""
    import json

    import typer

    from benchmark.commands.outcome import print_problems
    from benchmark.commands.output import interruptible
    from benchmark.commands.progress import show_progress
    from benchmark.measure.run import run_tasks
    from benchmark.measure.unscored import metric_names, unscored
    from benchmark.measure.workbench import Conditions
    from benchmark.plan.matrix import Request, open_sources, open_store
    from benchmark.registry import scored_by_image
    from benchmark.system.device import use_device
    from benchmark.system.weights import use_weights_folder

    names = scored_by_image(metric_names(metrics))
    use_weights_folder(weights_dir)
    request = Request(dataset, results, data_dir, limit, flatten)
    with interruptible("what was scored is kept; the same command goes on from there"):
        sources = open_sources(request)
        store = open_store(request, sources.dataset)
        conditions = Conditions.here(
            names, use_device(device), flatten, jobs, timing=False, folder=store.folder
        )
        table = store.table()
        tasks = unscored(table, sources.images, names, store.folder, again=True)
        with show_progress("scoring", len(tasks), as_json) as report:
            failures = run_tasks(tasks, conditions, store, keep_streams=True, report=report)
        left = unscored(store.table(), sources.images, names, store.folder, again=True)
    facts = {"rows": table.num_rows, "tried": len(tasks), "still_null": len(left)}
    if as_json:
        print(json.dumps({**facts, "failed": [failure._asdict() for failure in failures]}))
    else:
        print_problems(failures, (), ())
        print(
            f"{table.num_rows} rows, {len(tasks)} lacked a metric, {len(tasks) - len(left)} "
            f"filled in, {len(left)} still without"
        )
    raise typer.Exit(1 if failures else 0)
