"""Memory that ends while cells are coded and scored, and again with as much as is needed."""

import random
from collections.abc import Sequence

from faults.attacks import invariants
from faults.attacks.arena import TESTS, Arena, store_in
from faults.attacks.attack import Step
from faults.attacks.sound import Sound
from support.files.noise import effect_noise
from support.rows.stable_rows import stable

HUNGRY = TESTS / "support" / "codecs" / "hungry.py"
MOST_MIB = 300
CODECS = ("LeavesLittle", "TooLargeToLoad", "Torches")
METRICS = ("psnr,ms_ssim", "psnr,ssim", f"psnr,{HUNGRY}:Hungry", "psnr,psnr_y,ms_ssim,ssim")


class MemoryEnds:
    """A step is a run whose workers get too little memory, or whose codec or metric asks too much.

    What fails is a null or a failed row with its reason. At the end, `LeavesLittle` has no limit.
    """

    most_steps = 3

    def draw(self, chance: random.Random) -> Step:
        """Draw codec, metrics and how much memory is left for the large image."""
        codec, metrics = chance.choice(CODECS), chance.choice(METRICS)
        mib = int(MOST_MIB * chance.random() ** 2)

        def do(arena: Arena, words: Sequence[object]) -> None:
            named = ("--codecs", f"{HUNGRY}:{codec}", "--metrics", metrics)
            arena.bench(*words, *named, environment={"ROOM_BYTES": str(mib << 20)})

        return Step(f"{codec} with {metrics} and {mib} MiB for the large image", do)

    def carry_out(self, arena: Arena, sound: Sound, steps: Sequence[Step]) -> None:
        """Measure a large image beside a small one; then without a limit, and rescore."""
        photos, results = arena.work / "photos", arena.work / "results"
        photos.mkdir()
        for name, sides in (("large", (1100, 950)), ("small", (200, 170))):
            effect_noise(sides, 40).convert("RGB").save(photos / f"{name}.png")
        where = ("--dataset", photos, "--results", results)
        for step in steps:
            step.do(arena, ("run", *where, "--jobs", 1, "--json"))
            store = store_in(results)
            arena.judge(invariants.failures_have_reasons(stable(store) if store else []))
        codec = f"{HUNGRY}:LeavesLittle"
        words = ("--metrics", "psnr,ms_ssim,ssim", *where)
        arena.bench("run", "--codecs", codec, *words, "--jobs", 1, "--json")
        arena.bench("rescore", *words, "--json")
        store = store_in(results)
        rows = stable(store) if store else []
        arena.judge(invariants.scored([row for row in rows if row["codec"] == codec], 6))
