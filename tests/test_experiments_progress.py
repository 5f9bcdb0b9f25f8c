"""How far trainings are: what is left of several, in one line."""

from __future__ import annotations

import pytest

pytest.importorskip("lightning")


def test_what_is_left_is_that_of_the_longest_or_of_all_shared_among_the_jobs() -> None:
    from experiments.progress import Board, Progress

    together, in_turn = (Board(["a", "b"], jobs, "picture") for jobs in (2, 1))
    for board in (together, in_turn):
        assert board.left() == 0
        board(Progress("a", 0.25, 100.0, "epoch 1/4"))
    assert together.left() == pytest.approx(100)  # b has yet to begin and seems to take as long
    assert in_turn.left() == pytest.approx(175)
    for board in (together, in_turn):
        board(Progress("b", 0.5, 60.0, "epoch 2/4"))
    assert together.left() == pytest.approx(75)
    assert in_turn.left() == pytest.approx(105)


def test_a_line_says_what_will_be_there_and_how_far_each_training_is(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from experiments import progress

    times = iter([0.0, 1.0, 2.5, 4.0, 5.0])  # the first line after two seconds, the next one two later
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(times))
    board = progress.Board(["a", "b"], 2, "picture")
    for _ in range(4):
        board(progress.Progress("a", 0.5, 10.0, "epoch 1/2"))
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith("[#####---------------] 25 %, picture at ")
    assert first.endswith(" (in 10 s); a: epoch 1/2; b: waits")
    assert second.startswith(first[:40])


def test_epochs_are_lines_and_what_is_between_them_is_not(capsys: pytest.CaptureFixture[str]) -> None:
    from experiments.progress import Progress, print_epoch

    print_epoch(Progress("a", 0.4, 10.0, "epoch 0/2"))
    print_epoch(Progress("a", 0.5, 10.0, "epoch 1/2", epoch_ended=True))
    assert capsys.readouterr().out == "a: epoch 1/2, 5 s left\n"
