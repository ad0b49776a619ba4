"""Facts that a codec's class declares, and that the harness needs in addition to its rows."""

from dataclasses import KW_ONLY, dataclass, field
from functools import cache
from typing import Any, Literal, NamedTuple

from benchmark.codec import Device
from benchmark.errors import FOREIGN_ERRORS, BenchError, Unavailable, raise_interruption
from benchmark.plugins import printing_to_stderr
from benchmark.registry import ALIASES, CODECS
from benchmark.spec import CodecSpec, codec_class, parameters_of, read_declaration

Kind = Literal["own", "standard", "learned"]
Group = Literal["", "This method", "Trained for realism", "Trained for distortion", "Programs"]


class Typical(NamedTuple):
    """Seconds to encode and decode a megapixel, typical of one server core or one GPU."""

    setting: str  # name of the setting; empty: they hold for every setting
    seconds: tuple[tuple[float, float], ...]  # (value of the setting, seconds), by rising value
    device: Device = "cpu"


class Memory(NamedTuple):
    """Peak memory of encoding and decoding; the defaults are for codecs that were not measured."""

    pixel: float = 250  # bytes per pixel of the image
    tile_pixel: float = 250  # additional bytes per pixel of a tile
    torch: bool = True


class Work(NamedTuple):
    """Size and work of a codec's networks; None: not counted."""

    parameters: int | None = None  # number of weights of encoder and decoder
    encode_kmac: float | None = None  # thousand multiply-accumulates to encode a pixel
    decode_kmac: float | None = None


class Training(NamedTuple):
    """Training of the networks that come with a codec; empty if it has none."""

    petamacs: float | None = None  # 10^15 multiply-accumulates, forward and backward, all networks
    optimiser: str = ""
    steps: str = ""  # training steps per network; those after "+" train a diffusion decoder
    fingerprint: str = ""  # beginning of the fingerprint of rows with these weights


@dataclass(frozen=True, slots=True)
class Facts:
    """Facts about a codec variant, which plans, comparisons and figures need besides its rows.

    A codec class may have an attribute `facts`: a `Facts`, or a static method that takes the
    options (a mapping of strings, without defaults) and returns the `Facts` of the variant. The
    facts of this project's codecs are in `baselines/facts.toml`.
    """

    title: str = ""  # name in legends and tables; empty: the codec's name and options
    _: KW_ONLY
    method: str = ""  # the title without `choice`; empty: the title
    choice: str = ""  # the choice of realism: "β=3.84", "1 step"
    kind: Kind = "own"
    group: Group = ""  # group in the paper's legends; empty: not in its figures
    colour: str = ""  # such as "#D55E00"; empty: the colour of the family
    marker: str = ""  # matplotlib's name of a marker
    family: str = ""  # variants of one family share a colour; empty: the codec's name
    trained_on: tuple[str, ...] = ()  # metric columns in the training loss; PSNR for MSE
    chroma: str = ""  # chroma format if rows state none: "4:2:0"
    tuned_for: str = ""  # metric that the encoder optimises, if rows state none: "PSNR"
    memory: Memory = field(default=Memory())
    typical: tuple[Typical, ...] = ()
    kmac: float = 0.0  # kMAC per pixel of a forward pass, which runs each network once; 0: unknown
    work: Work = field(default=Work())  # of encoder and decoder, each with all networks it runs
    works: tuple[tuple[float, Work], ...] = ()  # work by setting value, if network sizes differ
    training: Training = field(default=Training())
    # Dataset and metric with which the realism of the codec's networks was chosen
    chosen_on: tuple[str, str] | None = None
    implied: tuple[tuple[str, str], ...] = ()  # options that figures do not show in names
    titled: tuple[str, ...] = ()  # options in the title; figures append all others to it
    # (system, variant) of published points. The paper plots the first pair that has points; for a
    # measured codec, the first pair used the program or weights that are measured here.
    published: tuple[tuple[str, str], ...] = ()
    budget: bool = False  # trained here, with the work and crops of this project's micro network
    reference: bool = False  # whether readers know the codec, so that it is shown next to others
    null: bool = False  # whether it decodes to the source, which measures the harness


@cache
def facts_of(spec: CodecSpec) -> Facts:
    """Return the facts that a codec declares, without importing users' files.

    Codecs outside the registry, missing packages and invalid options give the defaults.
    """
    if spec.name not in CODECS:
        return Facts()
    try:
        facts: Any = read_declaration(spec.name, "facts") or Facts()
        variant_facts: Facts = facts(dict(spec.options)) if callable(facts) else facts
    except (BenchError, ValueError, LookupError):
        return Facts()
    return variant_facts


@printing_to_stderr()
def work_of(spec: CodecSpec, codec: object, setting_value: float | None = None) -> Work:
    """Return the work that a codec declares, unchecked; empty for a checkpoint of a user."""
    try:
        declared_facts: Any = getattr(type(codec), "facts", None)
        facts = (
            declared_facts(dict(spec.options))
            if callable(declared_facts)
            else declared_facts or facts_of(spec)
        )
        if isinstance(facts, Facts) and "checkpoint" not in dict(spec.options):
            work = dict(facts.works).get(setting_value, facts.work)  # type: ignore[arg-type]
            parameters: Any = work.parameters
            is_integer = isinstance(parameters, float) and parameters.is_integer()
            return work._replace(parameters=int(parameters)) if is_integer else work
    except FOREIGN_ERRORS as error:
        raise_interruption(error)
    return Work()


def needs_options(name: str) -> bool:
    """Return whether a codec of the registry cannot run under its bare name.

    >>> needs_options("folder"), needs_options("ours"), needs_options("jpeg")
    (True, False, False)
    """
    spec = CodecSpec(name, ())
    try:
        options = parameters_of(spec, codec_class(spec)).values()
    except Unavailable:
        return False
    required_names = {option.name for option in options if option.default is option.empty}
    variants: tuple[dict[str, str], ...] = read_declaration(name, "variants") or ({},)
    return any(required_names - variant.keys() for variant in variants)


def reference_codecs() -> list[str]:
    """Return names of the codecs that readers know, as in the registry: the strongest is last.

    >>> reference_codecs()
    ['jpeg', 'vtm']
    """
    return [name for name in CODECS if facts_of(CodecSpec(name, ())).reference]


def fetchable_codecs() -> list[str]:
    """Return the names of codecs whose weights `bench fetch` downloads."""
    names_with_weights = [name for name in CODECS if read_declaration(name, "published_weights")]
    return [*(name for name in names_with_weights if not needs_options(name)), *ALIASES]
