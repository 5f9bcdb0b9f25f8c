"""What makes passive training work: domain of the loss x what the network sees x learning rate.

The digits are shifted and flipped; all other settings are those of the configuration file. The domain "autocorrelation"
with the squared error is that of "intensity" by Parseval's theorem: it is trained once, to show that. "poisson" is the
likelihood at `photons_of_likelihood` photons a pixel of the noise-free data.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.figure import Figure

from experiments import Context, Result, Row, digits
from experiments.store import train_all

DOMAINS = ("magnitude", "intensity", "poisson", "autocorrelation")


def run(context: Context) -> Result:
    """Train every combination."""
    config = dict(context.config)
    inputs, rates, seeds = config.pop("representations"), config.pop("learning_rates"), config.pop("seeds")
    calls = []
    for domain in DOMAINS:
        for representation in inputs:
            for rate in rates:
                for seed in seeds:
                    if domain == "autocorrelation" and (representation, rate) != (inputs[0], rates[len(rates) // 2]):
                        continue
                    own = {"domain": domain, "representation": representation, "learning_rate": rate, "seed": seed}
                    settings = {**config, **own, "bfloat16": context.bfloat16}
                    name = f"{domain}-{representation}-{rate:g}"
                    calls.append((settings, context.mnist, context.folder / name / f"seed{seed}"))
    took = train_all(digits.trained, calls, context.jobs)
    rows: list[Row] = []
    for call, cost in zip(calls, took, strict=True):
        own = {key: call[0][key] for key in ("domain", "representation", "learning_rate", "seed")}
        rows.append({**own, **digits.scored(*call)[0], **cost})
    budget = {"images": rows[0]["training_images"], "epochs": max(row["epochs"] for row in rows)}
    return Result(rows, seeds, budget)


def draw(rows: list[Row], arrays: dict[str, Any]) -> Figure:
    """Aligned PSNR against the learning rate, one panel per domain, one line per input."""
    figure = Figure(figsize=(11, 3.6), layout="constrained")
    domains = [domain for domain in DOMAINS[:-1] if any(row["domain"] == domain for row in rows)]
    inputs = list(dict.fromkeys(row["representation"] for row in rows))
    axes = figure.subplots(1, len(domains), sharey=True, squeeze=False)[0]
    for axis, domain in zip(axes, domains, strict=True):
        for number, representation in enumerate(inputs):
            found: dict[float, list[float]] = {}
            for row in rows:
                if (row["domain"], row["representation"]) == (domain, representation):
                    found.setdefault(row["learning_rate"], []).append(row["aligned_psnr"])
            rates = sorted(found)
            axis.plot(rates, [np.mean(found[rate]) for rate in rates], "o-", color=f"C{number}", label=representation)
            for rate in rates:
                axis.plot([rate] * len(found[rate]), found[rate], ".", color=f"C{number}", markersize=4)
        axis.set(title=f"loss on: {domain}", xlabel="learning rate", xscale="log")
        axis.set_xticks(rates, [f"{rate:g}" for rate in rates])
        axis.minorticks_off()
        axis.grid(alpha=0.3)
    axes[0].set_ylabel("aligned PSNR (dB)")
    axes[0].legend(title="input", fontsize=8)
    return figure
