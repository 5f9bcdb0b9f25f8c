"""Learned systems beside classical ones on equal data: one module and one configuration file per protocol.

The docstring of a module is what the leaderboard says of the protocol.
"""
