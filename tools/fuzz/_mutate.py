"""Random changes of bytes: what damage, other programs and ill will do to a file or a text."""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Sequence
from random import Random

NUMBERS = tuple(b"0 -1 1 7 255 65536 4294967295 9223372036854775808".split())
NUMBERS += (b"9" * 40, b"1e300", b"-0.5", b"nan", b"inf", b"1e-320", b"")
_EXTREMES = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**63, 2**64 - 1)


def _flip(rng: Random, data: bytes, _: Sequence[bytes]) -> bytes:
    at = rng.randrange(len(data))
    return data[:at] + bytes([data[at] ^ (1 << rng.randrange(8))]) + data[at + 1 :]


def _extreme(rng: Random, data: bytes, _: Sequence[bytes]) -> bytes:
    kind = rng.choice("BHIQ")
    at, size = rng.randrange(len(data)), struct.calcsize("<" + kind)
    return data[:at] + struct.pack(rng.choice("<>") + kind, rng.choice(_EXTREMES) % 256**size) + data[at + size :]


def _number(rng: Random, data: bytes, _: Sequence[bytes]) -> bytes:
    """A number written in digits becomes another; it is looked for near a random place."""
    start = rng.randrange(len(data))
    found = re.compile(rb"-?\d+(\.\d+)?").search(data, max(0, start - 2048), start + 2048)
    return data if found is None else data[: found.start()] + rng.choice(NUMBERS) + data[found.end() :]


def _cut(rng: Random, data: bytes, _: Sequence[bytes]) -> bytes:
    return data[: rng.randrange(len(data))]


def _delete(rng: Random, data: bytes, _: Sequence[bytes]) -> bytes:
    at = rng.randrange(len(data))
    return data[:at] + data[at + rng.choice((1, 2, 4, 8, 16, 64, 512)) :]


def _insert(rng: Random, data: bytes, _: Sequence[bytes]) -> bytes:
    at, size = rng.randrange(len(data)), rng.choice((1, 2, 4, 8, 64, 512))
    block = rng.choice((b"\0" * size, rng.randbytes(size), data[at : at + size], b"9" * size, b"\n" * size))
    return data[:at] + block + data[at:]


def _splice(rng: Random, data: bytes, others: Sequence[bytes]) -> bytes:
    other = rng.choice(others)
    at, where, size = rng.randrange(len(data)), rng.randrange(max(1, len(other))), rng.choice((4, 16, 64, 512, 1 << 20))
    block = other[where : where + size]
    return data[:at] + block + (data[at:] if rng.random() < 0.3 else data[at + len(block) :])


_CHANGES: tuple[Callable[[Random, bytes, Sequence[bytes]], bytes], ...] = (
    (_flip, _flip, _extreme, _extreme, _number, _number, _cut, _delete, _insert, _splice)
)  # fmt: skip


def changed(rng: Random, data: bytes, others: Sequence[bytes]) -> bytes:
    """The bytes after one to a few random changes."""
    while True:
        if data:
            data = rng.choice(_CHANGES)(rng, data, others)
        if rng.random() < 0.5 or not data:
            return data


def mutated(rng: Random, seeds: Sequence[bytes]) -> bytes:
    """One of the seeds, changed."""
    return changed(rng, rng.choice(seeds), seeds)


def words_mutated(rng: Random, words: list[bytes], pool: Sequence[bytes]) -> list[bytes]:
    """Words of which a few are left out, doubled, replaced, put in or changed."""
    words = list(words)
    while True:
        at = rng.randrange(len(words) + 1)
        kind = rng.randrange(5)
        if kind == 0:
            words[at : at + 1] = []
        elif kind == 1:
            words[at:at] = words[at : at + rng.choice((1, 2))]
        elif kind == 2:
            words[at : at + 1] = [rng.choice(pool)]
        elif kind == 3:
            words[at:at] = [rng.choice(pool)]
        else:
            words[at : at + 1] = [changed(rng, word, pool) for word in words[at : at + 1]]
        if rng.random() < 0.5:
            return words
