"""Machines that run grids: many blocks of threads, each on one multiprocessor, with memory that its threads share."""

from __future__ import annotations

from dataclasses import dataclass

# Functions of a target (`TargetFunction`) that copy memory to what a block shares, by what their names begin with;
# then come the bytes, or of a wait the groups of copies that may still be on the way: fewer than MOST_AHEAD.
COPY_ASYNC, COPY_COMMIT, COPY_WAIT = "copy_async_", "copy_commit", "copy_wait_"
COPY_LOAD, COPY_STORE = "copy_load_", "copy_store_"
MOST_AHEAD = 3
# What was stored to shared memory before is seen by units that read it by themselves.
COPY_FENCE = "copy_fence"
# Tiles of tensors that an engine copies to shared memory, with zeros for what is beyond the tensor: a barrier begins,
# is told of bytes that are to come, and is waited for; a tile comes from a place of so many coordinates, innermost
# first.
TILES_BEGIN, TILES_EXPECT, TILES_WAIT, TILE_COPY = "tiles_begin", "tiles_expect", "tiles_wait", "tile_copy_"
TILE_LINE_BYTES = 128  # of a line of a tile; what it exchanges among eight lines begins at a multiple of those
# Functions of float32: what the lane of that number has of what all lanes of a warp give, which all have to call; 2 to
# a power, within 2^-22 of it; the larger of two, the number where one is NaN.
VALUE_OF_LANE, POWER_OF_TWO, LARGER_NUMBER = "value_of_lane", "power_of_two", "larger_number"


@dataclass(frozen=True)
class Grid:
    """What schedules of grids read of a machine.

    Attributes:
        multiprocessors: how many blocks run at a time at least.
        fmas_per_cycle: float32 multiply-adds that one of them does in a cycle.
        threads: that one of them holds at a time.
        threads_per_block: at most.
        warp: threads that take every step together.
        registers: of 32 bits, of one multiprocessor.
        shared_bytes: that a block shares at most without asking for more.
        most_shared_bytes: and when it asks.
        bytes_per_cycle: that all of them together read from memory in a cycle.
        has_async_copies: whether memory is copied to what a block shares without passing registers.
        has_tile_copies: whether an engine copies tiles of tensors there, which one thread asks for.
        tensor_instructions: what multiplies matrices; a machine that lacks one does not run code with it.
        tensor_per_cycle: such instructions that one of them starts in a cycle.
        architectures: what code is generated for, as the compiler of kernels names it.
    """

    multiprocessors: int
    fmas_per_cycle: int
    threads: int
    threads_per_block: int
    warp: int
    registers: int
    shared_bytes: int
    most_shared_bytes: int
    bytes_per_cycle: float
    has_async_copies: bool
    has_tile_copies: bool
    tensor_instructions: tuple[str, ...]
    tensor_per_cycle: float
    architectures: tuple[str, ...]
