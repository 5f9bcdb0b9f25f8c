"""How the gallery is made of the scripts in docs/gallery: sphinx-gallery runs them and keeps what has not changed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

# The order of the gallery: training, reconstruction, trust, parts of one's own.
ORDER = (
    *("network_and_solver", "paper_in_a_loop", "lightning_training", "own_network", "masks_in_a_loader"),
    *("deepinv_loops", "unrolled", "file_to_file", "measured_logo", "beam_stop", "few_photons", "partial_coherence"),
    *("known_reference", "schedules", "strained_crystal", "sampling", "exact_solution"),
    *("one_pattern_two_objects", "your_own_loss"),
)


def place(name: str) -> int:
    """Where a script stands; one that is not listed comes last."""
    stem = name.removesuffix(".py")
    return ORDER.index(stem) if stem in ORDER else len(ORDER)


def begin(settings: dict[str, Any], script: str) -> None:
    """One seed and one thread for each script, so that its picture hangs on nothing that ran before."""
    import torch

    torch.manual_seed(0)
    torch.set_num_threads(1)


def forget(app: Any, config: Any) -> None:
    """Remove the pages of scripts that are gone, which sphinx-gallery would leave."""
    folder = Path(app.srcdir)
    for page in (folder / "auto_gallery").glob("*.rst"):
        if page.stem != "index" and not (folder / "gallery" / f"{page.stem}.py").exists():
            page.unlink()


def setup(app: Any) -> dict[str, bool]:
    app.connect("config-inited", forget)
    app.add_css_file("gallery.css")
    return {"parallel_read_safe": True}


OPTIONS = {
    "examples_dirs": "gallery",
    "gallery_dirs": "auto_gallery",
    "filename_pattern": r"(?<!deepinv_loops)\.py$",  # it needs gigabytes, and shows the picture that it drew
    "within_subsection_order": "gallery.place",
    "reset_modules": ("matplotlib", "gallery.begin"),
    "image_srcset": ["2x"],
    "min_reported_time": 1e9,
    "show_memory": False,
    "show_signature": False,
    "write_computation_times": False,
    "download_all_examples": False,
    "plot_gallery": True,
    "remove_config_comments": True,
    "abort_on_example_error": True,
}
