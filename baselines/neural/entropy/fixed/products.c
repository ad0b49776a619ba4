/* Exact convolution of int16 activations with int16 weights, by multiply-adds of pairs.

   Pairs are added up in int32 over a block of inputs, so few that no sum overflows, and blocks in
   float64, exact below 2^51. Weights lie by vector of outputs, row of the kernel, then pair. */

#define Py_LIMITED_API 0x030b0000
#include <Python.h>
#include <math.h>
#include <stdint.h>
#include <string.h>

#if defined(__x86_64__) && defined(__GNUC__)
#include <immintrin.h>

enum { LANES = 16, MOST_VECTORS = 2 }; /* outputs of a vector; vectors at a time */

typedef struct {
    Py_ssize_t rows, columns, width, inputs, side, outputs, block, bytes; /* block: pairs */
    int lowest, highest;
} Layer;

#define UNROLLED _Pragma("GCC unroll 16")
#define INLINE static inline __attribute__((always_inline))
#define FOR_VNNI __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")))
#define FOR_AVX2 __attribute__((target("avx2")))

FOR_VNNI INLINE void spill_vnni(double *sums, __m512i total) {
    const __m256i halves[] = {_mm512_castsi512_si256(total), _mm512_extracti64x4_epi64(total, 1)};
    for (int half = 0; half < 2; half++)
        _mm512_storeu_pd(sums + 8 * half, _mm512_add_pd(_mm512_loadu_pd(sums + 8 * half),
                                                        _mm512_cvtepi32_pd(halves[half])));
}
FOR_AVX2 INLINE void spill_avx2(double *sums, __m256i total) {
    const __m128i halves[] = {_mm256_castsi256_si128(total), _mm256_extracti128_si256(total, 1)};
    for (int half = 0; half < 2; half++)
        _mm256_storeu_pd(sums + 4 * half, _mm256_add_pd(_mm256_loadu_pd(sums + 4 * half),
                                                        _mm256_cvtepi32_pd(halves[half])));
}
#define ADD_PAIRS_AVX2(total, value, factor)                                                       \
    _mm256_add_epi32(total, _mm256_madd_epi16(value, factor))

/* Define the sums of a block of pairs at `places` neighbouring positions, the first `skip` of which
   are there already, and the convolution. PARTS registers make a vector. */
#define CONVOLUTION(KIND, FOR, REGISTER, PARTS, PLACES, VECTORS, SPREAD, ADD_PAIRS, ZERO, SPILL)   \
    FOR INLINE void block_##KIND(const int16_t *input, Py_ssize_t step, const int16_t *weight,     \
                                 Py_ssize_t apart, Py_ssize_t pairs, double *sums, int places,     \
                                 int skip, int vectors) {                                          \
        REGISTER total[PLACES][VECTORS * PARTS];                                                   \
        UNROLLED for (int at = 0; at < places; at++)                                               \
            UNROLLED for (int part = 0; part < vectors * PARTS; part++) total[at][part] = ZERO();  \
        for (Py_ssize_t pair = 0; pair < pairs; pair++) {                                          \
            REGISTER factor[VECTORS * PARTS];                                                      \
            UNROLLED for (int part = 0; part < vectors * PARTS; part++)                            \
                memcpy(&factor[part],                                                              \
                       weight + part / PARTS * apart + 2 * LANES * pair +                          \
                           part % PARTS * (2 * LANES / PARTS),                                     \
                       sizeof(REGISTER));                                                          \
            UNROLLED for (int at = 0; at < places; at++) {                                         \
                int both;                                                                          \
                memcpy(&both, input + at * step + 2 * pair, sizeof both);                          \
                const REGISTER value = SPREAD(both);                                               \
                UNROLLED for (int part = 0; part < vectors * PARTS; part++)                        \
                    total[at][part] = ADD_PAIRS(total[at][part], value, factor[part]);             \
            }                                                                                      \
        }                                                                                          \
        UNROLLED for (int at = 0; at < places; at++) if (at >= skip)                               \
            UNROLLED for (int part = 0; part < vectors * PARTS; part++)                            \
                SPILL(sums + at * MOST_VECTORS * LANES + part * (LANES / PARTS), total[at][part]); \
    }                                                                                              \
    FOR INLINE void sum_##KIND(const Layer *layer, const int16_t *input, const int16_t *weight,    \
                               Py_ssize_t apart, double *sums, int vectors) {                      \
        const Py_ssize_t pairs = layer->side * layer->inputs / 2, step = layer->inputs;            \
        const Py_ssize_t count = (layer->rows - 1) * layer->columns + layer->width;                \
        for (Py_ssize_t row = 0; row < layer->side; row++)                                         \
            for (Py_ssize_t first = 0; first < pairs; first += layer->block) {                     \
                const Py_ssize_t left = pairs - first;                                             \
                const Py_ssize_t some = layer->block < left ? layer->block : left;                 \
                const int16_t *seen = input + row * layer->columns * step + 2 * first;             \
                const int16_t *factor = weight + (row * pairs + first) * 2 * LANES;                \
                Py_ssize_t at = 0;                                                                 \
                for (; at < count && count >= PLACES; at += PLACES) {                              \
                    const Py_ssize_t from = at + PLACES > count ? count - PLACES : at;             \
                    block_##KIND(seen + from * step, step, factor, apart, some,                    \
                                 sums + from * MOST_VECTORS * LANES, PLACES, (int)(at - from),     \
                                 vectors);                                                         \
                }                                                                                  \
                for (; at < count; at++)                                                           \
                    block_##KIND(seen + at * step, step, factor, apart, some,                      \
                                 sums + at * MOST_VECTORS * LANES, 1, 0, vectors);                 \
            }                                                                                      \
    }                                                                                              \
    FOR static void convolve_##KIND(const Layer *layer, const int16_t *input,                      \
                                    const int16_t *weight, const double *bias,                     \
                                    const double *factor, void *values, double *sums) {            \
        const Py_ssize_t apart = layer->side * layer->side * layer->inputs * LANES;                \
        const Py_ssize_t size = layer->rows * layer->columns * MOST_VECTORS * LANES;               \
        for (Py_ssize_t first = 0; first < layer->outputs;) {                                      \
            const int two = VECTORS == 2 && layer->outputs - first > LANES;                        \
            memset(sums, 0, (size_t)size * sizeof *sums);                                          \
            if (two)                                                                               \
                sum_##KIND(layer, input, weight, apart, sums, VECTORS);                            \
            else                                                                                   \
                sum_##KIND(layer, input, weight, apart, sums, 1);                                  \
            const Py_ssize_t most = two ? 2 * LANES : LANES;                                       \
            const Py_ssize_t left = layer->outputs - first, some = left < most ? left : most;      \
            for (Py_ssize_t at = 0; at < layer->rows * layer->width; at++)                         \
                store(layer, sums + (at / layer->width * layer->columns + at % layer->width) *     \
                                        MOST_VECTORS * LANES,                                      \
                      bias + first, factor + first, values, at * layer->outputs + first, some);    \
            weight += apart * (two ? 2 : 1);                                                       \
            first += most;                                                                         \
        }                                                                                          \
    }

/* Store sums as they are, or floor((sum + bias) factor + 1/2), clipped, of some outputs. */
INLINE void store(const Layer *layer, const double *sums, const double *bias, const double *factor,
                  void *values, Py_ssize_t to, Py_ssize_t some) {
    const double lowest = layer->lowest, highest = layer->highest;
    int32_t kept[MOST_VECTORS * LANES];
    if (layer->bytes == sizeof(double)) {
        memcpy((double *)values + to, sums, (size_t)some * sizeof(double));
        return;
    }
    for (Py_ssize_t at = 0; at < some; at++) {
        const double value = floor((sums[at] + bias[at]) * factor[at] + 0.5);
        kept[at] = (int32_t)(value < lowest ? lowest : value > highest ? highest : value);
    }
    if (layer->bytes == sizeof(int32_t))
        memcpy((int32_t *)values + to, kept, (size_t)some * sizeof(int32_t));
    else
        for (Py_ssize_t at = 0; at < some; at++) ((int16_t *)values)[to + at] = (int16_t)kept[at];
}

CONVOLUTION(vnni, FOR_VNNI, __m512i, 1, 12, 2, _mm512_set1_epi32, _mm512_dpwssd_epi32,
            _mm512_setzero_si512, spill_vnni)
CONVOLUTION(avx2, FOR_AVX2, __m256i, 2, 6, 1, _mm256_set1_epi32, ADD_PAIRS_AVX2,
            _mm256_setzero_si256, spill_avx2)

/* Fill values (rows, columns - side + 1, outputs) of input (rows + side - 1, columns, inputs), by
   AVX2 or better; `bytes`, of a value, are 2 or 4, or 8 for sums that are not rounded. */
static PyObject *convolve(PyObject *self, PyObject *arguments) {
    Py_buffer arrays[5];
    Layer layer;
    int vnni;
    PyObject *result = NULL;
    double *sums = NULL;
    if (!PyArg_ParseTuple(arguments, "y*y*y*y*w*(nnnnnniin)p", &arrays[0], &arrays[1], &arrays[2],
                          &arrays[3], &arrays[4], &layer.rows, &layer.columns, &layer.inputs,
                          &layer.side, &layer.outputs, &layer.block, &layer.lowest, &layer.highest,
                          &layer.bytes, &vnni))
        return NULL;
    layer.width = layer.columns - layer.side + 1;
    const Py_ssize_t vectors = (layer.outputs + LANES - 1) / LANES;
    const Py_ssize_t sizes[] = {
        (layer.rows + layer.side - 1) * layer.columns * layer.inputs * 2,
        vectors * LANES * layer.side * layer.side * layer.inputs * 2,
        layer.outputs * 8,
        layer.outputs * 8,
        layer.rows * layer.width * layer.outputs * layer.bytes,
    };
    int right = layer.rows > 0 && layer.width > 0 && layer.side > 0 && layer.block > 0 &&
                layer.outputs > 0 && layer.inputs > 0 && layer.inputs % 2 == 0;
    for (int at = 0; at < 5; at++) right &= arrays[at].len == sizes[at];
    if (!right)
        PyErr_SetString(PyExc_ValueError, "shapes of a convolution differ");
    else if (!(sums = PyMem_Malloc((size_t)(layer.rows * layer.columns) * MOST_VECTORS * LANES *
                                   sizeof *sums)))
        PyErr_NoMemory();
    else {
        Py_BEGIN_ALLOW_THREADS;
        (vnni ? convolve_vnni : convolve_avx2)(&layer, arrays[0].buf, arrays[1].buf, arrays[2].buf,
                                               arrays[3].buf, arrays[4].buf, sums);
        Py_END_ALLOW_THREADS;
        result = Py_BuildValue("");
    }
    PyMem_Free(sums);
    for (int at = 0; at < 5; at++) PyBuffer_Release(&arrays[at]);
    return result;
}
#endif

/* Names of the instructions for which this processor has a convolution. */
static PyObject *instructions(PyObject *self, PyObject *nothing) {
#if defined(__x86_64__) && defined(__GNUC__)
    if (__builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl"))
        return Py_BuildValue("(ss)", "vnni", "avx2");
    if (__builtin_cpu_supports("avx2")) return Py_BuildValue("(s)", "avx2");
#endif
    return Py_BuildValue("()");
}

static PyMethodDef methods[] = {
#if defined(__x86_64__) && defined(__GNUC__)
    {"convolve", convolve, METH_VARARGS, NULL},
#endif
    {"instructions", instructions, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};
static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, .m_name = "products", .m_size = 0,
                                    .m_methods = methods};

PyMODINIT_FUNC PyInit_products(void) { return PyModuleDef_Init(&module); }
