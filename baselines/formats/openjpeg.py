"""OpenJPEG's encoder at a compression ratio, called in the shared library that imagecodecs brings.

imagecodecs itself passes no ratio on, only a target PSNR. The structures are those of OpenJPEG 2's
public header `openjpeg.h`, whose binary interface has one name since 2.1: libopenjp2.so.7.
"""

from collections.abc import Callable, Sequence
from ctypes import (
    CDLL,
    CFUNCTYPE,
    POINTER,
    Array,
    Structure,
    byref,
    c_byte,
    c_char,
    c_char_p,
    c_float,
    c_int,
    c_int64,
    c_size_t,
    c_uint16,
    c_uint32,
    c_void_p,
    memmove,
    sizeof,
    string_at,
)
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from benchmark.codec import Pixels
from benchmark.errors import Unavailable

SRGB, CODESTREAM, MOST_RESOLUTIONS = 1, 0, 6  # opj_compress's number of resolutions
STREAM_BUFFER_BYTES = 1 << 20
PATH_BYTES = 4096  # OPJ_PATH_LEN

_Message = CFUNCTYPE(None, c_char_p, c_void_p)
_Write = CFUNCTYPE(c_size_t, c_void_p, c_size_t, c_void_p)
_Skip = CFUNCTYPE(c_int64, c_int64, c_void_p)
_Seek = CFUNCTYPE(c_int, c_int64, c_void_p)


class _Parameters(Structure):
    """opj_cparameters_t; neighbours that keep their defaults are one array."""

    _fields_: ClassVar[Sequence[tuple[str, Any]]] = [
        ("tile", c_int * 5),
        ("cp_disto_alloc", c_int),
        ("cp_fixed_alloc", c_int),
        ("cp_fixed_quality", c_int),
        ("cp_matrice", c_void_p),
        ("cp_comment", c_char_p),
        ("csty", c_int),
        ("prog_order", c_int),
        ("progression_changes", c_int * 37 * 32),
        ("numpocs", c_uint32),
        ("tcp_numlayers", c_int),
        ("tcp_rates", c_float * 100),
        ("tcp_distoratio", c_float * 100),
        ("numresolution", c_int),
        ("cblockw_init", c_int),
        ("cblockh_init", c_int),
        ("mode", c_int),
        ("irreversible", c_int),
        ("roi_compno", c_int),
        ("roi_shift", c_int),
        ("res_spec", c_int),
        ("precincts", c_int * 66),
        ("infile", c_char * PATH_BYTES),
        ("outfile", c_char * PATH_BYTES),
        ("index_on", c_int),
        ("index", c_char * PATH_BYTES),
        ("image_offset", c_int * 2),
        ("subsampling_dx", c_int),
        ("subsampling_dy", c_int),
        ("formats", c_int * 2),
        ("jpwl", c_int * 118),
        ("cp_cinema", c_int),
        ("max_comp_size", c_int),
        ("cp_rsiz", c_int),
        ("tp_on", c_byte),
        ("tp_flag", c_byte),
        ("tcp_mct", c_byte),
        ("jpip_on", c_int),
        ("mct_data", c_void_p),
        ("max_cs_size", c_int),
        ("rsiz", c_uint16),
    ]


class _ComponentParameters(Structure):
    """opj_image_cmptparm_t."""

    _fields_: ClassVar[Sequence[tuple[str, Any]]] = [
        (name, c_uint32) for name in ("dx", "dy", "w", "h", "x0", "y0", "prec", "bpp", "sgnd")
    ]


class _Component(Structure):
    """opj_image_comp_t."""

    _fields_: ClassVar[Sequence[tuple[str, Any]]] = [
        *_ComponentParameters._fields_,
        ("resno_decoded", c_uint32),
        ("factor", c_uint32),
        ("data", c_void_p),
        ("alpha", c_uint16),
    ]


class _Image(Structure):
    """opj_image_t."""

    _fields_: ClassVar[Sequence[tuple[str, Any]]] = [
        ("x0", c_uint32),
        ("y0", c_uint32),
        ("x1", c_uint32),
        ("y1", c_uint32),
        ("numcomps", c_uint32),
        ("color_space", c_int),
        ("comps", POINTER(_Component)),
        ("icc_profile_buf", c_void_p),
        ("icc_profile_len", c_uint32),
    ]


@cache
def open_library(path: Path) -> CDLL:
    """Load OpenJPEG; raises `Unavailable` where its structures are not laid out as those above.

    The library fills in its defaults: they have to arrive in the fields of their names, and nothing
    may be written behind the structure.
    """
    library = CDLL(str(path))
    signatures: dict[str, tuple[Any, list[Any]]] = {
        "opj_set_default_encoder_parameters": (None, [c_void_p]),
        "opj_create_compress": (c_void_p, [c_int]),
        "opj_set_error_handler": (c_int, [c_void_p, _Message, c_void_p]),
        "opj_image_create": (
            POINTER(_Image), [c_uint32, POINTER(_ComponentParameters), c_int],
        ),
        "opj_setup_encoder": (c_int, [c_void_p, POINTER(_Parameters), POINTER(_Image)]),
        "opj_stream_create": (c_void_p, [c_size_t, c_int]),
        "opj_stream_set_write_function": (None, [c_void_p, _Write]),
        "opj_stream_set_skip_function": (None, [c_void_p, _Skip]),
        "opj_stream_set_seek_function": (None, [c_void_p, _Seek]),
        "opj_start_compress": (c_int, [c_void_p, POINTER(_Image), c_void_p]),
        "opj_encode": (c_int, [c_void_p, c_void_p]),
        "opj_end_compress": (c_int, [c_void_p, c_void_p]),
        "opj_destroy_codec": (None, [c_void_p]),
        "opj_stream_destroy": (None, [c_void_p]),
        "opj_image_destroy": (None, [POINTER(_Image)]),
    }  # fmt: skip
    refusal = Unavailable(f"{path.name} is no OpenJPEG 2 that this adapter knows")
    for name, (result, arguments) in signatures.items():
        if not hasattr(library, name):
            raise refusal
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    whole = bytearray(b"\xaa" * (sizeof(_Parameters) + PATH_BYTES))
    found = _Parameters.from_buffer(whole)
    library.opj_set_default_encoder_parameters(byref(found))
    defaults = (found.numresolution, found.cblockw_init, found.cblockh_init, found.roi_compno)
    places = (*defaults, found.subsampling_dx, found.subsampling_dy, *found.formats)
    last, behind = whole[sizeof(_Parameters) - sizeof(c_void_p)], whole[sizeof(_Parameters) :]
    if places != (6, 64, 64, -1, 1, 1, -1, -1) or last == 0xAA or set(behind) != {0xAA}:
        raise refusal
    return library


def encode_at_ratio(library: CDLL, pixels: Pixels, ratio: float) -> bytes:
    """Return a codestream of about height * width * 3 / `ratio` bytes, or a little less.

    What `opj_compress -r RATIO -I` does: one layer, one tile, six resolutions (fewer for images
    under 32 px), blocks of 64 x 64, irreversible wavelet and colour transform. Raises
    `RuntimeError` with OpenJPEG's words.
    """
    height, width, components = pixels.shape
    parameters = _Parameters()
    library.opj_set_default_encoder_parameters(byref(parameters))
    parameters.cp_disto_alloc = parameters.tcp_numlayers = 1
    parameters.tcp_rates[0] = ratio
    parameters.irreversible = parameters.tcp_mct = 1
    parameters.numresolution = min(MOST_RESOLUTIONS, min(height, width).bit_length())
    said: list[str] = []
    stream = BytesIO()
    message, write, skip, seek = _callbacks(stream, said)
    image = _image(library, pixels, components)
    codec = library.opj_create_compress(CODESTREAM)
    sink = library.opj_stream_create(STREAM_BUFFER_BYTES, False)
    try:
        library.opj_set_error_handler(codec, message, None)
        library.opj_stream_set_write_function(sink, write)
        library.opj_stream_set_skip_function(sink, skip)
        library.opj_stream_set_seek_function(sink, seek)
        done = (
            library.opj_setup_encoder(codec, byref(parameters), image)
            and library.opj_start_compress(codec, image, sink)
            and library.opj_encode(codec, sink)
            and library.opj_end_compress(codec, sink)
        )
    finally:
        library.opj_stream_destroy(sink)
        library.opj_destroy_codec(codec)
        library.opj_image_destroy(image)
    if not done:
        raise RuntimeError(f"OpenJPEG cannot encode {width} x {height} px: {' '.join(said)}")
    return stream.getvalue()


def _image(library: CDLL, pixels: Pixels, components: int) -> Any:
    height, width = pixels.shape[:2]
    described: Array[_ComponentParameters] = (_ComponentParameters * components)()
    for one in described:
        one.dx = one.dy = 1
        one.w, one.h, one.prec, one.bpp = width, height, 8, 8
    image = library.opj_image_create(components, described, SRGB)
    if not image:
        raise MemoryError(f"OpenJPEG has no memory for {width} x {height} px")
    image.contents.x1, image.contents.y1 = width, height
    for number in range(components):
        plane = np.ascontiguousarray(pixels[:, :, number], np.int32)
        memmove(image.contents.comps[number].data, plane.ctypes.data, plane.nbytes)
    return image


def _callbacks(stream: BytesIO, said: list[str]) -> tuple[Callable[..., Any], ...]:
    """Return what OpenJPEG calls: for its errors, and to write, skip and seek in `stream`."""

    def skip(count: int, _: object) -> int:
        stream.seek(count, 1)
        return count

    def seek(place: int, _: object) -> bool:
        return stream.seek(place) == place

    return (
        _Message(lambda text, _: said.append((text or b"").decode(errors="replace").strip())),
        _Write(lambda buffer, count, _: stream.write(string_at(buffer, count))),
        _Skip(skip),
        _Seek(seek),
    )
