"""Facts of the project's codecs beside their code: names, looks, training, memory and seconds.

They are in `facts.toml`, but for what is computed from options or read from a user's file. Reports
and plans ask for the facts of every codec; none is imported for them.
"""

import tomllib
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from benchmark.facts import Facts, Memory, Typical, Work, facts_of
from benchmark.spec import parse_codec

Options = Mapping[str, str]  # as rows have them, defaults left out

UNKNOWN = "unknown"
RECORDS: dict[str, dict[str, Any]] = tomllib.loads(
    Path(__file__).with_suffix(".toml").read_text(encoding="utf-8")
)
_DECLARED = RECORDS.pop("declared")


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


STEPS = {"dirac": 1, "hfd": 20}  # of receivers that sample, by default
# Of such a receiver; seconds per step and megapixel, on one core
RECEIVER_PARAMETERS, STEP_KMAC, STEP_SECONDS = 993_168, 14.78, 0.43


def behind_a_base(name: str, options: Options) -> Facts:
    """Return the facts of a receiver behind a base: its work is known behind ELIC alone."""
    facts = of_table(name, options)
    base, steps = options.get("base", "elic"), int(options.get("steps", STEPS[name]))
    typical = [
        of._replace(seconds=tuple((at, each + STEP_SECONDS * steps) for at, each in of.seconds))
        for of in facts_of(parse_codec(base)).typical
        if of.device == "cpu"
    ]
    typical.append(Typical("", ((0, STEP_SECONDS * steps),)))
    if name == "dirac":
        facts = replace(facts, kmac=round(facts.kmac + STEP_KMAC * steps, 1))
    if base != "elic":
        return replace(facts, typical=tuple(typical))

    def with_receiver(of: Work) -> Work:
        parameters, decode = (of.parameters or 0) + RECEIVER_PARAMETERS, of.decode_kmac or 0
        return Work(parameters, of.encode_kmac, round(decode + steps * STEP_KMAC, 2))

    elic = of_table(base, {})
    works = tuple((level, with_receiver(of)) for level, of in elic.works)
    return replace(facts, typical=tuple(typical), work=with_receiver(elic.work), works=works)


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
    from baselines.worker.codec import read_contender

    contender = read_contender(file)
    seconds = contender.seconds_per_megapixel
    typical = Typical("", ((0.0, seconds),), "cuda" if contender.gpu else "cpu")
    pixel = 1e9 * contender.memory_gb / 1e6  # as if for a megapixel
    return Facts(
        contender.name, kind="learned", memory=Memory(pixel or 60, 0, torch=False),
        typical=(typical,) if seconds else (),
        work=Work(contender.parameters, contender.encode_kmac, contender.decode_kmac),
    )  # fmt: skip


FACTS: dict[str, Callable[[Options], Facts]] = {
    **{name: partial(of_table, name) for name in RECORDS if ":" not in name},
    **{name: partial(behind_a_base, name) for name in STEPS},
    "repeat": repeat,
    "worker": worker,
}
# What the harness asks of a codec before it is imported, by the name of the attribute: of a codec
# that is not in these tables, its class is asked.
DECLARED: dict[str, Mapping[str, Any]] = {"facts": FACTS, **_DECLARED}
