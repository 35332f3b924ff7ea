"""A phone whose time passes only when a test says so, while its network and the server go on.

A page gives its network seconds: ten until the server greets it, four until it answers a ping. An hour of the page
passes in a second, so its time stops while the page waits for an answer: how slow the machine is makes no difference.
"""

import asyncio
import time

from tests.browser.phone import Phone
from tests.waiting import PATIENCE, until

STEP_MS = 1000
"""Shorter than what a page waits for any answer."""

AWAITED = """
globalThis.awaited = new Set();
globalThis.WebSocket = class extends WebSocket {
  constructor(...given) {
    super(...given);
    this.owed = new Set(["hello"]);
    awaited.add(this);
    this.addEventListener("message", ({ data }) => {
      const { type, id } = JSON.parse(data);
      for (const answer of [type, id]) this.owed.delete(answer);
    });
    this.addEventListener("close", () => awaited.delete(this));
  }
  send(text) {
    super.send(text);
    const { type, id } = JSON.parse(text);
    if (type === "ping") this.owed.add("pong");
    else if (id !== undefined) this.owed.add(id);
  }
  close(...given) {
    awaited.delete(this);
    super.close(...given);
  }
};
"""
"""The sockets that a page has, each with the answers that it owes."""


async def stop_clock(on: Phone) -> None:
    """From now on time passes only by `pass_time`, in all pages of the phone. Their network goes on."""
    await on.online()  # half a minute passes below: a page that still waits for `hello` would give up and connect again
    now = time.time()
    await on.context.add_init_script(AWAITED)
    await on.page.clock.install(time=now - PATIENCE)  # it goes on until it is stopped
    await on.page.clock.pause_at(now)
    await on.page.reload()
    await on.online()


async def pass_time(on: Phone, ms: int) -> None:
    for left in range(ms, 0, -STEP_MS):
        await on.page.clock.run_for(min(left, STEP_MS))
        await until(lambda: nothing_awaited(on))


async def nothing_awaited(on: Phone) -> bool:
    owed = "() => [...globalThis.awaited ?? []].every((socket) => socket.owed.size === 0)"
    return all(await asyncio.gather(*(page.evaluate(owed) for page in on.context.pages)))
