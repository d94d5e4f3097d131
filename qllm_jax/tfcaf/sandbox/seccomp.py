"""A seccomp filter through ctypes: no other program, no other process, no socket (seccomp(2), Linux)."""

import ctypes
import os
import platform
import struct

from qllm_jax.tfcaf.sandbox.libc import LIBC, checked

# Numbers of system calls: linux/arch/x86/entry/syscalls/syscall_64.tbl and include/uapi/asm-generic/unistd.h.
_REFUSED = {
    "x86_64": """
        execve 59 execveat 322 fork 57 vfork 58 socket 41 socketpair 53 connect 42 bind 49 ptrace 101
        process_vm_readv 310 process_vm_writev 311 kill 62 tkill 200 rt_sigqueueinfo 129 rt_tgsigqueueinfo 297
        pidfd_open 434 pidfd_send_signal 424 pidfd_getfd 438 unshare 272 setns 308 mount 165 umount2 166
        pivot_root 155 chroot 161 bpf 321 perf_event_open 298 io_uring_setup 425 keyctl 250 add_key 248
        request_key 249 userfaultfd 323 open_by_handle_at 304 fsopen 430 fsmount 432 move_mount 429 open_tree 428
    """,
    "aarch64": """
        execve 221 execveat 281 socket 198 socketpair 199 connect 203 bind 200 ptrace 117 process_vm_readv 270
        process_vm_writev 271 kill 129 tkill 130 rt_sigqueueinfo 138 rt_tgsigqueueinfo 240 pidfd_open 434
        pidfd_send_signal 424 pidfd_getfd 438 unshare 97 setns 268 mount 40 umount2 39 pivot_root 41 chroot 51
        bpf 280 perf_event_open 241 io_uring_setup 425 keyctl 219 add_key 217 request_key 218 userfaultfd 282
        open_by_handle_at 265 fsopen 430 fsmount 432 move_mount 429 open_tree 428
    """,
}
_CLONE = {"x86_64": 56, "aarch64": 220}
_TGKILL = {"x86_64": 234, "aarch64": 131}
_PRLIMIT64 = {"x86_64": 302, "aarch64": 261}
_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}  # AUDIT_ARCH_*
_CLONE3, _X32 = 435, 0x40000000
_CLONE_THREAD = 0x00010000
_ALLOW, _ERRNO, _KILL = 0x7FFF0000, 0x00050000, 0x80000000  # SECCOMP_RET_*
_EPERM, _ENOSYS = 1, 38
_PR_SET_SECCOMP, _MODE_FILTER = 22, 2
# Instructions of classic BPF: load a word, jump if equal, greater or equal, any bit set; return.
_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_NR, _ARCH_AT, _ARG0 = 0, 4, 16  # offsets in struct seccomp_data


class _Program(ctypes.Structure):
    _fields_ = [("len", ctypes.c_ushort), ("filter", ctypes.c_char_p)]


def enter() -> None:
    """Filter this thread and all that it will start. OSError where the kernel or the machine has no such filter."""
    machine = platform.machine()
    if machine not in _ARCH:
        raise OSError(f"no table of system calls for {machine}")
    code = b"".join(struct.pack("HBBI", *instruction) for instruction in _instructions(machine))
    program = _Program(len(code) // 8, code)
    checked(LIBC.prctl(_PR_SET_SECCOMP, _MODE_FILTER, ctypes.byref(program), 0, 0))


def _instructions(machine: str) -> list[tuple[int, int, int, int]]:
    """(code, jump if true, jump if false, operand); a jump counts the instructions that it skips."""
    program = [(_LOAD, 0, 0, _ARCH_AT), (_EQUAL, 1, 0, _ARCH[machine]), (_RETURN, 0, 0, _KILL), (_LOAD, 0, 0, _NR)]
    program += [(_AT_LEAST, 0, 1, _X32), (_RETURN, 0, 0, _ERRNO | _EPERM)]
    refused = [(int(number), _EPERM) for number in _REFUSED[machine].split()[1::2]]
    # The C library falls back to clone, whose flags can be read here: threads may start, processes may not.
    for number, error in (*refused, (_CLONE3, _ENOSYS)):
        program += [(_EQUAL, 0, 1, number), (_RETURN, 0, 0, _ERRNO | error)]
    for number, test, operand in (
        (_CLONE[machine], _ANY_BIT, _CLONE_THREAD),
        (_TGKILL[machine], _EQUAL, os.getpid()),  # abort() signals its own process
        (_PRLIMIT64[machine], _EQUAL, 0),  # its own limits: one of processor time could end another process
    ):
        program += [(_EQUAL, 0, 4, number), (_LOAD, 0, 0, _ARG0), (test, 1, 0, operand)]
        program += [(_RETURN, 0, 0, _ERRNO | _EPERM), (_RETURN, 0, 0, _ALLOW)]
    return [*program, (_RETURN, 0, 0, _ALLOW)]
