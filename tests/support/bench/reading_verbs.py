"""Every verb of `bench` as a command on a folder of results, or why it reads none.

A command is run in a folder that has `photos` and `results` of them, of `jpeg` and `webp`; what it
writes goes to `out`. `tests/faults/strangers` runs each over what a stranger may have put there.
"""

DATASET, RESULTS = ("--dataset", "photos"), ("--results", "results")
CLAIM = "webp 1 % fewer bits than avif"  # an anchor of the results
WRITES_OUT = (*DATASET, *RESULTS, "--out", "out")
POINTS = ("--codecs", "jpeg,webp", "--points", "jpeg.quality=10,30,50,90,webp.quality=5,30,60,90")
RUN = (*POINTS, *DATASET, *RESULTS)

READS: dict[str, tuple[str, ...]] = {
    "run": ("run", *RUN, "--metrics", "psnr", "--jobs", "1"),
    "plan": ("plan", *RUN, "--metrics", "psnr"),
    "doctor": ("doctor", "results"),
    "rescore": ("rescore", *DATASET, *RESULTS, "--metrics", "psnr", "--jobs", "1"),
    "report": ("report", *WRITES_OUT, "--metrics", "psnr"),
    "report --page": ("report", "--page", *DATASET, *RESULTS, "--metrics", "psnr"),
    "figures rd": ("figures", "rd", *WRITES_OUT, "--metrics", "psnr"),
    "figures bd": ("figures", "bd", *WRITES_OUT, "--metrics", "psnr", "--anchor", "jpeg"),
    "figures complexity": ("figures", "complexity", *WRITES_OUT, "--anchor", "jpeg"),
    "figures realism": (
        "figures",
        "realism",
        *WRITES_OUT,
        "--metrics",
        "psnr,ms_ssim",
        "--bpp",
        "1",
    ),
    "figures crops": ("figures", "crops", *WRITES_OUT, "--bpp", "1"),
    "figures maps": ("figures", "maps", *WRITES_OUT, "--bpp", "1", "--metrics", "psnr_y"),
    "figures new": ("figures", "new", "out.toml", *DATASET, *RESULTS),
    "figures crdr": ("figures", "crdr", *RESULTS, "--out", "out", "--only", "crops"),
    "study new": ("study", "new", *WRITES_OUT, "--bpp", "1", "--crop", "64"),
    "table": ("table", *WRITES_OUT, "--metrics", "psnr", "--anchor", "jpeg"),
    "site": ("site", "results", "--submissions", ".", "--anchor", "jpeg", "--out", "out"),
    "rank": ("rank", *DATASET, *RESULTS, "--at", "bpp=1"),
    "tradeoff": ("tradeoff", "webp", "jpeg", *DATASET, *RESULTS, "--realism", "ms_ssim"),
    "match": ("match", "webp", "jpeg", *DATASET, *RESULTS),
    "explain": ("explain", "vtm", "--against", "jpeg", *DATASET, *RESULTS),
    "review": ("review", "pack.tar", *DATASET, *RESULTS, "--out", "out", "--claim", CLAIM),
    "check": ("check", "results", "results"),
    "baseline save": ("baseline", "save", "x", *DATASET, *RESULTS),
    "baseline list": ("baseline", "list", *RESULTS),
    "published list": ("published", "list", *RESULTS),
    "published show": ("published", "show", "vtm", *RESULTS),
    "published compare": ("published", "compare", "vtm", *RESULTS),
    "pack export": ("pack", "export", "out.tar", "--codecs", "jpeg,webp", *RESULTS),
    "pack import": ("pack", "import", "pack.tar", *RESULTS),
    "export images": ("export", "images", *DATASET, *RESULTS, "--bpp", "1", "--to", "out"),
    "merge": ("merge", "results", "--into", "out"),
    "audit rows": ("audit", "rows", "results", *DATASET),
    "audit decode": ("audit", "decode", "results", "--jobs", "1"),
    "audit pack": ("audit", "pack", "pack.tar", *DATASET),
}
READS_NONE = {
    "list": "it lists what there is to run",
    "history": "it measures checkpoints",
    "published add": "it reads a file of a curve",
    "study read": "it reads a study and files of answers (tests/study)",
    "fetch": "it brings datasets and weights",
    "worker new": "it writes a contender's file",
    "worker setup": "it makes a contender's environment",
    "worker check": "it codes a picture by a contender",
    "bd": "it reads two files of curves",
    "train": "it reads photographs",
    "encode": "it reads a picture",
    "decode": "it reads a stream",
    "checkpoint import": "it reads a file of torch",
    "checkpoint info": "it reads a checkpoint",
}
