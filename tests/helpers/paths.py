"""Where this repository and the material beside it lie."""

from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]

#: Images and traces that are never committed.
SHARED = REPOSITORY.parent / "shared"
