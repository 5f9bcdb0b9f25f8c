// The live figure of the page "What the data cannot see": an object, its pattern, and a solver that looks for it.
// First the mathematics, which needs no page (`phaseretFigure.run`); then the page's own part. No dependency.
"use strict";

const phaseretFigure = (() => {
  const M = 64; // samples of the data along each axis
  const N = 32; // pixels of the object's box along each axis: M >= 2 N - 1
  const inBox = (k) => k % M < N && k < N * M;
  const modulo = (k) => ((k % M) + M) % M;

  // --- transform -----------------------------------------------------------------------------------------------------

  const zeros = () => ({ re: new Float64Array(M * M), im: new Float64Array(M * M) });
  const copyOf = (field) => ({ re: field.re.slice(), im: field.im.slice() });
  const REVERSED = Array.from({ length: M }, (_, k) => {
    let reversed = 0;
    for (let bit = 1; bit < M; bit *= 2) reversed = 2 * reversed + (k & bit ? 1 : 0);
    return reversed;
  });
  const COS = Float64Array.from({ length: M / 2 }, (_, k) => Math.cos((2 * Math.PI * k) / M));
  const SIN = Float64Array.from({ length: M / 2 }, (_, k) => Math.sin((2 * Math.PI * k) / M));

  /** The transform of one row or column, in place (Cooley and Tukey 1965); sign -1 forward, +1 back. */
  function transformLine({ re, im }, first, step, sign) {
    for (let k = 0; k < M; k++) {
      const [a, b] = [first + k * step, first + REVERSED[k] * step];
      if (a < b) {
        [re[a], re[b]] = [re[b], re[a]];
        [im[a], im[b]] = [im[b], im[a]];
      }
    }
    for (let half = 1; half < M; half *= 2) {
      for (let block = 0; block < M; block += 2 * half) {
        for (let k = 0; k < half; k++) {
          const c = COS[(k * M) / (2 * half)];
          const s = sign * SIN[(k * M) / (2 * half)];
          const a = first + (block + k) * step;
          const b = a + half * step;
          const re_b = c * re[b] - s * im[b];
          const im_b = s * re[b] + c * im[b];
          re[b] = re[a] - re_b;
          im[b] = im[a] - im_b;
          re[a] += re_b;
          im[a] += im_b;
        }
      }
    }
  }

  /** The unitary transform of a field, in place. */
  function transform(field, sign) {
    for (let k = 0; k < M; k++) transformLine(field, k * M, 1, sign);
    for (let k = 0; k < M; k++) transformLine(field, k, M, sign);
    for (let k = 0; k < M * M; k++) {
      field.re[k] /= M;
      field.im[k] /= M;
    }
    return field;
  }

  const spectrumOf = (field) => transform(copyOf(field), -1);
  const real = (values) => ({ re: Float64Array.from(values), im: new Float64Array(M * M) });

  /** What a detector records. */
  function intensityOf(field) {
    const { re, im } = spectrumOf(field);
    return re.map((value, k) => value * value + im[k] * im[k]);
  }

  // --- symmetries ----------------------------------------------------------------------------------------------------

  /** Where a mirror, a half turn and a shift (pixels, circular on the grid) move a pixel of the box: row, column. */
  function moved(y, x, { mirror = false, flip = false, down = 0, right = 0 }) {
    return [modulo((flip ? N - 1 - y : y) + down), modulo((flip !== mirror ? N - 1 - x : x) + right)];
  }

  /** A real object, moved, and with a phase (radians). */
  function copyWith(object, { phase = 0, ...moves }) {
    const copy = zeros();
    for (let y = 0; y < N; y++) {
      for (let x = 0; x < N; x++) {
        const [row, column] = moved(y, x, moves);
        copy.re[row * M + column] = object[y * M + x] * Math.cos(phase);
        copy.im[row * M + column] = object[y * M + x] * Math.sin(phase);
      }
    }
    return copy;
  }

  /** The largest change of a pixel, relative to the brightest. */
  function largestChange(now, before) {
    let [change, brightest] = [0, 0];
    now.forEach((value, k) => {
      change = Math.max(change, Math.abs(value - before[k]));
      brightest = Math.max(brightest, before[k]);
    });
    return brightest > 0 ? change / brightest : 0;
  }

  const norm = ({ re, im }) => Math.sqrt(re.reduce((sum, value, k) => sum + value * value + im[k] * im[k], 0));

  /** How well a real estimate fits an object's copy: as it stands, and after the best phase, flip and shift. */
  function compare(estimate, object, moves) {
    const shown = copyWith(object, moves);
    const scale = norm(estimate) * norm(shown) || 1;
    const best = { correlation: 0, flip: false, down: 0, right: 0 };
    const [a, b] = [estimate, copyWith(object, { ...moves, phase: 0 })].map(spectrumOf);
    for (const flip of [false, true]) {
      const sign = flip ? 1 : -1; // the spectrum of the flipped object is the conjugate
      const product = zeros();
      for (let k = 0; k < M * M; k++) {
        product.re[k] = a.re[k] * b.re[k] - sign * a.im[k] * b.im[k];
        product.im[k] = a.im[k] * b.re[k] + sign * a.re[k] * b.im[k];
      }
      const turn = (shift) => (flip ? N - 1 + 2 * shift : 0); // that flip is about index 0, ours about the object's box
      transform(product, 1).re.forEach((value, k) => {
        const correlation = (value * M) / scale;
        if (correlation <= best.correlation) return;
        const shift = [Math.floor(k / M) - turn(moves.down), (k % M) - turn(moves.right)];
        const [down, right] = shift.map((d) => modulo(d + M / 2) - M / 2);
        Object.assign(best, { correlation, flip, down, right });
      });
    }
    return { ...best, asItStands: estimate.re.reduce((sum, value, k) => sum + value * shown.re[k], 0) / scale };
  }

  // --- solvers: the names and numbers are those of phaseret.solvers --------------------------------------------------

  const known = (value, inside) => (inside ? Math.max(value, 0) : 0); // P_S: the box, and no negative value
  const ALGORITHMS = {
    ErrorReduction: { query: (x) => x, iterate: (x, p, inside) => known(p, inside) },
    HIO: { query: (x) => x, iterate: (x, p, inside) => (inside && p >= 0 ? p : x - 0.9 * p) },
    RRR: {
      query: (x, inside) => 2 * known(x, inside) - x,
      iterate: (x, p, inside) => x + 0.5 * (p - known(x, inside)),
    },
  };

  /** Numbers from 0 to 1 of a seed (mulberry32). */
  function random(seed) {
    let state = seed >>> 0;
    return () => {
      state = (state + 0x6d2b79f5) >>> 0;
      let t = Math.imul(state ^ (state >>> 15), 1 | state);
      t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
      return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
    };
  }

  class Solver {
    /** From white noise of a seed with the measured magnitude. */
    constructor(intensity, algorithm, seed) {
      this.magnitude = intensity.map(Math.sqrt);
      this.size = norm(real(this.magnitude));
      this.algorithm = ALGORITHMS[algorithm];
      const noise = random(seed);
      this.iterate = this.measured(Float64Array.from({ length: M * M }, noise));
      this.start = this.iterate.slice();
      this.errors = [];
      this.finish(this.iterate);
    }

    /** P_M: the nearest array that has the measured magnitude. */
    measured(values) {
      const field = transform(real(values), -1);
      for (let k = 0; k < M * M; k++) {
        const modulus = Math.hypot(field.re[k], field.im[k]);
        field.re[k] = modulus > 0 ? (field.re[k] * this.magnitude[k]) / modulus : this.magnitude[k];
        field.im[k] = modulus > 0 ? (field.im[k] * this.magnitude[k]) / modulus : 0;
      }
      return transform(field, 1).re;
    }

    /** The estimate that belongs to a point, and its relative error of the magnitude. */
    finish(point) {
      this.estimate = point.map((value, k) => known(value, inBox(k)));
      const { re, im } = spectrumOf(real(this.estimate));
      this.error = norm(real(re.map((value, k) => Math.hypot(value, im[k]) - this.magnitude[k]))) / (this.size || 1);
    }

    step() {
      const { query, iterate } = this.algorithm;
      const point = this.measured(this.iterate.map((value, k) => query(value, inBox(k))));
      this.iterate = this.iterate.map((value, k) => iterate(value, point[k], inBox(k)));
      this.finish(point);
      this.errors.push(this.error);
    }
  }

  // --- objects: strokes of a brush in the box, points (x, y); and an object that factors -----------------------------

  const STROKES = {
    2: [[9, 10], [10, 7], [15, 5], [19, 6], [22, 10], [19, 15], [14, 21], [8, 26], [15, 25], [23, 26]],
    3: [[9, 7], [14, 5], [19, 6], [21, 10], [18, 14], [14, 15], [19, 16], [23, 21], [19, 26], [14, 27], [8, 25]],
    4: [[18, 27], [18, 6], [13, 13], [7, 19], [15, 19], [24, 18]],
    5: [[22, 6], [11, 6], [10, 14], [16, 13], [21, 15], [22, 21], [18, 26], [13, 27], [8, 25]],
    7: [[8, 7], [15, 7], [23, 6], [18, 14], [15, 21], [14, 27]],
  };

  /** A soft line onto the object, from one point to the next; width in pixels. */
  function stroke(object, [x0, y0], [x1, y1], width = 1.5) {
    const length = (x1 - x0) ** 2 + (y1 - y0) ** 2;
    for (let y = 0; y < N; y++) {
      for (let x = 0; x < N; x++) {
        const along = length && Math.min(1, Math.max(0, ((x - x0) * (x1 - x0) + (y - y0) * (y1 - y0)) / length));
        const distance = Math.hypot(x - x0 - along * (x1 - x0), y - y0 - along * (y1 - y0));
        object[y * M + x] = Math.max(object[y * M + x], Math.min(1, Math.max(0, width + 0.5 - distance)));
      }
    }
  }

  /** An object by its name: a digit, "F" for three equal letters, "" for none. */
  function objectNamed(name) {
    const object = new Float64Array(M * M);
    const points = STROKES[name] ?? [];
    for (let k = 1; k < points.length; k++) stroke(object, points[k - 1], points[k]);
    if (name === "F") {
      const letter = ["####", "#   ", "### ", "#   ", "#   "];
      for (const [top, left] of [[6, 8], [13, 17], [18, 10]]) {
        letter.forEach((row, y) => [...row].forEach((c, x) => (object[(top + y) * M + left + x] += c === "#" ? 1 : 0)));
      }
    }
    return object;
  }

  /** So many iterations, as plain arrays: for tests, and for the console. */
  function run({ object = "4", algorithm = "RRR", n = 100, seed = 0 } = {}) {
    const image = objectNamed(object);
    const intensity = intensityOf(real(image));
    const solver = new Solver(intensity, algorithm, seed);
    while (solver.errors.length < n) solver.step();
    const { start, iterate, estimate } = solver;
    const arrays = Object.entries({ object: image, intensity, start, iterate, estimate, errors: solver.errors });
    return Object.fromEntries(arrays.map(([name, values]) => [name, Array.from(values)]));
  }

  return { M, N, run, Solver, compare, copyWith, intensityOf, largestChange, modulo, moved, objectNamed, real, stroke };
})();

// --- the page --------------------------------------------------------------------------------------------------------

const CENTRE = { x: 15, y: 15 }; // of the box

class LiveFigure {
  /** The form holds the markup of docs/cannot_see/figure.html; `named` are its controls and outputs. */
  constructor(form) {
    this.form = form;
    this.named = form.elements;
    this.canvas = (name) => form.querySelector(`canvas.${name}`);
    this.cursor = CENTRE;
    this.reduced = matchMedia("(prefers-reduced-motion: reduce)");
    for (const name of ["down", "right", "phase"]) this.named[name].oninput = () => this.show();
    for (const name of ["flip", "mirror"]) this.named[name].onchange = () => this.show(name === "mirror");
    this.named.object.onchange = () => this.pick(this.named.object.value);
    this.named.clear.onclick = () => this.pick("");
    for (const name of ["algorithm", "seed"]) this.named[name].onchange = () => this.reset();
    this.named.again.onclick = () => this.reset();
    this.named.step.onclick = () => this.pause() || this.advance(1);
    this.named.run.onclick = () => (this.waiting ? this.pause() : this.play());
    form.onsubmit = (event) => event.preventDefault();
    this.listenToBrush(this.canvas("object"));
    this.pick(this.named.object.value);
    form.hidden = false;
    document.documentElement.classList.add("has-live-figure");
  }

  get moves() {
    const { flip, mirror } = this.named;
    const [phase, down, right] = ["phase", "down", "right"].map((name) => Number(this.named[name].value));
    return { flip: flip.checked, mirror: mirror.checked, phase: (phase * Math.PI) / 180, down, right };
  }

  pick(name) {
    this.named.object.value = name;
    this.object = phaseretFigure.objectNamed(name);
    this.before = phaseretFigure.intensityOf(phaseretFigure.real(this.object));
    this.show(true);
  }

  /** The object as the controls have it, and its pattern; where that is another pattern the solver begins anew. */
  show(changed = false) {
    const { copyWith, intensityOf, largestChange } = phaseretFigure;
    this.shown = copyWith(this.object, this.moves);
    this.intensity = intensityOf(this.shown);
    paint(this.canvas("object"), (k) => coloured(this.shown.re[k], this.shown.im[k]));
    const brightest = Math.max(...this.intensity);
    paint(this.canvas("pattern"), (k) => fire(brightest && 1 + Math.log10(this.intensity[k] / brightest) / 6), true);
    if (document.activeElement === this.canvas("object")) this.drawCursor();
    const change = largestChange(this.intensity, this.before);
    this.named.change.value = change === 0 ? "0" : change.toExponential(0);
    this.named.verdict.value = change < 1e-9 ? "the pattern stands still" : "another pattern";
    for (const name of ["down", "right"]) this.named[`${name}_value`].value = `${this.named[name].value} px`;
    this.named.phase_value.value = `${this.named.phase.value}°`;
    if (changed) this.reset();
    else this.report();
  }

  // --- the brush: a pointer, or the arrow keys -----------------------------------------------------------------------

  listenToBrush(canvas) {
    canvas.onpointerdown = (event) => {
      canvas.setPointerCapture(event.pointerId);
      this.cursor = this.boxPoint(event, CENTRE);
      this.draw(this.cursor);
    };
    canvas.onpointermove = (event) => {
      if (canvas.hasPointerCapture(event.pointerId)) this.draw(this.boxPoint(event, this.cursor));
    };
    canvas.onkeydown = (event) => {
      const steps = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1], " ": [0, 0] };
      const step = steps[event.key];
      if (!step) return;
      event.preventDefault();
      const within = (value) => Math.min(phaseretFigure.N - 1, Math.max(0, Math.round(value)));
      const next = { x: within(this.cursor.x + step[0]), y: within(this.cursor.y + step[1]) };
      if (event.shiftKey || event.key === " ") this.draw(next);
      this.cursor = next;
      this.show();
    };
    canvas.onfocus = canvas.onblur = () => this.show();
  }

  /** Where a pointer is in the object's box as if that had not moved: of all such places the one next to another. */
  boxPoint(event, near) {
    const { M, N } = phaseretFigure;
    const frame = event.target.getBoundingClientRect();
    const { flip, mirror, down, right } = this.moves;
    const point = (share, shift, turned, place) => {
      const moved = share * M - 0.5 - (M - N) / 2 - shift;
      const value = turned ? N - 1 - moved : moved;
      return value - M * Math.round((value - place) / M);
    };
    const y = point((event.clientY - frame.top) / frame.height, down, flip, near.y);
    const x = point((event.clientX - frame.left) / frame.width, right, flip !== mirror, near.x);
    return { x, y };
  }

  draw(point) {
    phaseretFigure.stroke(this.object, [this.cursor.x, this.cursor.y], [point.x, point.y]);
    this.cursor = point;
    this.named.object.value = "";
    this.before = phaseretFigure.intensityOf(phaseretFigure.real(this.object));
    this.show(true);
  }

  drawCursor() {
    const { M, N, modulo, moved } = phaseretFigure;
    const [row, column] = moved(Math.round(this.cursor.y), Math.round(this.cursor.x), this.moves);
    const context = this.canvas("object").getContext("2d");
    context.strokeStyle = "#ff4d4d";
    context.strokeRect(modulo(column + (M - N) / 2) - 1.5, modulo(row + (M - N) / 2) - 1.5, 4, 4);
  }

  // --- the solver ----------------------------------------------------------------------------------------------------

  reset() {
    this.pause();
    const { algorithm, seed } = this.named;
    this.solver = new phaseretFigure.Solver(this.intensity, algorithm.value, Number(seed.value));
    this.report();
  }

  /** Some iterations for each picture of the screen; with reduced motion many for each of few pictures. */
  play() {
    const later = () => {
      this.waiting = this.reduced.matches ? setTimeout(tick, 1000, 100) : requestAnimationFrame(() => tick(2));
    };
    const tick = (count) => (this.advance(count) ? later() : this.pause());
    this.named.run.textContent = "Pause";
    this.named.status.ariaLive = "off"; // read aloud at the end, and not at each picture
    later();
  }

  pause() {
    clearTimeout(this.waiting);
    cancelAnimationFrame(this.waiting);
    this.waiting = 0;
    this.named.run.textContent = "Start";
    this.named.status.ariaLive = "polite";
    if (this.solver) this.report();
  }

  /** So many iterations; whether there is reason to go on. */
  advance(count) {
    const { solver } = this;
    const before = solver.error;
    for (let k = 0; k < count; k++) solver.step();
    this.report();
    return solver.size > 0 && !(before > 1e-3 && solver.error <= 1e-3) && solver.errors.length % 1000 >= count;
  }

  /** The estimate, the curve, and what has been found. */
  report() {
    const { solver } = this;
    const { errors } = solver;
    paint(this.canvas("answer"), (k) => coloured(solver.estimate[k], 0));
    const length = Math.max(100, errors.length);
    const height = (error) => Math.min(100, Math.max(0, -25 * Math.log10(error || 1e-9)));
    const points = errors.map((error, k) => `${((k + 1) * 100) / length},${height(error)}`);
    this.form.querySelector("polyline").setAttribute("points", points.join(" "));
    this.form.querySelector(".last").textContent = length;
    if (solver.size === 0) {
      this.named.status.value = "Draw something: there are no data.";
      return;
    }
    const found = phaseretFigure.compare(phaseretFigure.real(solver.estimate), this.object, this.moves);
    const turned = found.flip ? "turned by half a turn and " : "";
    const verdict =
      !errors.length ? ""
      : found.correlation > 0.99 ? `It is the object above, ${turned}moved down by ${found.down} and right by ${found.right}.`
      : solver.error <= 1e-3 ? "It explains the data and is no copy: another object with the same pattern."
      : "It is not the object.";
    this.named.status.value =
      `Iteration ${errors.length}: the magnitudes differ by ${(100 * solver.error).toPrecision(2)} %. ` +
      `Correlation with the object above ${found.asItStands.toFixed(2)}, aligned ${found.correlation.toFixed(3)}. ` +
      verdict;
  }
}

/** Draw a field of the grid with the box, or the zero frequency, in the middle. */
function paint(canvas, colour, frequencies = false) {
  const { M, N, modulo } = phaseretFigure;
  const margin = frequencies ? M / 2 : (M - N) / 2;
  const image = new ImageData(M, M);
  for (let row = 0; row < M; row++) {
    for (let column = 0; column < M; column++) {
      const k = modulo(row - margin) * M + modulo(column - margin);
      image.data.set([...colour(k), 255], 4 * (row * M + column));
    }
  }
  canvas.getContext("2d").putImageData(image, 0, 0);
}

/** A complex value: positive white, negative blue, imaginary orange or green. */
function coloured(re, im) {
  const parts = [[re, [255, 255, 255]], [-re, [70, 130, 255]], [im, [255, 150, 30]], [-im, [40, 210, 110]]];
  return [0, 1, 2].map((c) => parts.reduce((sum, [value, colour]) => sum + Math.max(0, value) * colour[c], 0));
}

/** A value from 0 to 1 from black over purple and orange to white. */
function fire(value) {
  const stops = [[0, 0, 4], [87, 16, 110], [188, 55, 84], [249, 142, 9], [252, 255, 220]];
  const place = Math.min(1, Math.max(0, value)) * (stops.length - 1);
  const k = Math.min(stops.length - 2, Math.floor(place));
  return stops[k].map((low, c) => low + (place - k) * (stops[k + 1][c] - low));
}

if (typeof document !== "undefined") {
  const begin = () => document.querySelectorAll("form.live-figure").forEach((form) => new LiveFigure(form));
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", begin);
  else begin();
}
