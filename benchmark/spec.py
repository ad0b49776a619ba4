"""Parse, resolve and load specs, which are codecs with options as text; split lists of names."""

import inspect
import os
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from benchmark import errors, plugins, registry
from benchmark.errors import BadOption, BenchError, Reason, Unavailable, UnknownName, UsageError
from benchmark.registry import ALIASES, CODECS, is_python_file, is_user_code

if TYPE_CHECKING:
    from benchmark.codec import Codec, CodecInfo

ESCAPES = r"within a value, write `\,` for a comma and `\:` for a colon"
SEED = "seed"  # option of a codec whose decoder draws random numbers
NAME = "name"  # option of every codec: its label in tables, without any other effect
LIST_OPTION = "checkpoint"  # option whose value may be a list of files
PATHS = ("path", "file", "checkpoint")  # options of the registry's codecs that are files or folders


class CodecSpec(NamedTuple):
    """A codec and its options as portable text: `jpeg:subsampling=444:optimize=1`."""

    name: str  # a key of CODECS, a plugin's name, or path.py:Class
    options: tuple[tuple[str, str], ...]  # sorted; without defaults after `resolve`
    # Options that affect neither streams nor pixels, such as time limits: not stored in rows
    neutral_options: tuple[tuple[str, str], ...] = ()

    @classmethod
    def parse(cls, name: str, variant: str) -> "CodecSpec":
        """Return the spec of a row's columns `codec` and `variant`."""
        return cls(name, _options(variant, split_unescaped(variant, ":") if variant else []))

    @classmethod
    def parse_row(cls, row: Mapping[str, Any]) -> "CodecSpec":
        """Return the spec of a row."""
        return cls.parse(row["codec"], row["variant"])

    @property
    def identity(self) -> "CodecSpec":
        """The spec without `neutral_options`, as stored in rows."""
        return self._replace(neutral_options=())

    def remove_options(self, names: Collection[str]) -> "CodecSpec":
        """Return the spec without the named options."""
        return self._replace(options=tuple(pair for pair in self.options if pair[0] not in names))

    def add_options(self, options: Iterable[tuple[str, str]]) -> "CodecSpec":
        """Return the spec with further options."""
        return self._replace(options=tuple(sorted((*self.options, *options))))

    @property
    def variant(self) -> str:
        """The options as text; empty without options."""
        escaped_options = ((key, re.sub("[:,]", r"\\\g<0>", value)) for key, value in self.options)
        return ":".join(f"{key}={value}" for key, value in escaped_options)

    @property
    def text(self) -> str:
        """The spec in the form that `--codecs` takes."""
        return f"{self.name}:{self.variant}" if self.options else self.name

    @property
    def with_all_options(self) -> "CodecSpec":
        """The spec as a user types it, with `neutral_options` among the options."""
        return CodecSpec(self.name, tuple(sorted((*self.options, *self.neutral_options))))

    @property
    def label(self) -> str:
        """Name in tables and figures: the option `name`, else the spec without folders.

        >>> CodecSpec.parse("folder", "name=Mine:path=a:seed=1:seeds=seed*").label
        'Mine seed=1'
        """
        options = dict(self.options)
        if NAME not in options:
            return self._replace(name=self.name.rpartition("/")[2]).text
        return f"{options[NAME]} {SEED}={options[SEED]}" if SEED in options else options[NAME]


def refers_to_code(spec: CodecSpec) -> bool:
    """Return whether a spec, or its option `base`, refers to a program or Python file to run."""
    return _refers_to_code(spec.name) or base_refers_to_code(spec)


def base_refers_to_code(spec: CodecSpec) -> bool:
    """Return whether the option `base` of a spec refers to a program or Python file to run."""
    base = split_unescaped(dict(spec.options).get("base", ""), ":")[0]
    return bool(base) and _refers_to_code(ALIASES.get(base, base).partition(":")[0])


def _refers_to_code(codec: str) -> bool:
    return codec not in CODECS or bool(read_declaration(codec, "runs_programs"))


def split_unescaped(text: str, separator: str) -> list[str]:
    r"""Split a text at separators that no backslash precedes; keep backslashes.

    >>> split_unescaped(r"a:b\:c", ":")
    ['a', 'b\\:c']
    """
    return re.split(rf"(?<!\\){separator}", text)


def split_names(text: str) -> list[str]:
    r"""Split a list at commas that are neither escaped nor inside brackets, as in a title.

    >>> split_names(r"jpeg, Mine (level 3, fast),a\,b")
    ['jpeg', 'Mine (level 3, fast)', 'a\\,b']
    """
    names: list[str] = []
    for part in split_unescaped(text, ","):
        is_open = bool(names) and names[-1].count("(") > names[-1].count(")") and ")" in part
        names = [*names[:-1], f"{names[-1]},{part}"] if is_open else [*names, part]
    return [name.strip() for name in names]


def split_codecs(text: str) -> list[str]:
    """Split a list of codecs at commas, except between files of the option `checkpoint`."""
    codecs: list[str] = []
    for part in split_names(text):
        last_option = split_unescaped(codecs[-1], ":")[-1] if codecs else ""
        file = part.partition(":")[0]
        if last_option.startswith(f"{LIST_OPTION}=") and "." in file and not is_python_file(file):
            codecs[-1] += rf"\,{part}"
        else:
            codecs.append(part)
    return codecs


def requested_names(codecs: str) -> list[str]:
    """Return the requested codecs; empty for "all"."""
    names = split_codecs(codecs)
    return [] if "all" in names else names


def listed_datasets(text: str) -> list[str]:
    r"""Split a list of datasets; a comma in a folder's name is escaped.

    >>> listed_datasets(r"kodak, clic2020:mobile,my\,photos")
    ['kodak', 'clic2020:mobile', 'my,photos']
    """
    if os.path.exists(text):
        return [text]
    names = (name.strip().replace("\\,", ",") for name in split_unescaped(text, ","))
    return list(dict.fromkeys(filter(None, names))) or [text]


def text_of_list(datasets: Iterable[str | Path]) -> str:
    r"""Join names, such as datasets, with commas, which are escaped inside names.

    >>> print(text_of_list(["my,photos", r"ours:checkpoint=a\,b"]))
    my\,photos,ours:checkpoint=a\,b
    """
    return ",".join(re.sub(r"(?<!\\),", r"\\,", str(name)) for name in datasets)


def file_list(text: str) -> list[str]:
    """Return the files of an option that may list several, separated by commas."""
    return [text] if os.path.exists(text) else [part.strip() for part in text.split(",")]


def parse_codec(text: str) -> CodecSpec:
    r"""Parse a spec from the command line, with escapes `\:` and `\,` inside a value.

    >>> parse_codec("./mine.py:Mine:level=3").name
    './mine.py:Mine'
    >>> parse_codec("hyperprior:metric=ms-ssim").text
    'compressai:metric=ms-ssim:model=bmshj2018-hyperprior'
    """
    name, *option_texts = split_unescaped(text, ":")
    name, *alias_options = split_unescaped(ALIASES.get(name, name), ":")
    if name.endswith(".py"):
        class_name = (
            option_texts.pop(0) if option_texts and "=" not in option_texts[0] else ""
        )  # without a class, `plugins.load` raises
        name = f"{_normalise_path(name, os.path.join('.', ''))}:{class_name}"
    elif not re.match(r"[A-Za-z][\w-]*$", name):
        raise UsageError(f"{name!r} is not the name of a codec; {ESCAPES}")
    elif name not in CODECS and not is_user_code(name):
        choices = [*CODECS, *ALIASES, *plugins.installed()]
        raise UnknownName("codec", name, choices, _suggest_codec(name))
    if name in CODECS and option_texts and "=" not in option_texts[0]:
        unnamed_option = read_declaration(name, "unnamed_option")
        option_texts = (
            [f"{unnamed_option}={option_texts[0]}", *option_texts[1:]]
            if unnamed_option
            else option_texts
        )
    options = {**dict(_options(text, alias_options)), **dict(_options(text, option_texts))}
    return CodecSpec(name, tuple(sorted(options.items())))


def _suggest_codec(value: str) -> str:
    """Return the listed variant that has an option with this value; "" if there is none.

    >>> _suggest_codec("cheng2020-anchor"), _suggest_codec("cheng2021")
    ('compressai:model=cheng2020-anchor', '')
    """
    listed_texts = ((codec, read_declaration(codec, "shown") or ()) for codec in CODECS)
    variants = (f"{codec}:{text}" for codec, texts in listed_texts for text in texts)
    return next((variant for variant in variants if variant.endswith(f"={value}")), "")


def codec_class(spec: CodecSpec) -> type[Any]:
    """Import the class of a spec; `Unavailable` without a library, `UsageError` for a bad file."""
    result: type[Any]
    if spec.name not in CODECS:
        if not is_user_code(spec.name):  # otherwise, any class of any package could be named
            raise UnknownName("codec", spec.name, CODECS)
        from benchmark.own_codec import complete_class

        return complete_class(spec.name, plugins.load(spec.name, "class"))
    path, _, attribute = CODECS[spec.name].partition(":")
    try:
        result = getattr(import_module(path), attribute)
    except ImportError as error:
        sentence = f"{spec.name} needs the Python package {error.name}: {error}"
        raise Unavailable(sentence, Reason("package", error.name or "")) from error
    return result


def read_declaration(codec: str, attribute: str) -> Any:
    """Return what a codec of the registry declares, in `FACTS` or on its class; None if nothing."""
    facts = registry.declared_facts()
    if attribute in facts and codec in facts["facts"]:
        return facts[attribute].get(codec)
    try:
        return getattr(codec_class(CodecSpec(codec, ())), attribute, None)
    except Unavailable:
        return None


def resolve(spec: CodecSpec) -> list[CodecSpec]:
    """Return the variants of a spec, without default options.

    A bare name may stand for several variants. So may a spec without a required option, if the
    variants set it: `ours:size=micro` is `ours:beta=0:size=micro` and `ours:beta=3.84:size=micro`.
    Each has a label of its own: `ours:name=A` is "A beta=0" and "A beta=3.84".
    """
    codec_type = codec_class(spec)
    parameters = parameters_of(spec, codec_type)
    options = {}
    for key, text in spec.options:
        kind, default = str, None
        if key in parameters:
            kind = parameters[key].annotation
            default = _normalise_value(spec.name, key, str(parameters[key].default), kind)
        value = _normalise_value(spec.name, key, text, kind)
        if value != default:
            options[key] = value
    given_names = {key for key, _ in spec.options} - {NAME}
    missing_names = {
        key for key, value in parameters.items() if value.default is value.empty
    } - given_names
    if not missing_names and hasattr(codec_type, "complete_options"):
        options = codec_type.complete_options(options)
    names = codec_type.neutral_options(options) if hasattr(codec_type, "neutral_options") else ()
    neutral_options = tuple(sorted((key, options.pop(key)) for key in names if key in options))
    variants: tuple[Mapping[str, str], ...] = getattr(codec_type, "variants", ())
    if given_names and not any(missing_names & variant.keys() for variant in variants):
        variants = ()
    specs = []
    for variant in variants or ({},):
        variant_options = {**variant, **options}
        if NAME in options:
            labels = (options[NAME], *(f"{key}={value}" for key, value in variant.items()))
            variant_options[NAME] = " ".join(labels)
        specs.append(CodecSpec(spec.name, tuple(sorted(variant_options.items())), neutral_options))
    return specs


def sole_variant(text: str, option: str) -> CodecSpec:
    """Return the only variant of the codec given as an option's value; `BadOption` for several."""
    variants = resolve(parse_codec(text))
    if len(variants) > 1:
        spec_list = ", ".join(variant.text for variant in variants)
        raise BadOption(f"{option}={text} stands for several codecs ({spec_list}): choose one")
    return variants[0]


def seeded_variants(spec: CodecSpec, count: int) -> list[CodecSpec]:
    """Return the variants of a generative codec with the seeds 0 to `count` - 1.

    Returns only `spec` if the codec has no option `seed`, `spec` sets it, or `draws` returns False.
    """
    codec_type, options = codec_class(spec), dict(spec.options)
    if SEED not in parameters_of(spec, codec_type) or SEED in options:
        return [spec]
    if hasattr(codec_type, "draws") and not codec_type.draws(options):
        return [spec]
    user_spec = spec.with_all_options
    seeded_specs = (user_spec.add_options([(SEED, str(seed))]) for seed in range(count))
    return [variant for seeded_spec in seeded_specs for variant in resolve(seeded_spec)]


def load_codec(spec: CodecSpec) -> Any:
    """Construct a codec, converting options to the types of its constructor."""
    codec_type = codec_class(spec)
    parameters = parameters_of(spec, codec_type)
    values: dict[str, Any] = {}
    for key, text in (*spec.options, *spec.neutral_options):
        if key == NAME and key not in parameters:
            continue
        if key not in parameters:
            option_names = ", ".join(parameters) or "none"
            runs_programs = spec.name in CODECS and read_declaration(spec.name, "runs_programs")
            hint = f"; {ESCAPES}" if runs_programs else ""
            if isinstance(sweep := getattr(codec_type, "sweep", ()), tuple) and sweep:
                hint += f"; its setting is chosen with --points {spec.name}.{sweep[0].name}=..."
            raise BadOption(f"{spec.name} has no option {key!r}; it has: {option_names}{hint}")
        kind = parameters[key].annotation
        try:
            values[key] = kind(text) if kind in (int, float) else text
        except ValueError:
            raise BadOption(f"{spec.name}: {key}={text!r} is not of type {kind.__name__}") from None
    missing_names = [
        key
        for key, parameter in parameters.items()
        if parameter.default is parameter.empty and key not in values
    ]
    if missing_names:
        raise BadOption(f"{spec.name} needs {', '.join(f'{key}=...' for key in missing_names)}")
    obstacles = getattr(codec_type, "package_obstacles", None)
    registry.require_packages(spec.name, getattr(codec_type, "packages", ()), obstacles)
    try:
        with plugins.printing_to_stderr():
            return codec_type(**values)
    except BenchError:
        raise
    except errors.FOREIGN_ERRORS as error:
        if spec.name in CODECS:
            raise
        raise plugins.author_failure(spec.name, codec_type, "the constructor of", error) from error


def describe_codec(spec: CodecSpec, codec: "Codec") -> "CodecInfo":
    """Return a codec's description; `UsageError` if a user's codec breaks the contract."""
    if spec.name in CODECS:
        return codec.describe()
    from benchmark.own_codec import checked_description

    return checked_description(spec.name, codec)


def _options(text: str, option_texts: Sequence[str]) -> tuple[tuple[str, str], ...]:
    options = {}
    for option_text in option_texts:
        key, equals, value = option_text.partition("=")
        if not key or not equals:
            raise BadOption(
                f"{option_text!r} in {text!r} is not an option: write key=value; {ESCAPES}"
            )
        if key in options:
            raise BadOption(f"{text!r} gives the option {key!r} twice")
        options[key] = unescape(value)
    return tuple(sorted(options.items()))


def _normalise_value(codec: str, key: str, text: str, kind: object) -> str:
    """Return the stored form of an option's value: one spelling for numbers and paths."""
    if kind in (int, float):
        try:
            value = float(text)
        except ValueError:
            return text  # `load_codec` refuses it
        return str(int(value)) if value.is_integer() else repr(value)
    if not text or codec not in CODECS or key not in PATHS:
        return text
    if key == "file":  # keep links: paths in a worker's file are relative to this path
        return _normalise_path(text)
    files = file_list(text) if key == LIST_OPTION else [text]
    return ",".join(_normalise_path(os.path.realpath(file)) for file in files)


def normalise_codec(text: str) -> str:
    """Return the stored form of a codec that refers to code; other texts stay unchanged."""
    try:
        if is_python_file(text):
            return parse_codec(text).text
        name, colon, _ = text.partition(":")
        if colon and name in CODECS and read_declaration(name, "runs_programs"):
            return resolve(parse_codec(text))[0].identity.text
    except BenchError:
        pass
    return text


def _normalise_path(text: str, prefix: str = "") -> str:
    """Normalise a path and resolve linked folders; make it relative if in the current folder."""
    try:
        folder, name = os.path.split(text)
        path = os.path.normpath(os.path.join(os.path.realpath(folder), name))
        relative_path = os.path.relpath(path)
    except (OSError, ValueError):  # the folder was removed, or the text cannot be a path
        return text
    return path if relative_path.startswith(os.pardir) else prefix + relative_path


def parameters_of(spec: CodecSpec, codec_type: type[Any]) -> dict[str, inspect.Parameter]:
    """Return the constructor's parameters by name, which are the codec's options."""
    try:
        signature = inspect.signature(codec_type, eval_str=True)
    except errors.FOREIGN_ERRORS as error:  # evaluating annotations runs the author's code
        raise plugins.author_failure(spec.name, codec_type, "the signature of", error) from error
    keyword_kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return {
        key: value for key, value in signature.parameters.items() if value.kind in keyword_kinds
    }


def unescape(value: str) -> str:
    r"""Return a text with `\:` and `\,` as `:` and `,`."""
    return value.replace(r"\:", ":").replace(r"\,", ",")
