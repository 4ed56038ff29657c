"""The machine that the tests share."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator

import pytest
from cluster import edges, engine, images

from tests.recovery.machine import Machine


@pytest.fixture(scope="session")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """A machine with the images that were built from package registries: it reaches no network."""
    engine.ensure()
    source = images.get("registries", edges.find(edges.DEFAULT))
    folder = tmp_path_factory.mktemp("machine")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (("CLUSTER", "recovery"), ("IMAGES", "registries"), ("KUBECONFIG", f"{folder}/kubeconfig")):
            patch.setenv(name, value)
        machine = Machine(folder)
        machine.start()
        try:
            machine.start_engine()
            wanted = (source.node_image, *source.edge_images, source.base, source.builder)
            save = machine.command("docker", "--host", f"unix://{folder}/engine", "save", *wanted)
            with subprocess.Popen(save, stdout=subprocess.PIPE) as saved:
                subprocess.run(machine.command("docker", "load"), stdin=saved.stdout, check=True, timeout=400)
            yield machine
        finally:
            machine.stop()
    shutil.rmtree(folder)
