"""Serve a codec to rdrbench from the environment that it was written for.

Keep this file next to your model; it needs Python 3.6 or later and no package. Your script has

    from rdrbench_worker import Pixels, serve

    class MyCodec:
        sweep = [("q", 1), ("q", 2)]           # (name, value), lowest rate first
        decoder_needs = ()                     # "setting", "size": put into the stream, and counted
        def __init__(self, seed=0):            # optional seed, if the decoder draws random numbers
        def encode(self, pixels, setting):     # -> bytes
        def decode(self, data):                # -> Pixels; with decoder_needs, also setting=, size=
        def estimated_bits(self):              # optional: sum of -log2 p of the last stream
    if __name__ == "__main__":
        serve(MyCodec)

Encoder and decoder are two processes, each with one instance; prints go to standard error.
"""

import hashlib
import inspect
import json
import os
import struct
import subprocess
import sys
import time
import traceback

PROTOCOL = 2
HEADER = struct.Struct(">4sIQ")  # "RDRW", length of the JSON, length of the body, in bytes
CUSTOM_SETTING = 255  # index of a setting outside the sweep
OPENED_PATHS = set()  # since the last answer
START_TIME = time.time() - 0.02  # file timestamps may lag the clock by 10 ms
SYSTEM_FOLDERS = ("/dev/", "/etc/", "/lib/", "/proc/", "/sys/", "/usr/")


class Pixels:
    """An 8-bit RGB picture: `height`, `width`, and `data`, 3 * height * width bytes, row by row."""

    def __init__(self, height, width, data):
        if len(data) != 3 * height * width:
            raise ValueError("%d bytes are not RGB pixels of %d x %d" % (len(data), height, width))
        self.height, self.width, self.data = height, width, bytes(data)

    def numpy(self):
        """Return a uint8 array of shape (height, width, 3)."""
        import numpy

        return numpy.frombuffer(self.data, numpy.uint8).reshape(self.height, self.width, 3)

    def torch(self, device="cpu"):
        """Return a float32 tensor of shape (1, 3, height, width), 0 to 1."""
        import torch

        picture = torch.from_numpy(self.numpy().copy()).to(device)
        return picture.permute(2, 0, 1).unsqueeze(0).float().div(255)

    @classmethod
    def from_numpy(cls, array):
        """Make a picture from a uint8 array of shape (height, width, 3)."""
        if str(array.dtype) != "uint8" or array.ndim != 3 or array.shape[2] != 3:
            raise ValueError("not uint8 (height, width, 3): %s %s" % (array.dtype, array.shape))
        return cls(array.shape[0], array.shape[1], array.tobytes())

    @classmethod
    def from_torch(cls, tensor):
        """Round a float tensor of shape (1, 3, height, width) or (3, height, width), 0 to 1."""
        picture = tensor.detach().reshape((3, *tensor.shape[-2:])).float()
        levels = picture.clamp(0, 1).mul(255).round().byte().permute(1, 2, 0)
        return cls.from_numpy(levels.contiguous().cpu().numpy())


def serve(codec_class):
    """Answer requests on standard input until it ends."""
    getattr(sys, "addaudithook", id)(_record_open)  # Python 3.8 and later
    requests, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(2, 1)
    codec = None
    for header in iter(lambda: requests.read(HEADER.size), b""):
        _, message_bytes, body_bytes = HEADER.unpack(header)
        message, body = json.loads(requests.read(message_bytes).decode()), requests.read(body_bytes)
        try:
            if message["do"] == "describe":
                answer, out = _describe(codec_class, message["weights"]), b""
            else:
                codec = codec or codec_class(**message.get("options", {}))
                encodes = message["do"] == "encode"
                answer, out = (_encode if encodes else _decode)(codec, message, body)
        except BaseException as error:
            answer, out = _failure(error), b""
        answer = dict(
            answer, number=message["number"], opened=_hash_opened_files(message["weights"])
        )
        text = json.dumps(answer, default=float).encode()  # float: numpy and torch numbers
        answers.writelines((HEADER.pack(b"RDRW", len(text), len(out)), text, out))
        answers.flush()


def _encode(codec, message, body):
    setting, pixels = tuple(message["setting"]), Pixels(message["height"], message["width"], body)
    data, cost = _call_timed(codec.encode, pixels, setting)
    if not isinstance(data, (bytes, bytearray)):
        raise TypeError("encode returned %s, not bytes" % type(data).__name__)
    needs, prefix = getattr(codec, "decoder_needs", ()), b""
    if "setting" in needs:  # its index, one byte; outside the sweep, eight bytes more
        sweep = [tuple(known_setting) for known_setting in codec.sweep[:CUSTOM_SETTING]]
        index = sweep.index(setting) if setting in sweep else CUSTOM_SETTING
        prefix = bytes([index]) + struct.pack(">d", setting[1]) * (index == CUSTOM_SETTING)
    if "size" in needs:
        prefix += struct.pack(">HH", pixels.height, pixels.width)
    cost["estimated_bits"] = getattr(codec, "estimated_bits", lambda: None)()
    return cost, prefix + bytes(data)


def _decode(codec, _, data):
    needs, extra = getattr(codec, "decoder_needs", ()), {}
    if "setting" in needs and data[0] == CUSTOM_SETTING:
        extra["setting"], data = (codec.sweep[0][0], struct.unpack_from(">d", data, 1)[0]), data[9:]
    elif "setting" in needs:
        extra["setting"], data = tuple(codec.sweep[data[0]]), data[1:]
    if "size" in needs:
        extra["size"], data = struct.unpack_from(">HH", data), data[4:]
    pixels, cost = _call_timed(codec.decode, data, **extra)
    if not isinstance(pixels, Pixels):
        raise TypeError("decode returned %s, not Pixels" % type(pixels).__name__)
    return dict(cost, height=pixels.height, width=pixels.width), pixels.data


def _call_timed(function, *arguments, **keywords):
    first_peak, started = _peak_bytes(reset=True), time.perf_counter()
    result = function(*arguments, **keywords)
    peak = _peak_bytes()  # waits for the GPU
    return result, {"seconds": time.perf_counter() - started, "peak_bytes": first_peak and peak}


def _peak_bytes(reset=False):
    """Return the peak memory since the last reset: the GPU's after its work, or the process's."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available() and torch.cuda.is_initialized():
        torch.cuda.synchronize()
        if reset:
            torch.cuda.reset_peak_memory_stats()
        return int(torch.cuda.max_memory_allocated())
    try:
        if reset:
            with open("/proc/self/clear_refs", "w") as file:
                file.write("5")
        with open("/proc/self/status") as file:
            return 1024 * int(file.read().partition("VmHWM:")[2].split()[0])
    except (IndexError, OSError):  # not Linux
        return None


def _failure(error):
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame[0] != __file__]
    where = "%s:%d: " % (os.path.basename(frames[-1][0]), frames[-1][1]) if frames else ""
    text = "".join(traceback.format_exception_only(type(error), error)).strip()
    memory = any(words in text.lower() for words in ("outofmemory", "out of memory"))
    return {"error": where + text[-2000:], "device_memory": memory}


def _describe(codec_class, weights):
    folder = os.path.dirname(os.path.abspath(sys.argv[0]))
    git = ["git", "-C", folder, "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]
    try:
        commit = subprocess.check_output(git, stderr=subprocess.DEVNULL).decode().strip()
    except (OSError, subprocess.CalledProcessError):
        commit = ""
    torch = sys.modules.get("torch")
    return {
        "protocol": PROTOCOL,
        "sweep": [[name, float(value)] for name, value in codec_class.sweep],
        "python": sys.version.split()[0],
        "packages": _packages(),
        "code": {name: sha256(path) for name, path in _user_modules()},
        "weights": {path: sha256(path) if os.path.isfile(path) else "" for path in weights},
        "commit": commit,
        "device": "cuda" if torch is not None and torch.cuda.is_available() else "cpu",
        "options": list(inspect.signature(codec_class.__init__).parameters),
    }


def _user_modules():
    """Yield name and file of the loaded modules that belong to no installed package."""
    for name, module in list(sys.modules.items()):
        path = os.path.realpath(getattr(module, "__file__", None) or "")
        if _is_user_file(path):
            yield name, path


def _is_user_file(path):
    installed = [os.path.join(os.path.realpath(p), "") for p in (sys.prefix, sys.base_prefix)]
    return os.path.isfile(path) and not path.startswith(tuple(installed))


def _record_open(event, arguments):
    if event == "open" and isinstance(arguments[0], str):
        OPENED_PATHS.add(os.path.realpath(arguments[0]))


def _hash_opened_files(known_paths):
    """Return {path: sha256} of opened files, older than this process and not in `known_paths`."""
    paths = filter(_is_data, OPENED_PATHS.difference(map(os.path.realpath, known_paths)))
    OPENED_PATHS.clear()
    folder = os.path.join(os.path.realpath("."), "")
    return {p[len(folder) :] if p.startswith(folder) else p: sha256(p) for p in paths}


def _is_data(path):
    is_old = _is_user_file(path) and os.path.getmtime(path) < START_TIME
    return is_old and not path.startswith(SYSTEM_FOLDERS) and not path.endswith((".py", ".pyc"))


def _packages():
    try:
        from importlib.metadata import distributions
    except ImportError:  # before Python 3.8
        from pkg_resources import working_set

        return sorted("%s==%s" % (package.project_name, package.version) for package in working_set)
    return sorted({"%s==%s" % (item.metadata["Name"], item.version) for item in distributions()})


def sha256(path):
    """Return the hexadecimal sha256 of a file."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()
