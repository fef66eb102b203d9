/*
 * attention_map -- one query row a thread, tiles by the hardware through tensor maps.
 *
 * As plain as an algorithm can be that loads K and V and stores O through maps: for the tests of
 * everything between the word EVO_TENSOR_MAP and a copy on a device. Boxes are as wide as their
 * swizzle and may reach out of a tensor on every side.
 */
#include "include/evo.cuh"
#include "include/attention.cuh"

EVO_GIVEN(HEAD_DIM, "columns of Q, K and V")
EVO_GIVEN(CAUSAL, "1: a row sees the keys up to its own")
EVO_GIVEN(BF16, "1: bfloat16 in memory, 0: half")
EVO_GIVEN(LSE, "1: the log-sum-exp of each row is asked for")
EVO_GIVEN(DEVICE_ARCH, "tensor maps came with 90")

struct pointers {};
struct maps {};

EVO_GENE(ROWS, set(32, 64), "query rows in a block, one a thread")
EVO_GENE(KEYS, set(8, 24), "keys of a tile")
EVO_GENE(SWIZZLE, set(0, 32, 64, 128), "bytes over which 16-byte pieces of a row are mixed")
EVO_CHOICE(Out, (pointers, maps), "how O is written")
EVO_LET(COLUMNS, SWIZZLE == 0 ? 32 : SWIZZLE / 2, "columns of a box")
EVO_LET(CHUNKS, ceil_div(HEAD_DIM, COLUMNS), "boxes side by side")
EVO_LET(TILE_BYTES, ceil_div(KEYS * COLUMNS * 2, 1024) * 1024, "a box of K or V, at the swizzle's multiple")
EVO_LET(OUT_BYTES, EVO_IS(Out, maps) ? ceil_div(ROWS * COLUMNS * 2, 1024) * 1024 : 0, "a box of O")
EVO_REQUIRE(DEVICE_ARCH >= 90, "copies through tensor maps came with the architecture 90")
EVO_TENSOR_MAP(k_map, K, (COLUMNS, KEYS), SWIZZLE, "tiles of K")
EVO_TENSOR_MAP(v_map, V, (COLUMNS, KEYS), SWIZZLE, "tiles of V")
EVO_TENSOR_MAP(o_map, O, (COLUMNS, EVO_IS(Out, maps) ? ROWS : 1), SWIZZLE, "tiles of O")
EVO_LAUNCH(attention_map, (ceil_div(q_len, ROWS), heads, batch), ROWS, CHUNKS * (2 * TILE_BYTES + OUT_BYTES) + 16,
           (Q, k_map, v_map, O, o_map, LSE, problem))

using Type = as_input<BF16>;

__device__ unsigned shared_address(const void *p) { return (unsigned)__cvta_generic_to_shared(p); }

/* Where the hardware puts a box's element, in elements from the box's beginning. */
__device__ int swizzled(int row, int column)
{
    const int at = (row * COLUMNS + column) * 2, mix = SWIZZLE / 16 - 1;
    return (SWIZZLE == 0 ? at : at ^ (at >> 7 & mix) << 4) / 2;
}

__device__ void load_box(void *to, const evo_tensor_map *map, int column, int row, int head, int batch,
                         const void *barrier)
{
    asm volatile("cp.async.bulk.tensor.4d.shared::cluster.global.tile.mbarrier::complete_tx::bytes"
                 " [%0], [%1, {%2, %3, %4, %5}], [%6];" ::"r"(shared_address(to)),
                 "l"(map), "r"(column), "r"(row), "r"(head), "r"(batch), "r"(shared_address(barrier))
                 : "memory");
}

__device__ void store_box(const evo_tensor_map *map, int column, int row, int head, int batch, const void *from)
{
    asm volatile("cp.async.bulk.tensor.4d.global.shared::cta.tile.bulk_group [%0, {%1, %2, %3, %4}], [%5];" ::"l"(map),
                 "r"(column), "r"(row), "r"(head), "r"(batch), "r"(shared_address(from))
                 : "memory");
}

__device__ void await(const void *barrier, unsigned phase)
{
    unsigned done = 0;
    while (!done)
        asm volatile("{\n.reg .pred p;\n"
                     "mbarrier.try_wait.parity.shared::cta.b64 p, [%1], %2;\n"
                     "selp.u32 %0, 1, 0, p;\n}"
                     : "=r"(done)
                     : "r"(shared_address(barrier)), "r"(phase)
                     : "memory");
}

/* All boxes of a tile, side by side. */
__device__ void load_tile(unsigned char *to, const evo_tensor_map *map, int row, int head, int batch,
                          const void *barrier)
{
    for (int chunk = 0; chunk < CHUNKS; chunk++)
        load_box(to + chunk * TILE_BYTES, map, chunk * COLUMNS, row, head, batch, barrier);
}

__device__ float element(const unsigned char *tile, int row, int column)
{
    const evo_half *box = (const evo_half *)(tile + column / COLUMNS * TILE_BYTES);
    return Type::get(box[swizzled(row, column % COLUMNS)]);
}

extern "C" __global__ void __launch_bounds__(ROWS)
    attention_map(const evo_half *Q, const __grid_constant__ evo_tensor_map k_map,
                  const __grid_constant__ evo_tensor_map v_map, evo_half *O,
                  const __grid_constant__ evo_tensor_map o_map, float *sums, evo_problem problem)
{
    extern __shared__ __align__(1024) unsigned char shared[];
    unsigned char *k_tile = shared, *v_tile = k_tile + CHUNKS * TILE_BYTES, *o_tile = v_tile + CHUNKS * TILE_BYTES;
    const void *barrier = o_tile + CHUNKS * OUT_BYTES;
    const int first_row = blockIdx.x * ROWS, head = blockIdx.y, batch = blockIdx.z;
    const int row = first_row + threadIdx.x, kv_head = head / (problem.heads / problem.kv_heads);
    const bool inside = row < problem.q_len;
    const int seen = inside ? evo_visible<CAUSAL>(problem, row) : 0;
    const evo_half *q = Q + batch * problem.q[0] + head * problem.q[1] + (inside ? row : 0) * problem.q[2];

    if (threadIdx.x == 0) {
        asm volatile("mbarrier.init.shared::cta.b64 [%0], 1;" ::"r"(shared_address(barrier)));
        asm volatile("fence.mbarrier_init.release.cluster;");
    }
    __syncthreads();

    float o[HEAD_DIM] = {}, maximum = evo_minus_infinity(), sum = 0;
    for (int first = 0, tile = 0; first < problem.kv_len; first += KEYS, tile++) {
        if (threadIdx.x == 0) {
            asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(shared_address(barrier)),
                         "r"(2 * CHUNKS * KEYS * COLUMNS * 2)
                         : "memory");
            load_tile(k_tile, &k_map, first, kv_head, batch, barrier);
            load_tile(v_tile, &v_map, first, kv_head, batch, barrier);
        }
        await(barrier, tile & 1);
        for (int key = 0; key < KEYS && first + key < seen; key++) {
            float score = 0;
            for (int d = 0; d < HEAD_DIM; d++)
                score += Type::get(q[d]) * element(k_tile, key, d);
            score *= problem.scale;
            const float peak = fmaxf(maximum, score), keep = __expf(maximum - peak), weight = __expf(score - peak);
            sum = sum * keep + weight;
            for (int d = 0; d < HEAD_DIM; d++)
                o[d] = o[d] * keep + weight * element(v_tile, key, d);
            maximum = peak;
        }
        __syncthreads(); /* the tile has been read */
    }

    if (LSE && inside)
        sums[((long long)batch * problem.heads + head) * problem.q_len + row] =
            sum > 0 ? maximum + logf(sum) : evo_minus_infinity();
    const float inverse = evo_inverse(sum);
    if constexpr (EVO_IS(Out, maps)) {
        for (int d = 0; d < HEAD_DIM; d++) {
            evo_half *box = (evo_half *)(o_tile + d / COLUMNS * OUT_BYTES);
            box[swizzled(threadIdx.x, d % COLUMNS)] = Type::put(o[d] * inverse);
        }
        asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
        __syncthreads();
        if (threadIdx.x == 0) {
            for (int chunk = 0; chunk < CHUNKS; chunk++)
                store_box(&o_map, chunk * COLUMNS, first_row, head, batch, o_tile + chunk * OUT_BYTES);
            asm volatile("cp.async.bulk.commit_group;\n cp.async.bulk.wait_group 0;" ::: "memory");
        }
    } else if (inside) {
        evo_half *out = O + batch * problem.o[0] + head * problem.o[1] + row * problem.o[2];
        for (int d = 0; d < HEAD_DIM; d++)
            out[d] = Type::put(o[d] * inverse);
    }
}
