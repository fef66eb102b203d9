// CUDA C++ in colours: comments, strings, numbers, preprocessor lines and keywords are all that a
// reader of a kernel looks for. (A general highlighter would be a fifth of the page.)
const KEYWORDS = new Set(`alignas auto bool break case char class const constexpr continue default do double else enum extern false
  float for if inline int long namespace nullptr return short signed sizeof static struct switch template true typename union unsigned
  using void volatile while asm __global__ __device__ __shared__ __restrict__ __launch_bounds__ __forceinline__ __grid_constant__
  uint8_t uint16_t uint32_t uint64_t int32_t int64_t size_t half __half`.split(/\s+/));

const TOKEN = /(\/\/[^\n]*|\/\*[^]*?\*\/)|("(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*')|(^[ \t]*#[^\n]*)|(\b\d[\w.']*)|([A-Za-z_]\w*)/gm;
const CLASSES = [null, 'comment', 'string', 'meta', 'number'];

// Pieces [class, text] in order; their texts joined are the source.
export function pieces(source) {
  const out = [];
  let at = 0;
  const plain = (text) => {
    if (out.length > 0 && out[out.length - 1][0] === '') out[out.length - 1][1] += text; else out.push(['', text]);
  };
  for (const match of source.matchAll(TOKEN)) {
    if (match.index > at) plain(source.slice(at, match.index));
    const kind = CLASSES.find((_, k) => k > 0 && match[k] !== undefined) ?? (KEYWORDS.has(match[0]) ? 'keyword' : '');
    if (kind) out.push([kind, match[0]]); else plain(match[0]);
    at = match.index + match[0].length;
  }
  if (at < source.length) plain(source.slice(at));
  return out;
}
