"""A shift on phones of other languages: every text is theirs and fits, also from right to left."""

import re
from typing import Any

import pytest
from playwright.async_api import Browser, expect

from tests.browser.conftest import check_accessible, shoot
from tests.browser.phone import Phone, phone, tap
from tests.browser.test_driver_thumbs import FREEZE
from tests.web.conftest import Site

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]

STORE = "Trattoria da Enzo"
WIDER = "() => document.documentElement.scrollWidth - document.documentElement.clientWidth"
CUT = """() => [...document.querySelectorAll('button, h1, h2, dt, dd, .stage, .given, .steps p')]
  .filter((e) => e.checkVisibility() && (e.scrollWidth > e.clientWidth + 1 || e.scrollHeight > e.clientHeight + 1))
  .map((e) => e.textContent)"""
"""The texts that are wider or higher than their place."""


async def fits(dans: Phone, name: str) -> None:
    """Nothing hangs over an edge, and axe has no complaint."""
    assert await dans.page.evaluate(WIDER) == 0, name
    assert await dans.page.evaluate(CUT) == [], name
    await check_accessible(dans.page, name)
    await shoot(dans.page, name)


@pytest.mark.parametrize(
    ("locale", "words"),
    [
        (
            "de-AT",
            {
                "online": "Online", "available": "Du bist bereit", "pay": "7,20", "km": r"0,\d km",
                "accept": "Annehmen", "stage": "Unterwegs zur Abholung",
                "picked_up": "Abgeholt", "delivered": "Geliefert",
                "undo": "Rückgängig", "notice": f"Geliefert: {STORE} (E-7).", "break": "Pause machen",
                "length": "Wie lange machst du Pause?", "minutes": "45 Min.", "start": "Pause beginnen",
                "on_break": "Du machst Pause", "resume": "Weiterarbeiten",
                "reason": "Die Zentrale hat deinen Status geändert", "offline": "Du bist offline.",
                "unwell": "Dir geht es nicht gut",
            },
        ),
        (
            "es-ES",
            {
                "online": "En línea", "available": "Estás disponible", "pay": "7,20", "km": r"0,\d km",
                "accept": "Aceptar", "stage": "De camino a la recogida",
                "picked_up": "Recogido", "delivered": "Entregado",
                "undo": "Deshacer", "notice": f"Entregado: {STORE} (E-7).", "break": "Tomar un descanso",
                "length": "¿Cuánto dura tu descanso?", "minutes": "45 min", "start": "Empezar descanso",
                "on_break": "Estás en un descanso", "resume": "Volver al trabajo",
                "reason": "La central ha cambiado tu estado", "offline": "No tienes conexión.",
                "unwell": "No te encuentras bien",
            },
        ),
    ],
)  # fmt: skip
async def test_a_shift_in_another_language(chromium: Browser, site: Site, locale: str, words: dict[str, str]) -> None:
    """The phone is in India, the company's clocks are not: times say so."""
    dan = await site.driver("Dan", at_work=True)
    elsewhere: dict[str, Any] = {"locale": locale, "timezone_id": "Asia/Kolkata"}
    async with phone(chromium, site, dan, **elsewhere, reduced_motion="reduce") as dans:
        await dans.page.add_init_script(FREEZE)
        await dans.page.reload()
        await expect(dans.line).to_have_text(words["online"])
        await expect(dans.sign).to_contain_text(words["available"])
        await fits(dans, f"driver-{locale}-available")
        await site.delivery(storeName=STORE, sellerOrderId="E-7", driverPayCents=720, currency="EUR")
        await expect(dans.offer).to_contain_text(words["pay"])
        await expect(dans.offer).to_contain_text(re.compile(words["km"]))
        await expect(dans.page.locator("#offer-by")).to_contain_text("GMT+5:30")
        await fits(dans, f"driver-{locale}-offer")
        await dans.press(words["accept"])
        job = dans.page.get_by_role("article")
        await expect(job).to_contain_text(words["stage"])
        await dans.press(words["picked_up"])
        await dans.page.evaluate("freeze(0)")
        await dans.press(words["delivered"])
        await expect(dans.page.get_by_role("button", name=words["undo"])).to_be_visible()
        await fits(dans, f"driver-{locale}-delivered")
        await dans.page.evaluate("freeze(null)")
        await expect(dans.page.locator("#notices")).to_contain_text(words["notice"])
        await returned(dans, site, f"driver-{locale}-returned")
        await dans.press(words["break"])
        await expect(dans.page.get_by_role("dialog", name=words["length"])).to_be_visible()
        await fits(dans, f"driver-{locale}-break")
        await dans.press(words["minutes"])
        await dans.press(words["start"])
        await expect(dans.sign).to_contain_text(words["on_break"])
        await dans.press(words["resume"])
        await dans.shows("available")
        body = {"availability": "paused", "reason": "vehicle check"}
        await site.ada.post(f"/admin/drivers/{dan.id}/availability", json=body)
        await expect(dans.page.locator("#notices")).to_contain_text(f"{words['reason']}: vehicle check.")
        body = {"availability": "paused", "reason": "Unwell"}  # as the board suggests it
        await site.ada.post(f"/admin/drivers/{dan.id}/availability", json={"availability": "available", "reason": "x"})
        await site.ada.post(f"/admin/drivers/{dan.id}/availability", json=body)
        await expect(dans.page.locator("#notices")).to_contain_text(f"{words['reason']}: {words['unwell']}.")
        await expect(dans.page.locator("#duty-text")).to_contain_text(words["unwell"])
        dans.owner.network_may_fail = True
        await dans.context.set_offline(True)
        await expect(dans.page.get_by_role("alert")).to_contain_text(words["offline"])


async def returned(on: Phone, site: Site, name: str) -> None:
    """Goods come back to the store, and each of its words is whole where the driver can undo it."""
    _, assignment = await site.assignment(on.driver)
    path = f"/assignments/{assignment['id']}"
    assert (await on.driver.post(f"{path}/pickup")).status_code == 200
    assert (await on.driver.post(f"{path}/failed", {"reason": "refused", "then": "return"})).status_code == 200
    await on.page.evaluate("freeze(0)")
    await tap(on.page.locator("[data-action=returned]"))
    await expect(on.page.locator(".steps .waiting p")).to_contain_text(re.compile(r"\d"))
    await fits(on, name)
    assert await on.page.evaluate(BROKEN) == [], name
    await on.page.evaluate("freeze(null)")
    await expect(on.page.get_by_role("article")).to_have_count(0)


BROKEN = """() => [...document.querySelectorAll(".steps p")].filter((e) => e.checkVisibility()).flatMap((e) => {
  const [node] = e.childNodes, words = [...e.textContent.matchAll(/[^\\s\u00ad]+/g)], range = document.createRange();
  return words.filter((word) => {
    range.setStart(node, word.index);
    range.setEnd(node, word.index + word[0].length);
    return range.getClientRects().length > 1;
  }).map(String);
})"""
"""The words that are broken in their middle."""


@pytest.mark.parametrize("size", [{"width": 360, "height": 740}, {"width": 740, "height": 360}], ids=["up", "side"])
async def test_from_right_to_left_nothing_breaks(chromium: Browser, site: Site, size: Any) -> None:
    dan = await site.driver("Dan", at_work=True)
    async with phone(chromium, site, dan, viewport=size, reduced_motion="reduce") as dans:
        await dans.page.evaluate("document.documentElement.dir = 'rtl'")
        await dans.shows("available")
        name = f"driver-rtl-{size['width']}"
        await fits(dans, f"{name}-available")
        bar = await dans.page.evaluate(
            "['.mark', '.bar .menu'].map((part) => document.querySelector(part).getBoundingClientRect().x)"
        )
        assert bar[0] > bar[1], "the bar begins at the right"
        await tap(dans.page.get_by_label("Menu"))
        menu = await dans.page.locator(".menu-body").bounding_box()
        assert menu is not None
        assert menu["x"] >= 0
        assert menu["x"] + menu["width"] <= size["width"]
        await dans.page.keyboard.press("Escape")
        await site.delivery(storeName=STORE)
        await expect(dans.offer).to_contain_text(STORE)
        accept, reject = [
            await dans.page.evaluate(f"document.getElementById('{one}').getBoundingClientRect().x")
            for one in ("accept", "reject")
        ]
        assert accept < reject
        await fits(dans, f"{name}-offer")
        await tap(dans.offer.get_by_role("button", name="Reject"))
        await fits(dans, f"{name}-reasons")
        await dans.press("Back to the offer")
        await dans.press("Accept")
        await expect(dans.page.get_by_role("article")).to_contain_text("On the way to the pickup")
        await fits(dans, f"{name}-job")


async def test_the_policy_chooses_the_language_of_a_phone(chromium: Browser, site: Site) -> None:
    policy = (await site.ada.get("/admin/policy")).json()
    assert (await site.ada.put("/admin/policy", json=policy | {"language": "de"})).status_code == 200
    dan = await site.driver("Dan", at_work=True)
    async with phone(chromium, site, dan, locale="es-ES") as dans:
        await expect(dans.sign).to_contain_text("Du bist bereit")
        assert await dans.page.evaluate("document.documentElement.lang") == "de"


async def test_a_warning_leaves_room_for_the_page_under_it(chromium: Browser, site: Site) -> None:
    dan = await site.driver("Dan")
    small = {"width": 320, "height": 568}
    async with phone(chromium, site, dan, locale="de-DE", viewport=small, query="") as dans:
        await dans.page.add_init_script("Object.defineProperty(globalThis, 'isSecureContext', { value: false })")
        await dans.page.reload()
        warning = dans.page.locator("#whereabouts")
        await expect(warning).to_contain_text("Diese Adresse hat kein https.")
        assert await warning.evaluate("(e) => e.offsetHeight") < small["height"] / 2
