"""The verbs of the `armillary` command, one file each.

A verb lives in `armillary/commands/<verb>.py` as a function named `command`, whose parameters are
the options and whose docstring is the help; one that is a keyword of Python has an underscore
behind it, there and in Python. Such a file imports only the standard library and typer
at its top; whatever is heavy is imported inside the function, so that `--help` stays fast.
"""

from keyword import iskeyword

VERBS: tuple[str, ...] = (
    "plan",
    "simulate",
    "whatif",
    "size",
    "explain",
    "export",
    "import",
    "run",
    "calibrate",
    "compare",
    "validate",
    "list",
    "init",
    "check",
    "schema",
)
"""The verbs in the order in which `--help` lists them."""


def python_name(verb: str) -> str:
    """Return what a verb is called in Python."""
    return f"{verb}_" if iskeyword(verb) else verb
