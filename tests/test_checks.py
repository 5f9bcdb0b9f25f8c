"""Who is speaking: errors and warnings carry the name of what the user called; warnings show the line of the call."""

from __future__ import annotations

import inspect
import pickle
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

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


SUPPORT = torch.ones(8, 8, dtype=torch.bool)
HOT = pr.operators.fourier_intensity(torch.rand(8, 8), (16, 16))
HOT[5, 9] = 1e6
OPERATOR = pr.operators.FourierIntensity((16, 16))
ANSWER = (3 * torch.rand(8, 8)).requires_grad_() * 1.0


def few(m: int) -> Tensor:
    """Data that are too few for objects of 9 x 9; each shape warns once."""
    return torch.rand(m, 9)


def asks(x: Tensor) -> Tensor:
    return pr.losses.passive_loss(x, few(16), undersampled=True)


class Trained(nn.Module):
    """A user's network with its loss inside."""

    def __init__(self) -> None:
        super().__init__()
        self.loss = pr.losses.PassiveLoss()

    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.loss(x, HOT))


def _metrics() -> Any:
    return pytest.importorskip("torchmetrics").MetricCollection([pr.metrics.RFactor(undersampled=True)])


@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("HIO", lambda: pr.solvers.HIO(1)(DATA, support=SUPPORT, constraint="real")),
        ("reconstruct", lambda: pr.solvers.reconstruct(HOT, support=SUPPORT, schedule="er:1", starts=1)),
        ("maximum_likelihood", lambda: pr.solvers.maximum_likelihood(ANSWER.detach(), HOT, OPERATOR, n_iter=1)),
        ("passive_loss", lambda: pr.losses.passive_loss(ANSWER, HOT)),
        ("PassiveLoss", lambda: pr.losses.PassiveLoss()(ANSWER, HOT)),
        ("PassiveLoss", lambda: Trained()(ANSWER)),
        ("passive_loss", lambda: torch.func.grad(asks)(torch.rand(9, 9))),
        ("FourierIntensity", lambda: pr.operators.FourierIntensity((10, 9), undersampled=True)(few(9))),
        ("FourierIntensity", lambda: nn.Sequential(pr.operators.FourierIntensity((11, 9), undersampled=True))(few(9))),
        (
            "FourierIntensity",
            lambda: torch.vmap(pr.operators.FourierIntensity((12, 9), undersampled=True))(few(9)[None]),
        ),
        ("r_factor", lambda: pr.metrics.r_factor(few(9), few(13), undersampled=True)),
        ("RFactor", lambda: pr.metrics.RFactor(undersampled=True)(few(9), few(14))),
        ("RFactor", lambda: _metrics()(few(9), few(15))),
        ("as_measurement", lambda: pr.io.as_measurement(HOT)),
        ("as_measurement", lambda: list(map(pr.io.as_measurement, [HOT]))),
        ("as_measurement", lambda: list(DataLoader([0], collate_fn=lambda _: pr.io.as_measurement(HOT)))),  # type: ignore[arg-type]
    ],
)
def test_a_warning_shows_the_line_of_the_call(name: str, call: Callable[[], object]) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        call()
    said = [one for one in caught if str(one.message).startswith(f"{name}: ")]
    assert said
    source, first = inspect.getsourcelines(asks if "asks" in call.__code__.co_names else call)
    lines = (
        [inspect.getsourcelines(Trained.forward)[1] + 1]
        if "Trained" in call.__code__.co_names
        else range(first, first + len(source))
    )
    for one in caught:
        assert one.filename == __file__
        assert one.lineno in lines
        assert str(one.message).startswith(f"{name}: ")


@pytest.mark.parametrize("module", ["test.train", "code", "profile"])
def test_the_code_of_a_user_may_be_called_as_a_module_of_python(module: str, tmp_path: Path) -> None:
    file = tmp_path / "train.py"
    code = compile("def go():\n    pr.io.as_measurement(hot)\n", str(file), "exec")
    names: dict[str, Any] = {"__name__": module, "pr": pr, "hot": HOT}
    exec(code, names)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        names["go"]()
    assert [(one.filename, one.lineno) for one in caught] == [(str(file), 2)]
