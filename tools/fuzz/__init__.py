"""Fuzzers: what strangers' files, options and accidents can do to the package, tried at random and kept.

    python -m tools.fuzz tif --seconds 60 --seed 1     # one target; `all` for each in turn
    python -m tools.fuzz tif --replay FILE             # one input again: what happens, with the traceback

An input is a row of bytes: a file's content, a schedule, the words of a command, the moments of kills. Small valid
seeds are changed at random, and the inputs are tried in processes of their own, with bounds on memory and on time of
the processor. Right is an answer, or one clear error of the package. All else is a finding: any other exception, a
signal, a hang, memory without end, an answer that fails a check of the target. A finding is shortened and written to a
folder. Once it is mended its input goes to ``kept/TARGET``: every later run begins with those, and changes them too.

The processes may be stopped for a while and continued (``pkill -STOP -f tools.fuzz``): only their own time counts.
"""
