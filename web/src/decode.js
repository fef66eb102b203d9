// What grows with a run comes as columns: bytes in base64. See docs/VIEWS.md.

const NO_TIME = 0xffff;

function bytes(text) {
  const raw = atob(text), out = new Uint8Array(raw.length);
  for (let i = 0; i < raw.length; i++) out[i] = raw.charCodeAt(i);
  return out;
}

// Reads numbers off a column, one after the other: of varying length (LEB128), or of two bytes.
function reader(text) {
  const from = bytes(text);
  let at = 0;
  return {
    get more() { return at < from.length; },
    next() {
      let value = 0, scale = 1, byte;
      do { byte = from[at++]; value += (byte & 127) * scale; scale *= 128; } while (byte > 127);
      return value;
    },
    two() { at += 2; return from[at - 2] + 256 * from[at - 1]; },
  };
}

const timeScale = (story) => {
  const span = Math.log(story.us_high / story.us_low) || 0;
  return (step) => (step === NO_TIME ? NaN : story.us_low * Math.exp((step / (NO_TIME - 1)) * span));
};

// One entry a place: place, us (NaN: none), parent (index, -1), verdict, numerics, family, operator; arcs: [child, second parent].
export function decodeStory(story) {
  const { count, kinds } = story, time = timeScale(story);
  const places = reader(story.place), us = reader(story.us), parents = reader(story.parent), kind = reader(story.kind), every = !places.more;
  const out = {
    count, of: story.of, arcs: [],
    place: new Uint32Array(count), us: new Float64Array(count), parent: new Int32Array(count),
    verdict: new Uint8Array(count), numerics: new Uint8Array(count), family: new Uint8Array(count), operator: new Uint8Array(count),
  };
  for (let i = 0, place = -1; i < count; i++) {
    place += 1 + (every ? 0 : places.next());
    out.place[i] = place;
    out.us[i] = time(us.two());
    const back = parents.next();
    out.parent[i] = back > 0 ? i - back : -1;
    [out.verdict[i], out.numerics[i], out.family[i], out.operator[i]] = kinds[kind.next()];
  }
  for (let arcs = reader(story.arcs), child = 0; arcs.more;) {
    child += arcs.next();
    out.arcs.push([child, child - arcs.next()]);
  }
  return out;
}

// Pairs of values that were tried: look(a, u, b, v) is {tried, passed, best}, or undefined.
export function decodePairs(map, story) {
  const from = reader(map.pairs), time = timeScale(story), found = new Map();
  const paired = (gene) => Math.min(map.paired, gene.values.length);
  for (let a = 0; a < map.genes.length; a++)
    for (let b = a + 1; b < map.genes.length; b++)
      for (let u = 0; u < paired(map.genes[a]); u++)
        for (let v = 0; v < paired(map.genes[b]) && from.more; v++) {
          const tried = from.next(), passed = tried ? from.next() : 0, best = passed ? time(from.two()) : null;
          if (tried) found.set([a, u, b, v].join(), { tried, passed, best });
        }
  return (a, u, b, v) => found.get((a < b ? [a, u, b, v] : [b, v, a, u]).join());
}

// A kernel as it came, with its metrics as objects and its source as text.
export function decodeKernel(kernel, report) {
  const rows = kernel.source == null ? null : reader(kernel.source), lines = [];
  while (rows?.more) lines.push(report.lines[rows.next()]);
  return {
    ...kernel, source: rows ? `${lines.join('\n')}\n` : null,
    metrics: kernel.metrics?.map(([at, problem, value, reason]) => {
      const [name, unit, doc] = report.metrics[at] ?? [at];
      return { name, unit, doc, problem, value, reason };
    }) ?? null,
  };
}

// The index of a place among those kept, or -1; places ascend.
export function indexOfPlace(story, place) {
  let low = 0, high = story.count - 1;
  while (low <= high) {
    const middle = (low + high) >> 1;
    if (story.place[middle] === place) return middle;
    if (story.place[middle] < place) low = middle + 1; else high = middle - 1;
  }
  return -1;
}
