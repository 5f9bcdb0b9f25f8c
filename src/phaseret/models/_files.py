"""Weights in safetensors files: written whole or not at all, read without running any code of theirs."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NoReturn, cast

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_parameter_registration_hook

from phaseret import _checks, _memory
from phaseret._output import checksum as _checksum
from phaseret._output import written
from phaseret.models._layers import Model, unwrapped

# What every model card says, beside the architecture and its options.
_CARD = ("data", "command", "metrics", "licence")
_KEY = "phaseret"
_NEWER = "It may be from another version of phaseret"


def save(model: nn.Module, path: str | os.PathLike[str], *, card: Mapping[str, Any], overwrite: bool = False) -> str:
    """Write a network of this module to a safetensors file: its weights, how to build it, and what is known of it.

    The file is written under another name and renamed when it is complete.

    Args:
        model: A network of `phaseret.models`; the network inside a compiled one is written.
        path: The file; its name usually ends in .safetensors.
        card: What a user of the weights must know, at least "data" (what it was trained on), "command" (that trains it
            again), "metrics" (what was measured) and "licence" (of the weights). Texts, numbers, lists and mappings.
        overwrite: Replace an existing file.

    Returns:
        The SHA-256 of the file, to be published beside it and given to :func:`load`.

    Raises:
        FileExistsError: if the file exists and `overwrite` is False.
        ImportError: if safetensors is not installed.
        OSError: if the file cannot be written; then an existing one is unchanged.
        TypeError: if model is not of this module, or the card is not a mapping.
        ValueError: if the card lacks an entry, or holds one that is not plain; if the weights are not those that the
            options make, as after pruning or with another layer, or have no values.

    Warns:
        UserWarning: if weights are not finite.

    Example:
        >>> import tempfile
        >>> net = pr.models.MLP((8, 8), (16, 16), width=16)
        >>> card = {"data": "none", "command": "none", "metrics": {}, "licence": "BSD-3-Clause"}
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     checksum = pr.models.save(net, folder + "/net.safetensors", card=card)
        ...     pr.models.load(folder + "/net.safetensors", sha256=checksum).card["licence"]
        'BSD-3-Clause'
    """
    model = _network(model)
    if not isinstance(card, Mapping):
        _checks.fail(
            f"card must be a mapping, got {type(card).__name__}",
            "Use a dict, such as {'data': 'MNIST', ...}",
            error=TypeError,
        )
    missing = [name for name in _CARD if name not in card]
    if missing:
        _checks.fail(
            f"card must say {', '.join(_CARD)}, got one without {', '.join(missing)}",
            "Add them: whoever loads the file has nothing else to go by",
        )
    _check_weights(model)
    state = model.state_dict()
    if any(value.is_meta for value in state.values()):
        fix = "Load some into model.to_empty(device='cpu') with load_state_dict"
        _checks.fail("model must have weights, got one on the device 'meta'", fix)
    tensors = {name: value.detach().cpu().contiguous() for name, value in state.items()}
    lost = [name for name, value in tensors.items() if not bool(value.isfinite().all())]
    if lost:
        rule = (
            f"{len(lost)} of the {len(tensors)} tensors of the {type(model).__name__} are not finite, {lost[0]} first"
        )
        _checks.warn(rule, "Its estimates are nan: train it anew, with a lower learning rate or clipped gradients")
    about = {"architecture": type(model).__name__, "options": model.options, "card": dict(card)}
    try:
        text = json.dumps(about, sort_keys=True, allow_nan=False)
    except (TypeError, ValueError) as error:
        _checks.fail(
            f"card must hold texts, numbers, lists and mappings, got the error: {error}",
            "Use float(), tolist() or str() of the rest",
        )
    library = _checks.extra("safetensors.torch", "safetensors", "train")
    # One entry, since safetensors shuffles several: the same network gives the same file
    content: bytes = library.save(tensors, metadata={_KEY: f"{_checksum(text, tensors)} {text}"})
    with written(path, overwrite) as partial:
        partial.write_bytes(content)
    return hashlib.sha256(content).hexdigest()


def load(path: str | os.PathLike[str], *, sha256: str | None = None, **given: Any) -> Model:
    """Build a network that :func:`save` wrote, or a trained one by its name, in evaluation mode, on the CPU.

    The weights are compared with the checksum that the file holds; nothing is unpickled and no code of the file runs.
    These come with the package; the `card` of each says what it was trained on and what it reached:

    - "unet_dnn_p": a :class:`UNet` for digits of MNIST, anywhere on 32 x 32 pixels, from 64 x 64 intensities; trained
      with the passive loss, without ground truth.
    - "unet_invariant": the same, trained on the objects with the symmetry-invariant loss.
    - "unet_start": likewise, larger and trained for longer, as the start of a solver; it saw none of the test digits of
      :mod:`phaseret.bench`.
    - "unet_denoiser": a :class:`UNet` that takes an image of a digit with noise, each pixel doubled (56 x 56), for
      its intensity, and gives the clean one (28 x 28); in half precision. It learned from counts alone, of none of
      those digits either, and of the two twins it knows the one whose third moment along the rows is negative.
    - "dncnn": a :class:`DnCNN` with a noise map, for photographs and the like; :func:`prdeep` takes it.

    Args:
        path: The file, or one of these names; a file of such a name needs its folder, "./dncnn".
        sha256: What :func:`save` returned, or the publisher of the file says: also protects against another file.
        **given: The arguments that a file cannot hold, such as the operator of a `ResidualNet`.

    Returns:
        The network; its `card` is the mapping that was saved with it.

    Raises:
        FileNotFoundError: if there is no file.
        ImportError: if safetensors is not installed.
        ValueError: if the file is damaged, is not one of :func:`save`, or a checksum differs.

    Warns:
        UserWarning: if weights are not finite.

    Example:
        >>> net = pr.models.load("unet_dnn_p")
        >>> net(torch.rand(5, 64, 64)).shape
        torch.Size([5, 32, 32])
    """
    shipped = _shipped().get(path) if isinstance(path, str) else None
    file = shipped or _checks.readable(_checks.path(path))
    if sha256 is not None:
        _checks.instance("sha256", sha256, str, "Use what save returned")
    if not os.path.isfile(file):
        _checks.fail(
            f"path must name a file or be one of {', '.join(_shipped())}, got {str(file)!r}, which is neither",
            "Look for a misprint, or name its folder too",
            error=FileNotFoundError,
        )
    library = _checks.extra("safetensors.torch", "safetensors", "train")
    _memory.check_fits(str(file), 2 * file.stat().st_size, "It may be another file")
    try:
        content = file.read_bytes()
    except OSError as error:
        _checks.fail(f"{file} must be readable, got the error: {error.strerror}", "Look at the file", OSError)
    found = hashlib.sha256(content).hexdigest()
    if sha256 is not None and sha256.lower() != found:
        _checks.fail(f"{file} must have the sha256 {sha256}, got {found}", "It is another file, or damaged")
    text, stored = _header(file, content)
    try:
        tensors = library.load(content)
    except Exception as error:
        _damaged(file, error)
    if _checksum(text, tensors) != stored:
        _damaged(file, "its checksum differs")
    about = _description(file, text)
    architecture = _architectures().get(about["architecture"])
    if architecture is None:
        _checks.fail(f"{file} must hold a network of phaseret.models, got {about['architecture']!r}", _NEWER)
    if set(given) != set(architecture.given):
        needed = ", ".join(architecture.given) or "nothing"
        got = ", ".join(given) or "nothing"
        _checks.fail(
            f"the arguments of {architecture.__name__} that a file cannot hold must be {needed}, got {got}",
            "Pass these to load, and no others",
        )
    options = _renamed(architecture, about["options"])
    dtype = next((value.dtype for value in tensors.values() if value.is_floating_point()), torch.float32)
    try:
        with _no_larger_than(tensors):
            model: Model = architecture(**options, **given)
        model.to(dtype)
        _check_dtypes(model, tensors)
        model.load_state_dict(tensors)
    except (TypeError, ValueError, RuntimeError, ArithmeticError, MemoryError) as error:
        said = _memory.shortage(error) or f"the error: {' '.join(str(error).split()).rstrip('.')}"
        _checks.fail(f"{file} must fit {architecture.__name__}, got {said}", _NEWER)
    _warn_of_lost(model, tensors)
    model.card = about["card"]
    return model.eval()


def _warn_of_lost(model: Model, tensors: Mapping[str, Tensor]) -> None:
    lost = [name for name, value in tensors.items() if not bool(value.isfinite().all())]
    if lost:
        rule = (
            f"{len(lost)} of the {len(tensors)} tensors of the {type(model).__name__} are not finite, {lost[0]} first"
        )
        _checks.warn(rule, "Its estimates are nan: train it anew, with a lower learning rate or clipped gradients")


def _check_dtypes(model: Model, tensors: Mapping[str, Tensor]) -> None:
    """The tensors are of the kinds that the network computes with: copied into others they would be other numbers."""
    for name, value in model.state_dict().items():
        found = tensors[name].dtype if name in tensors else value.dtype
        if found != value.dtype or (found.is_floating_point and found.itemsize == 1):
            raise ValueError(f"{name} is {found}, and no network of {value.dtype} has that")


@functools.cache
def _shipped() -> dict[str, Path]:
    """The files of the trained networks that come with the package, by their names."""
    return {file.stem: file for file in sorted((Path(__file__).parent / "weights").glob("*.safetensors"))}


def _description(file: Path, text: str) -> dict[str, Any]:
    """What the file says of its network, all of it of the kind that `save` writes."""
    try:
        about = json.loads(text)
    except (ValueError, RecursionError) as error:
        _damaged(file, error)
    kinds = {"architecture": str, "options": dict, "card": dict}
    wrong = [
        name for name, kind in kinds.items() if not isinstance(about, dict) or not isinstance(about.get(name), kind)
    ]
    if wrong:
        _damaged(file, f"it does not say {', '.join(wrong)}")
    return cast("dict[str, Any]", about)


@contextlib.contextmanager
def _no_larger_than(tensors: Mapping[str, Tensor]) -> Iterator[None]:
    """While a network is built it stays about as large as its tensors in the file: its options may be wrong."""
    # What a layer makes and replaces again counts too.
    most = [2 * len(tensors) + 16, 2 * sum(value.numel() for value in tensors.values()) + 2**16]
    left = list(most)

    def count(module: nn.Module, name: str, parameter: nn.Parameter) -> None:
        left[0] -= 1
        left[1] -= parameter.numel()
        if min(left) < 0:
            raise ValueError(f"its options make more than its {len(tensors)} tensors")

    counted = register_module_parameter_registration_hook(count)
    try:
        yield
    finally:
        counted.remove()


def _renamed(architecture: type[Model], options: Mapping[str, Any]) -> dict[str, Any]:
    """The options by the names that they have now."""
    return {architecture.renamed.get(name, name): value for name, value in options.items()}


def _network(model: Any) -> Model:
    """The network of this package, also in what training wraps it in."""
    model = unwrapped(model)
    if isinstance(model, Model) and type(model) in _architectures().values():
        return model
    fix = "Save its parts"
    if isinstance(model, Model):
        base = next(cls.__name__ for cls in type(model).__mro__ if cls in _architectures().values())
        fix = f"Load its state_dict into a {base}, and save that"
    elif isinstance(model, nn.Module):
        held = [name for name, part in model.named_modules() if isinstance(part, Model)]
        fix = f"Save its part, model.get_submodule({held[0]!r})" if held else fix
    _checks.fail(f"model must be a network of phaseret.models, got {type(model).__name__}", fix, TypeError)


def _check_weights(model: Model) -> None:
    """A network that is built from the options has these weights, no others: else the file could not be loaded."""
    given = {name: getattr(model, name) for name in model.given}
    with torch.device("meta"):
        built = type(model)(**_renamed(type(model), model.options), **given)
    own, expected = ({name: value.shape for name, value in net.state_dict().items()} for net in (model, built))
    differ = sorted(name for name in own.keys() | expected if own.get(name) != expected.get(name))
    if differ:
        some = f"{', '.join(differ[:3])}{' and more' * (len(differ) > 3)}"
        rule = f"model must have the weights of its class, got a {type(model).__name__} that differs in {some}"
        fix = "Undo what changed it: torch.nn.utils.prune.remove, remove_parametrizations, other layers"
        _checks.fail(rule, fix)


def _architectures() -> dict[str, type[Model]]:
    """The networks of this package by name."""
    found, rest = {}, [Model]
    while rest:
        for cls in rest.pop().__subclasses__():
            if cls.__module__.startswith("phaseret.models."):
                found[cls.__name__] = cls
            rest.append(cls)
    return found


def _header(file: Path, content: bytes) -> tuple[str, str]:
    """The description and the checksum of the file's header: eight bytes of length, then a mapping as text."""
    try:
        size = int.from_bytes(content[:8], "little")
        stored, _, text = json.loads(content[8 : 8 + size])["__metadata__"][_KEY].partition(" ")
        return text, stored
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, IndexError):
        fix = "Other weights can be loaded into a network with torch, safetensors and load_state_dict"
        _checks.fail(f"path must name a whole file that phaseret.models.save wrote, got {str(file)!r}", fix)


def _damaged(file: Path, error: object) -> NoReturn:
    said = " ".join(str(error).split()).rstrip(".")
    _checks.fail(f"{file} must be whole, got the error: {said}", "Fetch or write it again")
