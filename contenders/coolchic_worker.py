"""Cool-chic 5 (Ladune et al., 2026) by the code of its authors: it fits a network to a picture."""

import os
import subprocess
import sys
from tempfile import TemporaryDirectory

from coolchic.bitstream.decode import decode_video  # of the folder
from PIL import Image
from rdrbench_worker import Pixels, serve

OPTIONS = os.environ.get("COOLCHIC_OPTIONS", "").split()  # "--n_itr 20000"; theirs without are used
PROGRAM = os.path.join(os.path.dirname(os.path.abspath(__file__)), "cc_encode.py")


class CoolChic:
    """Encoding by their program, in minutes to hours; decoding in this process."""

    sweep = [("lambda", value) for value in (0.01, 0.004, 0.001, 0.0004, 0.0001)]
    decoder_needs = ()  # the stream has sizes and architecture

    def encode(self, pixels, setting):
        """Return the stream of cc_encode.py."""
        with TemporaryDirectory() as folder:
            picture, stream = os.path.join(folder, "x.png"), os.path.join(folder, "x.cool")
            Image.fromarray(pixels.numpy()).save(picture)
            start = [sys.executable, PROGRAM, "-i", picture, "-o", stream, "--workdir", folder]
            subprocess.run(start + ["--lmbda", repr(setting[1])] + OPTIONS, check=True)
            with open(stream, "rb") as file:
                return file.read()

    def decode(self, data):
        """Return the picture, the one frame of the stream."""
        with TemporaryDirectory() as folder:
            stream = os.path.join(folder, "x.cool")
            with open(stream, "wb") as file:
                file.write(data)
            [frame] = decode_video(stream).values()
        return Pixels.from_torch(frame.data)


if __name__ == "__main__":
    serve(CoolChic)
