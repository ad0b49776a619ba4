/* Convolutions of integers and the last layer of a decoder, by the vectors of the processor.

   Integers: activations int16 (rows, columns, inputs) are multiplied with weights in pairs, which
   are added up in int32 over a block so short that no sum overflows, then in float64 over blocks,
   exact below 2^51. Weights lie by vector of LANES outputs, then by pair of inputs. */

#define Py_LIMITED_API 0x030b0000
#include <Python.h>
#include <math.h>
#include <stdint.h>
#include <string.h>

#if defined(__x86_64__) && defined(__GNUC__)
#include <immintrin.h>

enum { LANES = 16, PLACES = 12 }; /* outputs of a vector, positions at a time */
#define FOR_VNNI __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")))
#define FOR_AVX2 __attribute__((target("avx2,fma")))
#define INLINE static inline __attribute__((always_inline))

typedef struct {
    const int16_t *input; /* of the first output's window */
    Py_ssize_t columns, inputs, width, rows, side, outputs, block;
    const int16_t *weight;
    double *sums; /* (rows, width, 2 LANES) */
} Task;

/* Define: add up `pairs` of the windows of COUNT positions for VECTORS vectors of outputs. */
#define BLOCK(NAME, TARGET, VECTOR, PARTS, COUNT, BROADCAST, MULTIPLY, ZERO, ADD)                  \
    TARGET INLINE void NAME(const int16_t *input, Py_ssize_t step, const int16_t *weight,          \
                            Py_ssize_t apart, Py_ssize_t pairs, double *sums, int vectors,         \
                            int count) {                                                           \
        VECTOR total[COUNT][2 * PARTS];                                                            \
        for (int place = 0; place < COUNT; place++)                                                \
            for (int part = 0; part < vectors * PARTS; part++) total[place][part] = ZERO;          \
        for (Py_ssize_t pair = 0; pair < pairs; pair++) {                                          \
            VECTOR factors[2 * PARTS];                                                             \
            for (int part = 0; part < vectors * PARTS; part++)                                     \
                factors[part] = *(const VECTOR *)(weight + part / PARTS * apart +                  \
                                                  2 * LANES * pair + part % PARTS * 2 * LANES / PARTS); \
            for (int place = 0; place < COUNT; place++) {                                          \
                int32_t both;                                                                      \
                memcpy(&both, input + place * step + 2 * pair, sizeof both);                       \
                const VECTOR value = BROADCAST(both);                                              \
                for (int part = 0; part < vectors * PARTS; part++)                                 \
                    total[place][part] = MULTIPLY(total[place][part], value, factors[part]);       \
            }                                                                                      \
        }                                                                                          \
        for (int place = 0; place < count; place++)                                                \
            for (int part = 0; part < vectors * PARTS; part++)                                     \
                ADD(sums + place * 2 * LANES + part * LANES / PARTS, total[place][part]);          \
    }
