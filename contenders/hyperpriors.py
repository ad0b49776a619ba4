"""What scripts of networks with a hyperprior share: a checkpoint for each lambda, two strings."""

import os
import struct

import torch
from rdrbench_worker import Pixels
from torch.nn.functional import pad

RANDOM = bool(os.environ.get("BENCH_RANDOM_WEIGHTS"))
STRIDE = 64  # of the hyper-latent z


def networks(lambdas, checkpoint, model):
    """Return the network of each lambda whose checkpoint is there, by lambda; a random one for all.

    checkpoint: a path with %s for the lambda. model: makes a network of a path, or of None.
    """
    if RANDOM:
        return dict.fromkeys(map(float, lambdas), model(None))
    paths = {float(value): checkpoint % value for value in lambdas}
    return {value: model(path) for value, path in paths.items() if os.path.isfile(path)}


def weights(path, device):
    """Return the tensors of a checkpoint by names without `module.`, as one GPU has them."""
    state = torch.load(path, map_location=device)["state_dict"]
    return {key.replace("module.", ""): state[key] for key in state}


def frame(size, multiple, least=0, centred=True):
    """Return the zeros at the left, right, top and bottom of a picture, and the size of z.

    size: height and width, which are filled up to a multiple and to no less than `least`; on all
    sides, or else at the right and below.
    """
    whole = [max(least, (side + multiple - 1) // multiple * multiple) for side in size]
    down, across = (full - side for full, side in zip(whole, size))
    top, left = (down // 2, across // 2) if centred else (0, 0)
    return (left, across - left, top, down - top), tuple(full // STRIDE for full in whole)


def joined(y, z):
    """Return the length of the string of y, that string and the one of z."""
    return struct.pack(">I", len(y)) + y + z


def divided(data):
    """Return the strings of y and z that `joined` put together."""
    end = 4 + struct.unpack_from(">I", data)[0]
    return data[4:end], data[end:]


def packed(strings):
    """Return any number of strings, each after its length."""
    return b"".join(struct.pack(">I", len(string)) + string for string in strings)


def unpacked(data):
    """Return the strings that `packed` put together."""
    strings = []
    while data:
        string, data = divided(data)
        strings.append(string)
    return strings


def encoded(network, x, zeros):
    """Return the stream of a picture, a tensor, by a network with the calls of CompressAI."""
    with torch.no_grad():
        y, z = network.compress(pad(x, zeros))["strings"]
    return joined(y[0], z[0])


def decoded(network, data, zeros, shape):
    """Return the picture of a stream; zeros, shape: of `frame`."""
    y, z = divided(data)
    with torch.no_grad():
        x_hat = network.decompress([[y], [z]], shape)["x_hat"]
    return cropped(x_hat, zeros)


def cropped(x_hat, zeros):
    """Return the picture of a decoded tensor without the zeros around it."""
    return Pixels.from_torch(pad(x_hat, [-edge for edge in zeros]))
