"""Changes a file over NFS with libnfs, whose own programs can only read and make new files.

usage: libnfs.py OPERATION URL [ARGUMENT]; standard input is what is written.
"""

import ctypes
import ctypes.util
import os
import sys

lib = ctypes.CDLL(ctypes.util.find_library("nfs") or "libnfs.so.13")


class Url(ctypes.Structure):
    _fields_ = [("server", ctypes.c_char_p), ("path", ctypes.c_char_p), ("file", ctypes.c_char_p)]


lib.nfs_init_context.restype = ctypes.c_void_p
lib.nfs_parse_url_full.restype = ctypes.POINTER(Url)
lib.nfs_get_error.restype = ctypes.c_char_p
nfs = ctypes.c_void_p(lib.nfs_init_context())


def must(result: int, what: str) -> int:
    if result < 0:
        print(f"{what}: {lib.nfs_get_error(nfs).decode()}", file=sys.stderr)
        sys.exit(1)
    return result


def write(path: bytes, flags: int, data: bytes) -> None:
    file = ctypes.c_void_p()
    must(lib.nfs_open(nfs, path, flags, ctypes.byref(file)), "open")
    while data:
        count = must(lib.nfs_write(nfs, file, ctypes.c_uint64(len(data)), data), "write")
        data = data[count:]
    must(lib.nfs_fsync(nfs, file), "fsync")
    must(lib.nfs_close(nfs, file), "close")


operation, address, *arguments = sys.argv[1:]
url = lib.nfs_parse_url_full(nfs, address.encode())
if not url:
    sys.exit(f"{address}: {lib.nfs_get_error(nfs).decode()}")
must(lib.nfs_mount(nfs, url.contents.server, url.contents.path), "mount")
name = url.contents.file
if operation == "write":
    write(name, os.O_WRONLY | os.O_TRUNC, sys.stdin.buffer.read())
elif operation == "append":
    write(name, os.O_WRONLY | os.O_APPEND, sys.stdin.buffer.read())
elif operation == "rename":
    must(lib.nfs_rename(nfs, name, arguments[0].encode()), "rename")
elif operation == "unlink":
    must(lib.nfs_unlink(nfs, name), "unlink")
elif operation == "symlink":
    must(lib.nfs_symlink(nfs, arguments[0].encode(), name), "symlink")
else:
    sys.exit(f"unknown operation {operation}")
