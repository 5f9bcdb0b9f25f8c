"""The main job, tiny: its files and keys, a resume that changes nothing, and mistakes that show at once."""

from __future__ import annotations

import importlib
import json
import struct
from pathlib import Path
from types import ModuleType

import pytest
import torch

from phaseret.datasets import mnist

pytest.importorskip("lightning")
pytestmark = pytest.mark.filterwarnings("default")

KEYS = {"raw_psnr", "aligned_psnr", "aligned_ssim", "relative_magnitude_error", "images_per_second"}


@pytest.fixture(scope="module")
def example() -> ModuleType:
    return importlib.import_module("experiments.end_to_end")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The options of a run over three small batches, twice."""
    folder = tmp_path_factory.mktemp("digits")
    for name, images in (("train", mnist()[:84]), ("t10k", mnist(train=False)[:20])):
        pixels = (images * 255).round().to(torch.uint8).numpy()
        header = struct.pack(">BBBBIII", 0, 0, 8, 3, *pixels.shape)
        (folder / f"{name}-images-idx3-ubyte").write_bytes(header + pixels.tobytes())
    return ["--data", str(folder), "--images", "84", "--epochs", "2"]


@pytest.fixture(scope="module")
def finished(example: ModuleType, tiny: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "demo"
    example.main([*tiny, "--out", str(out)])
    return out


def mistake(example: ModuleType, *arguments: object) -> str:
    """The message that the run ends with."""
    with pytest.raises(SystemExit) as stopped:
        example.main(list(map(str, arguments)))
    return str(stopped.value.code)


def weights(checkpoint: Path) -> dict[str, torch.Tensor]:
    state: dict[str, torch.Tensor] = torch.load(checkpoint, weights_only=True)["state_dict"]
    return state


# --- values -----------------------------------------------------------------------------------------------------------


def test_it_writes_metrics_and_picture(finished: Path) -> None:
    metrics = json.loads((finished / "metrics.json").read_text())
    assert set(metrics) == {"dnn_v", "dnn_p"}
    for result in metrics.values():
        assert set(result) > KEYS
        assert result["aligned_psnr"] >= result["raw_psnr"] > 5
        assert (result["training_images"], result["epochs"]) == (80, 2)
    assert (finished / "figure5.png").read_bytes().startswith(b"\x89PNG")
    names = {
        str(path.relative_to(finished)) for path in finished.rglob("*") if path.is_file() and "log" not in path.parts
    }
    checkpoints = {f"{name}/{kind}.ckpt" for name in metrics for kind in ("best", "last")}
    assert names == {"metrics.json", "figure5.png"} | checkpoints
    log = (finished / "dnn_p" / "log" / "version_0" / "metrics.csv").read_text().splitlines()
    assert "loss" in log[0]
    assert len(log) > 2


def test_the_first_and_the_last_lines_name_what_is_there_at_the_end(
    example: ModuleType, tiny: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    example.main([*tiny, "--objective", "dnn_p", "--epochs", "1", "--out", str(tmp_path)])
    first, *_, last = capsys.readouterr().out.splitlines()
    for line in (first, last):
        assert str(tmp_path / "figure5.png") in line
        assert str(tmp_path / "metrics.json") in line


def test_the_demo_computes_in_single_precision_on_every_processor(
    example: ModuleType, tiny: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(example, "bfloat16_is_fast", lambda: True)
    for preset, expected in (("demo", False), ("cpu", True)):
        _, settings, _ = example.prepare(example.parse([*tiny, "--preset", preset, "--out", str(tmp_path)]))
        assert {name: each["bfloat16"] for name, each in settings.items()} == dict.fromkeys(settings, expected)


def test_both_objectives_start_with_the_same_weights_and_learn(finished: Path) -> None:
    first, second = weights(finished / "dnn_v" / "last.ckpt"), weights(finished / "dnn_p" / "last.ckpt")
    assert first.keys() == second.keys()
    name = "net.last.weight"
    assert not torch.equal(first[name], second[name])
    assert (first[name] - second[name]).abs().max() < 0.05


# --- properties -------------------------------------------------------------------------------------------------------


def test_a_killed_and_resumed_run_ends_as_an_uninterrupted_one(
    example: ModuleType, tiny: list[str], finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(model: object) -> None:
        if model.current_epoch == 1:  # type: ignore[attr-defined]
            raise ConnectionError
        start(model)

    fit = importlib.import_module("experiments.fit")
    start = fit.Training.on_train_epoch_start
    with monkeypatch.context() as patch:
        patch.setattr(fit.Training, "on_train_epoch_start", killed)
        with pytest.raises(ConnectionError):
            example.main([*tiny, "--out", str(tmp_path)])
    assert {path.name for path in tmp_path.iterdir()} == {"dnn_v"}
    torch.rand(7)  # the state of the global generator does not matter
    example.main([*tiny, "--out", str(tmp_path), "--resume"])
    for name in ("dnn_v", "dnn_p"):
        resumed, expected = weights(tmp_path / name / "last.ckpt"), weights(finished / name / "last.ckpt")
        assert all(torch.equal(resumed[key], expected[key]) for key in expected)
    there, here = (json.loads((folder / "metrics.json").read_text()) for folder in (finished, tmp_path))
    for name in there:
        assert {key: there[name][key] for key in KEYS - {"images_per_second"}} == {
            key: here[name][key] for key in KEYS - {"images_per_second"}
        }


# --- errors -----------------------------------------------------------------------------------------------------------


def test_resume_of_another_configuration_says_what_differs(
    example: ModuleType, tiny: list[str], finished: Path
) -> None:
    message = mistake(example, *tiny, "--out", finished, "--resume", "--variant", "shift", "--seed", 3)
    assert message.startswith("end_to_end: error: a training must be continued with its own settings, but ")
    assert "last.ckpt differs: seed 0 there and 3 here; variant flip_shift there and shift here. " in message
    assert message.endswith("Give the options it was started with, or another --out.")


def test_resume_needs_a_checkpoint(example: ModuleType, tiny: list[str], tmp_path: Path) -> None:
    message = mistake(example, *tiny, "--out", tmp_path, "--resume", "--objective", "dnn_p")
    assert message == (
        f"end_to_end: error: --resume must find {tmp_path / 'dnn_p' / 'last.ckpt'}. Start without --resume."
    )


@pytest.mark.parametrize("content", [b"", b"no checkpoint", b"PK\x03\x04"])
def test_resume_refuses_other_files(example: ModuleType, tiny: list[str], tmp_path: Path, content: bytes) -> None:
    (tmp_path / "dnn_v").mkdir()
    (tmp_path / "dnn_v" / "last.ckpt").write_bytes(content)
    message = mistake(example, *tiny, "--out", tmp_path, "--resume")
    assert "last.ckpt must be a checkpoint of these experiments, got a file that cannot be read as one." in message
    assert "\n" not in message


def test_too_few_images_name_the_fix(example: ModuleType, tiny: list[str], tmp_path: Path) -> None:
    message = mistake(example, "--preset", "paper", *tiny[:2], "--out", tmp_path / "new")
    assert "--images must be 20 to 84 with these data, got 60000. Use --data FOLDER with MNIST's IDX files" in message
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--data", "absent"), "mnist: root must be a folder that holds train-images-idx3-ubyte or "),
        (("--epochs", "0"), "--epochs must be at least 1, got 0."),
        (("--seed", "-1"), "seed must be an integer of at least 0, got -1."),
        (("--out", __file__), "File exists"),
    ],
)
def test_mistakes_are_one_line(
    example: ModuleType, tiny: list[str], arguments: tuple[object, ...], message: str
) -> None:
    found = mistake(example, *tiny, *arguments)
    assert message in found
    assert "\n" not in found


def test_unknown_words_list_the_choices(example: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    assert mistake(example, "--variant", "rotate") == "2"
    assert "argument --variant: invalid choice: 'rotate' (choose from " in capsys.readouterr().err
