"""Learned systems beside classical ones: one module and one configuration file per protocol; see leaderboard.py.

Each module compares systems on equal data: its docstring is what the leaderboard says of the protocol,
``run(Context) -> Result`` gives rows made by `zoo.scoring.row` and, in `arrays`, aligned estimates of some test objects
by system, "truth" first.
"""
