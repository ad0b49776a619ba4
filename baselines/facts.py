"""Facts about codecs, from `facts.toml` or computed; no codec is imported."""

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

Options = Mapping[str, str]  # without defaults, as in rows

UNKNOWN = "unknown"
RECORDS: dict[str, dict[str, Any]] = tomllib.loads(
    Path(__file__).with_suffix(".toml").read_text(encoding="utf-8")
)
_DECLARED = RECORDS.pop("declared")


def _table_facts(name: str, options: Options) -> Facts:
    merged_record: dict[str, Any] = {}
    for key, record in RECORDS.items():
        codec, *conditions = key.split(":")
        if codec == name and all(_condition_holds(condition, options) for condition in conditions):
            merged_record |= record
    return msgspec.convert(_fill_options(merged_record, defaultdict(str, options)), Facts)


def _condition_holds(condition: str, options: Options) -> bool:
    option, _, value = condition.partition("=")
    return option in options and (not value or options[option] == value)


def _fill_options(value: Any, options: Options) -> Any:
    """Replace `{OPTION}` in all strings inside a value; the string "unknown" becomes None.

    >>> _fill_options(["beta={beta}", ["unknown"]], {"beta": "0"})
    ['beta=0', [None]]
    """
    if isinstance(value, str):
        return None if value == UNKNOWN else value.format_map(options)
    if isinstance(value, dict):
        return {name: _fill_options(entry, options) for name, entry in value.items()}
    return [_fill_options(entry, options) for entry in value] if isinstance(value, list) else value


STEPS = {"dirac": 1, "hfd": 20}  # default sampling steps of receivers
# Costs of a receiver: kMAC per step, seconds per step and megapixel on one core
RECEIVER_PARAMETERS, STEP_KMAC, STEP_SECONDS = 993_168, 14.78, 0.43


def _receiver_facts(name: str, options: Options) -> Facts:
    # for a decoder of a base codec's streams; its work is known only if the base is ELIC
    facts = _table_facts(name, options)
    base, steps = options.get("base", "elic"), int(options.get("steps", STEPS[name]))
    typical = [
        timing._replace(
            seconds=tuple(
                (setting, seconds + STEP_SECONDS * steps) for setting, seconds in timing.seconds
            )
        )
        for timing in facts_of(parse_codec(base)).typical
        if timing.device == "cpu"
    ]
    typical.append(Typical("", ((0, STEP_SECONDS * steps),)))
    if name == "dirac":
        facts = replace(facts, kmac=round(facts.kmac + STEP_KMAC * steps, 1))
    if base != "elic":
        return replace(facts, typical=tuple(typical))

    def add_receiver(work: Work) -> Work:
        parameters, decode = (work.parameters or 0) + RECEIVER_PARAMETERS, work.decode_kmac or 0
        return Work(parameters, work.encode_kmac, round(decode + steps * STEP_KMAC, 2))

    elic = _table_facts(base, {})
    works = tuple((level, add_receiver(work)) for level, work in elic.works)
    return replace(facts, typical=tuple(typical), work=add_receiver(elic.work), works=works)


def _repeat_facts(options: Options) -> Facts:
    """Return the facts of `repeat`, which figures draw in the colour of its base codec."""
    base, times = parse_codec(options.get("base", "")), int(options.get("times", 2))
    facts = facts_of(base)
    is_complete = facts.title and {key for key, _ in base.options} <= {*facts.titled}
    typical = (
        timing._replace(
            seconds=tuple((setting, seconds * times) for setting, seconds in timing.seconds)
        )
        for timing in facts.typical
    )
    return Facts(
        f"{facts.title if is_complete else base.label}, coded {times} times", kind=facts.kind,
        colour=facts.colour, family=facts.family or base.name, trained_on=facts.trained_on,
        chroma=facts.chroma, tuned_for=facts.tuned_for, memory=facts.memory,
        typical=tuple(typical), titled=("base", "times"),
    )  # fmt: skip


def _worker_facts(options: Options) -> Facts:
    file = Path(options["file"])
    from baselines.worker.codec import read_contender

    contender = read_contender(file)
    seconds = contender.seconds_per_megapixel
    typical = Typical("", ((0.0, seconds),), "cuda" if contender.gpu else "cpu")
    bytes_per_pixel = 1e9 * contender.memory_gb / 1e6  # memory_gb is that for a megapixel
    return Facts(
        contender.name, kind="learned", memory=Memory(bytes_per_pixel or 60, 0, torch=False),
        typical=(typical,) if seconds else (),
        work=Work(contender.parameters, contender.encode_kmac, contender.decode_kmac),
    )  # fmt: skip


FACTS: dict[str, Callable[[Options], Facts]] = {
    **{name: partial(_table_facts, name) for name in RECORDS if ":" not in name},
    **{name: partial(_receiver_facts, name) for name in STEPS},
    "repeat": _repeat_facts,
    "worker": _worker_facts,
}
# Attributes that the harness needs before importing a codec, by name. If a codec is not in these
# tables, its class provides them.
DECLARED: dict[str, Mapping[str, Any]] = {"facts": FACTS, **_DECLARED}
