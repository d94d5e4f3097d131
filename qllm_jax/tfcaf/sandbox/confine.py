"""Layers by which a process locks itself in before it reads a candidate. Each that the system lacks is reported.

Nothing here imports jax or numpy; the first steps have to be done by a process of one thread.
"""

import os
import resource
import signal
import struct
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

from qllm_jax.tfcaf.sandbox import landlock, seccomp
from qllm_jax.tfcaf.sandbox.libc import LIBC, checked

MAX_FILES = 64  # open at a time
_NEW_USER, _NEW_NET, _NEW_IPC = 0x10000000, 0x40000000, 0x08000000  # unshare(2)
_PARENT_DEATH, _NO_NEW_PRIVILEGES = 1, 38  # prctl(2)
_CAPABILITIES_V3 = 0x20080522  # capset(2)

ACTIVE = "active"


def enter(cpu_s: int, memory_bytes: int, parent: int) -> dict[str, str]:
    """Set limits, then drop privileges, then forbid system calls. Returns "active" or the reason why not, by layer."""
    return {
        "limits": _attempt(lambda: _set_limits(cpu_s, memory_bytes)),
        "namespaces": _attempt(lambda: checked(LIBC.unshare(_NEW_USER | _NEW_NET | _NEW_IPC))),
        "capabilities": _attempt(_drop_capabilities),
        "no_new_privileges": _attempt(lambda: checked(LIBC.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0))),
        # A change of credentials would undo this: it comes after them.
        "dies_with_parent": _attempt(lambda: _die_with(parent)),
        "landlock": _attempt(landlock.forbid_effects),
        "seccomp": _attempt(seccomp.enter),
    }


def forbid_reading() -> dict[str, str]:
    """Forbid reading, after the imports, but of Python's library and of the packages that are in use."""
    return {"landlock_reading": _attempt(lambda: landlock.forbid_reading(_in_use()))}


def has_no_network(layers: dict[str, str]) -> bool:
    """True if some active layer keeps the process off the network."""
    return ACTIVE in (layers.get("namespaces"), layers.get("seccomp"))


def _attempt(layer: Callable[[], object]) -> str:
    try:
        layer()
    except (OSError, AttributeError, ValueError) as error:  # no such call, not permitted, not on this system
        return f"not available: {error}"
    return ACTIVE


def _set_limits(cpu_s: int, memory_bytes: int) -> None:
    failed = []
    for name, soft, hard in (
        ("RLIMIT_CPU", cpu_s, cpu_s + 1),
        ("RLIMIT_FSIZE", 0, 0),
        ("RLIMIT_CORE", 0, 0),
        ("RLIMIT_NOFILE", MAX_FILES, MAX_FILES),
        ("RLIMIT_AS", memory_bytes, memory_bytes),
    ):
        try:
            resource.setrlimit(getattr(resource, name), (soft, hard))
        except (OSError, ValueError, AttributeError):
            failed.append(name)
    if failed:
        raise OSError(f"cannot set {', '.join(failed)}")


def _drop_capabilities() -> None:
    header = struct.pack("Ii", _CAPABILITIES_V3, 0)
    checked(LIBC.capset(header, struct.pack("6I", *[0] * 6)))


def _die_with(parent: int) -> None:
    checked(LIBC.prctl(_PARENT_DEATH, signal.SIGKILL, 0, 0, 0))
    if os.getppid() != parent:  # it died in the meantime
        os._exit(1)


def _in_use() -> Iterable[Path]:
    """Return folders of the standard library and of imported packages, and single files of other modules."""
    found = {Path(os.__file__).parent}
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        top = sys.modules.get(name.partition(".")[0])
        package = getattr(top, "__path__", None)
        if file and package:
            found.update(Path(folder) for folder in package)
        elif file:
            found.add(Path(file))
    return sorted(path for path in found if path.exists())
