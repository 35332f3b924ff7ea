"""The day report as a mail: in words, as HTML, and with its tables as CSV files."""

from collections.abc import Iterator
from email.message import EmailMessage
from typing import Final

from server.board.constant_texts import TextFolder
from server.board.csv_forms import CHOICES, csv_form_in
from server.board.formats import day_and_clock, money, percent, seconds, span
from server.contract.day_report import DayReport, DayTally
from server.contract.day_report_files import FILES, report_file
from server.settings import Settings, time_zone_of
from server.texts.speech import Speech, screens_language, speech

NOTHING: Final = "–"


def report_mail(templates: TextFolder, settings: Settings, report: DayReport) -> EmailMessage:
    """The mail of a report, without its recipient, date and Message-ID."""
    words = speech(screens_language(settings.language))
    day = report.since.date().isoformat()
    link = f"{settings.public_url}/report?day={day}" if settings.public_url else ""
    subject = _subject(words, settings.company_name, report)
    mail = EmailMessage()
    mail["From"] = settings.mail_from
    mail["Subject"] = subject
    mail["Auto-Submitted"] = "auto-generated"
    mail.set_content("\n".join(_lines(words, report, settings.time_zone, link)))
    html = templates.get_template("mail/day_report.html").render(report=report, link=link, subject=subject)
    mail.add_alternative(html, subtype="html")
    form = CHOICES.get(settings.report_csv) or csv_form_in(settings.time_zone)
    for table in FILES:
        name, data = report_file(report, table, form)
        mail.add_attachment(data, maintype="text", subtype="csv", filename=name)
    return mail


def _subject(words: Speech, company: str, report: DayReport) -> str:
    day = words.dated(report.since, "EEE dd MMM y", "yMMMEd")
    total = report.total
    text = words.said(
        "Day report of {day}: {delivered} of {orders} orders delivered",
        day=day,
        delivered=words.number(total.delivered),
        orders=words.number(total.orders),
    )
    return f"{company} · {text}" if company else text


def _lines(words: Speech, report: DayReport, time_zone: str, link: str) -> Iterator[str]:
    zone, total = time_zone_of(time_zone), report.total
    yield words.said(
        "From {since} to {until}, {time_zone}.",
        since=day_and_clock(report.since, zone, speech=words),
        until=day_and_clock(report.until, zone, speech=words),
        time_zone=time_zone,
    )
    yield ""
    yield f"{words.said('Orders')}: {words.number(total.orders)}"
    yield f"{words.said('Delivered')}: {words.number(total.delivered)}"
    yield f"{words.said('On time')}: {_share(words, total)}"
    yield f"{words.said('Failed')}: {words.number(total.failed)}"
    yield f"{words.said('Cancelled')}: {words.number(total.cancelled)}"
    yield f"{words.said('Still open')}: {words.number(total.open)}"
    wait = NOTHING if total.average_wait is None else seconds(total.average_wait, words)
    yield f"{words.said('Average wait')}: {wait}"
    if report.drivers:
        yield from ("", words.said("By driver"))
    for driver in report.drivers:
        pay = ", ".join(money(cents, currency, words) for currency, cents in sorted(driver.pay.items()))
        parts = [
            f"{words.said('On shift')} {span(driver.seconds, words)}",
            f"{words.said('Delivered')} {words.number(driver.tally.delivered)}",
            f"{words.said('On time')} {_share(words, driver.tally)}",
            f"{words.said('Pay')} {pay or NOTHING}",
        ]
        yield f"- {driver.name}: {'; '.join(parts)}"
    if report.stores:
        yield from ("", words.said("By store"))
    for store, tally in report.stores:
        delivered, orders = words.number(tally.delivered), words.number(tally.orders)
        yield "- " + words.said(
            "{store}: {delivered} of {orders} delivered", store=store, delivered=delivered, orders=orders
        )
    if link:
        yield from ("", link)


def _share(words: Speech, tally: DayTally) -> str:
    return NOTHING if tally.on_time_share is None else percent(tally.on_time_share, words)
