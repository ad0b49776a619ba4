"""Quality of a state of the network on whole photographs, and what tokens cost without context."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from baselines.neural.inference import padded, to_images
from baselines.neural.pqmim.model import PqMimNetwork
from baselines.neural.training.losses.rate_distortion import terms
from baselines.neural.training.objective import Validation, ValidationPoint
from benchmark.codec import Pixels


def validate_tokens(
    network: PqMimNetwork, photographs: Sequence[Pixels], *, coded: bool
) -> Validation:
    """Return bpp and PSNR of photographs, uint8 (height, width, 3).

    With `coded`, bits are those of the transformer, bpp is the loss, and the numbers have the
    pooled bpp of the transformer and of the entries' own frequencies in these photographs, an
    order-0 model that nobody has to send. Without, bits are M log2 K for a token, and log MSE is
    the loss.
    """
    device = next(network.parameters()).device
    counts = torch.zeros(network.sizes.books, network.sizes.entries, device=device)
    bits, rates, errors, pixels = 0.0, [], [], 0
    with torch.no_grad():
        for photograph in photographs:
            image = to_images(padded(photograph, network.stride), device)
            made, quantised = network.autoencode(image)
            counts += network.quantiser.counts(quantised.tokens)
            spent = (
                network.stage_bits(quantised.tokens).sum(0)
                if coded
                else network.raw_bits(quantised.tokens)
            )
            found = terms(image, made.clamp(-1, 1), spent)
            rates.append(float(found.bpp))
            errors.append(math.log(float(found.mse)))
            bits += float(spent)
            pixels += image[0, 0].numel()
    bpp, log_mse = (math.fsum(one) / len(photographs) for one in (rates, errors))
    points = (ValidationPoint(0.0, 0.0, bpp, -10 / math.log(10) * log_mse),)
    if not coded:
        return Validation(points, log_mse)
    plain, model = order_zero_bits(counts) / pixels, bits / pixels
    numbers = {"order0_bpp": plain, "model_bpp": model, "saved_share": 1 - model / plain}
    return Validation(points, bpp, numbers=numbers)


def order_zero_bits(counts: Tensor) -> float:
    """Return the bits of all tokens under the frequencies of their own `counts` (M, K).

    >>> order_zero_bits(torch.tensor([[2.0, 1.0, 1.0], [4.0, 0.0, 0.0]]))
    6.0
    """
    wide = counts.double()
    shares = wide / wide.sum(1, keepdim=True).clamp(min=1)
    return float((torch.special.entr(shares) * wide.sum(1, keepdim=True)).sum() / math.log(2))
