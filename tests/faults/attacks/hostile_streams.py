"""Mutated streams in rows of results, with the sha256 that they have now: decoded by every verb."""

import random
from collections.abc import Sequence

from benchmark.rows.store import Store
from faults.attacks.arena import Arena, store_in
from faults.attacks.attack import Step
from faults.attacks.invariants import Row
from faults.attacks.sound import Sound
from support.faults.ledger import mutated

SUFFIXES = {"jpeg": "jpg", "webp": "webp", "ours": "crdr"}


class HostileStreams:
    """A step is a stream that was changed in one to four places, in place of a sound one."""

    most_steps = 40

    def draw(self, chance: random.Random) -> Step:
        """Draw the row whose stream is replaced, and the changes."""
        learned, which, seed = chance.random() < 0.5, chance.random(), chance.getrandbits(32)

        def do(sound: Sound) -> tuple[Row, bytes]:
            store = store_in(sound.learned if learned else sound.results)
            assert store is not None
            rows = [row for row in store.table().to_pylist() if ".py:" not in row["codec"]]
            row = rows[int(which * len(rows))]
            return row, mutated(store.stream(row["stream_sha256"]) or b"", random.Random(seed))

        of = "raw and ours" if learned else "jpeg and webp"
        return Step(f"the stream at {which:.3f} of those of {of}, changed by seed {seed}", do)

    def carry_out(self, arena: Arena, sound: Sound, steps: Sequence[Step]) -> None:
        """Write a row for each stream, of a cell of its own; audit, rescore, export, decode one."""
        theirs = store_in(sound.results)
        assert theirs is not None
        results = arena.work / "results"
        store, rows = Store(results / theirs.folder.name), []
        for number, step in enumerate(steps):
            row, stream = step.do(sound)
            digest = store.keep(stream)
            told = {"cell": f"{number:064x}", "num_bytes": len(stream), "stream_sha256": digest}
            rows.append({**row, **told})
        for run in {str(row["run"]) for row in rows}:
            store.begin(run, {"arguments": []})
        store.append(rows)
        dataset = ("--dataset", sound.photos, "--results", results)
        arena.bench("audit", "decode", results)
        arena.bench("rescore", *dataset, "--metrics", "psnr_y")
        arena.bench("export", "images", *dataset, "--to", "out")
        if (codec := rows[0]["codec"]) in SUFFIXES:
            name = f"stream.{SUFFIXES[codec]}"
            (arena.work / name).write_bytes(store.stream(rows[0]["stream_sha256"]) or b"")
            weights = ("--checkpoint", sound.checkpoint) * (codec == "ours")
            arena.bench("decode", name, "decoded.png", "--codec", codec, *weights)
