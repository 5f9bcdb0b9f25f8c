"""Speed, memory and quality beside peers: ``python -m benchmarks.NAME``, from the repository's root."""
