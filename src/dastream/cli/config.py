"""A file of options and settings, in the place of a long command line."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import click

from dastream.errors import ConfigError
from dastream.settings import Settings

__all__ = ["config_option", "given_settings"]

_SETTINGS = "dastream.settings"


def _read(context: click.Context, option: click.Parameter, path: Path | None) -> None:
    """Give the file's options to click as defaults, and keep its settings. Raises ConfigError."""
    del option
    if path is None:
        return
    flags = {_flag(option): option for option in context.command.params}
    options: dict[str, Any] = {}
    settings: dict[str, Any] = {}
    for name, value in _parsed(path).items():
        known = flags.get(name)
        if known is not None and known.name and name != "config":
            is_one_of_many = getattr(known, "multiple", False) and not isinstance(value, list)
            options[known.name] = [value] if is_one_of_many else value
        elif name in Settings.__struct_fields__:
            settings[name] = value
        else:
            raise ConfigError(
                f"config: {path.name} has an unknown name: {name!r}",
                hint="names are those of the options and settings, as flush_age_seconds_max",
            )
    context.default_map = options
    context.meta[_SETTINGS] = settings


def _flag(option: click.Parameter) -> str:
    """An option's name as it is called with: `--sink` is `sink`."""
    return option.opts[-1].lstrip("-").replace("-", "_")


def _parsed(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"config: {path.name} is no TOML", hint=str(error)) from None


config_option = click.option(
    "--config",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    is_eager=True,
    expose_value=False,
    callback=_read,
    help='TOML with options and settings by their names, as in `sink = ["s3://…"]` and '
    "`flush_age_seconds_max = 30`. Options go before the file, the file before the environment.",
)


def given_settings() -> dict[str, Any]:
    """The settings that are in the file of the command that runs."""
    settings: dict[str, Any] = click.get_current_context().meta.get(_SETTINGS, {})
    return settings
