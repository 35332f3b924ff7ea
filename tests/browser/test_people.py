"""Logging in, the frame of the screens, and people's own screen, in a real browser, by keyboard."""

from typing import Any

import pytest
from playwright.async_api import Browser, Page, ViewportSize, expect

from tests.browser.conftest import PASSWORD, SCREENS, People, Person, browser_fixture, check_in_both_themes, comes
from tests.web.conftest import DROPOFF, Site
from tests.web.people import add

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]

DESK: ViewportSize = {"width": 1280, "height": 800}
PHONE: ViewportSize = {"width": 360, "height": 740}
SQUARE = {"type": "Polygon", "coordinates": [[[13.3, 52.5], [13.4, 52.5], [13.4, 52.6], [13.3, 52.6], [13.3, 52.5]]]}
A_FAILED_MAIL = """
INSERT INTO report_mails (id, day, recipient, created_at, attempts, retry_until, failed_at, last_error)
VALUES (gen_random_uuid(), '2026-02-01', 'boss@fleet.example', now(), 1, now(), now(), '550 5.1.1 Nobody here')"""


@browser_fixture
async def anybody(chromium: Browser, site: Site) -> Any:
    """Opens windows of somebody who is not logged in."""
    windows: list[Person] = []

    async def window(**context: Any) -> Person:
        opened = await chromium.new_context(**{"viewport": DESK, "color_scheme": "light"} | context)
        windows.append(Person("anybody", "viewer", opened, site.node.url))
        return windows[-1]

    yield window
    for opened in windows:
        await opened.context.close()
    for opened in windows:
        opened.check()


async def test_a_person_logs_in_by_keyboard_and_out_again(site: Site, anybody: Any) -> None:
    await add(site.node, "Ada", "admin")
    person = await anybody()
    person.network_may_fail = True  # a refused login is an error to the console
    page = await person.open("/users")
    await expect(page).to_have_url(f"{person.url}/login?next=/users")
    await expect(page.get_by_label("Name")).to_be_focused()
    await page.keyboard.type("ada")
    await page.keyboard.press("Tab")
    await page.keyboard.type("not the password")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("alert")).to_have_text("Wrong name or password.")
    await expect(page.get_by_label("Password")).to_be_focused()
    await page.keyboard.type(PASSWORD)
    await page.keyboard.press("Enter")
    await expect(page).to_have_url(f"{person.url}/users")
    menu = page.locator("details.menu summary")
    await menu.focus()
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("button", name="Log out", exact=True)).to_be_visible()
    await page.keyboard.press("Escape")
    await expect(page.get_by_role("button", name="Log out", exact=True)).to_be_hidden()
    await expect(menu).to_be_focused()
    await page.keyboard.press("Enter")
    await page.get_by_role("button", name="Log out", exact=True).click()
    await expect(page).to_have_url(f"{person.url}/login")
    await page.goto(f"{person.url}/users")
    await expect(page).to_have_url(f"{person.url}/login?next=/users")


async def test_the_theme_follows_the_system_until_somebody_chooses(site: Site, people: People) -> None:
    ada = await people(site.node, "Ada", "admin", color_scheme="light", viewport=DESK)
    page = await ada.open("/users")
    background = "getComputedStyle(document.body).backgroundColor"
    light = await page.evaluate(background)
    await page.emulate_media(color_scheme="dark")
    dark = await page.evaluate(background)
    assert dark != light
    await page.get_by_role("button", name="Dark or light").click()
    assert await page.evaluate(background) == light
    await page.reload()
    assert await page.evaluate(background) == light
    await page.get_by_role("button", name="Dark or light").click()
    assert await page.evaluate(background) == dark
    await page.emulate_media(color_scheme="light")
    assert await page.evaluate(background) == light


async def test_an_admin_adds_somebody_who_then_logs_in(site: Site, people: People, anybody: Any) -> None:
    ada = await people(site.node, "Ada", "admin", viewport=DESK)
    page = await ada.open("/users")
    await page.get_by_label("Name", exact=True).fill("Max")
    await page.get_by_role("radio", name="viewer").check()
    await page.get_by_role("button", name="Add").click()
    password = await page.locator(".secret").inner_text()
    window = await anybody()
    theirs = await window.open("/login?next=/board")
    await theirs.get_by_label("Name").fill("max")
    await theirs.get_by_label("Password").fill(password)
    await theirs.get_by_role("button", name="Log in").click()
    await expect(theirs.locator("summary .tag")).to_have_text("viewer")
    await expect(theirs.get_by_role("link", name="People")).to_have_count(0)
    await page.get_by_role("link", name="Change Max").click()
    window.network_may_fail = True  # the stream is refused from now on, which is an error to the console
    page.on("dialog", lambda dialog: dialog.accept())
    await page.get_by_role("button", name="Deactivate").click()
    await expect(page.get_by_text("Max can no longer log in.")).to_be_visible()
    await expect(theirs).to_have_url(f"{site.node.url}/login?next=%2Fboard")  # their board sees to it by itself
    await theirs.goto(f"{site.node.url}/board")
    await expect(theirs).to_have_url(f"{site.node.url}/login?next=/board")


@pytest.mark.slow
async def test_the_screens_of_people_are_accessible(site: Site, people: People, anybody: Any) -> None:
    window = await anybody()
    window.network_may_fail = True
    login = await window.open("/login")
    for name, viewport in {"": DESK, "-phone": PHONE}.items():
        await login.set_viewport_size(viewport)
        await login.get_by_label("Name").fill("nobody")
        await login.get_by_label("Password").fill("not the password")
        async with login.expect_navigation():  # the page before may show the same alert
            await login.get_by_role("button", name="Log in").click()
        await expect(login.get_by_role("alert")).to_be_visible()
        await check_in_both_themes(login, "login", f"login{name}")

    ada = await people(site.node, "Ada", "admin", viewport=DESK)
    ada.network_may_fail = True
    await add(site.node, "Alice", "ops")
    gone = await add(site.node, "Otto", "viewer")
    await site.ada.patch(f"/admin/users/{gone}", json={"active": False})
    dan = await site.driver("Dan", vehicle="bike", tags=["cool bag"], phone="+49 30 1234")
    await site.ada.post("/admin/api-keys", json={"name": "Roma", "sellerId": "roma"})
    await site.ada.put("/admin/zones/mitte", json={"name": "Mitte", "shape": SQUARE, "helpedBy": ["Nord"]})
    await site.node.change(A_FAILED_MAIL)
    page = await ada.open("/users")
    for name, viewport in {"": DESK, "-phone": PHONE}.items():
        await page.set_viewport_size(viewport)
        for screen, path in {
            "users": "/users",
            "user": f"/users/{gone}",
            "drivers": "/board/drivers",
            "driver-form": f"/board/drivers/{dan.id}/edit",
            "driver-access": f"/board/drivers/{dan.id}/access",
            "invite": "/board/drivers/invite",
            "start": "/start",
            "keys": "/keys",
            "report-mail": "/report/mail",
            "account": "/account",
            "zones": "/zones?zone=mitte",
            "new-password": "/new-password",
            "error": "/nowhere",
        }.items():
            await page.goto(ada.url + path)
            if screen == "users":
                await page.get_by_label("Name", exact=True).fill("ADA")
                await page.get_by_role("button", name="Add").click()
                await expect(page.get_by_role("alert")).to_have_text("The user name ADA is taken.")
            await check_in_both_themes(page, screen, f"{screen}{name}")
        await page.goto(f"{ada.url}/users")
        await page.locator("details.menu summary").click()
        await check_in_both_themes(page, "menu")


async def test_an_admin_erases_a_person_by_keyboard(site: Site, people: People) -> None:
    for name in ("Zoe Quill", "Zoe Q"):
        order = await site.delivery(dropoff=DROPOFF | {"phone": "+49 30 5550142", "name": name})
        await site.shop.post(f"/deliveries/{order['id']}/cancel", json={"reason": "sold out"})
    await site.delivery(pickup=DROPOFF | {"phone": "+49 30 5550142", "name": "Zed"})
    ada = await people(site.node, "Ada", "admin", viewport=DESK)
    page = await ada.open("/board")
    await page.locator("details.menu summary").focus()
    await page.keyboard.press("Enter")
    await page.get_by_role("link", name="Erase a person").focus()
    await page.keyboard.press("Enter")
    await page.get_by_label("Phone of the person").focus()
    await page.keyboard.type("0049 30 5550142")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("heading", name="3 orders would lose their personal data")).to_be_visible()
    for name, viewport in {"": DESK, "-phone": PHONE}.items():
        await page.set_viewport_size(viewport)
        await check_in_both_themes(page, "what a phone finds", f"privacy{name}", full_page=True)
    erase = page.get_by_role("button", name="Erase the data of 3 orders")
    await erase.focus()
    await page.keyboard.press("Enter")  # the browser asks for the tick, and sends nothing
    tick = page.get_by_label("I have checked the phone")
    await expect(tick).to_be_focused()
    await page.keyboard.press("Space")
    await erase.focus()
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("status")).to_contain_text("Erased: the data of 2 orders. 1 order is under way")
    await expect(page.get_by_label("Phone of the person")).to_have_value("")
    assert "5550142" not in page.url


async def test_an_order_leads_to_the_erasing_of_its_customer(site: Site, people: People) -> None:
    order = await site.delivery(dropoff=DROPOFF | {"phone": "+49 30 5550142", "name": "Zoe Quill"})
    dan = await site.driver("Dan", phone="+49 30 5550142")
    ada = await people(site.node, "Ada", "admin", viewport=DESK)
    pages = {
        "order": (f"/board/deliveries/{order['id']}", "Erase this person"),
        "driver": (f"/board/drivers/{dan.id}", "Erase this phone from orders"),
        "orders": ("/orders?q=%2B49+30+5550142", "Erase the person with this phone"),
        "drivers": ("/board/drivers?q=%2B49+30+5550142", "Erase this phone from orders"),
    }
    page = await ada.open("/board")
    for screen, (path, label) in pages.items():
        for name, viewport in {"-phone": PHONE, "": DESK}.items():
            await page.set_viewport_size(viewport)
            await page.goto(ada.url + path)
            await expect(page.get_by_role("button", name=label)).to_be_visible()
            await check_in_both_themes(page, f"the way from {screen} to erasing", f"erase-from-{screen}{name}")
        await page.get_by_role("button", name=label).focus()
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("heading", name="1 order would lose its personal data")).to_be_visible()
        assert page.url == f"{ada.url}/privacy#found"


async def test_a_link_for_a_password_that_is_over_says_so_when_it_is_opened(site: Site, people: People) -> None:
    ada = await people(site.node, "Ada", "admin", viewport=PHONE)
    vic = await add(site.node, "Vic", "viewer")
    page = await ada.open(f"/users/{vic}")
    await page.get_by_role("button", name="Make a link").click()
    link = await page.get_by_label("Link").input_value()
    theirs = await (await people(site.node, "Bo", "viewer")).open("/account")
    await theirs.context.clear_cookies()

    async def opened() -> Page:
        await theirs.goto("about:blank")  # a link that differs by its fragment only loads no page
        async with theirs.expect_response("**/new-password/check"):
            await theirs.goto(link)
        return theirs

    form = (await opened()).get_by_label("New password")
    await expect(form).to_be_focused()
    await expect((await opened()).get_by_label("New password")).to_be_visible()
    await form.fill("a new long password")
    await theirs.get_by_role("button", name="Set password").click()
    await expect(theirs.get_by_text("Your password is set.")).to_be_visible()
    await opened()
    await expect(theirs.get_by_role("heading", name="This link does not work any more")).to_be_visible()
    await expect(form).to_be_hidden()
    for name, viewport in {"": DESK, "-phone": PHONE}.items():
        await theirs.set_viewport_size(viewport)
        await check_in_both_themes(theirs, "a link that has ended", f"link-over{name}")
    await theirs.get_by_role("link", name="Log in").click()
    await expect(theirs.get_by_label("Name")).to_be_visible()


async def test_the_link_of_a_driver_is_copied(site: Site, people: People) -> None:
    ada = await people(site.node, "Ada", "admin", permissions=["clipboard-read", "clipboard-write"])
    dan = await site.driver("Dan")
    page = await ada.open(f"/board/drivers/{dan.id}/access")
    await page.get_by_role("button", name="Invite").click()
    copy = page.get_by_role("button", name="Copy the link")
    await expect(copy).to_be_visible()
    async with comes(page, "() => document.querySelector('[data-copy]').textContent === 'Copied'"):
        await copy.dblclick()
    await expect(copy).to_have_text("Copy the link")
    link = await page.get_by_label("Link").input_value()
    assert await page.evaluate("navigator.clipboard.readText()") == link
    assert link.startswith(f"{ada.url}/driver#code=")


async def test_many_drivers_are_invited_by_keyboard(site: Site, people: People) -> None:
    ada = await people(
        site.node,
        "Ada",
        "admin",
        viewport=DESK,
        color_scheme="light",
        permissions=["clipboard-read", "clipboard-write"],
    )
    for at in range(12):
        await site.driver(f"Driver {at:02}" + " of the very long name" * (at == 3), phone=f"+49 30 55501{at:02}")
    page = await ada.open("/board/drivers")
    await page.get_by_role("link", name="Invite drivers").focus()
    await page.keyboard.press("Enter")
    second = page.get_by_role("checkbox", name="Driver 01")
    await expect(second).to_be_checked()
    await second.focus()
    await page.keyboard.press("Space")
    await expect(second).not_to_be_checked()
    await page.get_by_role("button", name="Invite the ticked drivers").focus()
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("heading", name="11 invitations")).to_be_visible()
    for name, viewport in {"": DESK, "-phone": PHONE}.items():
        await page.set_viewport_size(viewport)
        await check_in_both_themes(page, "the sheet of invitations", f"invited{name}", full_page=True)
    link = await page.get_by_label("Link Driver 02").input_value()
    await page.get_by_role("button", name="Copy the link of Driver 02").focus()
    copied = "() => document.querySelector('[aria-label=\"Copy the link of Driver 02\"]').textContent === 'Copied'"
    async with comes(page, copied):
        await page.keyboard.press("Enter")
    assert await page.evaluate("navigator.clipboard.readText()") == link
    async with page.expect_download() as download:
        await page.get_by_role("button", name="Save as CSV").press("Enter")
    file = await (await download.value).path()
    assert link in file.read_text()
    assert "code" not in page.url
    await page.evaluate("() => { globalThis.print = () => { document.title = 'printed'; }; }")
    await page.get_by_role("button", name="Print").press("Enter")
    await expect(page).to_have_title("printed")

    await page.emulate_media(media="screen", color_scheme="light")
    await page.get_by_role("button", name="Dark or light").click()
    await expect(page.locator(":root")).to_have_attribute("data-theme", "dark")
    await page.emulate_media(media="print", color_scheme="dark")
    await expect(page.get_by_text(link)).to_be_visible()
    await expect(page.get_by_role("button", name="Print")).to_be_hidden()
    ink = "getComputedStyle(document.querySelector('.strip h2')).color.match(/\\d+/g).map(Number)"
    assert max(await page.evaluate(ink)) < 60, "dark on white, also in the dark theme"
    await page.screenshot(path=SCREENS / "invited-paper.png", full_page=True)
    for path in ("/report", "/insights", "/board/drivers"):
        await page.goto(f"{ada.url}{path}")
        await expect(page.locator(":root")).to_have_attribute("data-theme", "dark")
        assert max(await page.evaluate(ink.replace(".strip h2", "h1"))) < 60, path
        paper = await page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert paper == "rgb(255, 255, 255)", "also for who prints backgrounds"


async def test_a_zone_is_drawn_by_mouse_and_changed_by_keyboard(site: Site, people: People) -> None:
    await site.ada.put("/admin/zones/nord", json={"name": "Nord", "shape": SQUARE})
    ada = await people(site.node, "Ada", "admin", viewport=DESK)
    page = await ada.open("/zones?zone=mitte")
    await page.get_by_role("button", name="Draw a shape").click()
    area = await page.locator("#zone-map").bounding_box()
    assert area is not None
    for right, down in ((0.3, 0.3), (0.6, 0.3), (0.6, 0.7)):
        await page.mouse.click(area["x"] + right * area["width"], area["y"] + down * area["height"])
    await page.keyboard.press("Enter")
    await expect(page.locator("#points-count")).to_have_text("3")
    await page.locator("#zone-map").scroll_into_view_if_needed()
    middle = await page.locator(".zone-middle").first.bounding_box()
    assert middle is not None
    await page.mouse.move(middle["x"] + 6, middle["y"] + 6)
    await page.mouse.down()
    await page.mouse.move(middle["x"] + 6, middle["y"] - 40, steps=4)
    await page.mouse.up()
    await expect(page.locator("#points-count")).to_have_text("4")
    await page.get_by_text("Points of the shape:").click()
    fourth = page.get_by_label("Point 4: latitude, longitude")
    await fourth.fill("52.48, 13.25")
    await fourth.press("Enter")
    await page.get_by_label("Nord", exact=True).check()
    await page.get_by_role("button", name="Save").click()
    await expect(page.get_by_text("mitte is saved.")).to_be_visible()
    zone = (await site.vic.get("/admin/zones/mitte")).json()
    [ring] = zone["shape"]["coordinates"]
    assert (len(ring), [13.25, 52.48] in ring, zone["helpedBy"]) == (5, True, ["nord"])
    # The same without a mouse: a square in the middle of the map, one more point, one less.
    await page.goto(f"{ada.url}/zones?zone=west")
    await page.get_by_text("Points of the shape:").focus()
    await page.keyboard.press("Enter")
    await page.keyboard.press("Tab")
    await page.keyboard.press("Enter")
    await expect(page.get_by_label("Point 1: latitude, longitude")).to_be_focused()
    await page.get_by_role("button", name="Add a point after 1").press("Enter")
    await expect(page.get_by_label("Point 2: latitude, longitude")).to_be_focused()
    await page.get_by_role("button", name="Remove point 4").press("Enter")
    await expect(page.locator("#points-count")).to_have_text("4")
    await page.get_by_role("button", name="Save").press("Enter")
    await expect(page.get_by_text("west is saved.")).to_be_visible()
    assert len((await site.vic.get("/admin/zones/west")).json()["shape"]["coordinates"][0]) == 5
