"""The beginning of programs that tests run in a process of their own, on a machine where this package is not installed.

Of what is installed, all but torch, numpy, transformers and what these need is as good as not there.
"""

import re
import sys
from importlib.metadata import packages_distributions, requires

from packaging.requirements import Requirement


def normalise(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


needed: set[str] = set()
queue = ["torch", "numpy", "transformers"]
while queue:
    name = normalise(queue.pop())
    if name not in needed:
        needed.add(name)
        for requirement in map(Requirement, requires(name) or ()):
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                queue.append(requirement.name)
others = {
    module for module, names in packages_distributions().items() if not needed & {normalise(name) for name in names}
}
# An entry that is None makes `import` raise ModuleNotFoundError and find_spec find nothing.
sys.modules.update(dict.fromkeys(others | {"brainbert"}))
