"""JPEG AI (ISO/IEC 6048-1) by the programs of its reference software."""

import os
import subprocess
import sys
from tempfile import TemporaryDirectory

import numpy
from PIL import Image
from rdrbench_worker import Pixels, serve

TOOLS = os.environ.get("JPEG_AI_TOOLS", "tools_off")  # or tools_on
PROFILE = os.environ.get("JPEG_AI_PROFILE", "main")  # or simple, high
CONFIGURATION = ["cfg/%s.json" % TOOLS, "cfg/profiles/%s.json" % PROFILE]
RATES = (6, 12, 25, 50, 75, 100)  # hundredths of a bit per pixel, for --set_target_bpp
CODERS = "src.reco.coders."


class JpegAi:
    """Their programs, started for each picture: they load their models each time."""

    sweep = [("target_bpp", rate / 100) for rate in RATES]  # lowest rate first
    decoder_needs = ()  # the stream has sizes and rate

    def encode(self, pixels, setting):
        """Return the stream of their encoder."""
        with TemporaryDirectory() as folder:
            picture, stream = os.path.join(folder, "x.png"), os.path.join(folder, "x.bits")
            Image.fromarray(pixels.numpy()).save(picture)
            rate = ["--set_target_bpp", "%d" % round(100 * setting[1])]
            options = rate + ["--cfg"] + CONFIGURATION
            start = [sys.executable, "-m", CODERS + "encoder", picture, stream]
            subprocess.run(start + options, check=True)
            with open(stream, "rb") as file:
                return file.read()

    def decode(self, data):
        """Return the picture of their decoder."""
        with TemporaryDirectory() as folder:
            stream, picture = os.path.join(folder, "x.bits"), os.path.join(folder, "x.png")
            with open(stream, "wb") as file:
                file.write(data)
            subprocess.run([sys.executable, "-m", CODERS + "decoder", stream, picture], check=True)
            with Image.open(picture) as decoded:
                return Pixels.from_numpy(numpy.array(decoded.convert("RGB")))


if __name__ == "__main__":
    serve(JpegAi)
