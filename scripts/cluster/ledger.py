"""What `make clean` may remove: noted before it comes to this machine, and only if it was not there already.

Packages and clusters have records of their own, in `engine` and `kind`.
"""

from __future__ import annotations

from cluster.run import CACHE

# On each image that is built here, with the image's own name as its value: an image that somebody derives from ours
# inherits the label, but has another name.
LABEL = "django-streaming-kubernetes.made-here"
FILE = CACHE / "put-here"


def label(image: str) -> str:
    """Return the option for `docker build` by which `make clean` knows an image again.

    Args:
        image: its name and tag.
    """
    return f"--label={LABEL}={image}"


def note(kind: str, value: str) -> None:
    """Note something that is about to be put here.

    Args:
        kind: image, network or folder; forwarding for a setting of the kernel as it was; emptied for what `make clean`
            has seen to hold nothing of others.
        value: its name, path or value.
    """
    if value not in noted(kind):
        FILE.parent.mkdir(parents=True, exist_ok=True)
        with FILE.open("a") as file:
            file.write(f"{kind} {value}\n")


def noted(kind: str) -> list[str]:
    """Return what was noted of a kind (as for `note`)."""
    if not FILE.exists():
        return []
    lines = (line.partition(" ") for line in FILE.read_text().splitlines())
    return [value for its_kind, _, value in lines if its_kind == kind]
