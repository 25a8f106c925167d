"""The asyncio loop of the background: one for the process, and none in a child before it asks."""

import asyncio
import gc
import subprocess
import sys

import pytest

from antiphon import background
from antiphon.background import background_loop
from loop_support import with_sources


def test_there_is_one_and_it_runs_in_another_thread() -> None:
    loop = background_loop()
    assert loop is background_loop()
    assert asyncio.run_coroutine_threadsafe(asyncio.sleep(0, "slept"), loop).result(30) == "slept"


def test_it_can_be_ended_and_started_again() -> None:
    loop = background_loop()
    background._end()
    assert loop.is_closed()
    background._end()
    again = background_loop()
    assert not again.is_closed()
    background._end()


PROGRAM = """
import os, sys, threading
from antiphon import background
first = background.background_loop()
child = os.fork()
if child == 0:
    other = background.background_loop()
    assert other is not first and threading.active_count() == 2
    sys.exit(7)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="forks")
def test_a_child_has_its_own_and_both_end_with_their_process() -> None:
    command = [sys.executable, "-W", "error", "-W", "ignore::DeprecationWarning", "-c", PROGRAM]
    done = subprocess.run(
        command, env=with_sources(), capture_output=True, text=True, timeout=30, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "7\n", "")


ENDING = """
import asyncio
from antiphon.background import background_loop

async def wait(name):
    try:
        print(name, "begins")
        await asyncio.sleep(60)
    finally:
        print(name, "ends")

began = asyncio.run_coroutine_threadsafe(wait("first"), background_loop())
asyncio.run_coroutine_threadsafe(asyncio.sleep(0), background_loop()).result(30)
asyncio.run_coroutine_threadsafe(wait("last"), background_loop())
"""


def test_what_still_runs_when_the_process_ends_is_cancelled() -> None:
    command = [sys.executable, "-X", "dev", "-W", "error", "-c", ENDING]
    done = subprocess.run(
        command, env=with_sources(), capture_output=True, text=True, timeout=30, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[0] == "first begins"
    assert "first ends" in done.stdout


def test_a_coroutine_that_ends_the_program_when_it_is_cancelled_ends_itself_only() -> None:
    async def end() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            sys.exit("refused")

    loop = background_loop()
    ending = asyncio.run_coroutine_threadsafe(end(), loop)
    asyncio.run_coroutine_threadsafe(asyncio.sleep(0), loop).result(30)
    background._end()
    assert loop.is_closed()
    del ending
    gc.collect()


def test_starting_over_forgets_the_parent_s() -> None:
    loop = background_loop()
    running = background._running
    assert running is not None
    background._start_over()
    assert background_loop() is not loop
    background._end()
    running.end()
