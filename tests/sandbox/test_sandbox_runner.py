"""Parts of the runner that can be tried without a container: its frames, and its filter of system calls."""

from __future__ import annotations

import os
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from r1env_sandbox.runner.confinement import seccomp_filter
from r1env_sandbox.runner.files import readable
from r1env_sandbox.runner.protocol import MAX_FRAME_BYTES, Frames, Limit, Program, pack, pack_program, unpack_program

messages = st.lists(
    st.tuples(st.dictionaries(st.text(), st.integers() | st.text()), st.lists(st.binary(), max_size=3)), max_size=3
)


@given(messages, st.integers(1, 50))
def test_frames_come_out_whole_however_the_stream_is_cut(sent, step):
    stream = b"".join(pack(header, *blobs) for header, blobs in sent)
    frames, received = Frames(), []
    for start in range(0, len(stream), step):
        frames.feed(stream[start : start + step])
        while (frame := frames.pop()) is not None:
            received.append(frame)
    assert [({**header, "blobs": [len(blob) for blob in blobs]}, blobs) for header, blobs in sent] == received


def test_a_frame_of_any_length_is_not_waited_for():
    frames = Frames()
    frames.feed(struct.pack(">II", 10, MAX_FRAME_BYTES))
    with pytest.raises(ValueError, match="a frame of"):
        frames.pop()


texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
numbers = st.integers(0, 2**32 - 1)
programs = st.builds(
    Program,
    argv=st.lists(texts, min_size=1, max_size=5),
    environment=st.dictionaries(texts.filter(lambda name: "=" not in name), texts, max_size=5),
    fork=st.booleans(),
    uid=numbers,
    groups=st.lists(numbers, max_size=3),
    folder=texts,
    limits=st.lists(st.builds(Limit, numbers, st.booleans(), st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1)), max_size=3),
)


@given(programs)
def test_a_program_is_unpacked_as_it_was_packed(program):
    assert unpack_program(pack_program(program)) == program


def test_bytes_of_a_file_name_that_are_no_text_arrive_as_they_are():
    program = Program(["/bin/cat", os.fsdecode(b"\xff")], {}, False, 1, [], "/", [])
    assert b"\0\xff\0" in pack_program(program)
    assert unpack_program(pack_program(program)) == program


@pytest.mark.parametrize("argv", [["a\0b"], ["\ud83d"]])
def test_what_no_argument_can_be_is_refused_where_it_is_packed(argv):
    with pytest.raises(ValueError, match=r"null character|surrogates"):
        pack_program(Program(argv, {}, False, 1, [], "/", []))


ALLOW, EPERM, ENOSYS = 0x7FFF0000, 0x00050001, 0x00050026
X86_64, I386, AARCH64 = 0xC000003E, 0x40000003, 0xC00000B7


def answer(machine, architecture, number, argument=0):
    """What the kernel's interpreter would make of the filter."""
    program = list(struct.iter_unpack("HBBI", seccomp_filter(machine)))
    loaded, at = 0, 0
    while True:
        code, if_true, if_false, value = program[at]
        at += 1
        if code == 0x20:
            loaded = {0: number, 4: architecture, 16: argument}[value]
        elif code == 0x06:
            return value
        else:
            holds = loaded == value if code == 0x15 else loaded >= value
            at += if_true if holds else if_false


@pytest.mark.parametrize(
    ("machine", "architecture", "number", "expected"),
    [
        ("x86_64", X86_64, 0, ALLOW),  # read
        ("x86_64", X86_64, 59, ALLOW),  # execve
        ("x86_64", X86_64, 435, ENOSYS),  # clone3: C libraries then use clone
        ("aarch64", AARCH64, 435, ENOSYS),
        ("x86_64", X86_64, 436, ALLOW),  # close_range
        ("x86_64", X86_64, 425, EPERM),  # io_uring_setup
        ("x86_64", X86_64, 101, EPERM),  # ptrace
        ("x86_64", X86_64, 29, EPERM),  # shmget
        ("x86_64", X86_64, 447, EPERM),  # memfd_secret, the last of the table
        ("x86_64", X86_64, 0x40000000 | 521, EPERM),  # x32's ptrace
        ("x86_64", X86_64, 0x40000000, EPERM),
        ("x86_64", I386, 26, EPERM),  # the 32-bit ptrace
        ("x86_64", I386, 3, EPERM),  # and everything else that is 32-bit
        ("aarch64", AARCH64, 117, EPERM),  # ptrace
        ("aarch64", AARCH64, 101, ALLOW),  # nanosleep there
        ("aarch64", X86_64, 0, EPERM),
    ],
)
def test_a_system_call_is_allowed_or_denied(machine, architecture, number, expected):
    assert answer(machine, architecture, number) == expected


@pytest.mark.parametrize(("machine", "architecture", "number"), [("x86_64", X86_64, 41), ("aarch64", AARCH64, 198)])
def test_sockets_that_no_network_namespace_contains_are_denied(machine, architecture, number):
    unix, internet, ciphers, around_the_machine = 1, 2, 38, 40
    assert [answer(machine, architecture, number, family) for family in (unix, internet)] == [ALLOW, ALLOW]
    assert [answer(machine, architecture, number, family) for family in (ciphers, around_the_machine)] == [EPERM, EPERM]
    assert answer(machine, architecture, number + 1, around_the_machine) == ALLOW  # the argument of another call


def test_a_machine_without_a_table_is_said():
    with pytest.raises(KeyError):
        seccomp_filter("pdp11")


@given(st.binary(max_size=1 << 17))
def test_stdin_is_a_file_that_can_be_read_and_not_written(data):
    descriptor = readable(data)
    try:
        assert os.read(descriptor, 1 << 18) == data
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.write(descriptor, b"x")
    finally:
        os.close(descriptor)
