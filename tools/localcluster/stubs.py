"""Make hollow shared libraries: files that the dynamic linker must find, without any code.

The PyTorch that PyPI has for this platform is built for CUDA. It links to 2.7 GB of libraries that must be found
when it is imported, and of which a CPU never calls a function. So they are not installed: a hollow library of a few
kilobytes takes the place of each, and leads every function to one trap instruction.
"""

import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tools.localcluster.shell import run

CUDA_FUNCTION = re.compile(r"(cublas|cudnn|cuFile|cufft|curand|cusolver|cusparse|nccl|nvrtc|nvshmem)")
CUDA_LIBRARY = re.compile(
    r"lib(cublas|cublasLt|cudnn|cufile|cufft|curand|cusolver|cusparse|cusparseLt|nccl|nvrtc|nvshmem_host)\.so"
)


@dataclass(frozen=True)
class Symbol:
    """A function that a library needs from another; `version` is empty where it does not say which one."""

    name: str
    version: str


def undefined(table: str) -> set[Symbol]:
    """Return the CUDA functions that a library lacks, from the text of `readelf --dyn-syms --wide`.

    Its columns are Num, Value, Size, Type, Bind, Vis, Ndx and Name, the last one as `name@version`.
    """
    found = set()
    for line in table.splitlines():
        columns = line.split()
        if len(columns) >= 8 and columns[6] == "UND" and CUDA_FUNCTION.match(columns[7]):
            name, _, version = columns[7].partition("@")
            found.add(Symbol(name, version))
    return found


def needed(dynamic: str) -> set[str]:
    """Return the CUDA libraries that a library links to, from the text of `readelf --dynamic`."""
    names = re.findall(r"\(NEEDED\).*\[(.+)\]", dynamic)
    return {name for name in names if CUDA_LIBRARY.match(name)}


def assembly(symbols: Iterable[Symbol]) -> str:
    """Return GNU assembler text in which all functions share one address."""
    names = sorted({symbol.name for symbol in symbols})
    labels = [f".weak {name}\n.type {name},@function\n{name}:" for name in names]
    return "\n".join([".text", *labels, "ud2", '.section .note.GNU-stack,"",@progbits', ""])


def version_script(symbols: Iterable[Symbol]) -> str:
    """Return the linker script that gives symbols their versions; empty where none has one."""
    versions: dict[str, set[str]] = defaultdict(set)
    for symbol in symbols:
        if symbol.version:
            versions[symbol.version].add(symbol.name)
    return "".join(
        f"{version} {{ global: {' '.join(f'{name};' for name in sorted(names))} }};\n"
        for version, names in sorted(versions.items())
    )


def fill_in(folder: Path) -> list[str]:
    """Make the CUDA libraries that the libraries of a folder need, in that folder; return their names."""
    libraries = sorted(folder.glob("*.so"))
    wanted = {name for path in libraries for name in needed(run(["readelf", "--dynamic", path]))}
    tables = [run(["readelf", "--dyn-syms", "--wide", path]) for path in libraries]
    symbols = {symbol for table in tables for symbol in undefined(table)}
    for name in wanted:
        # Symbols that do not say where they come from may be looked for in any library: all define them.
        own = {symbol for symbol in symbols if symbol.version not in wanted - {name}}
        _link(folder / name, own)
    return sorted(wanted)


def _link(library: Path, symbols: set[Symbol]) -> None:
    source, part, script = (library.with_name(f".{library.name}.{end}") for end in ("s", "o", "map"))
    source.write_text(assembly(symbols))
    script.write_text(version_script(symbols) or "{ global: *; };\n")
    run(["as", source, "-o", part])
    run(["ld", "-shared", "-soname", library.name, f"--version-script={script}", "-o", library, part])
    for leftover in (source, part, script):
        leftover.unlink()
