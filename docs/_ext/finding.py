"""What readers call it: words by which the search finds a page that says it otherwise, and guides before details."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sphinx.application import Sphinx

# Pages, and words that they do not use themselves.
WORDS = {
    "auto_gallery/beam_stop": "beamstop missing centre masked mask",
    "auto_gallery/deepinv_loops": "deepinv pnp plug play red trainer denoiser prior",
    "auto_gallery/few_photons": "how many photons poisson dose exposure noise counts",
    "auto_gallery/file_to_file": "cxi beamstop load save file import export",
    "auto_gallery/lightning_training": "amp autocast bf16 bfloat16 half precision trainer pytorch-lightning",
    "auto_gallery/masks_in_a_loader": "own custom dataset images pictures folder png dataloader per sample train",
    "auto_gallery/network_and_solver": "hio against network compare comparison pretrained init warm start",
    "auto_gallery/own_network": "own custom cnn architecture model complex network channel axis",
    "auto_gallery/paper_in_a_loop": "training loop tutorial dnn-p dnn-v passive",
    "auto_gallery/partial_coherence": "partial partially coherence blur point spread function",
    "auto_gallery/sampling": "oversampling ratio fourier_shape size padding zero-padding",
    "auto_gallery/schedules": "shrinkwrap schedule recipe pynx cohere sequence",
    "auto_gallery/strained_crystal": "bcdi bragg vti paraview export strain displacement 3d volume shrinkwrap",
    "auto_gallery/unrolled": "learned beta raar deep unfolding unrolling",
    "auto_gallery/your_own_loss": "property test hypothesis pytest invariance invariant own custom loss",
    "api/symmetry/align": "compare truth ground registration register score aligned",
    "believe": "trust confidence resolution prtf frc fsc r-factor report publish paper error bar",
    "benchmark": "enter submit compete compare own solver method leaderboard",
    "changelog": "changelog release notes news history version",
    "cheatsheet": "3d volume shrinkwrap prtf starts figure overview summary reference",
    "citation": "cite citing bibtex reference",
    "conventions": "fftshift normalization normalisation fft origin axes shape device gpu cuda",
    "crystals": "bcdi bragg vti paraview export diffractometer orthogonalise",
    "install": "pretrained weights download conda extras cpu gpu cuda requirements dependencies windows mac",
    "long_runs": "resume continue interrupted killed crash checkpoint restart progress timeout memory slurm stack",
    "peers": "migrate migration switch equivalent pynx cohere ptypy",
    "solved": "early stopping tolerance converged convergence",
    "units": "how many photons counts dose scale background subtract dark units beamstop dataloader per sample",
    "wrong": "faq help debug nan troubleshoot hot pixel twin stagnation fails failed bad wrong problem",
}


def say_words(app: Sphinx, name: str, source: list[str]) -> None:
    """Give a page its words, as keywords that the search reads and nobody sees."""
    if name in WORDS:
        source[0] += f"\n\n.. meta::\n   :keywords: {', '.join(WORDS[name].split())}\n"


def setup(app: Sphinx) -> dict[str, Any]:
    app.connect("source-read", say_words)
    app.config.html_search_scorer = str(Path(__file__).with_name("scorer.js"))
    return {"parallel_read_safe": True}
