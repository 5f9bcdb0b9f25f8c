"""Weights in files: whole or not at all, verified, and nothing of them is run."""

from __future__ import annotations

import hashlib
import json
import pickle
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.utils import prune

from phaseret import models
from phaseret._output import checksum

CARD = {"data": "digits é", "command": "make", "metrics": {"psnr": 20.5, "list": [1, None]}, "licence": "BSD-3-Clause"}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "net.safetensors"
    models.save(models.MLP((3, 4), (5, 6), width=8), path, card=CARD)
    return path


# --- values -----------------------------------------------------------------------------------------------------------


def test_loaded_network_gives_the_same_with_its_card(tmp_path: Path) -> None:
    net = models.UNet((5, 5), (10, 10), channels=(4,), output="modulus_phase").double()
    net(torch.rand(4, 10, 10).double())  # moves the running statistics
    found = models.save(net, tmp_path / "net", card=CARD)
    assert found == hashlib.sha256((tmp_path / "net").read_bytes()).hexdigest()
    loaded = models.load(str(tmp_path / "net"), sha256=found.upper())
    assert loaded.card == CARD
    assert loaded.options == net.options
    x = torch.rand(2, 10, 10).double()
    assert torch.equal(loaded.double()(x), net.eval()(x))


def test_same_network_gives_the_same_file(file: Path, tmp_path: Path) -> None:
    again = models.save(models.load(file), tmp_path / "again", card=CARD)
    assert again == hashlib.sha256(file.read_bytes()).hexdigest()


def test_discriminator_goes_to_a_file(tmp_path: Path) -> None:
    net = models.PRCGANDiscriminator((3, 4), (5, 6), width=8).eval()
    models.save(net, tmp_path / "net", card=CARD)
    pair = torch.rand(2, 3, 4), torch.rand(2, 5, 6)
    assert torch.equal(models.load(tmp_path / "net")(*pair), net(*pair))


def test_any_reader_of_safetensors_reads_the_weights(file: Path) -> None:
    safetensors = pytest.importorskip("safetensors.torch")
    tensors = safetensors.load_file(file)
    assert set(tensors) == set(models.load(file).state_dict())


def test_channels_last_and_half_precision_can_be_saved(tmp_path: Path) -> None:
    net = models.DnCNN(depth=3, channels=4).to(memory_format=torch.channels_last).bfloat16()
    models.save(net, tmp_path / "net", card=CARD)
    state = models.load(tmp_path / "net").state_dict()
    assert all(torch.equal(state[name], value.to(state[name].dtype)) for name, value in net.state_dict().items())


# --- properties -------------------------------------------------------------------------------------------------------


def test_a_failed_write_leaves_the_old_file_and_nothing_else(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = file.read_bytes()

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(
        OSError, match=r"^save: .* must be writable, got the error: the disk is full\. Free some space\.$"
    ):
        models.save(models.MLP((2, 2), (2, 2), width=4), file, card=CARD, overwrite=True)
    assert file.read_bytes() == before
    assert list(file.parent.iterdir()) == [file]


def test_every_changed_byte_is_found(file: Path) -> None:
    content = file.read_bytes()
    for place in [3, 20, 200, len(content) // 2, len(content) - 1]:
        file.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        with pytest.raises(ValueError, match=r"^load: "):
            models.load(file)


@pytest.mark.parametrize("size", [0, 1, 8, 100, -1])
def test_truncated_files_are_found(file: Path, size: int) -> None:
    file.write_bytes(file.read_bytes()[:size])
    with pytest.raises(ValueError, match=r"^load: (path must name a whole file|.* must be whole)"):
        models.load(file)


def test_an_existing_file_is_replaced_only_on_request(file: Path) -> None:
    net = models.MLP((2, 2), (2, 2), width=4)
    with pytest.raises(FileExistsError, match=r"^save: path must not exist yet, got .* set overwrite\.$"):
        models.save(net, file, card=CARD)
    models.save(net, file, card=CARD, overwrite=True)
    assert models.load(file).options == net.options


def test_a_compiled_network_is_saved_as_the_network_inside(tmp_path: Path) -> None:
    net = models.MLP((2, 2), (3, 3), width=4).eval()
    models.save(torch.compile(net, backend="eager"), tmp_path / "net", card=CARD)
    loaded, x = models.load(tmp_path / "net"), torch.rand(2, 3, 3)
    assert isinstance(loaded, models.MLP)
    assert torch.equal(loaded(x), net(x))


def test_options_of_older_files_are_read_by_their_new_names(tmp_path: Path) -> None:
    net = models.Unrolled((2, 2), (3, 3), stages=1, n_iter=3, channels=0)
    net.options["iterations"] = net.options.pop("n_iter")
    models.save(net, tmp_path / "net", card=CARD)
    loaded = models.load(tmp_path / "net")
    assert isinstance(loaded, models.Unrolled)
    assert loaded.n_iter == loaded.options["n_iter"] == 3


# --- errors -----------------------------------------------------------------------------------------------------------


class _Bomb:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (exec, ("raise SystemExit",))


def test_a_pickle_is_refused_and_not_run(tmp_path: Path) -> None:
    path = tmp_path / "net.pt"
    path.write_bytes(pickle.dumps(_Bomb()))
    message = f"load: path must name a whole file that phaseret.models.save wrote, got {str(path)!r}. Other weights can"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}"):
        models.load(path)
    torch.save({"weight": torch.rand(2)}, path)
    with pytest.raises(ValueError, match=f"^{re.escape(message)}"):
        models.load(path)


def test_a_foreign_safetensors_file_is_refused(tmp_path: Path) -> None:
    safetensors = pytest.importorskip("safetensors.torch")
    safetensors.save_file({"weight": torch.rand(2)}, tmp_path / "net")
    with pytest.raises(ValueError, match=r"path must name a whole file that phaseret\.models\.save wrote"):
        models.load(tmp_path / "net")


def test_another_checksum_is_refused(file: Path) -> None:
    found = hashlib.sha256(file.read_bytes()).hexdigest()
    message = f"load: {file} must have the sha256 {'0' * 64}, got {found}. It is another file, or damaged."
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        models.load(file, sha256="0" * 64)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(
        FileNotFoundError, match=r"^load: path must name a file or be one of dncnn, .*, which is neither\. Look for"
    ):
        models.load(tmp_path)


def test_a_trained_network_is_known_by_name_and_a_file_of_that_name_by_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    models.save(models.MLP((2, 2), (2, 2), width=4), "dncnn", card=CARD)
    assert type(models.load("dncnn")) is models.DnCNN
    assert type(models.load("./dncnn")) is type(models.load(Path("dncnn"))) is models.MLP


def test_a_network_of_another_version(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("phaseret.models._files._architectures", dict)
    with pytest.raises(ValueError, match=r"must hold a network of phaseret.models, got 'MLP'\. It may be from another"):
        models.load(file)
    monkeypatch.setattr("phaseret.models._files._architectures", lambda: {"MLP": models.DnCNN})
    with pytest.raises(ValueError, match=r"must fit DnCNN, got the error: .*data_shape"):
        models.load(file)


def test_arguments_that_the_file_holds_cannot_be_given(file: Path) -> None:
    message = "load: the arguments of MLP that a file cannot hold must be nothing, got width. Pass these to load,"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}"):
        models.load(file, width=3)


def test_other_modules_cannot_be_saved(tmp_path: Path) -> None:
    message = "save: model must be a network of phaseret.models, got Linear. Save its parts."
    with pytest.raises(TypeError, match=f"^{re.escape(message)}$"):
        models.save(nn.Linear(2, 2), tmp_path / "net", card=CARD)


def averaged(net: nn.Module) -> nn.Module:
    return torch.optim.swa_utils.AveragedModel(net)


@pytest.mark.parametrize("wrap", [nn.DataParallel, averaged, lambda net: torch.compile(averaged(net), backend="eager")])
def test_a_network_is_saved_without_what_training_wraps_it_in(wrap: Any, tmp_path: Path) -> None:
    net, data = models.MLP((2, 2), (3, 3), width=4).eval(), torch.rand(2, 3, 3)
    models.save(wrap(net), tmp_path / "net", card=CARD)
    loaded = models.load(tmp_path / "net")
    assert type(loaded) is models.MLP
    torch.testing.assert_close(loaded(data), net(data))


@pytest.mark.parametrize("dtype", [torch.int8, torch.bool, torch.complex64, torch.float8_e4m3fn])
def test_weights_are_not_made_of_other_kinds_of_numbers(dtype: torch.dtype, tmp_path: Path) -> None:
    safetensors = pytest.importorskip("safetensors.torch")
    net = models.DnCNN(depth=2, channels=2)
    text = json.dumps({"architecture": "DnCNN", "options": net.options, "card": {}})
    tensors = {name: value.to(dtype).contiguous() for name, value in net.state_dict().items()}
    try:
        content = safetensors.save(tensors, metadata={"phaseret": f"{checksum(text, tensors)} {text}"})
    except KeyError:
        pytest.skip(f"this safetensors knows no {dtype}")
    (tmp_path / "net").write_bytes(content)
    with pytest.raises(
        ValueError, match=f"load: .*net must fit DnCNN, got the error: .* is {dtype}, and no network of"
    ):
        models.load(tmp_path / "net")


class Own(models.MLP):
    pass


@pytest.mark.parametrize(
    ("model", "fix"),
    [
        (nn.Sequential(nn.Identity(), models.DnCNN(depth=2, channels=2)), "Save its part, model.get_submodule('1')."),
        (Own((2, 2), (2, 2), width=4), "Load its state_dict into a MLP, and save that."),
    ],
)
def test_the_network_that_was_meant_is_named(model: nn.Module, fix: str, tmp_path: Path) -> None:
    with pytest.raises(TypeError, match=re.escape(fix)):
        models.save(model, tmp_path / "net", card=CARD)


def test_weights_that_are_no_numbers_are_said(tmp_path: Path) -> None:
    net = models.MLP((2, 2), (2, 2), width=4)
    count = len(net.state_dict())
    with torch.no_grad():
        next(net.parameters())[0] = torch.nan
    with pytest.warns(UserWarning, match=f"save: 1 of the {count} tensors of the MLP are not finite"):
        models.save(net, tmp_path / "net", card=CARD)
    with pytest.warns(UserWarning, match=f"load: 1 of the {count} tensors of the MLP are not finite"):
        models.load(tmp_path / "net")
    with torch.device("meta"):
        net = models.MLP((2, 2), (2, 2), width=4)
    with pytest.raises(ValueError, match="model must have weights, got one on the device 'meta'"):
        models.save(net, tmp_path / "other", card=CARD)


@pytest.mark.parametrize(
    "change",
    [
        nn.utils.parametrizations.weight_norm,
        lambda layer: prune.identity(layer, "weight"),
        lambda layer: setattr(layer, "weight", nn.Parameter(torch.zeros(1, 1, 9, 9))),
    ],
)
def test_a_network_that_could_not_be_loaded_is_not_saved(change: Callable[[nn.Module], object], tmp_path: Path) -> None:
    net = models.UNet((4, 4), (8, 8), channels=(4,))
    change(next(layer for layer in net.modules() if isinstance(layer, nn.Conv2d)))
    with pytest.raises(ValueError, match="save: model must have the weights of its class, got a UNet that differs in "):
        models.save(net, tmp_path / "net", card=CARD)
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize(
    ("card", "error", "message"),
    [
        ("none", TypeError, "card must be a mapping, got str."),
        ({"data": "", "metrics": 1}, ValueError, "card must say data, command, metrics, licence, got one without comm"),
        (
            {**CARD, "data": torch.rand(2)},
            ValueError,
            "card must hold texts, numbers, lists and mappings, got the error",
        ),
        ({**CARD, "metrics": float("nan")}, ValueError, "card must hold texts, numbers, lists and mappings, got the"),
    ],
)
def test_wrong_cards(card: object, error: type[Exception], message: str, tmp_path: Path) -> None:
    with pytest.raises(error, match=f"^save: {re.escape(message)}"):
        models.save(models.MLP((2, 2), (2, 2), width=4), tmp_path / "net", card=card)  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []


def test_without_safetensors_the_error_says_what_to_install(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "safetensors.torch", None)
    message = 'load: the package safetensors must be installed. Install it with pip install "phaseret[train]".'
    with pytest.raises(ImportError, match=f"^{re.escape(message)}$"):
        models.load(file)
