"""Type checkers know what calls of Modules give and which words an option takes: one run of mypy on a user's file."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.once

ROOT = Path(__file__).parents[1]
GIVEN = {
    "pr.losses.PassiveLoss()(x, y)": "Tensor",
    "pr.losses.PassiveLoss()(x, y, mask=mask)": "Tensor",
    "pr.losses.InvariantLoss()(x, x)": "Tensor",
    "pr.metrics.PSNR()(x, x)": "Tensor",
    "pr.metrics.RFactor()(x, y, mask=mask)": "Tensor",
    "pr.models.DnCNN()(x, 0.1)": "Tensor",
    "pr.models.UNet((8, 8), (16, 16))(y)": "Tensor",
    "pr.models.DeepImagePrior((8, 8))()": "Tensor",
    "pr.noise.MaskPixels(mask)(y)": "Tensor",
    "pr.noise.PoissonNoise(total_photons=10)(y)": "Tensor",
    "pr.operators.FourierIntensity((16, 16))(x)": "Tensor",
    "pr.operators.FourierIntensity((16, 16)).adjoint(y)": "Tensor",
    "pr.operators.fourier_intensity(x, (16, 16))": "Tensor",
    "pr.projections.ProjectMagnitude()(x, y)": "Tensor",
    "pr.projections.ProjectObject()(x)": "Tensor",
    "pr.solvers.RRR()(y)": "Reconstruction",
    "pr.solvers.Recipe('hio:50', pr.solvers.Shrinkwrap())(y, starts=4)": "Reconstruction",
    "pr.solvers.reconstruct(y, constraint='real').obj": "Tensor",
    "pr.symmetry.Canonicalize()(x)": "Tensor",
    "pr.symmetry.Shift((1, 0))(x)": "Tensor",
    "pr.symmetry.align(x, x)": "Alignment",
    "pr.io.as_measurement(y)": "Measurement",
    "pr.datasets.mnist()": "Tensor",
    "pr.datasets.SymmetryVariant(x)[0]": "Tensor",
}
# Each has one word, name or type that means nothing.
REFUSED = [
    "pr.losses.PassiveLoss(domain='phase')",
    "pr.losses.PassiveLoss()('x', y)",
    "pr.losses.passive_loss(x, y, reduction='average')",
    "pr.metrics.PSNR(reduction='average')",
    "pr.models.UNet((8, 8), (16, 16), output='positive')",
    "pr.noise.GaussianNoise(sigma=1, domain='phase')",
    "pr.operators.FourierIntensity((16, 16), norm='unitary')",
    "pr.projections.ProjectObject(constraint='positive')",
    "pr.solvers.HIO()(y, constraint='positive')",
    "pr.solvers.HIO()(y, iterations=50)",
    "pr.solvers.reconstruct(y, norm='unitary')",
    "pr.symmetry.Shift((1, 0))(x, x)",
    "pr.io.as_measurement(y, kind='amplitude')",
    "pr.solvers.hio(y)",
    "pr.models.UNett((8, 8), (16, 16))",
    "pr.metrics.fsc(x, x)",
    "pr.looses.PassiveLoss()",
]


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> dict[int, str]:
    """What mypy says of each line: the type that is revealed, or the error."""
    pytest.importorskip("mypy", reason="mypy is not installed")
    lines = [
        "import phaseret as pr",
        "from torch import Tensor",
        "def of_user(x: Tensor, y: Tensor, mask: Tensor) -> None:",
    ]
    lines += [f"    reveal_type({call})" for call in GIVEN] + [f"    {call}" for call in REFUSED]
    file = tmp_path_factory.mktemp("types") / "of_user.py"
    file.write_text("\n".join(lines), encoding="utf-8")
    command = [sys.executable, "-m", "mypy", "--config-file", str(ROOT / "pyproject.toml"), str(file)]
    environment = {**os.environ, "MYPYPATH": str(ROOT / "src")}
    out = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment, check=False).stdout
    return {int(number): text for number, text in re.findall(r"of_user\.py:(\d+): ((?:note: Rev|error).+)", out)}


@pytest.mark.parametrize(("line", "call"), list(enumerate(GIVEN, 4)))
def test_the_type_of_a_call_is_known(line: int, call: str, answers: dict[int, str]) -> None:
    assert re.fullmatch(rf'note: Revealed type is "(\w+\.)+{GIVEN[call]}"', answers[line])


@pytest.mark.parametrize(("line", "call"), list(enumerate(REFUSED, 4 + len(GIVEN))))
def test_a_call_that_means_nothing_is_an_error(line: int, call: str, answers: dict[int, str]) -> None:
    assert re.fullmatch(r"error: .+\[(arg-type|call-arg|attr-defined)\]", answers[line]), call
