"""The grammar of schedules: texts that are nearly one, or one of absurd numbers."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from random import Random

import torch

import phaseret as pr
from tools.fuzz._attempt import Target, Wrong
from tools.fuzz._mutate import NUMBERS, words_mutated

SEEDS = (
    b"hio:3,er:2",
    b"2*(hio:2,er:1),shrinkwrap,er:2",
    b"hio(beta=0.8):2,raar(beta=(0.75,0.95)):3,shrinkwrap(sigma=2,method=rms),dm:2",
    b"detwin:2,2*(rrr:1,breed,2*(chio:1,asr:1)),hpr:1,oss:4",
    b"sparse:4,sf:1,cf:2,admm:2,er:1",
)
TOKENS = (*NUMBERS, *re.findall(rb"[a-z]+", b" ".join(SEEDS)), *(bytes([c]) for c in b"(),:*=+-.'\" \n\t\0"))
TOKENS += ("é".encode(), "٣".encode(), b"\xff", b"(" * 60, b")" * 60, b"2*" * 60, b"None", b"True", b"HIO", b"gamma")
TOKENS += tuple(b"sigma= beta= threshold= factor= method= kind= ratio= (1,2,3) () 1_0 0x10".split())
HELD = {"support": torch.ones(6, 6, dtype=torch.bool), "constraint": "nonnegative", "starts": 2, "seed": 0}
PATTERN = pr.operators.fourier_intensity(torch.rand(6, 6), (12, 12))


def run(_: Path, data: bytes) -> None:
    """A recipe that can be written and read again, and that runs if it is short."""
    recipe = pr.solvers.Recipe(data.decode("utf-8", "surrogateescape"))
    if pr.solvers.Recipe(recipe.text).n_iter != recipe.n_iter:
        raise Wrong("a text that says another recipe")
    repr(recipe)
    if recipe.n_iter <= 60:
        found = pr.solvers.reconstruct(PATTERN, schedule=data.decode(), **HELD)
        if found.obj.shape != (6, 6) or not bool(found.obj.isfinite().all()):
            raise Wrong("an object that is not finite")


def mutate(rng: Random, seeds: Sequence[bytes]) -> bytes:
    return b"".join(words_mutated(rng, re.findall(rb"[a-z]+|[\d.]+|.", rng.choice(seeds), re.DOTALL), TOKENS))


TARGETS = {"schedule": Target("schedules of solvers", lambda _: list(SEEDS), run, mutate)}
