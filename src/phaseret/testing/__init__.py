"""Property tests of one's own losses, operators and networks, with hypothesis: ``pip install "phaseret[testing]"``.

**Which one should I use?**

- A loss or a metric of (estimate, intensity): ``assert_invariant(loss)``, ``assert_batch_is_items(loss,
  reduction="mean")`` and ``assert_gradients(loss)``, each a test in one line. For (estimate, obj) the same with
  ``pairs("object")`` behind the loss.
- An operator: `assert_adjoint`, and the same three.
- A network: ``assert_batch_is_items(network.eval(), torch.rand(3, 16, 16))``.
- A solver, or a property of one's own: `problems` draws data together with the answer, `objects`, `supports`, `masks`,
  `operators`, `symmetries` and `noisy` what it is made of, for ``@given``. The assertions work there too: hand them the
  tensors that were drawn.

Without tensors an assertion draws its own and makes a failure as small as it can. What fails is reported as code that
can be pasted and fails in the same way.

    >>> from hypothesis import given, settings
    >>> from phaseret.testing import assert_invariant, pairs
    >>> def loss(estimate, intensity):
    ...     spectrum = pr.operators.fourier_intensity(estimate, intensity.shape[-2:])
    ...     return (spectrum.sqrt() - intensity.sqrt()).abs().mean()
    >>> assert_invariant(loss)
    >>> @settings(max_examples=10)
    ... @given(pairs())
    ... def test_loss_is_not_negative(pair):
    ...     assert loss(*pair) >= 0
    >>> test_loss_is_not_negative()
"""

try:
    import hypothesis  # noqa: F401
except ImportError as error:
    raise ImportError(
        'phaseret.testing: the package hypothesis must be installed. Install it with pip install "phaseret[testing]".'
    ) from error

from phaseret.testing._assertions import assert_adjoint, assert_batch_is_items, assert_gradients, assert_invariant
from phaseret.testing._strategies import (
    Problem,
    fourier_shapes,
    masks,
    noisy,
    object_shapes,
    objects,
    operators,
    pairs,
    problems,
    supports,
    symmetries,
)

__all__ = [
    "Problem",
    "assert_adjoint",
    "assert_batch_is_items",
    "assert_gradients",
    "assert_invariant",
    "fourier_shapes",
    "masks",
    "noisy",
    "object_shapes",
    "objects",
    "operators",
    "pairs",
    "problems",
    "supports",
    "symmetries",
]
__dir__ = __all__.copy  # what dir() and completion show
