"""Convolution, and its adjoints: see `rules.windows` for what a geometry is.

An input is first copied to *planes*: padded, and for a stride taken apart into the phases that
neighbouring windows read, so that all windows' elements at one position are one run of memory. What
falls between the rows of the result is computed too and left out.
"""

from __future__ import annotations

from typing import Any

from numba.extending import register_jitable

from tapegrad.kernels.fused.lanes import Array, Indices, Int, added
from tapegrad.kernels.fused.tiles import (
    PRODUCTS,
    alternating_runs,
    shifted_run,
    tap_products,
    window_sums,
)
from tapegrad.kernels.fused.vectors import address_of
from tapegrad.kernels.native import like

# The numbers of a geometry. Sizes, strides and paddings are of three dimensions each.
(EXAMPLES, PARTS, GROUPS, CHANNELS, OUTPUTS, W_STRIDE, W_GROUP) = range(7)
SIZES, STRIDE, PAD, PLANE, OUT_SIZES, OUT_STRIDE, OUT_PAD = range(7, 28, 3)
(PLANE_SIZE, LEAD, PLACES, ROW, TAPS, BLOCK, PLANES, ROOM_SIZE, BIAS) = range(28, 37)
NUMBERS = 37


@register_jitable
def to_planes(x: Any, n: Any, planes: Any, begin: Any, numbers: Any) -> None:
    """Copy the example ``n`` to planes, the phases of each channel one after the other."""
    channels = numbers[GROUPS] * numbers[CHANNELS]
    depth, height, width = numbers[SIZES], numbers[SIZES + 1], numbers[SIZES + 2]
    sd, sh, sw = numbers[STRIDE], numbers[STRIDE + 1], numbers[STRIDE + 2]
    pd, ph, pw = numbers[PAD], numbers[PAD + 1], numbers[PAD + 2]
    rows, columns = numbers[PLANE + 1], numbers[PLANE + 2]
    size = numbers[PLANE_SIZE]
    zero = like(x[0], 0)
    for c in range(channels):
        for d in range(max(0, -pd), min(depth, numbers[PLANE] * sd - pd)):
            for h in range(max(0, -ph), min(height, rows * sh - ph)):
                source = (((n * channels + c) * depth + d) * height + h) * width
                i, k = d + pd, h + ph
                phase = ((c * sd + i % sd) * sh + k % sh) * sw
                to = begin + phase * size + numbers[LEAD] + (i // sd * rows + k // sh) * columns
                first, last = max(0, -pw), min(width, columns * sw - pw)
                if sw == 1:
                    shifted_run(
                        zero,
                        address_of(x, source + first),
                        address_of(planes, to + pw + first),
                        last - first,
                        -zero,
                    )
                elif sw == 2:
                    a = first + pw
                    alternating_runs(
                        zero,
                        address_of(x, source + first),
                        address_of(planes, to + a % 2 * size + a // 2),
                        address_of(planes, to + (a + 1) % 2 * size + (a + 1) // 2),
                        last - first,
                    )
                else:
                    for p in range(sw):
                        j = first + (p - pw - first) % sw
                        goal = to + p * size + (j + pw) // sw
                        for q in range((last - j + sw - 1) // sw):
                            planes[goal + q] = x[source + j + q * sw]


@register_jitable
def from_sums(
    sums: Any, begin: Any, phase: Any, out: Any, to: Any, shift: Any, numbers: Any
) -> None:
    """Copy the sums of a phase of an output to where they belong, with its bias."""
    depth, height, width = numbers[OUT_SIZES], numbers[OUT_SIZES + 1], numbers[OUT_SIZES + 2]
    sd, sh, sw = numbers[OUT_STRIDE], numbers[OUT_STRIDE + 1], numbers[OUT_STRIDE + 2]
    pd, ph, pw = numbers[OUT_PAD], numbers[OUT_PAD + 1], numbers[OUT_PAD + 2]
    d_phase, h_phase, w_phase = phase // (sh * sw), phase // sw % sh, phase % sw
    first_h, first_w = (h_phase - ph) % sh, (w_phase - pw) % sw
    count = (width - first_w + sw - 1) // sw
    at_row, at = (first_h + ph) // sh, (first_w + pw) // sw
    zero = like(sums[0], 0)
    for d in range((d_phase - pd) % sd, depth, sd):
        row = (d + pd) // sd * numbers[PLANE + 1] + at_row
        for h in range(first_h, height, sh):
            source = begin + row * numbers[PLANE + 2] + at
            goal = to + (d * height + h) * width + first_w
            if sw == 1:
                shifted_run(
                    zero,
                    address_of(sums, source),
                    address_of(out, goal),
                    count,
                    shift,
                )
            else:
                for j in range(count):
                    out[goal + j * sw] = sums[source + j] + shift
            row += 1


def windowed(
    begin: Int, end: Int, x: Array, w: Array, bias: Array, out: Array, taps: Indices,
    phases: Indices, numbers: Indices, room: Array,
) -> None:  # fmt: skip
    zero = like(x[0], 0)
    groups, outputs, row = numbers[GROUPS], numbers[OUTPUTS], numbers[ROW]
    of_group = numbers[CHANNELS] * numbers[STRIDE] * numbers[STRIDE + 1] * numbers[STRIDE + 2]
    out_size = numbers[OUT_SIZES] * numbers[OUT_SIZES + 1] * numbers[OUT_SIZES + 2]
    for part in range(begin, end):
        start = part * numbers[ROOM_SIZE]
        sums = start + numbers[PLANES]
        first = numbers[EXAMPLES] * part // numbers[PARTS]
        last = numbers[EXAMPLES] * (part + 1) // numbers[PARTS]
        for n in range(first, last):
            to_planes(x, n, room, start, numbers)
            for g in range(groups):
                planes = start + g * of_group * numbers[PLANE_SIZE]
                for phase in range(len(phases) // 2):
                    window_sums(
                        zero,
                        address_of(room, planes),
                        address_of(w, g * numbers[W_GROUP]),
                        address_of(taps, 2 * phases[2 * phase]),
                        phases[2 * phase + 1],
                        numbers[W_STRIDE],
                        outputs,
                        numbers[PLACES],
                        address_of(room, sums),
                        row,
                    )
                    for o in range(outputs):
                        channel = g * outputs + o
                        shift = bias[channel] if numbers[BIAS] else zero
                        to = (n * groups * outputs + channel) * out_size
                        from_sums(room, sums + o * row, phase, out, to, shift, numbers)


def window_products(
    begin: Int, end: Int, bar: Array, y: Array, out: Array, taps: Indices, numbers: Indices,
    room: Array,
) -> None:  # fmt: skip
    zero = like(y[0], 0)
    groups, outputs, row = numbers[GROUPS], numbers[OUTPUTS], numbers[ROW]
    of_group = numbers[CHANNELS] * numbers[STRIDE] * numbers[STRIDE + 1] * numbers[STRIDE + 2]
    depth, height, width = numbers[OUT_SIZES], numbers[OUT_SIZES + 1], numbers[OUT_SIZES + 2]
    count = numbers[TAPS]
    for part in range(begin, end):
        start = part * numbers[ROOM_SIZE]
        bars = start + numbers[BLOCK] * numbers[PLANES]
        first = numbers[EXAMPLES] * part // numbers[PARTS]
        last = numbers[EXAMPLES] * (part + 1) // numbers[PARTS]
        for block in range(first, last, numbers[BLOCK]):
            examples = min(numbers[BLOCK], last - block)
            for k in range(examples):
                to_planes(y, block + k, room, start + k * numbers[PLANES], numbers)
                for c in range(groups * outputs):
                    to = bars + (k * groups * outputs + c) * row
                    source = ((block + k) * groups * outputs + c) * depth * height * width
                    for d in range(depth):
                        for h in range(height):
                            line = to + (d * numbers[PLANE + 1] + h) * numbers[PLANE + 2]
                            given = source + (d * height + h) * width
                            shifted_run(
                                zero,
                                address_of(bar, given),
                                address_of(room, line),
                                width,
                                -zero,
                            )
            for g in range(groups):
                planes = start + g * of_group * numbers[PLANE_SIZE]
                for o in range(0, outputs, PRODUCTS[0]):
                    given = bars + (g * outputs + o) * row
                    for t in range(0, count, PRODUCTS[1]):
                        goal = ((part * groups + g) * outputs + o) * count + t
                        tap_products(
                            zero,
                            address_of(room, planes),
                            numbers[PLANES],
                            address_of(room, given),
                            groups * outputs * row,
                            examples,
                            numbers[PLACES],
                            address_of(taps, 2 * t),
                            count - 1 - t,
                            row,
                            outputs - 1 - o,
                            address_of(out, goal),
                            count,
                        )


def channel_sums(begin: Int, end: Int, x: Array, out: Array, examples: Int, n: Int) -> None:
    channels = len(out)
    for c in range(begin, end):
        whole = 0.0
        for i in range(examples):
            start = (i * channels + c) * n
            total = like(x[0], 0)
            for j in range(n):
                total = added(total, x[start + j])
            whole += total
        out[c] = whole
