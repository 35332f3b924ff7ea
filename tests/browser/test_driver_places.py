"""No two buttons that end something are in one place: a thumb that is late finds nothing that it could end.

Every button ends something, unless it is known only to ask, to choose, or to go back. So a new button is measured too.
"""

from itertools import combinations
from typing import Any

import pytest
from playwright.async_api import Browser, Geolocation, expect

from tests.browser.conftest import check_in_both_themes, shoot
from tests.browser.phone import Phone, phone, settled, tap
from tests.browser.test_driver_page import ORDER, value
from tests.browser.test_driver_thumbs import FREEZE, SIZES, button, undo
from tests.waiting import until
from tests.web.conftest import Site

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]

LOOKS = [(size, 100) for size in SIZES] + [("320", 200), ("390", 200), ("small-side", 200)]
"""Screens, and the size of their text in percent."""

FINAL = """
() => {
  const harmless = [
    "[data-action='break']", "[data-action='extend']", "[data-action='trouble']", "[data-action='undo']",
    "[data-theme-toggle]", "#sound",
    "#notify", "#by-hand", "#do-write", "#forget", "#install", "#locate", "#call-me", "#reject", "#back",
    ".notice button", "dialog .chips button", "button[value='']",
  ].join();
  const modal = document.querySelector("dialog:modal");
  const around = modal ?? (document.getElementById("offer").hidden ? document.body : document.getElementById("offer"));
  const acts = document.querySelector(".acts");
  const dock = acts?.checkVisibility() ? acts : document.getElementById("controls");
  const found = [];
  for (const button of around.querySelectorAll("button")) {
    if (!button.checkVisibility() || button.disabled) continue;
    const { left, top, right, bottom } = button.getBoundingClientRect();
    const below = dock.checkVisibility() && button.closest("main") && !dock.contains(button);
    const cover = below && dock.getBoundingClientRect();
    const hides = cover && cover.left < right && cover.right > left;
    const clip = button.closest("#reasons .chips")?.getBoundingClientRect();
    const low = Math.min(bottom, hides ? cover.top : (clip?.bottom ?? innerHeight));
    if (top >= low || button.matches(harmless)) continue;
    found.push({
      name: button.textContent, left: Math.max(left, 0), right: Math.min(right, innerWidth), top, bottom: low,
      whole: top >= 0 && bottom <= innerHeight && left >= 0 && right <= innerWidth,
      cut: button.scrollWidth > button.clientWidth,
    });
  }
  return found;
}
"""

WIDE = """
() => [...document.querySelectorAll("body, body *")]
  .filter((one) => one.checkVisibility() && !one.closest("[inert], .sr, svg") && one.getBoundingClientRect().width)
  .filter((one) => one.getBoundingClientRect().right > innerWidth + 1 || one.getBoundingClientRect().left < -1)
  .map((one) => `${one.tagName} ${one.id} ${one.textContent.trim().slice(0, 30)}`)
"""
"""What does not fit into the width of the screen."""

PLAIN = "Object.assign(document.documentElement.style, { fontSize: '', textSizeAdjust: '' })"
DRAWN = "new Promise((drawn) => requestAnimationFrame(() => requestAnimationFrame(drawn)))"

SCROLLED = """
() => {
  const steps = document.querySelector(".steps");
  if (steps) steps.scrollIntoView({ block: "center" });
  else scrollTo(0, document.documentElement.scrollHeight);
}
"""

JOB = ("to-pickup", "give-back", "to-customer", "could-not-deliver", "returning", "returned", "delivered")
NEXT = {"to-pickup": "Picked up", "to-customer": "Delivered", "returning": "Returned to the store"}
DIALOGS = ("leave", "break-length", "write", "sign-out", "give-back", "could-not-deliver", "far")
NEAR_THE_STORE: Geolocation = {"latitude": 52.519, "longitude": 13.404, "accuracy": 10}
SAME = [{"Resume", "Back to work", "Start shift"}, {"Pause", "Then pause"}]
"""Names of one button."""


def never_successive(here: str, there: str) -> bool:
    """The driver never gets from one of these to the other without something in between."""
    pair = {here, there}
    if pair <= set(DIALOGS):
        return True
    if pair & {"on-break", "paused", "ended"} and pair & set(JOB):
        return True  # the second is measured with a delivery in hand, the first without
    if "reasons" in pair and not pair <= {"reasons", "offer", "available", *DIALOGS}:
        return True
    return bool(pair & {"to-pickup", "give-back"}) and bool(pair & {"could-not-deliver", "returning", "returned"})


def apart(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return bool(
        one["right"] <= other["left"]
        or other["right"] <= one["left"]
        or one["bottom"] <= other["top"]
        or other["bottom"] <= one["top"]
    )


@pytest.mark.slow
async def test_no_finality_is_where_another_was(chromium: Browser, site: Site) -> None:
    """Measured in every state of a shift, on every screen. Buttons of one name are one, the same in every state."""
    dan = await site.driver("Dan Okafor")
    faults: list[str] = []
    found: dict[tuple[str, int, bool], dict[str, list[dict[str, Any]]]] = {}

    async def measure(on: Phone, state: str) -> list[str]:
        await expect(on.page.locator("[data-settling]")).to_have_count(0)
        for size, percent in LOOKS:
            await on.page.set_viewport_size(SIZES[size])
            by = "fontSize" if size == "390" else "textSizeAdjust"  # of the browser, or of the phone
            await on.page.evaluate(f"{PLAIN}; document.documentElement.style.{by} = '{percent}%'")
            await on.page.evaluate(DRAWN)
            for scrolled in (False, True):
                await on.page.evaluate(SCROLLED if scrolled else "scrollTo(0, 0)")
                finals = await on.page.evaluate(FINAL)
                found.setdefault((size, percent, scrolled), {})[state] = finals
                step = NEXT.get(state)
                if step and not any(one["name"] == step and one["whole"] for one in finals):
                    faults.append(f"{state} {size}: {step} is out of view")
                fixed = state in DIALOGS or state == "offer"
                if any(one["cut"] or (fixed and not one["whole"]) for one in finals):
                    faults.append(f"{state} {size} {percent}: cut: {finals}")
            if wide := await on.page.evaluate(WIDE):
                faults.append(f"{state} {size} {percent}: too wide: {wide}")
            if percent == 200 or size == "small-side":
                await shoot(on.page, f"driver-places-{state}-{size}-{percent}")
        await on.page.set_viewport_size(SIZES["320"])
        await on.page.evaluate(f"{PLAIN}; scrollTo(0, 0)")
        await on.page.evaluate(DRAWN)
        await on.page.evaluate("dispatchEvent(new Event('resize'))")  # the page's guard looks again
        await on.page.evaluate(DRAWN)
        await check_in_both_themes(on.page, state, f"driver-places-{state}")
        await expect(on.page.locator("[data-settling]")).to_have_count(0)
        names = [one["name"] for seen in (False, True) for one in found["320", 100, seen][state]]
        return list(dict.fromkeys(names))

    async def seen() -> bool:
        latitude = await value(site, "SELECT lat FROM driver_positions WHERE driver_id = $1", dan.id)
        return bool(latitude == pytest.approx(52.5195))

    options: dict[str, Any] = {"viewport": SIZES["320"], "reduced_motion": "reduce"}
    allowed: dict[str, Any] = {"permissions": ["geolocation"], "geolocation": NEAR_THE_STORE}
    async with phone(chromium, site, dan, query="", **options, **allowed) as dans:
        await dans.page.add_init_script(FREEZE)
        await dans.page.reload()
        await dans.online()
        await dans.page.locator("#name").click()  # only a page that was tapped may vibrate
        assert await measure(dans, "available") == ["Pause", "End shift"]
        for ask, state, end in (
            ("Write to your dispatcher", "write", "Send"),
            ("Remove me from this device", "sign-out", "Sign out"),
        ):
            await tap(dans.page.get_by_label("Menu"))
            if state == "write":
                assert await measure(dans, "menu") == ["Pause", "End shift"]
            await dans.press(ask)
            assert await measure(dans, state) == [end]
            await dans.press("Back")
        await dans.press("End shift")
        assert await measure(dans, "leave") == ["End shift"]
        await dans.press("Back")
        await dans.press("Take a break")
        assert await measure(dans, "break-length") == ["Start break"]
        await dans.press("Start break")
        await dans.shows("on_break")
        assert await measure(dans, "on-break") == ["Back to work", "End shift"]
        await dans.press("Back to work")
        await dans.shows("available")
        await dans.press("Pause")
        await dans.shows("paused")
        assert await measure(dans, "paused") == ["Resume", "End shift"]
        await dans.press("Resume")
        await dans.shows("available")
        where = {"lat": 52.53, "lon": 13.41, "address": "Kastanienallee 77, 3rd floor, at the back"}
        for outcome in ("returned", "delivered"):
            await site.delivery(**ORDER, dropoff=where)
            await expect(dans.offer).to_be_visible()
            if outcome == "returned":
                assert await measure(dans, "offer") == ["Accept"]
                await dans.press("Reject")
                assert len(await measure(dans, "reasons")) == 6
                assert all(chip["whole"] for chip in found["320", 100, False]["reasons"])
                await dans.press("Back to the offer")
            await dans.press("Accept")
            await settled(button(dans, "Picked up"))
            if outcome == "returned":
                assert await measure(dans, "to-pickup") == TO_PICKUP
                await dans.press("Give back")
                await dans.press("Store is closed")
                assert await measure(dans, "give-back") == ["Give back"]
                await dans.press("Back")
            await dans.press("Picked up")
            await settled(button(dans, "Delivered"))
            if outcome == "returned":
                assert await measure(dans, "to-customer") == TO_CUSTOMER
                await dans.press("Could not deliver")
                await dans.press("Nobody there")
                await dans.press("I bring them back to the store")
                assert await measure(dans, "could-not-deliver") == ["Report it"]
                await dans.press("Report it")
                await settled(button(dans, "Returned to the store"))
                assert await measure(dans, "returning") == RETURNING
                await dans.page.evaluate("freeze(0)")
                await dans.press("Returned to the store")
            else:
                await dans.context.set_geolocation(NEAR_THE_STORE | {"latitude": 52.5195})
                await until(seen)
                await dans.press("Delivered")
                question = "You are 1.2 km away from the customer. Delivered anyway?"
                await expect(dans.page.get_by_role("dialog", name=question)).to_be_visible()
                assert await measure(dans, "far") == ["Yes"]
                await dans.page.evaluate("freeze(0)")
                await dans.press("Yes")
            await expect(undo(dans)).to_be_visible()
            assert await measure(dans, outcome) == []
            await dans.page.evaluate("freeze(20_000)")
            await expect(dans.page.get_by_role("article")).to_have_count(0)
            await dans.page.evaluate("freeze(null)")
        # The buttons came in a time that the page's clock then went back from: they come again.
        await dans.page.evaluate("document.getElementById('controls').hidden = true")
        await dans.press("End shift")
        await tap(dans.page.locator("#leave").get_by_role("button", name="End shift"))
        await dans.shows("shift_ended")
        assert await measure(dans, "ended") == ["Start shift"]

    for look, states in found.items():
        places = [(state, one) for state, finals in states.items() for one in finals]
        for (here, one), (there, other) in combinations(places, 2):
            names = {one["name"], other["name"]}
            same = any(names <= known for known in SAME)
            if here == there or (len(names) == 1 and not {here, there} & set(DIALOGS)) or same:
                continue
            if not never_successive(here, there) and not apart(one, other):
                faults.append(f"{look}: {one} of {here}, {other} of {there}")
    assert not faults, "\n".join(faults)


TO_PICKUP = ["I am at the store", "Picked up"]
TO_CUSTOMER = ["I am at the customer", "Delivered"]
RETURNING = ["Returned to the store"]
