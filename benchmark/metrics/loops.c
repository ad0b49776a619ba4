/* Inner loops of psnr.py, deep_features.py and ms_ssim.py in float32, fused so that intermediate
   values are used while cached.

   Pixels are 3 bytes each, row by row; an image's planes are contiguous. SSIM's window has 11 x 11
   taps with the weights of HALF_WINDOW, and is applied only where it fits. */

#define Py_LIMITED_API 0x030b0000
#include <Python.h>
#include <math.h>
#include <stdint.h>

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

/* Define the blurs of 11 rows of a ring, starting with row `first`, and of 11 values in a row. */
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

/* Sum 1 - similarity, and add it to each of `sums` unless NULL; `scratch` has 26 rows. Arrays as in
   ms_ssim.dissimilarity. */
FOR_EVERY_PROCESSOR
static double sum(const float *error, const float *doubled, const float *doubled_mean,
                  const float *twice_variance, int coarsest, Py_ssize_t height, Py_ssize_t width,
                  float *scratch, float *sums) {
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
        if (sums) {
            for (Py_ssize_t x = 0; x < columns; x++) sums[x] += found[x];
            sums += columns;
        }
        doubled_mean += columns;
        twice_variance += columns;
    }
    return total;
}

/* Compute a source's moments; `scratch` has 24 rows. Arrays as in ms_ssim.Moments. */
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

/* Sum the squared differences of bytes. */
FOR_EVERY_PROCESSOR
static uint64_t sum_squares(const uint8_t *some, const uint8_t *others, Py_ssize_t count) {
    uint64_t total = 0;
    while (count > 0) { /* 32 bits hold 66,051 squares of at most 65,025 */
        const Py_ssize_t many = count < 1 << 16 ? count : 1 << 16;
        uint32_t part = 0;
        for (Py_ssize_t at = 0; at < many; at++) {
            const int16_t off = some[at] - others[at];
            part += (uint32_t)(off * off);
        }
        total += part, some += many, others += many, count -= many;
    }
    return total;
}

/* Sum the squared differences of luma in ten-thousandths, for at most 2.8 million pixels. */
FOR_EVERY_PROCESSOR
static uint64_t sum_luma_squares(const uint8_t *some, const uint8_t *others, Py_ssize_t count) {
    uint64_t total = 0;
    for (Py_ssize_t at = 0; at + 2 < count; at += 3) {
        const int32_t off = 2126 * (some[at] - others[at]) +
                            7152 * (some[at + 1] - others[at + 1]) +
                            722 * (some[at + 2] - others[at + 2]);
        total += (uint64_t)((int64_t)off * off);
    }
    return total;
}

/* Write pixels as float32 planes, minus `others` unless NULL. */
FOR_EVERY_PROCESSOR
static void separate(const uint8_t *restrict pixels, const uint8_t *restrict others,
                     float *restrict planes, Py_ssize_t count) {
    float *restrict green = planes + count, *restrict blue = green + count;
    if (others)
        for (Py_ssize_t at = 0; at < count; at++) {
            planes[at] = (float)(pixels[3 * at] - others[3 * at]);
            green[at] = (float)(pixels[3 * at + 1] - others[3 * at + 1]);
            blue[at] = (float)(pixels[3 * at + 2] - others[3 * at + 2]);
        }
    else
        for (Py_ssize_t at = 0; at < count; at++) {
            planes[at] = pixels[3 * at];
            green[at] = pixels[3 * at + 1];
            blue[at] = pixels[3 * at + 2];
        }
}

/* Halve a pair of rows of a plane; a zero precedes the first column of an odd width. */
FOR_EVERY_PROCESSOR
static void halve_rows(const float *above, const float *below, float *restrict half,
                       Py_ssize_t width) {
    if (width % 2) *half++ = (*above++ + *below++) * 0.25f;
    for (Py_ssize_t x = 0; x < width / 2; x++)
        half[x] = ((above[2 * x] + below[2 * x]) + (above[2 * x + 1] + below[2 * x + 1])) * 0.25f;
}

/* Sum the weighted squared differences between two maps' vectors, each divided by its length. */
FOR_EVERY_PROCESSOR
static double sum_unlike(const float *map, const float *other, const float *weights,
                         Py_ssize_t vectors, Py_ssize_t channels) {
    double total = 0;
    for (Py_ssize_t at = 0; at < vectors; at++, map += channels, other += channels) {
        float squares = 0, other_squares = 0, part = 0;
        for (Py_ssize_t c = 0; c < channels; c++) {
            squares += map[c] * map[c];
            other_squares += other[c] * other[c];
        }
        const float length = sqrtf(squares) + 1e-10f, other_length = sqrtf(other_squares) + 1e-10f;
        for (Py_ssize_t c = 0; c < channels; c++) {
            /* divisions, since a fused product and difference would not be exactly 0 */
            const float off = map[c] / length - other[c] / other_length;
            part += weights[c] * (off * off);
        }
        total += part;
    }
    return total;
}

/* Check the shapes of float32 planes: the first `whole` have the shape of the first, the others lack
   the margin. Return scratch memory of this many bytes per column, or NULL. */
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
    Py_buffer planes[5] = {{0}}; /* the last is optional */
    int coarsest;
    Py_ssize_t width;
    if (!PyArg_ParseTuple(arguments, "y*y*y*y*pn|w*", &planes[0], &planes[1], &planes[2],
                          &planes[3], &coarsest, &width, &planes[4]))
        return NULL;
    float *scratch = prepared(planes, 2, planes[4].buf ? 5 : 4, width, 26 * sizeof(float));
    if (!scratch) return release(planes, 5, NULL, NULL);
    const Py_ssize_t height = planes[0].len / (width * (Py_ssize_t)sizeof(float));
    const double total = sum(planes[0].buf, planes[1].buf, planes[2].buf, planes[3].buf, coarsest,
                             height, width, scratch, planes[4].buf);
    return release(planes, 5, scratch, PyFloat_FromDouble(total));
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

/* Parse two buffers of the same size, or raise, and return the loop's sum of squares. */
static PyObject *squares(PyObject *arguments,
                         uint64_t (*loop)(const uint8_t *, const uint8_t *, Py_ssize_t)) {
    Py_buffer images[2];
    PyObject *result = NULL;
    if (!PyArg_ParseTuple(arguments, "y*y*", &images[0], &images[1])) return NULL;
    if (images[0].len == images[1].len)
        result = PyLong_FromUnsignedLongLong(loop(images[0].buf, images[1].buf, images[0].len));
    else
        PyErr_SetString(PyExc_ValueError, "shapes of images differ");
    return release(images, 2, NULL, result);
}

static PyObject *squared_error(PyObject *self, PyObject *arguments) {
    return squares(arguments, sum_squares);
}

static PyObject *squared_luma_error(PyObject *self, PyObject *arguments) {
    return squares(arguments, sum_luma_squares);
}

static PyObject *subtract(PyObject *self, PyObject *arguments) {
    Py_buffer images[3]; /* the second may be None */
    PyObject *result = NULL;
    if (!PyArg_ParseTuple(arguments, "y*z*w*", &images[0], &images[1], &images[2])) return NULL;
    const Py_ssize_t samples = images[0].len;
    if (samples % 3 == 0 && (!images[1].buf || images[1].len == samples) &&
        images[2].len / (Py_ssize_t)sizeof(float) == samples) {
        separate(images[0].buf, images[1].buf, images[2].buf, samples / 3);
        result = Py_BuildValue("");
    } else
        PyErr_SetString(PyExc_ValueError, "shapes of images differ");
    return release(images, 3, NULL, result);
}

/* Halve a plane's rows; a row of zeros precedes an odd number of them. */
static PyObject *halve(PyObject *self, PyObject *arguments) {
    Py_buffer planes[2];
    Py_ssize_t width;
    float *zeros = NULL;
    PyObject *result = NULL;
    if (!PyArg_ParseTuple(arguments, "y*w*n", &planes[0], &planes[1], &width)) return NULL;
    const Py_ssize_t line = width * (Py_ssize_t)sizeof(float);
    const Py_ssize_t half = (width + 1) / 2 * (Py_ssize_t)sizeof(float);
    const Py_ssize_t height = width > 0 ? planes[0].len / line : 0, lacking = height % 2;
    if (width < 1 || planes[0].len != height * line || planes[1].len != (height + 1) / 2 * half)
        PyErr_SetString(PyExc_ValueError, "shapes of planes differ");
    else if (!(zeros = PyMem_Calloc((size_t)width, sizeof(float))))
        PyErr_NoMemory();
    else {
        for (Py_ssize_t y = 0; y < height + lacking; y += 2) {
            const float *below = (float *)planes[0].buf + (y + 1 - lacking) * width;
            halve_rows(lacking && !y ? zeros : below - width, below,
                       (float *)planes[1].buf + y / 2 * (half / (Py_ssize_t)sizeof(float)), width);
        }
        result = Py_BuildValue("");
    }
    return release(planes, 2, zeros, result);
}

static PyObject *unlikeness(PyObject *self, PyObject *arguments) {
    Py_buffer maps[3]; /* two maps, and the channels' weights */
    PyObject *result = NULL;
    if (!PyArg_ParseTuple(arguments, "y*y*y*", &maps[0], &maps[1], &maps[2])) return NULL;
    if (maps[0].len == maps[1].len && maps[2].len && maps[0].len % maps[2].len == 0) {
        const Py_ssize_t vectors = maps[0].len / maps[2].len;
        const Py_ssize_t channels = maps[2].len / (Py_ssize_t)sizeof(float);
        result = PyFloat_FromDouble(
            sum_unlike(maps[0].buf, maps[1].buf, maps[2].buf, vectors, channels));
    } else
        PyErr_SetString(PyExc_ValueError, "shapes of maps differ");
    return release(maps, 3, NULL, result);
}

static PyMethodDef methods[] = {
    {"squared_error", squared_error, METH_VARARGS, NULL},
    {"squared_luma_error", squared_luma_error, METH_VARARGS, NULL},
    {"subtract", subtract, METH_VARARGS, NULL},
    {"halve", halve, METH_VARARGS, NULL},
    {"dissimilarity", dissimilarity, METH_VARARGS, NULL},
    {"moments", moments, METH_VARARGS, NULL},
    {"unlikeness", unlikeness, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL},
};
static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, .m_name = "loops", .m_size = 0,
                                    .m_methods = methods};

PyMODINIT_FUNC PyInit_loops(void) { return PyModuleDef_Init(&module); }
