"""The version, which is written here and nowhere else by hand."""

__version__ = "0.2.0"
