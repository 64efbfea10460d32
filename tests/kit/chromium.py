"""One Chromium per call, in a profile of its own; it and its children end with the call.

What it saw comes back as text or PNG. It resolves no name: neither a page nor Chromium itself reaches
anything but the loopback address, and what a page tried to reach is told.
"""

import asyncio
import json
import os
import shutil
import signal
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

DEADLINE_S = 75.0
"""A page takes two seconds; ten at once on two loaded cores took sixty. Two fit into a 180 s test."""

_QUIET = (
    "--headless",
    "--disable-gpu",
    "--no-first-run",
    "--no-default-browser-check",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-domain-reliability",
    "--disable-sync",
    "--disable-quic",
    "--disable-features=OptimizationHints,MediaRouter,Translate",
    "--disable-dev-shm-usage",  # containers give /dev/shm 64 MB
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
    "--hide-scrollbars",
    "--force-color-profile=srgb",  # exact colours, for the pixels that tests look at
    "--enable-logging=stderr",  # the page's console, CSP violations included
)


@dataclass(frozen=True, slots=True)
class Seen:
    """What one run of Chromium left: the DOM, the lines of the page's console, the addresses asked."""

    dom: str
    console: tuple[str, ...]
    asked: tuple[str, ...]


def find() -> str | None:
    """The path of Chromium or Chrome on this machine; None without one."""
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if path := shutil.which(name):
            return path
    return None


def arguments(directory: Path) -> list[str]:
    """How Chromium is started, with a profile in the directory; FileNotFoundError without one."""
    program = find()
    if program is None:
        raise FileNotFoundError("no chromium, chromium-browser or google-chrome on PATH")
    # It refuses to run as root with its sandbox.
    without = ["--no-sandbox"] if os.geteuid() == 0 else []
    return [program, *_QUIET, f"--user-data-dir={directory / 'profile'}", *without]


async def dump_dom(url: str, directory: Path, *, virtual_ms: int = 4000, width: int = 800) -> Seen:
    """The page's DOM as HTML after `virtual_ms` of its own time, in a window that wide."""
    net_log = directory / "net.json"
    options = ("--dump-dom", f"--virtual-time-budget={virtual_ms}", f"--log-net-log={net_log}")
    dom, log = await _run(url, directory, f"--window-size={width},1000", *options)
    console = tuple(line for line in log.splitlines() if ":CONSOLE" in line)
    return Seen(dom, console, _asked(json.loads(await asyncio.to_thread(net_log.read_text))))


def _asked(net_log: dict[str, Any]) -> tuple[str, ...]:
    """Every address a page asked for, in order; requests of Chromium's own have no origin."""
    start = net_log["constants"]["logEventTypes"]["URL_REQUEST_START_JOB"]
    started = [event["params"] for event in net_log["events"] if event["type"] == start and "params" in event]
    return tuple(p["url"] for p in started if p.get("initiator", "").startswith("http"))


async def screenshot(
    url: str, directory: Path, *, width: int, height: int, dark: bool = False, virtual_ms: int = 4000
) -> bytes:
    """The page as PNG at that window size, in CSS pixels, in the light or the dark scheme."""
    target = directory / "page.png"
    await _run(
        url,
        directory,
        f"--screenshot={target}",
        f"--window-size={width},{height}",
        f"--virtual-time-budget={virtual_ms}",
        f"--blink-settings=preferredColorScheme={0 if dark else 1}",
    )
    return await asyncio.to_thread(target.read_bytes)


async def _run(url: str, directory: Path, *options: str) -> tuple[str, str]:
    """Standard output and the log of one run."""
    process = await asyncio.create_subprocess_exec(
        *arguments(directory),
        *options,
        url,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "HOME": str(directory), "XDG_CONFIG_HOME": str(directory)},
        start_new_session=True,  # a process group of its own, so that its children end with it
    )
    try:
        out, err = await asyncio.wait_for(process.communicate(), DEADLINE_S)
    finally:
        if process.returncode is None:
            os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
    log = err.decode(errors="replace")
    if process.returncode != 0:
        raise RuntimeError(f"Chromium ended with {process.returncode}:\n{log[-2000:]}")
    return out.decode(), log


def pixels(png: bytes) -> NDArray[np.uint8]:
    """The pixels of an 8-bit RGB or RGBA PNG as rows x columns x RGB, without an image library."""
    if png[:8] != b"\x89PNG\r\n\x1a\n":
        raise ValueError("not a PNG")
    width, depth, colour = int.from_bytes(png[16:20]), png[24], png[25]
    if depth != 8 or colour not in (2, 6) or png[28] != 0:
        raise ValueError(f"not an 8-bit RGB(A) PNG without interlace: depth {depth}, colour type {colour}")
    step = 3 if colour == 2 else 4
    data, at = b"", 8
    while at < len(png):
        size = int.from_bytes(png[at : at + 4])
        if png[at + 4 : at + 8] == b"IDAT":
            data += png[at + 8 : at + 8 + size]
        at += size + 12
    coded = np.frombuffer(zlib.decompress(data), np.uint8).reshape(-1, 1 + width * step)
    rows = np.zeros((len(coded) + 1, width * step), np.uint8)
    for y, line in enumerate(coded):
        rows[y + 1] = _unfilter(int(line[0]), line[1:], rows[y], step)
    return rows[1:].reshape(-1, width, step)[:, :, :3]


def _unfilter(kind: int, row: NDArray[np.uint8], above: NDArray[np.uint8], step: int) -> NDArray[np.uint8]:
    """One row of a PNG without its filter (https://www.w3.org/TR/png-3/#9Filters)."""
    if kind == 0:
        return row
    if kind == 1:
        return np.cumsum(row.reshape(-1, step), axis=0, dtype=np.uint8).reshape(-1)
    if kind == 2:
        return row + above
    guess = _average if kind == 3 else _paeth
    left, up = bytearray(step), bytes(step) + above.tobytes()  # one empty pixel before the first
    for i, delta in enumerate(row.tobytes()):
        left.append((delta + guess(left[i], up[i + step], up[i])) & 255)
    return np.frombuffer(bytes(left[step:]), np.uint8)


def _average(left: int, up: int, _corner: int) -> int:
    return (left + up) // 2


def _paeth(left: int, up: int, corner: int) -> int:
    """Whichever neighbour is nearest to left + up - corner; ties go in that order."""
    if up == corner:
        return left
    if left == corner:
        return up
    by_left, by_up, by_corner = abs(up - corner), abs(left - corner), abs(left + up - 2 * corner)
    if by_left <= by_up and by_left <= by_corner:
        return left
    return up if by_up <= by_corner else corner
