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
    from functools import partial

    import typer

    from benchmark.commands.output import interruptible, print_problems, show_progress
    from benchmark.measure.run import rescore as rescore_rows
    from benchmark.plan.request import Request
    from benchmark.registry import metric_names

    request = Request(
        dataset=dataset,
        metrics=metric_names(metrics),
        limit=limit,
        flatten=flatten,
        device=device,
        jobs=jobs,
        results=results,
        data_dir=data_dir,
        weights_dir=weights_dir,
    )
    with interruptible("finished rows are kept; the same command resumes from there"):
        done = rescore_rows(request, progress=partial(show_progress, quiet=as_json))
    if as_json:
        facts = {"rows": done.rows, "tried": done.tried, "still_null": done.still_null}
        print(json.dumps({**facts, "failed": [failure._asdict() for failure in done.failures]}))
    else:
        print_problems(done.failures, (), ())
        print(
            f"{done.rows} rows, {done.tried} lacked a metric, {done.tried - done.still_null} "
            f"filled in, {done.still_null} still without"
        )
    raise typer.Exit(1 if done.failures else 0)
