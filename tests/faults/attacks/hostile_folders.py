"""Results and packs of a stranger, whose rows, records and cards hold anything, by Hypothesis."""

import json
import random
import tarfile
import warnings
from collections.abc import Sequence
from typing import TypeVar

import hypothesis
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.errors import HypothesisWarning

from benchmark.rows.schema import table_schema
from benchmark.rows.store import Store
from faults.attacks.arena import Arena, store_in
from faults.attacks.attack import Step
from faults.attacks.invariants import Row
from faults.attacks.sound import Sound

Drawn = TypeVar("Drawn")
EXAMPLES = 6  # that Hypothesis draws; the last is taken, since the first is the simplest
SHOTS = (
    ("command", r"decode=sh -c 'touch $CANARY' {in} {out}:encode=cp {in} {out}:values=1"),
    ("./stranger.py:Codec", ""),
    ("dirac", r"base=./stranger.py\:Codec"),
    ("subprocess:Popen", "args=touch"),
)
TEXTS = st.one_of(
    st.sampled_from(
        [
            "jpeg",
            "",
            "ok",
            "failed",
            "a" * 64,
            "../../x",
            "=1+1",
            "a=b",
            "a\nb",
            "\x1b[2J",
            "\u202e",
        ]
    ),
    st.sampled_from(["$(touch PWNED)", r"\input{/etc/passwd}", "<script>", "{}", "%s", "x" * 5000]),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=12),
)
VALUES = {
    "string": TEXTS,
    "double": st.floats(),
    "int64": st.integers(-(2**63), 2**63 - 1),
    "bool": st.booleans(),
}
JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=12,
)
PYTHON = "import os\nfrom pathlib import Path\nPath(os.environ['CANARY']).touch()\n"
COLUMNS = {field.name: str(field.type) for field in table_schema()}
# The columns that say what a cell is and how it ended, and a few measured ones.
LIKELY = ("codec", "variant", "setting_name", "setting_value", "image", "run", "status", "caveat",
          "reason", "stream_sha256", "image_sha256", "num_bytes", "bpp", "psnr_db", "width_px",
          "finished_utc", "dataset", "machine", "timed", "fingerprint")  # fmt: skip
COMMANDS = (
    ("merge", "theirs", "--into", "mine"),
    ("report", "--results", "mine", "--metrics", "psnr"),
    ("report", "--page", "--results", "theirs", "--metrics", "psnr"),
    ("audit", "decode", "theirs"),
    ("audit", "decode", "mine"),
    ("doctor", "theirs"),
    ("export", "images", "--dataset", "{photos}", "--results", "mine", "--to", "out"),
    ("rescore", "--dataset", "{photos}", "--results", "mine", "--metrics", "psnr,psnr_y"),
    ("pack", "export", "out.tar", "--codecs", "jpeg", "--results", "theirs"),
    ("figures", "paper", "--results", "mine", "--only", "crops"),
)


class HostileFolders:
    """A step is a row with other values, a record of any JSON, or code that a row names."""

    most_steps = 6

    def draw(self, chance: random.Random) -> Step:
        """Draw what is changed, and to what; and a command that reads it."""
        which, seed, kind = chance.random(), chance.getrandbits(32), chance.randrange(4)
        command = chance.choice(COMMANDS)

        def do(rows: list[Row], store: Store) -> tuple[str, ...]:
            row = rows[int(which * len(rows))]
            if kind == 0:
                row["codec"], row["variant"] = random.Random(seed).choice(SHOTS)
            elif kind == 1:
                content = json.dumps(drawn(JSON, seed))
                (store.folder / "runs" / f"{row['run']}.json").write_text(content)
            else:
                names = st.sampled_from(LIKELY) | st.sampled_from(sorted(COLUMNS))
                for name in drawn(st.lists(names, min_size=1, max_size=4), seed):
                    row[name] = drawn(st.none() | VALUES.get(COLUMNS[name], st.none()), seed)
            return command

        what = ("code that a row names", "a record", "values of a row", "values of a row")[kind]
        return Step(f"{what} by seed {seed}, read by `{' '.join(command[:2])}`", do)

    def carry_out(self, arena: Arena, sound: Sound, steps: Sequence[Step]) -> None:
        """Change a copy of sound rows as a stranger may, and let commands read it."""
        (arena.work / "stranger.py").write_text(PYTHON)
        theirs = store_in(sound.copied(arena, "theirs"))
        assert theirs is not None
        rows = theirs.versions().to_pylist()
        for path in theirs.folder.glob("per_image/*.parquet"):
            path.unlink()
        commands = [step.do(rows, theirs) for step in steps]
        theirs.append(rows)
        for command in dict.fromkeys((COMMANDS[0], *commands)):
            arena.bench(*(word.format(photos=sound.photos) for word in command))


class HostilePacks:
    """A step replaces parts of a pack's index or of its rows."""

    most_steps = 3

    def draw(self, chance: random.Random) -> Step:
        """Draw which text is replaced where, and by what."""
        name, where = chance.choice(("pack.json", "rows.csv")), chance.random()
        seed = chance.getrandbits(32)

        def do(parts: dict[str, str]) -> None:
            text = parts[name]
            # Values are between these marks in both formats.
            marks = [at for at, sign in enumerate(text) if sign in ',":\n']
            at = int(where * (len(marks) - 1))
            put = drawn(TEXTS | JSON.map(json.dumps), seed)
            parts[name] = text[: marks[at] + 1] + put + text[marks[at + 1] :]

        return Step(f"a value at {where:.4f} of {name}, replaced by seed {seed}", do)

    def carry_out(self, arena: Arena, sound: Sound, steps: Sequence[Step]) -> None:
        """Unpack the sound pack, change it, import it, and look at what came of it."""
        with tarfile.open(sound.pack) as tar:
            tar.extractall(arena.work / "pack", filter="data")
        folder = next((arena.work / "pack").rglob("pack.json")).parent
        parts = {name: (folder / name).read_text() for name in ("pack.json", "rows.csv")}
        for step in steps:
            step.do(parts)
        for name, text in parts.items():
            (folder / name).write_text(text)
        (arena.work / "stranger.py").write_text(PYTHON)
        arena.bench("pack", "import", folder, "--results", "imported")
        arena.bench(
            "run",
            "--codecs",
            "all",
            "--dataset",
            sound.photos,
            "--metrics",
            "psnr",
            "--pack",
            folder,
            "--results",
            "with-pack",
            "--limit",
            1,
            "--skip-missing",
        )
        arena.bench("report", "--results", "imported", "--metrics", "psnr")


def drawn(strategy: st.SearchStrategy[Drawn], seed: int) -> Drawn:
    """Return a value that Hypothesis draws by the seed."""
    found: list[Drawn] = []

    @hypothesis.seed(seed)
    @settings(
        max_examples=EXAMPLES, database=None, deadline=None, phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @hypothesis.given(strategy)
    def collect(value: Drawn) -> None:
        found.append(value)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", HypothesisWarning)
        collect()
    return found[-1]
