"""Run an API server for tests that need no node: etcd, API server and controller manager on loopback ports.

It needs no root, and any number run side by side, also next to the cluster:

    with ApiServer.temporary() as server:
        use(server.kubeconfig)
"""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tools.localcluster import build, packages, settings
from tools.localcluster.control_plane import ControlPlane
from tools.localcluster.ports import USUAL, remembered
from tools.localcluster.settings import Folders

ANY_FREE = dict.fromkeys(USUAL, 0)


@dataclass(frozen=True)
class ApiServer:
    """An API server in a folder."""

    folder: Path
    dies_with_caller: bool = False

    @classmethod
    @contextmanager
    def temporary(cls) -> Iterator["ApiServer"]:
        """Run one for the length of the block; it ends with this process at the latest, even a killed one."""
        with tempfile.TemporaryDirectory(prefix="api-server-") as folder:
            server = cls(Path(folder), dies_with_caller=True)
            try:
                server.up()
                yield server
            finally:
                server.down()

    @classmethod
    def default_folder(cls, name: str = "default") -> Path:
        """Return the folder of the one that a command brought up under this name."""
        return settings.folders().state.with_name("api-servers") / name

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig."""
        return self.folder / "kubeconfig"

    @property
    def audit_log(self) -> Path:
        """Path of the audit log: every answered request, one JSON object a line."""
        return self.folder / "logs" / "audit.log"

    def up(self, folders: Folders | None = None) -> Path:
        """Start what does not run; return the path of the kubeconfig."""
        packages.ensure(packages.FOR_API_SERVER)
        plane = self._control_plane(folders or settings.folders())
        plane.prepare()
        plane.start()
        return self.kubeconfig

    def down(self) -> None:
        """End it and delete its folder."""
        plane = self._control_plane(settings.folders(), build_missing=False)
        plane.processes.stop(plane.processes.names())
        shutil.rmtree(self.folder, ignore_errors=True)

    def _control_plane(self, folders: Folders, build_missing: bool = True) -> ControlPlane:
        return ControlPlane(
            folder=self.folder,
            programs=build.built("kubernetes", folders) if build_missing else Path(),
            ports=remembered(self.folder, ANY_FREE),
            with_scheduler=False,
            dies_with_caller=self.dies_with_caller,
        )
