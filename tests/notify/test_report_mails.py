"""The day report by mail: once to each recipient, again after a temporary refusal, and not after a final one."""

import asyncio
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from pathlib import Path
from typing import Any, Final

import pytest

from server.board.report_mail import report_mail
from server.board.templates import environment
from server.contract.day_report import DayOrder, DayStay, day_report
from server.notify import report_mails
from server.notify.mailer import Refused, reach_server, send_mail
from server.settings import Settings
from tests.conftest import StartNode
from tests.mail_server import PASSWORD, USER, MailServer, mail_server
from tests.waiting import until
from tests.web.conftest import Site
from tests.web.html_tree import parse
from tests.web.people import logged_in
from tests.web.test_day_report import noon_zone

SENDER: Final = "Callboard <board@fleet.example>"
ADA, BOSS = "ada@fleet.example", "boss@fleet.example"
LOGIN: Final = f"{USER}:{PASSWORD.replace('/', '%2F').replace('@', '%40')}@"
SINCE: Final = datetime(2026, 2, 1, tzinfo=UTC)


def settings_for(url: str, **more: Any) -> Settings:
    return Settings(smtp_url=url, mail_from=SENDER, **more)


def a_mail() -> EmailMessage:
    mail = EmailMessage()
    mail["From"], mail["To"], mail["Subject"] = SENDER, ADA, "Hello"
    mail.set_content("Hello")
    return mail


async def site_with(node: StartNode, mails: MailServer, **more: Any) -> Site:
    """A node whose report was due at midnight of its day, where it is noon."""
    return Site(await node(smtp_url=mails.url(), mail_from=SENDER, report_at="00:00", time_zone=noon_zone(), **more))


async def rows(site: Site) -> list[Any]:
    """What became of each mail."""
    columns = "recipient, attempts, sent_at, failed_at, next_attempt_at, last_error"
    pool = site.node.app.state.node.database.pool
    return [*await pool.fetch(f"SELECT {columns} FROM report_mails ORDER BY recipient")]


async def due_now(site: Site) -> None:
    await site.node.change("UPDATE report_mails SET next_attempt_at = now() WHERE next_attempt_at IS NOT NULL")


async def test_each_recipient_gets_the_report_once_on_two_nodes(node: StartNode) -> None:
    async with mail_server() as mails:
        both = {"report_recipients": f"{ADA}; {BOSS} {ADA.upper()}"}
        sites = [await site_with(node, mails, **both) for _ in range(2)]
        nodes = [site.node.app.state.node for site in sites]
        await asyncio.gather(*(one.day_reports.send_due() for one in nodes * 2))
        await asyncio.gather(*(one.report_mails.send_due() for one in nodes * 2))
        await until(lambda: len(mails.taken) == 2)
        for one in nodes:
            one.day_reports._done = None
            assert await one.day_reports.send_due() == 0
            await one.report_mails.send_due()

        async def recorded() -> bool:
            return all(row["sent_at"] is not None for row in await rows(sites[0]))

        await until(recorded)
        assert sorted(recipient.casefold() for recipient in mails.tried) == [ADA, BOSS]
        for site in sites:
            await site.close()


async def test_a_temporary_refusal_is_repeated_with_the_same_id_and_a_final_one_is_not(
    node: StartNode, caplog: pytest.LogCaptureFixture
) -> None:
    async with mail_server() as mails:
        site = await site_with(node, mails, report_recipients=ADA)
        one = site.node.app.state.node
        mails.answers = ["451 4.7.1 Greylisted", "554 5.7.1 Spam"]
        assert await one.day_reports.send_due() == 1
        await one.report_mails.send_due()

        async def tried(attempts: int) -> Any:
            (row,) = await rows(site)
            settled = row["last_error"] is not None or row["sent_at"] is not None
            return row if row["attempts"] == attempts and settled else None

        row = await until(lambda: tried(1))
        assert (row["last_error"], row["failed_at"]) == ("451 4.7.1 Greylisted", None)
        assert row["next_attempt_at"] >= datetime.now(UTC) + timedelta(seconds=report_mails.LEAST_RETRY_SECONDS / 2)
        await due_now(site)
        await one.report_mails.send_due()
        row = await until(lambda: tried(2))

        async def final() -> Any:
            (row,) = await rows(site)
            return row if row["failed_at"] is not None else None

        row = await until(final)
        assert (row["last_error"], row["next_attempt_at"]) == ("554 5.7.1 Spam", None)
        assert await one.report_mails.send_due() == 0
        assert (mails.taken, len(mails.tried)) == ([], 2)

        ada = await logged_in(site, "Ada", "admin")
        assert "554 5.7.1 Spam" in (await ada.see("/report/mail")).text
        assert (await ada.send("/report/mail/again")).status_code == 303
        await one.report_mails.send_due()
        await until(lambda: mails.taken)
        ((_, mail),) = mails.taken
        assert mail["Message-ID"].endswith("@fleet.example>")
        await site.close()


async def test_who_is_removed_gets_no_mail_and_who_is_added_late_gets_the_next(node: StartNode) -> None:
    async with mail_server() as mails:
        site = await site_with(node, mails)
        one = site.node.app.state.node
        ada = await logged_in(site, "Ada", "admin")
        assert (await ada.send("/report/mail", report_recipients=ADA)).status_code == 303
        assert one.settings.recipients == (ADA,)
        assert await one.day_reports.send_due() == 0, "it was due before the recipient was there"
        await site.node.change("UPDATE company_settings SET changed_at = changed_at - interval '2 days'")
        one.day_reports._done = None
        mails.answers = ["451 Later"]
        assert await one.day_reports.send_due() == 1
        await one.report_mails.send_due()
        await until(lambda: mails.tried)
        assert (await ada.send("/report/mail", report_recipients=BOSS)).status_code == 303

        async def failed() -> Any:
            await due_now(site)
            await one.report_mails.send_due()
            (row,) = await rows(site)
            return row["failed_at"] and row["last_error"]

        assert await until(failed) == report_mails.REMOVED
        assert mails.tried == [ADA]
        await site.close()


async def test_an_admin_sets_who_gets_it_and_sends_a_test(node: StartNode) -> None:
    async with mail_server() as mails:
        site = Site(await node(smtp_url=mails.url(), mail_from=SENDER, time_zone=noon_zone()))
        ada = await logged_in(site, "Ada", "admin")
        page = parse((await ada.see("/report/mail")).text)
        assert "Send a test mail" not in page.text
        for fields, said in (
            ({"report_recipients": "nobody", "report_at": "06:00"}, "Write mail addresses"),
            ({"report_recipients": "a@b\r\nBcc: x@y.example", "report_at": "06:00"}, "Write mail addresses"),
            ({"report_recipients": ADA, "report_at": "25:00"}, "Choose the time"),
            ({"report_recipients": ADA, "report_at": ""}, "Choose the time"),
        ):
            refused = await ada.send("/report/mail", **fields)
            assert (refused.status_code, said in refused.text) == (422, True), fields
            assert fields["report_recipients"].split("\r")[0] in refused.text
        refused = await ada.send("/report/mail/test")
        assert refused.status_code == 422
        saved = await ada.send(
            "/report/mail", report_recipients=f"{ADA}\r\n{BOSS}", report_at="06:30", report_csv="semicolon"
        )
        assert saved.status_code == 303
        assert (await ada.send("/report/mail/test")).headers["location"] == "/report/mail"
        assert "Sent to 2 recipients." in (await ada.see("/report/mail")).text
        assert sorted(recipient for recipient, _ in mails.taken) == [ADA, BOSS]
        mails.answers = ["550 5.1.1 Nobody here"]
        await ada.send("/report/mail/test")
        assert "550 5.1.1 Nobody here" in (await ada.see("/report/mail")).text
        await site.close()


async def test_the_environment_says_who_gets_it(node: StartNode) -> None:
    site = Site(await node(report_recipients=ADA, report_at="06:00", report_csv="comma"))
    ada = await logged_in(site, "Ada", "admin")
    page = (await ada.see("/report/mail")).text
    assert "CALLBOARD_REPORT_RECIPIENTS of the server’s settings is in force." in page
    assert "CALLBOARD_REPORT_CSV of the server’s settings is in force." in page
    assert "No server takes mails yet." in page
    assert (await ada.send("/report/mail", report_recipients=BOSS, report_at="07:00")).status_code == 422
    assert site.node.app.state.node.settings.recipients == (ADA,)
    await site.close()


def test_the_mail_has_the_report_as_text_and_html_and_its_tables() -> None:
    orders = [
        DayOrder("Pizza <Roma>", "DELIVERED", SINCE, SINCE, None, SINCE, "d", SINCE, "EUR", 450),
        DayOrder("=Sushi", "CANCELLED", SINCE, None, None, None, None, None, "EUR", None),
    ]
    stays = [DayStay("d", "available", SINCE, SINCE + timedelta(hours=3))]
    report = day_report(SINCE, SINCE + timedelta(days=1), UTC, orders, stays, {"d": "Dan Ünal"})
    settings = settings_for("smtp://mail.example", company_name="Roma & Söhne", public_url="https://board.example")
    mail = report_mail(environment("UTC"), settings, report)
    assert mail["Subject"] == "Roma & Söhne · Day report of Sun 01 Feb 2026: 1 of 2 orders delivered"
    text, html = mail.get_body(("plain",)), mail.get_body(("html",))
    assert text is not None
    assert html is not None
    for line in ("Orders: 2", "On time: 100%", "- Dan Ünal: On shift 3 h; Delivered 1; On time 100%; Pay €4.50"):
        assert line in text.get_content().splitlines()
    page = html.get_content()
    assert "https://board.example/report?day=2026-02-01" in text.get_content()
    assert 'href="https://board.example/report?day=2026-02-01"' in page
    assert "Pizza &lt;Roma&gt;" in page
    assert "Pizza <Roma>" not in page
    files = {part.get_filename(): part.get_content() for part in mail.iter_attachments()}
    assert [*files] == [f"callboard-2026-02-01-{table}.csv" for table in ("stores", "drivers", "hours")]
    assert "'=Sushi" in files["callboard-2026-02-01-stores.csv"]
    assert max(len(line) for line in mail.as_bytes().splitlines()) <= 998
    for written, changes in (
        ("Dan Ünal,3.0,1,", {}),
        ("Dan Ünal;3,0;1;", {"time_zone": "Europe/Berlin"}),
        ("Dan Ünal;3.0;1;", {"time_zone": "Europe/Zurich"}),
        ("Dan Ünal,3.0,1,", {"time_zone": "Europe/Berlin", "report_csv": "comma"}),
        ("Dan Ünal;3,0;1;", {"report_csv": "Semicolon"}),
    ):
        mail = report_mail(environment("UTC"), settings.with_changes(**changes), report)
        files = {str(part.get_filename()): part.get_payload(decode=True) for part in mail.iter_attachments()}
        drivers = files["callboard-2026-02-01-drivers.csv"]
        assert isinstance(drivers, bytes)
        assert written in drivers.decode("utf-8-sig"), changes


async def test_tls_needs_a_certificate_of_a_known_authority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for tls, scheme in (("starttls", "smtp"), ("smtps", "smtps")):
        folder = tmp_path / tls
        folder.mkdir()
        async with mail_server(folder, tls=tls) as mails:
            settings = settings_for(mails.url(scheme, LOGIN, ""))
            monkeypatch.delenv("SSL_CERT_FILE", raising=False)
            unknown = await send_mail(settings, a_mail(), ADA)
            assert unknown is not None
            assert not unknown.permanent
            assert "certificate" in unknown.reason.lower(), unknown
            assert mails.logins == []
            monkeypatch.setenv("SSL_CERT_FILE", str(folder / "board.pem"))
            assert await reach_server(settings) is None
            assert await send_mail(settings, a_mail(), ADA) is None
            assert mails.logins == [(USER, PASSWORD)] * 2
            wrong = settings_for(mails.url(scheme, f"{USER}:wrong-secret@", ""))
            refused = await reach_server(wrong)
            assert refused is not None
            assert refused.permanent
            assert refused.reason.startswith("535")
            assert "wrong-secret" not in refused.reason


async def test_a_server_without_tls_gets_no_mail_unless_the_url_says_so() -> None:
    async with mail_server() as mails:
        refused = await send_mail(settings_for(mails.url(query="")), a_mail(), ADA)
        assert refused == Refused("SMTP STARTTLS extension not supported by server.", permanent=True)
        assert await send_mail(settings_for(mails.url()), a_mail(), ADA) is None
        assert len(mails.taken) == 1
        gone = mails.url()
    away = await send_mail(settings_for(gone), a_mail(), ADA)
    assert away is not None
    assert not away.permanent


async def test_a_mail_that_the_server_took_is_sent_even_if_the_connection_is_lost_then() -> None:
    async with mail_server() as mails:
        mails.drops = True
        assert await send_mail(settings_for(mails.url()), a_mail(), ADA) is None
        assert len(mails.taken) == 1


@pytest.mark.parametrize(
    "url",
    [
        "http://mail.example", "smtp://", "smtp://mail.example/path", "smtp://mail.example?tls=on",
        "smtps://mail.example?tls=off", "smtp://u:p@mail.example?tls=off", "smtp://u:p@ss@mail.example",
        "smtp://mail.example:99999",
    ],
)  # fmt: skip
def test_a_wrong_url_of_a_mail_server_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="must"):
        settings_for(url)


@pytest.mark.parametrize("sender", ["board", "board@", "a@b.example\nBcc: c@d.example", "a@b.example, c@d.example"])
def test_a_wrong_sender_is_refused(sender: str) -> None:
    with pytest.raises(ValueError, match="must be an address"):
        Settings(mail_from=sender)
