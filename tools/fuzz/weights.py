"""Files of weights: damaged, and with other descriptions whose checksums are right."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

import torch

import phaseret as pr
from tools.fuzz._attempt import Target, Wrong
from tools.fuzz._mutate import changed

CARD = {"data": "none", "command": "none", "metrics": {"psnr": 1.5}, "licence": "BSD-3-Clause"}
VALUES = (
    None,
    True,
    0,
    -1,
    1,
    3,
    2**31,
    2**63,
    10**30,
    1.5,
    1e300,
    "",
    "x",
    "UNet",
    "MLP",
    [],
    [1],
    [0, 0],
    [8, 8],
    {},
)


def seeds(folder: Path) -> list[bytes]:
    nets = [pr.models.MLP((4, 4), (8, 8), width=8), pr.models.UNet((4, 4), (8, 8), channels=(4, 8))]
    for number, net in enumerate(nets):
        pr.models.save(net, folder / f"{number}", card=CARD, overwrite=True)
    return [(folder / f"{number}").read_bytes() for number in range(len(nets))]


def load(folder: Path, data: bytes) -> None:
    """A network that computes, or a clear error."""
    file = folder / "net.safetensors"
    file.write_bytes(data)
    net: Any = pr.models.load(file)
    with torch.no_grad():
        answer = net(torch.rand(1, 8, 8))
        # of three axes of data these are one item, without a batch
        if tuple(net.options.get("data_shape", (8, 8))) == (8, 8) and answer.shape[0] != 1:
            raise Wrong("a network that answers otherwise")


def value_changed(rng: Random, value: Any) -> Any:
    """JSON with one of its parts another."""
    if isinstance(value, dict) and value and rng.random() < 0.9:
        key = rng.choice(sorted(value))
        if rng.random() < 0.1:
            return {name: inner for name, inner in value.items() if name != key}
        return {**value, rng.choice((key, key, key, key, "x")): value_changed(rng, value[key])}
    if isinstance(value, list) and value and rng.random() < 0.7:
        at = rng.randrange(len(value))
        return [*value[:at], value_changed(rng, value[at]), *value[at + rng.choice((0, 1, 1, 1)) :]]
    return rng.choice(VALUES)


def mutate(rng: Random, seeds: Sequence[bytes]) -> bytes:
    """Damage; or another header; or another description, with the checksum that `save` would have written."""
    data = rng.choice(seeds)
    try:
        size = int.from_bytes(data[:8], "little")
        header, body = json.loads(data[8 : 8 + size]), data[8 + size :]
        text = header["__metadata__"]["phaseret"].partition(" ")[2]
        if rng.random() < 0.3:
            return changed(rng, data, seeds)
        if rng.random() < 0.3:
            header = value_changed(rng, header)
        else:
            text = (
                json.dumps(value_changed(rng, json.loads(text)))
                if rng.random() < 0.8
                else changed(rng, text.encode(), [b"{"]).decode("latin1")
            )
            header["__metadata__"]["phaseret"] = f"{checksum(text, header, body)} {text}"
        new = json.dumps(header).encode()
        return len(new).to_bytes(8, "little") + new + body
    except Exception:  # a kept input is no such file
        return changed(rng, data, seeds)


def checksum(text: str, header: dict[str, Any], body: bytes) -> str:
    """As `phaseret.models.save` has it."""
    total = hashlib.sha256(text.encode())
    for name, about in sorted((name, about) for name, about in header.items() if name != "__metadata__"):
        dtype = {"F32": torch.float32, "I64": torch.int64}[about["dtype"]]
        start, stop = about["data_offsets"]
        total.update(f"{name} {dtype} {tuple(about['shape'])} ".encode() + body[start:stop])
    return total.hexdigest()


TARGETS = {"weights": Target("safetensors of networks", seeds, load, mutate)}
