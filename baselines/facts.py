"""Facts of the project's codecs beside their code: names, looks, training, memory and seconds.

They are in `facts.toml`; the functions are of those that are computed from options. Reports and
plans ask for the facts of every codec; none is imported for them.
"""

import tomllib
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from benchmark.facts import Facts, Memory, Training, Typical, Work, facts_of
from benchmark.spec import parse_codec

Options = Mapping[str, str]  # as rows have them, defaults left out

UNKNOWN = "unknown"
RECORDS: dict[str, dict[str, Any]] = tomllib.loads(
    Path(__file__).with_suffix(".toml").read_text(encoding="utf-8")
)


def of_table(name: str, options: Options) -> Facts:
    """Return the facts that `facts.toml` has of a codec with options."""
    merged: dict[str, Any] = {}
    for key, record in RECORDS.items():
        codec, *conditions = key.split(":")
        if codec == name and all(_holds(condition, options) for condition in conditions):
            merged |= record
    return msgspec.convert(_filled(merged, defaultdict(str, options)), Facts)


def _holds(condition: str, options: Options) -> bool:
    option, _, value = condition.partition("=")
    return option in options and (not value or options[option] == value)


def _filled(value: Any, options: Options) -> Any:
    """Return a value of a table with `{OPTION}` replaced in its texts, at any depth.

    >>> _filled(["beta={beta}", ["unknown"]], {"beta": "0"})
    ['beta=0', [None]]
    """
    if isinstance(value, str):
        return None if value == UNKNOWN else value.format_map(options)
    if isinstance(value, dict):
        return {name: _filled(part, options) for name, part in value.items()}
    return [_filled(part, options) for part in value] if isinstance(value, list) else value


SEARCH_STEPS = (0, 25, 200, 600)  # of `ours`, by effort
# kMAC per pixel of a search, by size: each rate level once before it, then, of a step, the decoder
# and the way back to the latents alone.
SEARCH_KMAC = {"": (206.3, 43.9), "micro": (73.2, 15.67)}
MARKERS = {  # of variants of `ours`, whose options are in alphabetical order
    "beta=0": "o", "beta=0.64": "v", "beta=1.28": "d", "beta=2.56": "x", "beta=3.84": "*",
    "beta=0:effort=1": "P", "beta=0:effort=2": "p",
    "beta=0:size=micro": "h", "beta=1.28:size=micro": "^", "beta=2.56:size=micro": "8",
    "beta=3.84:size=micro": "D",
}  # fmt: skip
WORK = {"": Work(2_565_147, 22.7, 21.9), "micro": Work(964_963, 8.20, 7.83)}  # by size
TRAINING = {
    "": Training(None, "soap, adam", "79,090", "64bd0421"),
    "micro": Training(0.52, "adam", "44,800", "91d85ac1"),
}
# Seconds of libaom's `good` usage at crf 34, speed 4 being 1
AVIF_SLOWDOWN = {"0": 6, "1": 2.7, "2": 2.6, "3": 1.4, "5": 0.55, "6": 0.35}
STEPS, ALL_STEPS = "8,960", "44,800"  # of a network of one rate, of all
# Of a diffusion decoder; seconds per step and megapixel, on one core
DRAWING_PARAMETERS, STEP_KMAC, STEP_SECONDS = 993_168, 14.78, 0.43
MSE_PRIOR = "metric=mse:model=bmshj2018-hyperprior"
MATCHED_PRIOR = f"{MSE_PRIOR}:weights=matched"
ZOO = ("bmshj2018-factorized", "mbt2018-mean", "mbt2018", "cheng2020-anchor", "cheng2020-attn")


def ours(options: Options) -> Facts:
    """Return the facts of a beta, size and effort of CRDR."""
    beta, size = options.get("beta", ""), options.get("size", "")
    micro, checkpoint = size == "micro", "checkpoint" in options
    steps = SEARCH_STEPS[int(options.get("effort", 0))]
    searched, work = 1.0 * steps, WORK.get(size, Work())
    once = 0.53 if micro else 1.2  # without a search
    kmac = {"": 41.3, "micro": 14.6}.get(size, 0.0)
    if steps and size in WORK:
        first, each = SEARCH_KMAC[size]
        kmac += first + steps * each
        work = work._replace(encode_kmac=round((work.encode_kmac or 0) + first + steps * each, 1))
    return Facts(
        f"CRDR micro β={beta}" if micro else f"CRDR β={beta}", kind="own", group="This method",
        colour="#D55E00" if beta == "3.84" and not micro else "",
        marker=MARKERS.get(":".join(f"{key}={options[key]}" for key in sorted(options)), ""),
        trained_on=("psnr_db", "lpips_alex"),
        chroma="4:4:4", tuned_for="PSNR" if beta == "0" else "perceptual quality",
        memory=Memory(20, 220),
        typical=(
            Typical("q", ((0, once + searched), (4, once + searched))),
            # on an A100 (results/published/complexity.csv)
            Typical("q", ((0, 0.39), (4, 0.39)), "cuda"),
        ),
        published=() if micro else (("CRDR", f"beta={beta}"),),
        published_version="5000000 steps, Open Images",
        kmac=0.0 if checkpoint else float(f"{kmac:.4g}"), work=work, budget=micro,
        training=Training() if checkpoint else TRAINING.get(size, Training()),
        chosen_on=("kodak", "lpips_squeeze") if micro else None,
        titled=("beta", "size") if micro else ("beta",),
    )  # fmt: skip


def avif(options: Options) -> Facts:
    """Return the facts of a speed, which every name has: the slowest needs 4 % fewer bits."""
    speed = options.get("speed", "4")
    slowdown = AVIF_SLOWDOWN.get(speed, 1)
    seconds = tuple((crf, slowdown * at_4) for crf, at_4 in ((18, 5.6), (34, 4.1), (60, 1.2)))
    return Facts(
        f"AVIF speed {speed}", kind="standard", colour="#117733",
        marker="h" if speed == "2" else "^", chroma="4:4:4", tuned_for="SSIM",
        titled=("speed",), memory=Memory(220, 0, torch=False), typical=(Typical("crf", seconds),),
    )  # fmt: skip


def dirac(options: Options) -> Facts:
    """Return the facts of so many steps behind a base."""
    steps = options.get("steps", "")
    colour, marker = ("#CC79A7", "D") if steps == "100" else ("", "v")
    return replace(
        _behind(options, int(steps or 1), "369c239f"),
        title=f"DIRAC, {steps} step{'s' * (steps != '1')}", colour=colour, marker=marker,
        published=((f"DIRAC-{steps}", ""),), kmac=round(14.7 + STEP_KMAC * int(steps or 0), 1),
        titled=("steps",),
    )  # fmt: skip


def hfd(options: Options) -> Facts:
    """Return the facts of so many steps behind a base."""
    return replace(
        _behind(options, int(options.get("steps", 20)), "8c9e9f84"),
        title="HFD", colour="#E69F00", marker=">", published=(("HFD", ""),), kmac=310.3,
    )  # fmt: skip


def _behind(options: Options, steps: int, fingerprint: str) -> Facts:
    """Return what decoders that draw share: work and training are known behind ELIC alone."""
    base, seconds = options.get("base", "elic"), STEP_SECONDS * steps
    on_cpu = (
        typical._replace(seconds=tuple((at, each + seconds) for at, each in typical.seconds))
        for typical in facts_of(parse_codec(base)).typical
        if typical.device == "cpu"
    )
    facts = Facts(
        kind="learned", group="Trained for realism", trained_on=("psnr_db",),  # of the base
        typical=(*on_cpu, Typical("", ((0, seconds),))), budget=True,
    )  # fmt: skip
    if base != "elic":
        return facts

    def with_drawing(of: Work) -> Work:
        parameters, decode = (of.parameters or 0) + DRAWING_PARAMETERS, of.decode_kmac or 0
        return Work(parameters, of.encode_kmac, round(decode + steps * STEP_KMAC, 2))

    elic = of_table("elic", {})
    works = tuple((level, with_drawing(of)) for level, of in elic.works)
    training = Training(0.93, "adam", f"{STEPS} + {ALL_STEPS}", fingerprint)
    return replace(facts, work=with_drawing(elic.work), works=works, training=training)


def repeat(options: Options) -> Facts:
    """Return the facts of a codec that codes a picture so many times, in the codec's colour."""
    base, times = parse_codec(options.get("base", "")), int(options.get("times", 2))
    facts = facts_of(base)
    whole = facts.title and {key for key, _ in base.options} <= {*facts.titled}
    typical = (
        of._replace(seconds=tuple((at, each * times) for at, each in of.seconds))
        for of in facts.typical
    )
    return Facts(
        f"{facts.title if whole else base.label}, coded {times} times", kind=facts.kind,
        colour=facts.colour, family=facts.family or base.name, trained_on=facts.trained_on,
        chroma=facts.chroma, tuned_for=facts.tuned_for, memory=facts.memory,
        typical=tuple(typical), titled=("base", "times"),
    )  # fmt: skip


def worker(options: Options) -> Facts:
    """Return what a contender file says of name, work, memory and seconds."""
    file = Path(options["file"])
    from baselines.worker.contender import read_contender

    contender = read_contender(file)
    seconds = contender.seconds_per_megapixel
    typical = Typical("", ((0.0, seconds),), "cuda" if contender.gpu else "cpu")
    pixel = 1e9 * contender.memory_gb / 1e6  # as if for a megapixel
    return Facts(
        contender.name, kind="learned", memory=Memory(pixel or 60, 0, torch=False),
        typical=(typical,) if seconds else (),
        work=Work(contender.parameters, contender.encode_kmac, contender.decode_kmac),
    )  # fmt: skip


FACTS: dict[str, Facts | Callable[[Options], Facts]] = {
    **{name: partial(of_table, name) for name in RECORDS if ":" not in name},
    **{of.__name__: of for of in (ours, avif, dirac, hfd, repeat, worker)},
}
# What the harness asks of a codec before it is imported, by the name of the attribute: of a codec
# that is not in these tables, its class is asked.
DECLARED: dict[str, Mapping[str, Any]] = {
    "facts": FACTS,
    "shown": {  # variants in the table of systems, where the bare name is not the only one
        "ours": ("beta=3.84", "beta=0", "beta=3.84:size=micro", "beta=0:size=micro"),
        "multirealism": ("beta=2.56", "beta=0"),
        "dirac": ("steps=1", "steps=100"),
        "pqmim": ("perceptual=1", ""),
        "compressai": (
            MSE_PRIOR, MATCHED_PRIOR, *(f"model={model}" for model in ZOO),
            "metric=ms-ssim:model=bmshj2018-hyperprior",
        ),
    },
    "runs_programs": {"command": True, "worker": True},
    "unnamed_option": {"worker": "file"},
}  # fmt: skip
