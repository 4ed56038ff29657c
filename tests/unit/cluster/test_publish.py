"""What is refused before anything leaves the machine."""

from __future__ import annotations

import pytest
from cluster import publish
from cluster.run import Trouble


@pytest.mark.parametrize("wrong", ["", "https://registry.test", "registry.test/Team", "registry.test/"])
def test_what_is_no_registry_is_refused(wrong: str) -> None:
    with pytest.raises(Trouble, match=r"^REGISTRY is '.*', but must be a host"):
        publish.push(wrong)
