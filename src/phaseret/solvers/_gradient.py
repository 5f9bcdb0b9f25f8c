"""Gradient methods for any operator: spectral start, Wirtinger flow, truncated amplitude flow, Poisson refinement.

All of them treat each pattern of a batch on its own: norms, scales, steps and truncations are per item.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from phaseret import _checks, _fft
from phaseret.operators import Operator
from phaseret.solvers._result import Reconstruction


class _Problem:
    """Intensities and their operator, with sums and scales per item."""

    def __init__(
        self,
        intensity: Tensor,
        operator: Operator,
        object_shape: Sequence[int] | None,
        mask: Tensor | None,
        real: bool,
    ) -> None:
        _checks.real(intensity=intensity)
        if not isinstance(operator, Operator):
            got = type(operator).__name__
            _checks.fail(f"operator must be an Operator, got {got}", "See phaseret.operators", TypeError)
        _checks.rank(operator.data_ndim, intensity=intensity)
        intensity = _fft.promote(intensity)
        self.operator, self.object_shape, self.real = operator, object_shape, real
        self.data_axes = tuple(range(-operator.data_ndim, 0))
        self.object_axes = tuple(range(-operator.object_ndim, 0))
        self.weight: Tensor | None = None
        if mask is not None:
            _checks.boolean(mask=mask)
            if mask.shape not in (intensity.shape, intensity.shape[-operator.data_ndim :]):
                rule = f"mask must have the shape of the intensity {tuple(intensity.shape)}"
                fix = f"Give one for all patterns, {tuple(intensity.shape[-operator.data_ndim :])}, or one each"
                _checks.fail(f"{rule}, got {tuple(mask.shape)}", fix)
            self.weight = mask.to(intensity.dtype)
            intensity = torch.where(mask, intensity, 0.0)
        self.intensity = intensity
        count = math.prod(intensity.shape[-operator.data_ndim :])
        counts = torch.full_like(intensity.sum(self.data_axes), count)
        if self.weight is not None:
            counts = self.weight.expand_as(intensity).sum(self.data_axes)
        self.mean = (intensity.sum(self.data_axes) / counts.clamp(min=1)).clamp(min=torch.finfo(intensity.dtype).tiny)

    def weighted(self, field: Tensor) -> Tensor:
        """A field with 0 at unmeasured pixels."""
        return field if self.weight is None else field * self.weight

    def adjoint(self, field: Tensor) -> Tensor:
        """The adjoint, on the reals for real objects."""
        result = self.operator.adjoint(field, self.object_shape)
        return result.real if self.real and result.is_complex() else result

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

    def error(self, field: Tensor) -> Tensor:
        """Relative magnitude error of each item."""
        error = (_fft.power(field).sqrt() - self.intensity.sqrt()).square()
        return (self.weighted(error).sum(self.data_axes) / self.intensity.sum(self.data_axes)).sqrt()


def spectral_initialization(
    intensity: Tensor,
    operator: Operator,
    *,
    n_iter: int = 50,
    truncation: float | None = 3.0,
    object_shape: Sequence[int] | None = None,
    mask: Tensor | None = None,
    real: bool = False,
    seed: int = 0,
) -> Tensor:
    r"""The start of the gradient methods: the leading eigenvector of the data-weighted covariance.

    Power iteration on :math:`A^H \mathrm{diag}(T(y)) A` with :math:`T(y) = y` where :math:`y \le \alpha^2 \bar y`, and
    0 above (:math:`\alpha` the truncation), then scaled so that :math:`|A z|^2` has the data's sum. Mean, norm and
    scale are those of each item. It needs random-like measurements (Gaussian, coded diffraction); plain Fourier
    intensities say nothing to it.

    Args:
        intensity: Measured intensity.
        operator: The measurement.
        n_iter: Power iterations.
        truncation: alpha, or None for no truncation.
        object_shape: Sizes of the object, for operators that do not know them.
        mask: True where measured. Default: everywhere.
        real: Whether the object is real.
        seed: Of the random vector that the power iteration starts from; the same for all items.

    Shape:
        - intensity: (*, data)
        - output: (*, object)

    Returns:
        Complex tensor, real if `real`.

    Raises:
        TypeError: if intensity is not real, operator is none, or mask not boolean.
        ValueError: if an option is out of range.

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
    problem = _Problem(intensity, operator, object_shape, mask, real)
    n_iter = _checks.integer("n_iter", n_iter)
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
    real: bool = False,
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
        mu: Largest step.
        object_shape: Sizes of the object, for operators that do not know them.
        mask: True where measured. Default: everywhere.
        real: Whether the object is real.
        init: Start (*, object). Default: :func:`spectral_initialization`.
        seed: Of the spectral start.
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
    flow = WirtingerFlow(operator, n_iter=n_iter, mu=mu, check_every=check_every)
    return flow(intensity, object_shape=object_shape, mask=mask, real=real, init=init, seed=seed)


class _Flow(nn.Module):
    """Descent from the spectral start with one gradient per iteration."""

    def __init__(self, operator: Operator, *, n_iter: int, mu: float, check_every: int) -> None:
        super().__init__()
        self.operator = operator
        self.n_iter = _checks.integer("n_iter", n_iter)
        self.mu = _checks.number("mu", mu, above=0)
        self.check_every = _checks.integer("check_every", check_every)

    def gradient(self, problem: _Problem, field: Tensor, k: int) -> Tensor:
        """The step of iteration k at the detector, before the adjoint."""
        raise NotImplementedError

    def forward(
        self,
        intensity: Tensor,
        *,
        object_shape: Sequence[int] | None = None,
        mask: Tensor | None = None,
        real: bool = False,
        init: Tensor | None = None,
        seed: int = 0,
    ) -> Reconstruction:
        """Reconstruct from intensities."""
        began = time.perf_counter()
        problem = _Problem(intensity, self.operator, object_shape, mask, real)
        z = init
        if z is None:
            z = spectral_initialization(
                intensity, self.operator, object_shape=object_shape, mask=mask, real=real, seed=seed
            )
        scale = problem.over_object(1 / problem.gain(z))
        history, checked = [], []
        field = self.operator.linear(z)
        for k in range(self.n_iter):
            z = z - scale * problem.adjoint(problem.weighted(self.gradient(problem, field, k)))
            field = self.operator.linear(z)
            if (k + 1) % self.check_every == 0 or k + 1 == self.n_iter:
                history.append(problem.error(field))
                checked.append(k + 1)
        return _single(problem, z, history, checked, seed, repr(self), time.perf_counter() - began)

    def extra_repr(self) -> str:
        """The options."""
        return f"n_iter={self.n_iter}, mu={self.mu}, check_every={self.check_every}"


class WirtingerFlow(_Flow):
    """Module of :func:`wirtinger_flow`.

    Args:
        operator: The measurement.
        n_iter: Number of iterations.
        mu: Largest step.
        check_every: Iterations from one residual to the next.
    """

    def __init__(self, operator: Operator, *, n_iter: int = 1000, mu: float = 0.2, check_every: int = 10) -> None:
        super().__init__(operator, n_iter=n_iter, mu=mu, check_every=check_every)

    def gradient(self, problem: _Problem, field: Tensor, k: int) -> Tensor:
        step = min(1 - math.exp(-(k + 1) / 330), self.mu)
        return (step / problem.over_data(problem.mean)) * (_fft.power(field) - problem.intensity) * field


def truncated_amplitude_flow(
    intensity: Tensor,
    operator: Operator,
    *,
    n_iter: int = 1000,
    mu: float = 0.6,
    gamma: float = 0.7,
    object_shape: Sequence[int] | None = None,
    mask: Tensor | None = None,
    real: bool = False,
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
        mu: Step.
        gamma: Truncation; infinity for plain amplitude flow.
        object_shape: Sizes of the object, for operators that do not know them.
        mask: True where measured. Default: everywhere.
        real: Whether the object is real.
        init: Start (*, object). Default: :func:`spectral_initialization`.
        seed: Of the spectral start.
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
        doi:10.1109/TIT.2017.2756858. There the start is the orthogonality-promoting one; here it is the spectral one.
    """
    flow = TruncatedAmplitudeFlow(operator, n_iter=n_iter, mu=mu, gamma=gamma, check_every=check_every)
    return flow(intensity, object_shape=object_shape, mask=mask, real=real, init=init, seed=seed)


class TruncatedAmplitudeFlow(_Flow):
    """Module of :func:`truncated_amplitude_flow`.

    Args:
        operator: The measurement.
        n_iter: Number of iterations.
        mu: Step.
        gamma: Truncation; infinity for plain amplitude flow.
        check_every: Iterations from one residual to the next.
    """

    def __init__(
        self, operator: Operator, *, n_iter: int = 1000, mu: float = 0.6, gamma: float = 0.7, check_every: int = 10
    ) -> None:
        super().__init__(operator, n_iter=n_iter, mu=mu, check_every=check_every)
        self.gamma = gamma if gamma == math.inf else _checks.number("gamma", gamma, above=0)

    def gradient(self, problem: _Problem, field: Tensor, k: int) -> Tensor:
        power, measured = _fft.power(field), problem.intensity.sqrt()
        kept = (power.sqrt() >= measured / (1 + self.gamma)) & (power > 0)
        return field * torch.where(kept, self.mu * (1 - measured * _fft.divisor(power).rsqrt()), 0.0)

    def extra_repr(self) -> str:
        """The options."""
        return f"{super().extra_repr()}, gamma={self.gamma}"


def maximum_likelihood(
    estimate: Tensor,
    intensity: Tensor,
    operator: Operator,
    *,
    n_iter: int = 50,
    background: float = 0.1,
    mask: Tensor | None = None,
    support: Tensor | None = None,
    nonnegative: bool = False,
    check_every: int = 10,
) -> Reconstruction:
    r"""Poisson maximum-likelihood refinement of an estimate by conjugate gradients: the last step for counts.

    .. math:: \min_X \sum I - y \ln I, \qquad I = |A X|^2 + b

    over the measured pixels, with directions of Polak and Ribiere that are restarted when they do not descend, and an
    exact line search (the intensity is a parabola along a line, so it costs no transform). Each iteration takes one
    operator and one adjoint. It improves a reconstruction that is nearly right; it does not find one.

    Args:
        estimate: Reconstruction to refine, real or complex; the result is of the same kind.
        intensity: Measured counts. In other units the estimate must be in the same ones, and `background` too.
        operator: The measurement.
        n_iter: Number of iterations.
        background: b, in counts: keeps the likelihood finite where the model has no light.
        mask: True where measured. Default: everywhere.
        support: True where the object may be non-zero. Default: everywhere.
        nonnegative: Clip a real object after each step.
        check_every: Iterations from one residual to the next.

    Shape:
        - estimate: (*, object)
        - intensity: (*, data)

    Returns:
        :class:`Reconstruction` with one start per pattern; `history` holds relative magnitude errors.

    Raises:
        TypeError: if estimate is not floating, intensity not real, or a mask not boolean.
        ValueError: if shapes differ or an option is out of range.

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
    refine = MaximumLikelihood(
        operator, n_iter=n_iter, background=background, nonnegative=nonnegative, check_every=check_every
    )
    return refine(estimate, intensity, mask=mask, support=support)


class MaximumLikelihood(nn.Module):
    """Module of :func:`maximum_likelihood`.

    Args:
        operator: The measurement.
        n_iter: Number of iterations.
        background: b, in counts.
        nonnegative: Clip a real object after each step.
        check_every: Iterations from one residual to the next.
    """

    def __init__(
        self,
        operator: Operator,
        *,
        n_iter: int = 50,
        background: float = 0.1,
        nonnegative: bool = False,
        check_every: int = 10,
    ) -> None:
        super().__init__()
        self.operator, self.nonnegative = operator, nonnegative
        self.n_iter = _checks.integer("n_iter", n_iter)
        self.background = _checks.number("background", background, above=0)
        self.check_every = _checks.integer("check_every", check_every)

    def forward(
        self, estimate: Tensor, intensity: Tensor, *, mask: Tensor | None = None, support: Tensor | None = None
    ) -> Reconstruction:
        """Refine an estimate."""
        began = time.perf_counter()
        _checks.floating(estimate=estimate)
        _checks.rank(self.operator.object_ndim, estimate=estimate)
        shape = estimate.shape[-self.operator.object_ndim :]
        real = not estimate.is_complex()
        if self.nonnegative and not real:
            _checks.fail("estimate must be real with nonnegative=True, got a complex one", "Pass estimate.real")
        problem = _Problem(intensity, self.operator, shape, mask, real)
        allowed: Tensor | float = 1.0
        if support is not None:
            _checks.boolean(support=support)
            if support.shape not in (estimate.shape, shape):
                rule = f"support must have the shape of the estimate {tuple(estimate.shape)}"
                fix = f"Give one for all items, {tuple(shape)}, or one each"
                _checks.fail(f"{rule}, got {tuple(support.shape)}", fix)
            allowed = support.to(problem.intensity.dtype)
        x = _fft.promote(estimate) * allowed
        y, b, tiny = problem.intensity, self.background, torch.finfo(problem.intensity.dtype).tiny
        field = self.operator.linear(x)
        direction = last = torch.zeros_like(x)
        history, checked = [], []
        for k in range(self.n_iter):
            model = _fft.power(field) + b
            descent = -allowed * problem.adjoint(problem.weighted((1 - y / model) * field))
            inner = (descent.conj() * (descent - last)).real.sum(problem.object_axes)
            ratio = (inner / problem.norm2(last).clamp(min=tiny)).clamp(min=0) if k else torch.zeros_like(inner)
            direction = descent + problem.over_object(ratio) * direction
            slope = (descent.conj() * direction).real.sum(problem.object_axes)
            direction = torch.where(problem.over_object(slope > 0), direction, descent)
            last = descent
            along = self.operator.linear(direction)
            step = self._line_search(problem, field, along)
            x = x + problem.over_object(step) * direction
            if self.nonnegative:
                x = x.clamp(min=0)
                field = self.operator.linear(x)
            else:
                field = field + problem.over_data(step) * along
            if (k + 1) % self.check_every == 0 or k + 1 == self.n_iter:
                history.append(problem.error(field))
                checked.append(k + 1)
        return _single(problem, x, history, checked, 0, repr(self), time.perf_counter() - began, support)

    def _line_search(self, problem: _Problem, field: Tensor, along: Tensor) -> Tensor:
        """The step along a line that minimises the likelihood: I(t) = |u|^2 + 2 t Re(u* v) + t^2 |v|^2 + b.

        Scoring steps (the expected curvature is positive), each halved until the likelihood falls.
        """
        y, b = problem.intensity, self.background
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

    def extra_repr(self) -> str:
        """The options."""
        return (
            f"n_iter={self.n_iter}, background={self.background}, nonnegative={self.nonnegative}, "
            f"check_every={self.check_every}"
        )


def _single(
    problem: _Problem,
    obj: Tensor,
    history: list[Tensor],
    checked: list[int],
    seed: int,
    recipe: str,
    seconds: float,
    support: Tensor | None = None,
) -> Reconstruction:
    """A reconstruction with one start per pattern."""
    error = history[-1]
    support = torch.ones_like(obj, dtype=torch.bool) if support is None else support.expand_as(obj)
    return Reconstruction(
        obj=obj,
        error=error,
        support=support,
        objs=obj.unsqueeze(-1 - len(problem.object_axes)),
        errors=error.unsqueeze(-1),
        scores=error.unsqueeze(-1),
        ranking=torch.zeros_like(error, dtype=torch.long).unsqueeze(-1),
        agreement=torch.ones_like(error).unsqueeze(-1),
        prtf=torch.ones_like(error).unsqueeze(-1),
        history=torch.stack(history, -1).unsqueeze(-2),
        iterations=checked,
        seeds=[seed],
        recipe=recipe,
        seconds=seconds,
    )
