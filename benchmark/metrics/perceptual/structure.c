/* The float32 loops of ms_ssim.py, fused: a row of the blurred planes is used while it is cached.

   The window has 11 x 11 taps, weights as HALF_WINDOW has them, and is used where it fits. */

#define Py_LIMITED_API 0x030b0000
#include <Python.h>

enum { TAPS = 11, MARGIN = TAPS - 1 };
static const float WEIGHT[] = {0.0010283804f, 0.007598758f, 0.036000773f,
                               0.10936069f,   0.21300553f,  0.26601171f};
static const double C1 = (0.01 * 255) * (0.01 * 255), C2 = (0.03 * 255) * (0.03 * 255);

#if defined(__x86_64__) && defined(__gnu_linux__) && defined(__GNUC__) && !defined(__clang__)
#define FOR_EVERY_PROCESSOR __attribute__((target_clones("arch=x86-64-v3", "default")))
#else
#define FOR_EVERY_PROCESSOR
#endif
#ifdef __GNUC__
#define INLINE static inline __attribute__((always_inline)) /* into the code for each processor */
#else
#define INLINE static inline
#endif
#define GAUSSIAN(TAP)                                                                              \
    (WEIGHT[5] * TAP(5) + WEIGHT[4] * (TAP(4) + TAP(6)) + WEIGHT[3] * (TAP(3) + TAP(7)) +          \
     WEIGHT[2] * (TAP(2) + TAP(8)) + WEIGHT[1] * (TAP(1) + TAP(9)) +                               \
     WEIGHT[0] * (TAP(0) + TAP(10)))
#define ABOVE(TAP) row[TAP][x]
#define BESIDE(TAP) at[TAP]

/* Define the blur of 11 rows, the first of which is at `first` of a ring, and that of 11 values. */
#define BLURS(DOWN, ACROSS, REAL)                                                                  \
    INLINE void DOWN(REAL *restrict to, const REAL *ring, Py_ssize_t width,                 \
                            Py_ssize_t first) {                                                    \
        const REAL *row[TAPS];                                                                     \
        for (int tap = 0; tap < TAPS; tap++) row[tap] = ring + (first + tap) % TAPS * width;       \
        for (Py_ssize_t x = 0; x < width; x++) to[x] = GAUSSIAN(ABOVE);                            \
    }                                                                                              \
    INLINE REAL ACROSS(const REAL *at) { return GAUSSIAN(BESIDE); }
BLURS(down, across, float)
BLURS(down_exactly, across_exactly, double)

/* Sum 1 - similarity; `scratch` has 26 rows. Arrays as in ms_ssim.dissimilarity. */
FOR_EVERY_PROCESSOR
static double sum(const float *error, const float *doubled, const float *doubled_mean,
                  const float *twice_variance, int coarsest, Py_ssize_t height, Py_ssize_t width,
                  float *scratch) {
    const Py_ssize_t columns = width - MARGIN;
    float *squares = scratch, *products = squares + TAPS * width;
    float *mean_rows = products + TAPS * width, *square_rows = mean_rows + width;
    float *product_rows = square_rows + width, *restrict found = product_rows + width;
    double total = 0;
    for (Py_ssize_t y = 0; y < height; y++) {
        const float *e = error + y * width, *d = doubled + y * width;
        float *restrict square = squares + y % TAPS * width;
        float *restrict product = products + y % TAPS * width;
        for (Py_ssize_t x = 0; x < width; x++) {
            square[x] = e[x] * e[x];
            product[x] = e[x] * (e[x] + d[x]);
        }
        if (y < MARGIN) continue;
        down(mean_rows, e - MARGIN * width, width, 0);
        down(square_rows, squares, width, y + 1);
        down(product_rows, products, width, y + 1);
        for (Py_ssize_t x = 0; x < columns; x++) {
            const float mean = across(mean_rows + x);
            const float variance = across(square_rows + x) - mean * mean;
            const float more = across(product_rows + x) - mean * (mean + doubled_mean[x]);
            found[x] = variance / (more + twice_variance[x]);
        }
        if (coarsest)
            for (Py_ssize_t x = 0; x < columns; x++) {
                const float mean = across(mean_rows + x), source = doubled_mean[x] / 2;
                const float other = source + mean;
                const float unlike = mean * mean / (source * source + other * other + (float)C1);
                found[x] += unlike - unlike * found[x];
            }
        for (Py_ssize_t x = 0; x < columns; x++) total += found[x];
        doubled_mean += columns;
        twice_variance += columns;
    }
    return total;
}

/* Compute the moments of a source; `scratch` has 24 rows. Arrays as in ms_ssim.Moments. */
FOR_EVERY_PROCESSOR
static void measure(const float *doubled, float *restrict doubled_mean,
                    float *restrict twice_variance, Py_ssize_t height, Py_ssize_t width,
                    double *scratch) {
    const Py_ssize_t columns = width - MARGIN;
    double *values = scratch, *squares = values + TAPS * width;
    double *mean_rows = squares + TAPS * width, *square_rows = mean_rows + width;
    for (Py_ssize_t y = 0; y < height; y++) {
        double *restrict value = values + y % TAPS * width;
        double *restrict square = squares + y % TAPS * width;
        for (Py_ssize_t x = 0; x < width; x++) {
            value[x] = doubled[y * width + x];
            square[x] = value[x] * value[x];
        }
        if (y < MARGIN) continue;
        down_exactly(mean_rows, values, width, y + 1);
        down_exactly(square_rows, squares, width, y + 1);
        for (Py_ssize_t x = 0; x < columns; x++) {
            const double mean = across_exactly(mean_rows + x);
            const double square_mean = across_exactly(square_rows + x);
            doubled_mean[x] = (float)mean;
            twice_variance[x] = (float)((square_mean - mean * mean) / 2 + C2);
        }
        doubled_mean += columns;
        twice_variance += columns;
    }
}

/* Check that float32 planes fit together: the first `whole` have the width and the height of the
   first, the others lack the margin. Return a scratch of so many bytes for each column, or NULL. */
static void *prepared(Py_buffer *planes, int whole, int count, Py_ssize_t width, size_t bytes) {
    const Py_ssize_t line = width * (Py_ssize_t)sizeof(float);
    const Py_ssize_t height = width > MARGIN ? planes[0].len / line : 0;
    const Py_ssize_t inner = (height - MARGIN) * (width - MARGIN) * (Py_ssize_t)sizeof(float);
    int right = height > MARGIN && planes[0].len == height * line;
    for (int at = 0; at < count; at++)
        right &= planes[at].len == (at < whole ? planes[0].len : inner);
    if (!right) {
        PyErr_SetString(PyExc_ValueError, "shapes of planes differ");
        return NULL;
    }
    void *scratch = PyMem_Malloc(bytes * (size_t)width);
    return scratch ? scratch : PyErr_NoMemory();
}

static PyObject *release(Py_buffer *planes, int count, void *scratch, PyObject *result) {
    PyMem_Free(scratch);
    for (int at = 0; at < count; at++) PyBuffer_Release(&planes[at]);
    return result;
}

static PyObject *dissimilarity(PyObject *self, PyObject *arguments) {
    Py_buffer planes[4];
    int coarsest;
    Py_ssize_t width;
    if (!PyArg_ParseTuple(arguments, "y*y*y*y*pn", &planes[0], &planes[1], &planes[2], &planes[3],
                          &coarsest, &width))
        return NULL;
    float *scratch = prepared(planes, 2, 4, width, 26 * sizeof(float));
    if (!scratch) return release(planes, 4, NULL, NULL);
    const Py_ssize_t height = planes[0].len / (width * (Py_ssize_t)sizeof(float));
    const double total = sum(planes[0].buf, planes[1].buf, planes[2].buf, planes[3].buf, coarsest,
                             height, width, scratch);
    return release(planes, 4, scratch, PyFloat_FromDouble(total));
}

static PyObject *moments(PyObject *self, PyObject *arguments) {
    Py_buffer planes[3];
    Py_ssize_t width;
    if (!PyArg_ParseTuple(arguments, "y*w*w*n", &planes[0], &planes[1], &planes[2], &width))
        return NULL;
    double *scratch = prepared(planes, 1, 3, width, 24 * sizeof(double));
    if (!scratch) return release(planes, 3, NULL, NULL);
    const Py_ssize_t height = planes[0].len / (width * (Py_ssize_t)sizeof(float));
    measure(planes[0].buf, planes[1].buf, planes[2].buf, height, width, scratch);
    return release(planes, 3, scratch, Py_BuildValue(""));
}

static PyMethodDef methods[] = {
    {"dissimilarity", dissimilarity, METH_VARARGS, NULL},
    {"moments", moments, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL},
};
static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, .m_name = "structure", .m_size = 0,
                                    .m_methods = methods};

PyMODINIT_FUNC PyInit_structure(void) { return PyModuleDef_Init(&module); }
