"""What can be typed: each command with its options and its help. Nothing here loads PyTorch: help can do without."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from phaseret.cli._options import blocks, level, limits, number, option, part, place, region, sizes, switch, whole


@dataclass(frozen=True)
class Pattern:
    """The pattern, or stack of them, that is asked for."""

    file: tuple[str, ...] = option(
        "the pattern: HDF5/CXI, npy, npz, mat, tif, edf, ...; FILE::KEY names an array; several files, or a pattern "
        "such as 'frame_%%05d.tif', are one stack, or with --ndim 3 the frames of one volume",
        "file",
        metavar="FILE",
        nargs="+",
    )
    ndim: int | None = option(
        "axes of one pattern; the axes before them are a stack; default: what FILE says, with --schedule bragg 3",
        type=whole,
        heading="reading the pattern",
    )
    index: int | slice | list[int] | None = option("part of a stack: 3, 0:10 or 0,1,3", type=part)
    stack_axis: int | None = option(
        "axis that counts the patterns; default: the first, in MATLAB's files the last", type=whole
    )
    kind: Any = option('"intensity" or "magnitude", its square root; default: what FILE says, else the intensity')
    center: Any = option(
        'pixel of the zero frequency in the frame, "corner" or "middle" (index m // 2); default: what FILE says, else '
        "the middle, or where the support is found the centre of symmetry",
        type=place,
        metavar="Y,X",
    )
    roi: Any = option("the part of the frame that is read", type=region, metavar="Y0:Y1,X0:X1")
    crop: tuple[int, ...] | None = option("keep N x M pixels about the zero frequency", type=sizes, metavar="N,M")
    bin: int | tuple[int, ...] = option(
        "add up blocks of K x K pixels, after --crop, or of K,L,M along the axes", type=blocks, default=1, metavar="K"
    )
    saturation: float | None = option(
        "pixels from this value on are not trusted; inf: all are", type=level, metavar="VALUE"
    )
    mask: str | None = option("mask: non-zero pixels were measured (in a CXI file: zero ones)", metavar="FILE")
    bad_pixels: str | None = option("mask: non-zero pixels are bad", metavar="FILE")
    mask_is: Any = option('what non-zero pixels of the mask in FILE itself are: "measured", "bad" or "ignored"')


@dataclass(frozen=True)
class Output:
    """The files to be written; none takes the place of another unless asked."""

    output: str = ""
    figure: str | None = None
    overwrite: bool = switch("replace existing files")


@dataclass(frozen=True)
class Info(Output, Pattern):
    """``phaseret info``."""

    SUMMARY: ClassVar[str] = "say what can be seen in a pattern before its reconstruction"
    EXAMPLES: ClassVar[str] = """
examples:
  phaseret info pattern.h5
      Is it centred, sampled finely enough, complete? Read the warnings before you reconstruct.
  phaseret info scan.h5::entry/data/counts --ndim 2 --index 0:10
      The first ten patterns of the array entry/data/counts, a stack.
  phaseret info pattern.tif --mask good.npy --saturation 60000 --json
      With the mask in a file of its own (non-zero = measured), for a program to read.
  phaseret info simulated.h5 --certify
      Is the object in the file the only one with its data?
"""

    certify: bool = switch("say too whether the object in FILE is the only one with its data: a proof, or the others")
    figure: str | None = option("write a picture of the pattern", metavar="FILE", heading="what to write")
    json: bool = switch("print JSON")


@dataclass(frozen=True)
class Scene:
    """The object, and how it is measured."""

    image: str = option("the object: a picture or an array; FILE or FILE::KEY", "image", metavar="IMAGE")
    phase: str | None = option(
        "its phase, 0 to 2 pi from the smallest to the largest value", metavar="IMAGE", heading="the object"
    )
    size: tuple[int, ...] | None = option("resize the picture to this", type=sizes, metavar="N,M")
    fourier_shape: tuple[int, ...] | None = option(
        "sizes of the pattern, at least 2n - 1", type=sizes, metavar="M,M", heading="the measurement"
    )
    oversampling: float = option("else at least this times the size (default: 2)", type=number, default=2.0)
    photons: float | None = option("counts in the whole pattern, with their noise", type=number, metavar="N")
    readout: float | None = option("Gaussian noise of the electronics", type=number, metavar="SIGMA")
    beam_stop: float | None = option("pixels around the centre that see nothing", type=number, metavar="RADIUS")
    seed: int = option("same seed, same noise (default: 0)", type=whole, default=0)


@dataclass(frozen=True)
class Simulate(Output, Scene):
    """``phaseret simulate``."""

    SUMMARY: ClassVar[str] = "make a diffraction pattern from a picture"
    EXAMPLES: ClassVar[str] = """
examples:
  phaseret simulate picture.png -o pattern.h5
      The noise-free pattern at twice the picture's size; the file holds the object and its support too.
  phaseret simulate picture.png --size 64,64 --fourier-shape 192,192 --photons 1e6 --beam-stop 3 -o pattern.h5
      A million photons behind a beam stop of 3 pixels radius.
  phaseret simulate modulus.png --phase phase.png -o pattern.h5
      A complex object; black to white of the second picture is a phase of 0 to 2 pi.
"""

    output: str = option(
        "the pattern: .h5, .cxi or .npz", "-o", "--output", metavar="FILE", required=True, heading="what to write"
    )
    figure: str | None = option("a picture of the pattern", metavar="FILE")


@dataclass(frozen=True)
class Search:
    """What is known of the object, and how it is looked for."""

    support: str | None = option(
        "where the object may be: an array (non-zero inside), a box of this size, the box that the autocorrelation "
        "allows, or nothing known; default: the support in FILE, else auto",
        metavar="FILE|N,M|auto|none",
        heading="what is known of the object",
    )
    support_size: int | None = option("only the K largest pixels are kept; place unknown", type=whole, metavar="K")
    known: str | None = option(
        "the object where it is known, NaN where it is not: a reference beside it, or what does not change",
        metavar="FILE",
    )
    constraint: Any = option(
        '"complex", "real" or "nonnegative"; default: where the support is found too, "nonnegative" if the pattern is '
        'symmetric, else "complex"'
    )
    background: str | None = option(
        "what the detector counts without the object: a number, or a pattern of its own; of several frames for one "
        "pattern the mean",
        metavar="VALUE|FILE",
    )
    coherence: Any = option(
        'the pattern is blurred, as by a source that is not quite coherent: "gaussian", or "free" in its shape; how '
        "far is found"
    )
    point_spread: str | None = option(
        "the same, known: what becomes of the intensity of one pixel, with its sum 1", metavar="FILE"
    )
    bounds: tuple[float, float] | None = option(
        "range of the object's values; of the modulus if complex", type=limits, metavar="LOW,HIGH"
    )
    phase_range: tuple[float, float] | None = option(
        "range of a complex object's phase, in radians", type=limits, metavar="LOW,HIGH"
    )
    undersampled: bool = switch("allow a support of more than (m + 1) / 2 pixels: other objects have the same data")
    schedule: str | None = option(
        'for example "hio:1000,er:50" or "6*(hio:50,er:20)"; default: "sparse:1400,er:30", which needs no tight '
        "support but several times as long",
        metavar="RECIPE",
        heading="how to find it",
    )
    starts: int | None = option("random starts per pattern (default: 12, with --schedule bragg at most 4)", type=whole)
    tolerance: float | None = option(
        "the residual at which a start is solved, and ends; default: all iterations are done", type=number, metavar="R"
    )
    seed: int = option("same seed, same answer (default: 0)", type=whole, default=0)
    whole_frame: bool = switch(
        "solve on the frame as it is; default: where a much coarser grid holds the object, on that"
    )
    init: str | None = option("begin with this object instead of random phases", metavar="FILE")
    device: str | None = option("cpu, cuda, cuda:1, ...; default: a GPU if there is one. cuda: each process its own")
    double: bool = switch("compute in double precision")
    compile: bool = switch("let torch compile the iterations: seconds of waiting, then faster on a GPU")
    checkpoint_every: int | None = option(
        "keep the state of one pattern every N iterations in OUTPUT.checkpoint; the same command again goes on",
        type=whole,
        metavar="N",
    )
    block: int | None = option("patterns of a stack that are done, and kept, at a time", type=whole)
    restart: bool = switch("begin anew, whatever an interrupted run kept")
    timeout: float = option(
        "seconds to wait for another process, one block's work at least (default: 1800)", type=number, default=1800.0
    )
    quiet: bool = switch("no progress: neither a bar nor lines of how far a long run is")


@dataclass(frozen=True)
class Reconstruct(Output, Search, Pattern):
    """``phaseret reconstruct``."""

    SUMMARY: ClassVar[str] = "reconstruct the object of a pattern"
    EXAMPLES: ClassVar[str] = """
examples:
  phaseret reconstruct pattern.h5 -o result.h5
      With the support of the file, if it has one, else in the box that the autocorrelation allows, about the centre of
      symmetry, real where the pattern is symmetric, and the default recipe: 12 starts of "sparse:1400,er:30", which
      finds objects in a loose support. A large frame is solved on the grid that holds that box. What was assumed is
      printed, and stands in the result as its notes.
  phaseret reconstruct pattern.h5 --support support.npy --constraint nonnegative --schedule hio:1500,er:50 \\
      --starts 4 -o result.h5 --figure result.png
      A real, non-negative object in a known support, many times faster; the picture shows the object and whether
      the starts agree.
  phaseret reconstruct pattern.h5 --support 140,120 --schedule "6*(hio:50,er:20)" --seed 1 -o result.h5
      A box of 140 x 120 pixels as the support, and a recipe of your own.
  phaseret reconstruct pattern.h5 --support auto --schedule "20*(raar:30,shrinkwrap),er:100" -o result.h5
      Begin with the box that the autocorrelation allows, and find the shape inside it: sooner, and less certain.
  phaseret reconstruct crystal.h5 --schedule bragg -o result.h5
      A strained crystal from one of its Bragg peaks, a stack of frames: nothing need be known of it. ParaView
      shows what -o result.vti writes.
  torchrun --nproc-per-node 4 -m phaseret.cli reconstruct stack.h5 --ndim 2 -o result.h5
      A stack of patterns, shared by four processes, on their GPUs if there are any. Finished patterns are kept in
      result.h5.parts until all are done: the same command again carries on, if neither options nor files have changed
      since; with --restart it begins anew.

A low residual is no proof: look at how many starts agree. Each start begins with random phases from its own seed.
"""

    output: str = option(
        "the result: .h5, .cxi or .npz; .vti to draw it",
        "-o",
        "--output",
        metavar="FILE",
        required=True,
        heading="what to write",
    )
    figure: str | None = option("a picture of the object, the residuals and the agreement", metavar="FILE")


@dataclass(frozen=True)
class Compare(Output):
    """``phaseret compare``."""

    SUMMARY: ClassVar[str] = "compare two objects after alignment"
    EXAMPLES: ClassVar[str] = """
examples:
  phaseret compare result.h5 truth.npy
      Scores after the symmetries that no measurement can see are removed, and the resolution by ring correlation.
  phaseret compare start1.h5 start2.h5 --figure pair.png
  phaseret compare stack.h5 truths.npy --ndim 2
      Two stacks, or a stack and one object for all: the scores of each pair, and their mean.
"""

    estimate: str = option("a reconstruction, an array or a picture; FILE or FILE::KEY", "estimate", metavar="A")
    object: str = option("what it is compared with", "object", metavar="B")
    ndim: int | None = option(
        "axes of one object; the axes before them are a stack; default: what the files say, else 2", type=whole
    )
    figure: str | None = option(
        "write a picture of the aligned pair and the ring correlation; of stacks the pair that is least alike",
        metavar="FILE",
    )
    json: bool = switch("print JSON")


@dataclass(frozen=True)
class Bench:
    """``phaseret bench``."""

    SUMMARY: ClassVar[str] = "run solvers on frozen test sets, and score all alike"
    EXAMPLES: ClassVar[str] = """
examples:
  phaseret bench
      The protocols and the entries at hand.
  phaseret bench digits --entry my_solver:solve rrr --quick
      A function (intensity, known, seed) -> estimate in my_solver.py, which lies here, beside an entry at hand.
  phaseret bench --out results --add
      All protocols, the solvers of this library: half an hour. The same command again goes on where it was stopped.
  phaseret bench verify results/bench.json
      Are these the frozen test sets, and does a tenth of the runs come out again?
"""

    protocols: tuple[str, ...] = option(
        'which to run (default: all; without any option a list is shown); or "verify FILE"',
        "protocols",
        metavar="PROTOCOL",
        nargs="*",
    )
    entry: list[str] | None = option(
        "solvers: entries at hand, or package.module:name of a function or Module (default: default rrr hio raar)",
        metavar="NAME",
        nargs="+",
        heading="what to run",
    )
    quick: bool = switch("the first items alone: minutes")
    data: str | None = option("folder that holds the measured pattern (default: PHASERET_DATA_DIR)", metavar="FOLDER")
    out: str | None = option(
        "folder for bench.json, bench.txt and bench.png (default: bench)", metavar="FOLDER", heading="what to write"
    )
    overwrite: bool = switch("replace existing files")
    add: bool = switch("keep what the report in the folder has, and run what it lacks")
    seed: int = option("which tenth of a report is made again", type=whole, default=0, heading="verify")
