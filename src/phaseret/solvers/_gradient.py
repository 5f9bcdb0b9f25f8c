"""Gradient methods for any operator: spectral start, Wirtinger flow, truncated amplitude flow, Poisson refinement.

All of them treat each pattern of a batch on its own: norms, scales, steps and truncations are per item.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from typing import cast

import torch
from torch import Tensor

from phaseret import _checks, _fft
from phaseret.operators import Operator
from phaseret.operators._data import is_fourier, operator_of
from phaseret.projections import CONSTRAINTS, Constraint
from phaseret.solvers._result import Reconstruction


class _Measured:
    """Intensities and their operator, with sums and scales per item; and the loop of all gradient methods."""

    def __init__(
        self,
        intensity: Tensor,
        operator: Operator,
        object_shape: Sequence[int] | None,
        mask: Tensor | None,
        constraint: Constraint,
        n_iter: int,
        check_every: int = 1,
        background: Tensor | float | None = None,
    ) -> None:
        self.began = time.perf_counter()
        Operator.check(operator)
        _checks.real(intensity=intensity)
        _checks.rank(operator.data_ndim, intensity=intensity)
        _checks.choice("constraint", constraint, CONSTRAINTS)
        self.n_iter = _checks.integer("n_iter", n_iter)
        self.check_every = _checks.integer("check_every", check_every)
        intensity = _fft.promote(intensity)
        self.operator, self.object_shape, self.constraint = operator, object_shape, constraint
        self.real = constraint != "complex"
        self.data_axes = tuple(range(-operator.data_ndim, 0))
        self.object_axes = tuple(range(-operator.object_ndim, 0))
        if background is not None:
            intensity = (intensity - _checks.background(background, intensity)).clamp(min=0)
        self.mask, self.weight = mask, cast("Tensor | None", None)
        if mask is not None:
            mask = _checks.mask(mask, intensity)
            self.weight = mask.to(intensity.dtype)
            intensity = torch.where(mask, intensity, 0.0)
        self.intensity, self.magnitude = intensity, intensity.sqrt()
        counts = self.weighted(torch.ones_like(intensity)).sum(self.data_axes)
        self.mean = (intensity.sum(self.data_axes) / counts.clamp(min=1)).clamp(min=torch.finfo(intensity.dtype).tiny)

    def weighted(self, field: Tensor) -> Tensor:
        """A field with 0 at unmeasured pixels."""
        return field if self.weight is None else field * self.weight

    def adjoint(self, field: Tensor) -> Tensor:
        """The adjoint, on the reals for real objects."""
        result = self.operator.adjoint(field, self.object_shape)
        return result.real if self.real and result.is_complex() else result

    def given(self, name: str, obj: Tensor) -> Tensor:
        """An object that was given, which must be of the constraint's kind."""
        _checks.floating(**{name: obj})
        _checks.rank(self.operator.object_ndim, **{name: obj})
        _checks.same_device(intensity=self.intensity, **{name: obj})
        if is_fourier(self.operator) and tuple(obj.shape[-self.operator.object_ndim :]) == self.operator.fourier_shape:
            self.operator = operator_of(self.intensity, self.operator, undersampled=True)  # laid out on the whole grid
        if self.real and obj.is_complex():
            rule = f"{name} must be real for constraint={self.constraint!r}"
            _checks.fail(f"{rule}, got {obj.dtype}", f"Pass {name}.real", TypeError)
        return _fft.promote(obj)

    def over_object(self, value: Tensor) -> Tensor:
        """One number per item, to multiply objects with."""
        return value[(...,) + (None,) * len(self.object_axes)]

    def over_data(self, value: Tensor) -> Tensor:
        """One number per item, to multiply data with."""
        return value[(...,) + (None,) * len(self.data_axes)]

    def norm2(self, obj: Tensor) -> Tensor:
        """Squared norm of each object."""
        return _fft.power(obj).sum(self.object_axes)

    def gain(self, obj: Tensor) -> Tensor:
        """|A x|^2 / |x|^2 of each item, over measured pixels."""
        power = self.weighted(_fft.power(self.operator.linear(obj))).sum(self.data_axes)
        return power / self.norm2(obj).clamp(min=torch.finfo(power.dtype).tiny)

    def conjugate(self, descent: Tensor, last: Tensor, direction: Tensor, first: bool) -> Tensor:
        """The next direction of Polak and Ribiere; the descent itself where that does not descend."""
        tiny = torch.finfo(self.mean.dtype).tiny
        inner = (descent.conj() * (descent - last)).real.sum(self.object_axes)
        ratio = torch.zeros_like(inner) if first else (inner / self.norm2(last).clamp(min=tiny)).clamp(min=0)
        direction = descent + self.over_object(ratio) * direction
        slope = (descent.conj() * direction).real.sum(self.object_axes)
        return torch.where(self.over_object(slope > 0), direction, descent)

    def error(self, field: Tensor) -> Tensor:
        """Relative magnitude error of each item."""
        axes = len(self.data_axes)
        return _fft.relative_error(_fft.power(field).sqrt(), self.magnitude, axes, weight=self.weight)

    def run(
        self,
        x: Tensor,
        step: Callable[[Tensor, Tensor, int], tuple[Tensor, Tensor]],
        recipe: str,
        *,
        seed: int = 0,
        support: Tensor | None = None,
    ) -> Reconstruction:
        """Iterate: `step` gives the next object and its field from those of iteration k."""
        errors, checked = [], []
        field = self.operator.linear(x)
        for k in range(self.n_iter):
            x, field = step(x, field, k)
            if (k + 1) % self.check_every == 0 or k + 1 == self.n_iter:
                errors.append(self.error(field))
                checked.append(k + 1)
        error = errors[-1]
        one = error.unsqueeze(-1)  # start per pattern
        return Reconstruction(
            obj=x,
            error=error,
            support=torch.ones_like(x, dtype=torch.bool) if support is None else support,
            objs=x.unsqueeze(-1 - len(self.object_axes)),
            errors=one,
            scores=one,
            ranking=torch.zeros_like(one, dtype=torch.long),
            agreement=torch.ones_like(one),
            prtf=torch.ones_like(one),
            history=torch.stack(errors, -1).unsqueeze(-2),
            checked=checked,
            seeds=[seed],
            recipe=recipe,
            seconds=time.perf_counter() - self.began,
        )


def spectral_initialization(
    intensity: Tensor,
    operator: Operator,
    *,
    n_iter: int = 50,
    truncation: float | None = 3.0,
    object_shape: Sequence[int] | None = None,
    mask: Tensor | None = None,
    background: Tensor | float | None = None,
    constraint: Constraint = "complex",
    seed: int = 0,
) -> Tensor:
    r"""The start of the gradient methods: the leading eigenvector of the data-weighted covariance.

    Power iteration on :math:`A^H \mathrm{diag}(T(y)) A` with :math:`T(y) = y` where :math:`y \le \alpha^2 \bar y`, and
    0 above (:math:`\alpha` the truncation), then scaled so that :math:`|A z|^2` has the data's sum. Mean, norm and
    scale are those of each item. For a non-negative object the eigenvector takes the sign of its larger part, and the
    other part becomes 0. It needs random-like measurements (Gaussian, coded diffraction); plain Fourier intensities
    say nothing to it.

    Args:
        intensity: Measured intensity.
        operator: The measurement.
        n_iter: Power iterations.
        truncation: alpha, or None for no truncation.
        object_shape: Sizes of the object, for operators that do not know them.
        background: What the detector counts without the object, a number or in the intensity's units and arrangement:
            it is subtracted, and what is left below 0 counts as 0.
        mask: True where measured; it broadcasts to the intensity. Default: everywhere.
        constraint: "complex", "real" or "nonnegative".
        seed: Seed of the random vector that the power iteration starts from; the same for all items.

    Shape:
        - intensity: (*, data)
        - output: (*, object)

    Returns:
        Complex tensor, real unless the constraint is "complex".

    Raises:
        TypeError: if intensity is not real, operator is not an Operator, or mask is not boolean.
        ValueError: if shapes do not fit, or an option is unknown or out of range.

    Example:
        >>> obj = torch.randn(16, dtype=torch.complex64)
        >>> operator = pr.operators.Gaussian(pr.operators.gaussian_matrix((16,), 480))
        >>> start = spectral_initialization(operator(obj), operator)
        >>> pr.symmetry.align(start, obj, ndim=1, shift=False, flip=False).error < 0.5 * obj.abs().square().mean()
        tensor(True)

    Source:
        Candes, Li, Soltanolkotabi (2015), Phase retrieval via Wirtinger flow, doi:10.1109/TIT.2015.2399924, algorithm
        1; the truncation: Chen, Candes (2017), Solving random quadratic systems of equations is nearly as easy as
        solving linear systems, doi:10.1002/cpa.21638.
    """
    problem = _Measured(intensity, operator, object_shape, mask, constraint, n_iter, background=background)
    weight = problem.intensity
    if truncation is not None:
        truncation = _checks.number("truncation", truncation, above=0)
        weight = weight * (weight <= truncation**2 * problem.over_data(problem.mean))
    generator = torch.Generator().manual_seed(_checks.integer("seed", seed, at_least=0))
    noise = torch.randn(intensity.shape[-operator.data_ndim :], generator=generator, dtype=torch.complex64)
    noise = noise.to(intensity.device, weight.dtype.to_complex()).expand(intensity.shape)
    z = problem.adjoint(noise)
    tiny = torch.finfo(weight.dtype).tiny
    for _ in range(n_iter):
        z = z / problem.over_object(problem.norm2(z).clamp(min=tiny).sqrt())
        z = problem.adjoint(operator.linear(z) * weight)
    if constraint == "nonnegative":
        sign = torch.where(z.sum(problem.object_axes) < 0, -1.0, 1.0).to(z.dtype)
        z = (z * problem.over_object(sign)).clamp(min=0)
    power = problem.weighted(_fft.power(operator.linear(z))).sum(problem.data_axes).clamp(min=tiny)
    return z * problem.over_object((problem.intensity.sum(problem.data_axes) / power).sqrt())


def wirtinger_flow(
    intensity: Tensor,
    operator: Operator,
    *,
    n_iter: int = 1000,
    mu: float = 0.2,
    object_shape: Sequence[int] | None = None,
    mask: Tensor | None = None,
    background: Tensor | float | None = None,
    constraint: Constraint = "complex",
    init: Tensor | None = None,
    seed: int = 0,
    check_every: int = 10,
) -> Reconstruction:
    r"""Gradient descent on the squared error of the intensity.

    .. math:: z_{k+1} = z_k - \frac{\mu_k}{c \, \bar y} A^H \big[(|A z_k|^2 - y) A z_k\big], \qquad
              \mu_k = \min(1 - e^{-k / 330}, \mu)

    with c = |A z_0|^2 / |z_0|^2 of each item, which is the number of measurements for a Gaussian operator.

    Args:
        intensity: Measured intensity.
        operator: The measurement.
        n_iter: Number of iterations.
        mu: Largest step size.
        object_shape: Sizes of the object, for operators that do not know them.
        background: What the detector counts without the object, a number or in the intensity's units and arrangement:
            it is subtracted, and what is left below 0 counts as 0.
        mask: True where measured; it broadcasts to the intensity. Default: everywhere.
        constraint: "complex", "real" or "nonnegative".
        init: Start (*, object). Default: :func:`spectral_initialization`.
        seed: Seed of the spectral start.
        check_every: Iterations from one residual to the next.

    Returns:
        :class:`Reconstruction` with one start per pattern.

    Example:
        >>> obj = torch.randn(2, 16, dtype=torch.complex64)
        >>> operator = pr.operators.Gaussian(pr.operators.gaussian_matrix((16,), 160))
        >>> wirtinger_flow(operator(obj), operator, n_iter=500).error.max() < 1e-3
        tensor(True)

    Source:
        Candes, Li, Soltanolkotabi (2015), Phase retrieval via Wirtinger flow, doi:10.1109/TIT.2015.2399924, eq. 2.3
        and section II-B.
    """
    problem = _Measured(intensity, operator, object_shape, mask, constraint, n_iter, check_every, background)
    mu = _checks.number("mu", mu, above=0)

    def gradient(field: Tensor, k: int) -> Tensor:
        step = min(1 - math.exp(-(k + 1) / 330), mu)
        return (step / problem.over_data(problem.mean)) * (_fft.power(field) - problem.intensity) * field

    return _flow(problem, gradient, init, seed, f"wirtinger_flow(n_iter={n_iter}, mu={mu})")


def truncated_amplitude_flow(
    intensity: Tensor,
    operator: Operator,
    *,
    n_iter: int = 1000,
    mu: float = 0.6,
    gamma: float = 0.7,
    object_shape: Sequence[int] | None = None,
    mask: Tensor | None = None,
    background: Tensor | float | None = None,
    constraint: Constraint = "complex",
    init: Tensor | None = None,
    seed: int = 0,
    check_every: int = 10,
) -> Reconstruction:
    r"""Gradient descent on the squared error of the magnitude, without the pixels whose phase cannot be trusted.

    .. math:: z_{k+1} = z_k - \frac{\mu}{c} A^H \Big[1_{|A z_k| \ge \sqrt y / (1 + \gamma)}
              \Big(A z_k - \sqrt y \frac{A z_k}{|A z_k|}\Big)\Big]

    with c as in :func:`wirtinger_flow`. It needs fewer measurements and iterations than Wirtinger flow.

    Args:
        intensity: Measured intensity.
        operator: The measurement.
        n_iter: Number of iterations.
        mu: Step size.
        gamma: Truncation; infinity for plain amplitude flow.
        object_shape: Sizes of the object, for operators that do not know them.
        background: What the detector counts without the object, a number or in the intensity's units and arrangement:
            it is subtracted, and what is left below 0 counts as 0.
        mask: True where measured; it broadcasts to the intensity. Default: everywhere.
        constraint: "complex", "real" or "nonnegative".
        init: Start (*, object). Default: :func:`spectral_initialization`.
        seed: Seed of the spectral start.
        check_every: Iterations from one residual to the next.

    Returns:
        :class:`Reconstruction` with one start per pattern.

    Example:
        >>> obj = torch.randn(2, 16, dtype=torch.complex64)
        >>> operator = pr.operators.Gaussian(pr.operators.gaussian_matrix((16,), 96))
        >>> truncated_amplitude_flow(operator(obj), operator, n_iter=300).error.max() < 1e-3
        tensor(True)

    Source:
        Wang, Giannakis, Eldar (2018), Solving systems of random quadratic equations via truncated amplitude flow,
        doi:10.1109/TIT.2017.2756858. In the source the start is the orthogonality-promoting one; here it is the
        spectral one.
    """
    problem = _Measured(intensity, operator, object_shape, mask, constraint, n_iter, check_every, background)
    mu = _checks.number("mu", mu, above=0)
    gamma = gamma if gamma == math.inf else _checks.number("gamma", gamma, above=0)
    measured = problem.intensity.sqrt()

    def gradient(field: Tensor, k: int) -> Tensor:
        power = _fft.power(field)
        kept = (power.sqrt() >= measured / (1 + gamma)) & (power > 0)
        return field * torch.where(kept, mu * (1 - measured * _fft.divisor(power).rsqrt()), 0.0)

    recipe = f"truncated_amplitude_flow(n_iter={n_iter}, mu={mu}, gamma={gamma})"
    return _flow(problem, gradient, init, seed, recipe)


def maximum_likelihood(
    estimate: Tensor,
    intensity: Tensor,
    operator: Operator,
    *,
    n_iter: int = 50,
    background: Tensor | float = 0.1,
    mask: Tensor | None = None,
    support: Tensor | None = None,
    constraint: Constraint = "complex",
    check_every: int = 10,
) -> Reconstruction:
    r"""Poisson maximum-likelihood refinement of an estimate by conjugate gradients: the last step for counts.

    .. math:: \min_X \sum I - y \ln I, \qquad I = |A X|^2 + b

    over the measured pixels, with directions of Polak and Ribiere that are restarted when they do not descend, and an
    exact line search (the intensity is a parabola along a line, so it costs no transform). Each iteration takes one
    operator and one adjoint. It improves a reconstruction that is nearly right; it does not find one.

    Args:
        estimate: Reconstruction to refine, real or complex, and real unless the constraint is "complex"; the result is
            of the same kind.
        intensity: Measured counts. In other units the estimate must be in the same ones, and `background` too.
        operator: The measurement.
        n_iter: Number of iterations.
        background: b, in counts, above 0: what the detector counts without the object, a number or a tensor arranged
            like the intensity. It keeps the likelihood finite where the model has no light.
        mask: True where measured; it broadcasts to the intensity. Default: everywhere.
        support: True where the object may be non-zero; it broadcasts to the estimate. Default: everywhere.
        constraint: "complex", "real" or "nonnegative", for which a real object is clipped after each step.
        check_every: Iterations from one residual to the next.

    Shape:
        - estimate: (*, object)
        - intensity: (*, data)

    Returns:
        :class:`Reconstruction` with one start per pattern; `history` holds relative magnitude errors.

    Raises:
        TypeError: if operator is not an Operator, estimate is not floating, intensity is not real, a mask is not
            boolean, or the estimate is complex though the object is real.
        ValueError: if shapes do not fit, or an option is unknown or out of range.

    Example:
        >>> obj = 100 * torch.rand(12, 12)
        >>> operator = pr.operators.FourierIntensity((24, 24))
        >>> counts = torch.poisson(operator(obj))
        >>> start = obj + 5 * torch.randn(12, 12)
        >>> r = maximum_likelihood(start, counts, operator)
        >>> (r.obj - obj).norm() < 0.5 * (start - obj).norm()
        tensor(True)

    Source:
        Thibault, Guizar-Sicairos (2012), Maximum-likelihood refinement for coherent diffractive imaging,
        doi:10.1088/1367-2630/14/6/063004.
    """
    problem = _Measured(intensity, operator, None, mask, constraint, n_iter, check_every)
    x = problem.given("estimate", estimate)
    operator = problem.operator
    _checks.same_batch(("estimate", x, operator.object_ndim), ("intensity", intensity, operator.data_ndim))
    problem.object_shape, problem.real = x.shape[-operator.object_ndim :], not x.is_complex()
    b = background
    if isinstance(b, Tensor):
        b = _checks.background(b, problem.intensity)
        if mask is not None:
            b = b.where(_checks.mask(mask, problem.intensity), 1)
        if not bool((b > 0).all()):
            _checks.fail("background must be above 0, got less", "Use background.clamp(min=0.1)")
    else:
        b = _checks.number("background", b, above=0)
    problem.magnitude = (problem.intensity - b).clamp(min=0).sqrt()
    allowed: Tensor | float = 1.0
    if support is not None:
        _checks.boolean(support=support)
        _checks.same_device(estimate=x, support=support)
        support = _checks.broadcast("support", support, "the estimate", x)
        x = torch.where(support, x, 0.0)
        allowed = support.to(problem.intensity.dtype)
    _checks.finite(estimate=x)
    direction = last = torch.zeros_like(x)

    def step(x: Tensor, field: Tensor, k: int) -> tuple[Tensor, Tensor]:
        nonlocal direction, last
        model = _fft.power(field) + b
        descent = -allowed * problem.adjoint(problem.weighted((1 - problem.intensity / model) * field))
        direction, last = problem.conjugate(descent, last, direction, first=k == 0), descent
        along = operator.linear(direction)
        length = _line_search(problem, field, along, b)
        x = x + problem.over_object(length) * direction
        if constraint == "nonnegative":
            x = x.clamp(min=0)
            return x, operator.linear(x)
        return x, field + problem.over_data(length) * along

    return problem.run(
        x, step, f"maximum_likelihood(n_iter={n_iter}, background={_named(background)})", support=support
    )


def _named(background: Tensor | float) -> str:
    return f"{tuple(background.shape)}" if isinstance(background, Tensor) else f"{background}"


def _line_search(problem: _Measured, field: Tensor, along: Tensor, b: Tensor | float) -> Tensor:
    """The step along a line that minimises the likelihood: I(t) = |u|^2 + 2 t Re(u* v) + t^2 |v|^2 + b.

    Scoring steps (the expected curvature is positive), each halved until the likelihood falls.
    """
    y = problem.intensity
    constant = _fft.power(field) + b
    cross = (field.conj() * along).real
    square = _fft.power(along)
    tiny = torch.finfo(constant.dtype).tiny

    def model(t: Tensor) -> Tensor:
        t = problem.over_data(t)
        return constant + 2 * t * cross + t.square() * square

    def loss(t: Tensor) -> Tensor:
        value = model(t)
        # relative to t = 0, so that large sums do not hide small falls
        return problem.weighted(value - constant - y * (value / constant).log()).sum(problem.data_axes)

    t = torch.zeros_like(problem.mean)
    best = torch.zeros_like(t)
    for _ in range(4):
        value, rate = model(t), 2 * (cross + problem.over_data(t) * square)
        slope = problem.weighted((1 - y / value) * rate).sum(problem.data_axes)
        curvature = problem.weighted(rate.square() / value + 2 * square * (1 - y / value).clamp(min=0))
        move = -slope / curvature.sum(problem.data_axes).clamp(min=tiny)
        for _ in range(8):
            trial = loss(t + move)
            move = torch.where(trial <= best, move, move / 2)
        trial = loss(t + move)
        better = trial <= best
        t, best = torch.where(better, t + move, t), torch.where(better, trial, best)
    return t


def _flow(
    problem: _Measured, gradient: Callable[[Tensor, int], Tensor], init: Tensor | None, seed: int, recipe: str
) -> Reconstruction:
    """Descent from the spectral start with one gradient, taken at the detector, per iteration."""
    if init is None:
        init = spectral_initialization(
            problem.intensity,
            problem.operator,
            object_shape=problem.object_shape,
            mask=problem.mask,
            constraint=problem.constraint,
            seed=seed,
        )
    else:
        _checks.finite(init=init)
    z = problem.given("init", init)
    problem.object_shape = z.shape[-problem.operator.object_ndim :]
    scale = problem.over_object(1 / problem.gain(z))

    def step(z: Tensor, field: Tensor, k: int) -> tuple[Tensor, Tensor]:
        z = z - scale * problem.adjoint(problem.weighted(gradient(field, k)))
        z = z.clamp(min=0) if problem.constraint == "nonnegative" else z
        return z, problem.operator.linear(z)

    result = problem.run(z, step, recipe, seed=seed)
    if not bool(result.obj.isfinite().all()):
        fix = "Use a smaller mu, or begin nearer to the object with init"
        _checks.warn("the descent went beyond all numbers, and the object is nan", fix)
    return result
