"""The command line that repeats a command: its options that were given, in full."""

import shlex
from typing import Any

import typer


def command_line(context: typer.Context) -> str:
    """Return a command as a shell takes it, without the options that were left out."""
    words: list[str] = []
    for option in context.command.params:
        source = context.get_parameter_source(option.name or "")
        if source is not None and source.name == "COMMANDLINE":
            words += _words(option, context.params[option.name or ""])
    names: list[str] = []
    present: Any = context
    while present.parent is not None:
        names.insert(0, present.info_name or "")
        present = present.parent
    return shlex.join(["bench", *names, *words])


def _words(option: Any, value: Any) -> list[str]:
    values = value if isinstance(value, list | tuple) else [value]
    if option.param_type_name == "argument":
        return [str(one) for one in values]
    if option.is_flag:
        return [option.opts[0] if value else option.secondary_opts[0]]
    return [word for one in values for word in (option.opts[0], str(one))]
