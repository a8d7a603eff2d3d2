"""Types a line behind the first into nano, as a person at a terminal does, and saves: nano.py FILE LINE."""
import os
import pty
import select
import sys

SECONDS_MAX = 15

path, line = sys.argv[1:]
pid, terminal = pty.fork()
if pid == 0:
    os.environ["TERM"] = "xterm"
    os.execvp("nano", ["nano", "--ignorercfiles", path])


def wait_for(text: bytes) -> None:
    seen = b""
    while text not in seen:
        if not select.select([terminal], [], [], SECONDS_MAX)[0]:
            sys.exit(f"nano does not show {text!r}; it shows {seen!r}")
        seen += os.read(terminal, 4096)


wait_for(b"Exit")
# ^N goes to the line behind the header, ^O writes, ^X leaves.
os.write(terminal, b"\x0e" + line.encode() + b"\r\x0f")
wait_for(b"File Name to Write")
os.write(terminal, b"\r")
wait_for(b"Wrote")
os.write(terminal, b"\x18")
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
