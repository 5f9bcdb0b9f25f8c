"""The refinement of counts as a step of a schedule."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import phaseret as pr
from phaseret.solvers import PoissonRefinement, Recipe

pytestmark = pytest.mark.filterwarnings("ignore:.*(reconstructions (are not unique|were found by few)|undersampled)")


def dim_object() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """A complex object, few counts of it, and its box."""
    generator = torch.Generator().manual_seed(3)
    obj = 0.6 * torch.polar(0.5 + torch.rand(9, 8, generator=generator), 3 * torch.rand(9, 8, generator=generator))
    counts = pr.noise.poisson_noise(pr.operators.fourier_intensity(obj, (20, 18)), generator=generator)
    return obj, counts, torch.ones(9, 8, dtype=torch.bool)


@pytest.mark.parametrize("norm", ["ortho", "backward"])
def test_the_step_is_the_function_from_the_estimates_on(norm: Any) -> None:
    obj, counts, box = dim_object()
    factor = 1.0 if norm == "ortho" else (20 * 18) ** -0.5
    start = factor * (obj + 0.1 * torch.randn(9, 8, dtype=obj.dtype, generator=torch.Generator().manual_seed(0)))
    mask = torch.rand(20, 18, generator=torch.Generator().manual_seed(1)) > 0.1
    options: dict[str, Any] = {"mask": mask, "support": box, "constraint": "complex"}
    found = PoissonRefinement(12)(counts, init=start, norm=norm, **options)
    operator = pr.operators.FourierIntensity((20, 18), norm=norm)
    expected = pr.solvers.maximum_likelihood(start, counts, operator, n_iter=12, **options)
    torch.testing.assert_close(found.obj, expected.obj, rtol=1e-3, atol=1e-3 * factor)
    error = pr.metrics.relative_magnitude_error(found.obj, counts, operator, mask=mask)
    assert float(found.error) == pytest.approx(float(error), rel=1e-4)  # of the object alone, without a background


def test_it_brings_the_error_of_few_counts_down_to_what_their_noise_leaves() -> None:
    obj, counts, box = dim_object()
    assert float((counts == 0).double().mean()) > 0.4  # most pixels counted nothing, or nearly
    options: dict[str, Any] = {"support": box, "constraint": "complex", "init": obj}
    by_projection, refined = Recipe("er:200")(counts, **options), Recipe("er:200,ml:40")(counts, **options)
    assert refined.expected > by_projection.expected  # whose object is too weak
    total = [
        float(pr.operators.fourier_intensity(r.obj, (20, 18)).sum() / counts.sum()) for r in (by_projection, refined)
    ]
    assert total[0] < total[1] < 1.01
    assert float(refined.misfit) < float(by_projection.misfit)


def test_it_leaves_what_are_no_counts_and_each_start_for_itself() -> None:
    _, counts, box = dim_object()
    both = torch.stack([counts + 0.25, counts])
    options: dict[str, Any] = {"support": box, "constraint": "complex", "starts": 2}
    before, after = Recipe("rrr:30,er:5")(both, **options), Recipe("rrr:30,er:5,ml:5")(both, **options)
    torch.testing.assert_close(after.objs[0], before.objs[0])
    assert not torch.allclose(after.objs[1], before.objs[1])
    single = Recipe("rrr:30,er:5,ml:5")(counts, **options)
    torch.testing.assert_close(after.objs[1], single.objs, rtol=1e-3, atol=1e-3)
    blurred = {**options, "point_spread": torch.tensor([[0.1, 0.8, 0.1]])}
    torch.testing.assert_close(Recipe("er:5,ml:5")(counts, **blurred).objs, Recipe("er:5")(counts, **blurred).objs)


def test_it_refuses_what_it_does_not_know_of() -> None:
    _, counts, box = dim_object()
    known = torch.full((9, 8), torch.nan, dtype=torch.complex64)
    known[0, 0] = 1
    with pytest.raises(ValueError, match="known must be left out for PoissonRefinement"):
        PoissonRefinement(3)(counts, known=known, constraint="complex")
    with pytest.raises(ValueError, match="must not require a gradient"):
        PoissonRefinement(3)(counts.requires_grad_(), support=box, constraint="complex")
