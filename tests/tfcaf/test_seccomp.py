"""The filter of system calls on each machine: its program, run by hand."""

import os
import struct

import pytest

from qllm_jax.tfcaf.sandbox import seccomp

ALLOWED, REFUSED, KILLED = 0x7FFF0000, 0x00050001, 0x80000000
# From the tables of the kernel: execve, socket, connect, ptrace, kill, unshare, io_uring_setup, process_vm_readv; on
# x86_64 fork and vfork.
NUMBERS = {
    "x86_64": (59, 41, 42, 101, 62, 272, 425, 310, 57, 58), "aarch64": (221, 198, 203, 117, 129, 97, 425, 270)
}  # fmt: skip
CLONE, TGKILL = {"x86_64": 56, "aarch64": 220}, {"x86_64": 234, "aarch64": 131}
MMAP, PRLIMIT64 = {"x86_64": 9, "aarch64": 222}, {"x86_64": 302, "aarch64": 261}
THREAD = 0x00010000  # CLONE_THREAD


def answer(machine: str, number: int, argument: int = 0, arch: int | None = None) -> int:
    """Run the filter of a machine on a system call and return its verdict."""
    arch = seccomp._ARCH[machine] if arch is None else arch
    data, program, at, value = struct.pack("IIQQ", number, arch, 0, argument), seccomp._instructions(machine), 0, 0
    while True:
        code, if_true, if_false, operand = program[at]
        if code == seccomp._RETURN:
            return operand
        if code == seccomp._LOAD:
            (value,), jump = struct.unpack_from("I", data, operand), 0
        else:
            holds = {
                seccomp._EQUAL: value == operand,
                seccomp._AT_LEAST: value >= operand,
                seccomp._ANY_BIT: bool(value & operand),
            }
            jump = if_true if holds[code] else if_false
        at += 1 + jump


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_the_filter_of_system_calls_on_each_machine(machine: str):
    assert {answer(machine, number) for number in NUMBERS[machine]} == {REFUSED}
    assert answer(machine, MMAP[machine]) == ALLOWED
    assert answer(machine, 435) == 0x00050000 | 38  # clone3: not there, so that the C library falls back to clone
    assert answer(machine, 0x40000000 | 9) == REFUSED  # x32
    assert answer(machine, MMAP[machine], arch=0x40000003) == KILLED  # i386


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_calls_that_reach_other_processes_are_for_its_own_alone(machine: str):
    assert answer(machine, CLONE[machine], THREAD) == ALLOWED
    assert answer(machine, CLONE[machine], 17) == REFUSED  # a process
    assert answer(machine, TGKILL[machine], os.getpid()) == ALLOWED
    assert answer(machine, TGKILL[machine], os.getpid() + 1) == REFUSED
    assert answer(machine, PRLIMIT64[machine], 0) == ALLOWED
    assert answer(machine, PRLIMIT64[machine], os.getppid()) == REFUSED
