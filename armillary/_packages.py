"""The packages of this product are its own; importing this module makes sure of it."""

from importlib.util import find_spec
from pathlib import Path


def refuse_shadowed_packages() -> None:
    """Raise ImportError when a foreign simulator, planner or runtime hides ours.

    Those names are generic: a user's own folder may carry one and come first on the path.
    """
    home = Path(__file__).resolve().parent.parent
    for name in ("simulator", "planner", "runtime"):
        spec = find_spec(name)
        if spec is None:
            raise ImportError(
                f"armillary needs its own package {name!r} at {home / name}, and it is not there; "
                "install armillary again",
                name=name,
            )
        places = [spec.origin] if spec.origin else [*(spec.submodule_search_locations or ())]
        found = Path(places[0] if places else name).resolve()
        folder = found.parent if spec.origin else found
        if folder != home / name:
            raise ImportError(
                f"armillary needs its own package {name!r} at {home / name}, but the path leads to "
                f"{found} first; rename that one, or start from another folder "
                "(the `armillary` command or PYTHONSAFEPATH=1 leave the current folder out)",
                name=name,
                path=str(found),
            )


refuse_shadowed_packages()
