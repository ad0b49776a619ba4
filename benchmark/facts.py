"""Facts of a codec, declared on its class, that the harness needs beside its rows."""

from typing import Literal, NamedTuple

from benchmark.codec import Device

Kind = Literal["own", "standard", "learned"]
Group = Literal["", "This method", "Trained for realism", "Trained for distortion", "Programs"]


class Typical(NamedTuple):
    """Seconds to encode and decode a megapixel, typical of one core of a server or of one GPU."""

    setting: str  # its name; empty: any
    seconds: tuple[tuple[float, float], ...]  # (value of the setting, seconds), values rising
    device: Device = "cpu"


class Memory(NamedTuple):
    """Peak bytes per pixel of encoding and decoding; the defaults are for unmeasured codecs."""

    pixel: float = 250
    tile_pixel: float = 250  # per pixel of a tile, in addition
    torch: bool = True


class Work(NamedTuple):
    """Size and work of a codec's networks; None where nobody has counted them."""

    parameters: int | None = None  # of encoder and decoder together
    encode_kmac: float | None = None  # thousand multiply-accumulates to encode a pixel
    decode_kmac: float | None = None


class Training(NamedTuple):
    """Training of the networks that come with a codec; empty where there are none."""

    petamacs: float | None = None  # 10^15 multiply-accumulates, of all, forwards and backwards
    optimiser: str = ""
    steps: str = ""  # of each network; those of a receiver behind it after a plus
    fingerprint: str = ""  # begins that of rows of these networks: of the same weights


class KnownDifference(NamedTuple):
    """Explained difference, measured minus published, between values of one codec in dB."""

    column: str  # of the metric: "psnr_db"
    why: str
    low_db: float
    high_db: float
    version: str = ""  # beginning of the measured codec's version; empty: any
    beside: str = ""  # column of a metric that has to agree; empty: none


class Facts(NamedTuple):
    """Facts of a codec variant that plans, comparisons and figures need beside its rows.

    A codec class may have an attribute `facts`: a `Facts`, or a static method that takes the
    options as a mapping of texts (defaults left out) and returns the variant's.
    """

    title: str = ""  # in legends and tables; empty: the codec's name and options
    kind: Kind = "own"
    group: Group = ""  # in the paper's legends; empty: in none of its figures
    colour: str = ""  # "#D55E00"; empty: a shade of the family's
    marker: str = ""  # as matplotlib names it
    family: str = ""  # variants of one family share a colour; empty: the codec's name
    trained_on: tuple[str, ...] = ()  # metric columns in the training loss; PSNR for MSE
    chroma: str = ""  # of rows that do not state it: "4:2:0"
    tuned_for: str = ""  # of rows that do not state it: "PSNR"
    memory: Memory = Memory()
    typical: tuple[Typical, ...] = ()
    kmac: float = 0.0  # of encoding and decoding, with the entropy path once; 0: unknown
    work: Work = Work()  # of each way, with all that it runs
    training: Training = Training()
    # Dataset and metric by which the realism of the networks that come with it was chosen.
    chosen_on: tuple[str, str] | None = None
    implied: tuple[tuple[str, str], ...] = ()  # options that names of figures leave out
    titled: tuple[str, ...] = ()  # options that the title has; names of figures add the others
    # System and variant of published points. The paper plots the first that has points; of a
    # measured codec, the first has the same program or weights.
    published: tuple[tuple[str, str], ...] = ()
    published_version: str = ""  # part of the codec's version if its weights are the published ones
    known_differences: tuple[KnownDifference, ...] = ()
    budget: bool = False  # trained here, with the work and crops of our codec's micro network
    reference: bool = False  # also plotted beside the networks of that budget
