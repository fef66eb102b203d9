// The columns of a report: little-endian numbers in base64. See docs/VIEWS.md.

const NO_TIME = 0xffff;

function bytes(text) {
  const raw = atob(text), out = new Uint8Array(raw.length);
  for (let i = 0; i < raw.length; i++) out[i] = raw.charCodeAt(i);
  return out;
}

function column(text, width) {
  const raw = bytes(text), out = new Uint32Array(raw.length / width);
  for (let i = 0, at = 0; i < out.length; i++)
    for (let k = 0; k < width; k++) out[i] += raw[at++] * 2 ** (8 * k);
  return out;
}

// One entry a place: place, us (NaN: none), parent (index, -1), verdict, numerics, family, operator, seconds.
export function decodeStory(story) {
  const kind = bytes(story.kind), step = column(story.us, 2), time = column(story.time, 2);
  const span = Math.log(story.us_high / story.us_low) || 0;
  const count = story.count;
  const out = {
    count, of: story.of,
    place: column(story.place, 3),
    us: new Float64Array(count), parent: new Int32Array(count), seconds: new Float64Array(count),
    verdict: new Uint8Array(count), numerics: new Uint8Array(count),
    family: new Uint8Array(count), operator: new Uint8Array(count),
  };
  const parent = column(story.parent, 3);
  for (let i = 0; i < count; i++) {
    out.us[i] = step[i] === NO_TIME ? NaN : story.us_low * Math.exp((step[i] / (NO_TIME - 1)) * span);
    out.parent[i] = parent[i] - 1;
    out.verdict[i] = kind[3 * i] & 15;
    out.numerics[i] = kind[3 * i] >> 4;
    out.family[i] = kind[3 * i + 1];
    out.operator[i] = kind[3 * i + 2];
    out.seconds[i] = (time[i] / 0xffff) * story.seconds;
  }
  return out;
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
