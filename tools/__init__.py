"""Commands for developers: ``python -m tools.NAME``, from the repository's root."""
