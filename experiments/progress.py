"""How far trainings are, and when what was asked for will be there."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Sequence
from typing import NamedTuple


class Progress(NamedTuple):
    """What a training says of itself."""

    title: str
    part: float  # from 0 to 1: what is done of it
    seconds: float  # how long all of it takes, as it seems now
    text: str  # epoch, validation and the like
    epoch_ended: bool = False


def print_epoch(news: Progress) -> None:
    """One line per epoch: for log files, and beside other trainings."""
    if news.epoch_ended:
        left = news.seconds * (1 - news.part)
        print(f"{news.title}: {news.text}, {left:.0f} s left", flush=True)


class Board:
    """Several trainings in one line, which first says when the result will be there; call it with their news.

    A terminal shows one line that changes; elsewhere each line stands, and the next one waits for a quarter of the time
    that has gone by.

    Args:
        titles: Those of all trainings.
        jobs: How many of them run at a time.
        result: What will be there at the end.
    """

    def __init__(self, titles: Sequence[str], jobs: int, result: str) -> None:
        self.news = {title: Progress(title, 0.0, 0.0, "waits") for title in titles}
        self.jobs, self.result = jobs, result
        self.started, self.next_line = time.monotonic(), 2.0

    def __call__(self, news: Progress) -> None:
        self.news[news.title] = news
        if sys.stdout.isatty():
            width = shutil.get_terminal_size().columns - 1
            print("\r" + self.line()[:width].ljust(width), end="", flush=True)
        elif (elapsed := time.monotonic() - self.started) >= self.next_line:
            self.next_line = elapsed + min(max(2.0, elapsed / 4), 600.0)
            print(self.line(), flush=True)

    def left(self) -> float:
        """Seconds until the last training ends; one that has not begun takes as long as the longest."""
        longest = max(news.seconds for news in self.news.values())
        left = [(news.seconds or longest) * (1 - news.part) for news in self.news.values()]
        return max(*left, sum(left) / self.jobs)

    def line(self) -> str:
        part = sum(news.part for news in self.news.values()) / len(self.news)
        left = self.left()
        clock = time.strftime("%H:%M:%S", time.localtime(time.time() + left))
        bar = "#" * int(20 * part) + "-" * (20 - int(20 * part))
        each = "; ".join(f"{news.title}: {news.text}" for news in self.news.values())
        return f"[{bar}] {100 * part:.0f} %, {self.result} at {clock} (in {left:.0f} s); {each}"

    def close(self) -> None:
        """Leave the line of a terminal."""
        if sys.stdout.isatty():
            print()
