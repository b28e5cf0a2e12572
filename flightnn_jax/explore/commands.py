"""The commands that made a member, and those that build its hardware, to be pasted into a shell."""

import shlex
from collections.abc import Mapping
from typing import Any, NamedTuple

from flightnn_jax.explore.members import Member

_WIDEST = 72  # letters of a line


class Program(NamedTuple):
    """What commands are told with.

    Attributes:
      version: of flightnn_jax.
      config: a config file, as `--config` takes it, from which others are told by flags.
      fields: of its config, as `Config.to_dict` gives them.
      rtl: whether there is a command that makes Verilog.
    """

    version: str
    config: str
    fields: Mapping[str, Any]
    rtl: bool = False


def made(member: Member, program: Program) -> list[str]:
    """The command that trains the same again.

    A network of a user's own is no flag: then the config file that defines it has to be filled in.
    """
    fields = member.run.config
    own = isinstance(fields.get("network"), dict)
    words = [f"--config={'FILE_OF_THE_NETWORK.py' if own else program.config}"]
    words.append(f"--workdir={member.run.workdir}")
    if member.data_dir is not None:
        words.append(f"--data_dir={member.data_dir}")
    for name, value in fields.items():
        if (
            name in program.fields
            and not isinstance(value, dict)
            and (own or value != program.fields[name])
        ):
            words.append(f"--config.{name}={_text(value)}")
    return [_command("launch.train", words)]


def build(member: Member, device: str, style: str, program: Program) -> list[str]:
    """The commands from the run to integers, their proof, their costs, and Verilog."""
    workdir, file = member.run.workdir, f"--integers={member.integers}"
    if member.scheme.activation_bits is None:
        return []  # floats have no integers
    commands = [
        _command("launch.lower", [f"--workdir={workdir}"]),
        _command("launch.verify", [f"--run={workdir}"]),
        _command("launch.estimate", [file, f"--device={device}", f"--style={style}"]),
    ]
    return commands + [_command("launch.rtl", [file, f"--out={workdir / 'rtl'}"])] * program.rtl


def _text(value: Any) -> str:
    """A value as `Config.override` reads it."""
    if value is None:
        return "none"
    if isinstance(value, list):
        return ",".join(map(str, value))
    return str(value)


def _command(module: str, words: list[str]) -> str:
    """A command in one line, or with each flag in a line of its own where one is too long."""
    parts = [f"python -m {module}", *map(shlex.quote, words)]
    line = " ".join(parts)
    return line if len(line) <= _WIDEST else " \\\n    ".join(parts)
