"""Who is speaking: errors and warnings carry the name of what the user called; warnings show the line of the call."""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

import phaseret as pr

pytestmark = pytest.mark.once

OBJ, DATA = torch.rand(3, 4, 4), torch.rand(3, 8, 8)
INTEGERS = OBJ.int()


class Doubled(pr.operators.Operator):
    """A user's operator that calls the library, rightly or wrongly."""

    object_ndim = data_ndim = 2

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.inner = pr.operators.FourierIntensity(shape)

    def linear(self, obj: Tensor) -> Tensor:
        return self.inner.linear(2 * obj)


@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("passive_loss", lambda: pr.losses.passive_loss(INTEGERS, DATA)),
        ("PassiveLoss", lambda: pr.losses.PassiveLoss()(INTEGERS, DATA)),
        ("PassiveLoss", lambda: pr.losses.PassiveLoss(domain="x")),
        ("fourier_intensity", lambda: pr.operators.fourier_intensity(INTEGERS, (8, 8))),
        ("FourierIntensity", lambda: nn.Sequential(pr.operators.FourierIntensity((8, 8)))(INTEGERS)),
        ("FourierIntensity.adjoint", lambda: pr.operators.FourierIntensity((8, 8)).adjoint(DATA)),
        ("reconstruct", lambda: pr.solvers.reconstruct(DATA, schedule="foo:5")),
        ("Recipe", lambda: pr.solvers.Recipe("foo:5")),
        ("HIO", lambda: pr.solvers.HIO(5)(-DATA, constraint="nonnegative")),
        ("HIO", lambda: pr.solvers.HIO(beta=7)),
        ("RFactor", lambda: pr.metrics.RFactor()(INTEGERS, DATA)),
        ("psnr", lambda: pr.metrics.psnr(OBJ, OBJ[:2])),
        ("plot_comparison", lambda: pr.plotting.plot_comparison(OBJ[0], OBJ[0, :2])),
        ("Doubled", lambda: Doubled((8, 8))(INTEGERS)),
        ("FourierIntensity.linear", lambda: pr.losses.PassiveLoss(Doubled((5, 5)))(OBJ, DATA)),
        ("subpixel_shift", lambda: torch.func.vmap(lambda x: pr.symmetry.subpixel_shift(x, torch.ones(4)))(OBJ)),
    ],
)
def test_an_error_names_what_was_called(name: str, call: Callable[[], object]) -> None:
    with pytest.raises((TypeError, ValueError)) as caught:
        call()
    assert str(caught.value).partition(": ")[0] == name
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


def test_a_compiled_module_speaks_as_itself() -> None:
    torch.compiler.reset()
    compiled = torch.compile(pr.operators.FourierIntensity((8, 8)), backend="eager")
    with pytest.raises(TypeError, match=r"^FourierIntensity: obj must be real or complex floating"):
        compiled(INTEGERS)


def test_a_warning_shows_the_line_of_the_call() -> None:
    support = torch.ones(8, 8, dtype=torch.bool)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        pr.solvers.HIO(1)(DATA, support=support, constraint="real")
    assert caught[0].filename == __file__
    assert str(caught[0].message).startswith("HIO: the support holds 64 of 64 pixels")
