"""Print the oldest versions that pyproject.toml allows, as a constraints file for pip.

``python .ci/oldest.py > .ci/constraints-oldest.txt``
"""

import sys
import tomllib
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

LOWER = ("==", ">=", "~=")


def oldest_versions(project: dict[str, Any]) -> dict[str, str]:
    """The lower bound of each requirement.

    Args:
        project: The table ``project`` of a pyproject.toml.

    Returns:
        Versions by the packages' names, sorted; of extras as well, except those that only name other extras.

    Raises:
        ValueError: A requirement has no lower bound.
    """
    lines = [*project["dependencies"], *(line for extra in project["optional-dependencies"].values() for line in extra)]
    requirements = [Requirement(line) for line in lines]
    versions = {}
    for requirement in requirements:
        if requirement.name == project["name"]:
            continue
        bounds = [bound.version for bound in requirement.specifier if bound.operator in LOWER]
        if len(bounds) != 1:
            raise ValueError(f"'{requirement}' needs one lower bound: {requirement.name}>=VERSION")
        versions[canonicalize_name(requirement.name)] = bounds[0]
    return dict(sorted(versions.items()))


def main() -> None:
    path = Path(__file__).parents[1] / "pyproject.toml"
    project = tomllib.loads(path.read_text(encoding="utf-8"))["project"]
    sys.stdout.write("# Written by .ci/oldest.py from pyproject.toml\n")
    for name, version in oldest_versions(project).items():
        sys.stdout.write(f"{name}=={version}\n")


if __name__ == "__main__":
    main()
