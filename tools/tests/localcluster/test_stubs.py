"""Hollow libraries define what others ask for, under the versions that they ask for."""

from tools.localcluster.stubs import Symbol, assembly, needed, undefined, version_script

TABLE = """\
   Num:    Value          Size Type    Bind   Vis      Ndx Name
     1: 0000000000000000     0 FUNC    GLOBAL DEFAULT  UND cublasCreate_v2@libcublas.so.13 (5)
     2: 0000000000000000     0 FUNC    GLOBAL DEFAULT  UND ncclSend
     3: 0000000000000000     0 FUNC    GLOBAL DEFAULT  UND malloc@GLIBC_2.2.5 (2)
     4: 0000000000001000     9 FUNC    GLOBAL DEFAULT   12 cudnnOwn
"""


def test_only_missing_cuda_functions_are_taken() -> None:
    assert undefined(TABLE) == {Symbol("cublasCreate_v2", "libcublas.so.13"), Symbol("ncclSend", "")}


def test_only_cuda_libraries_are_filled_in() -> None:
    dynamic = "\n".join(
        f" 0x0000000000000001 (NEEDED) Shared library: [{name}]" for name in ("libnccl.so.2", "libc.so.6")
    )
    assert needed(dynamic) == {"libnccl.so.2"}


def test_symbols_are_defined_with_their_versions() -> None:
    symbols = undefined(TABLE)
    assert "cublasCreate_v2:" in assembly(symbols)
    assert "ncclSend:" in assembly(symbols)
    assert version_script(symbols) == "libcublas.so.13 { global: cublasCreate_v2; };\n"
