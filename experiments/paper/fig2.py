"""Fig. 2: learning the square root, with both signs in the training set.

The smallest phase retrieval: y = |x|^2 for one real number x, with the trainings and errors of `gaussian`. With
both signs the mean of x for given y is 0, and more samples only bring the network closer to it; with the positive one
of each pair ("active") or with |net(y)| compared with the square root of y ("passive") the error falls until the length
of the training limits it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.figure import Figure

from experiments import Context, Result, Row
from experiments.paper import gaussian
from experiments.store import estimates_in

OBJECTIVES = {"naive": "both signs", "active": "positive sign (active)", "passive": "passive"}
SHOWN = 60  # samples in the picture of the training set


def run(context: Context) -> Result:
    """Train with every number of samples and every objective."""
    config = dict(context.config)
    samples, seeds = config.pop("samples"), config.pop("seeds")
    settings = [
        {**config, "field": "real", "n": 1, "samples": count, "objective": objective, "seed": seed}
        for count in samples
        for objective in OBJECTIVES
        for seed in seeds
    ]
    rows = gaussian.trained_rows(settings, context)
    training, _, test = gaussian.parts(settings[-1])
    order = test.square().flatten().argsort()
    arrays: dict[str, Any] = {"training": training[:SHOWN, 0].numpy(), "test": test[order, 0].numpy()}
    for one in settings:
        if (one["samples"], one["seed"]) == (samples[-1], seeds[0]):
            found = estimates_in(gaussian.folder_of(one, context))
            arrays[one["objective"]] = found[order, 0].numpy()
    steps = config["epochs"] * config["samples_per_epoch"] // config["batch_size"]
    return Result(rows, seeds, {"samples": samples[-1], "epochs": config["epochs"], "steps": steps}, arrays)


def draw(rows: list[Row], arrays: dict[str, Any]) -> Figure:
    """The function that the training set asks for, what was learned, and the error against the number of samples."""
    figure = Figure(figsize=(14, 4.4), layout="constrained")
    data, learned, error = figure.subplots(1, 3)
    x = arrays["training"][np.argsort(arrays["training"] ** 2)]
    data.plot(x**2, x, "o-", color="C0", markersize=4, linewidth=0.8, label="both signs")
    data.plot(x**2, np.abs(x), "-", color="C1", linewidth=2, label="positive sign")
    data.set_title(f"{len(x)} training samples, joined in the order of y")
    y = arrays["test"] ** 2
    learned.plot(y, np.sqrt(y), "k:", label="± square root")
    learned.plot(y, -np.sqrt(y), "k:")
    for number, (objective, title) in enumerate(OBJECTIVES.items()):
        learned.plot(y, arrays[objective], color=f"C{number}", label=title)
        samples, found = gaussian.curve(rows, objective=objective)
        error.plot(samples, [np.mean(values) for values in found], color=f"C{number}", label=title)
        for count, values in zip(samples, found, strict=True):
            error.plot([count] * len(values), values, ".", color=f"C{number}")
    learned.set_title(f"learned from {max(row['samples'] for row in rows):,} samples")
    for axis in (data, learned):
        axis.set_xlabel("y = x²")
        axis.set_ylabel("x")
    error.set_xscale("log")
    error.set_yscale("log")
    error.set_xlabel("training samples")
    error.set_title("relative error up to the sign")
    for axis in (data, learned, error):
        axis.grid(alpha=0.3)
        axis.legend(fontsize=9, loc="upper left" if axis is not error else "center right")
    return figure
