"""The stand-in for a GPU keeps the rules of one, with the values of the processor."""

import numpy as np
import pytest
import torch
from torch import nn

from support.networks.stand_in_gpu import stand_in_gpu

pytestmark = pytest.mark.device


@pytest.fixture
def waits():
    with stand_in_gpu() as found:
        yield found


def test_a_tensor_of_both_devices_is_an_error_but_for_scalars_and_indices(waits):
    here, there = torch.arange(4.0), torch.arange(4.0, device="cuda")
    for mixed in (lambda: here + there, lambda: there @ here, lambda: there.mul_(here)):
        with pytest.raises(RuntimeError, match=r"same device.* cuda and cpu"):
            mixed()
    assert (there * torch.tensor(2.0)).device.type == "cuda"
    assert there[torch.tensor([0, 2])].shape == (2,)


def test_an_array_is_not_made_of_a_tensor_on_the_gpu(waits):
    there = torch.ones(3, device="cuda")
    for convert in (there.numpy, lambda: np.asarray(there), lambda: np.square(there)):
        with pytest.raises(TypeError, match="cuda:0 device type tensor to numpy"):
            convert()
    assert there.cpu().numpy().sum() == 3


def test_a_generator_of_the_processor_draws_nothing_on_the_gpu(waits):
    with pytest.raises(RuntimeError, match="'cuda' device type for generator"):
        torch.rand(3, generator=torch.Generator(), device="cuda")
    drawn = torch.rand(3, generator=torch.Generator("cuda").manual_seed(1), device="cuda")
    assert torch.equal(drawn.cpu(), torch.rand(3, generator=torch.Generator().manual_seed(1)))


def test_what_waits_is_counted_and_what_does_not_is_not(waits):
    there = torch.arange(6.0, device="cuda")
    (there.square().sum() + there[1:].view(5).max()).add_(1)
    there[there > 4] = 5
    there[torch.tensor([0, 5])] = there[:2] + 1
    assert not waits
    for number, ask in enumerate(
        (
            lambda: there.sum().item(), lambda: bool(there[0] > 1), there.tolist,
            there.cpu, lambda: there[there > 2], there.nonzero,
            lambda: torch.equal(there, there), lambda: torch.empty(6).copy_(there),
            lambda: there.__setitem__(there < 0, there[:0].clone()),
        ),
        1,
    ):  # fmt: skip
        ask()
        assert waits.total() == number


def test_values_views_and_gradients_are_those_of_the_processor(waits):
    torch.manual_seed(0)
    here = nn.Sequential(nn.Conv2d(3, 4, 3), nn.GroupNorm(2, 4), nn.Linear(6, 2))
    there = nn.Sequential(nn.Conv2d(3, 4, 3), nn.GroupNorm(2, 4), nn.Linear(6, 2))
    there.load_state_dict(here.state_dict())
    there.to("cuda")
    assert all(isinstance(one, nn.Parameter) and one.is_cuda for one in there.parameters())
    inputs = torch.randn(2, 3, 8, 8)
    losses = [here(inputs).square().sum(), there(inputs.to("cuda")).square().sum()]
    for loss in losses:
        loss.backward()
    assert losses[1].item() == losses[0].item()
    for one, other in zip(here.parameters(), there.parameters(), strict=True):
        assert other.grad.device == torch.device("cuda", 0)
        assert torch.equal(other.grad.cpu(), one.grad)
    zeros = torch.zeros(3, 3, device="cuda")
    zeros[1] += 2
    zeros.t()[0] = 5
    assert zeros.tolist() == [[5, 0, 0], [5, 2, 2], [5, 0, 0]]


def test_outside_there_is_no_such_device():
    with stand_in_gpu():
        assert torch.cuda.is_available()
    assert torch.zeros(1).device.type == "cpu"
    if not torch.cuda.is_available():
        with pytest.raises((AssertionError, RuntimeError)):
            torch.zeros(1, device="cuda")
