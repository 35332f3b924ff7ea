"""Files as spreadsheet programs save them, made by their rules: encodings, delimiters, quotation marks, XML."""

import io
import zipfile
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Final
from xml.sax.saxutils import escape

Value = str | int | float | datetime | None
Table = Sequence[Sequence[Value]]

NS: Final = 'xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"'
TYPES: Final = (
    '<?xml version="1.0" encoding="UTF-8"?><Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types">'
    '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
    '<Default Extension="xml" ContentType="application/xml"/>'
    '<Override PartName="/xl/workbook.xml" ContentType='
    '"application/vnd.openxmlformats-officedocument.spreadsheetml.sheet.main+xml"/>'
    '<Override PartName="/xl/worksheets/sheet1.xml" ContentType='
    '"application/vnd.openxmlformats-officedocument.spreadsheetml.worksheet+xml"/>'
    '<Override PartName="/xl/styles.xml" ContentType='
    '"application/vnd.openxmlformats-officedocument.spreadsheetml.styles+xml"/>'
    '<Override PartName="/xl/sharedStrings.xml" ContentType='
    '"application/vnd.openxmlformats-officedocument.spreadsheetml.sharedStrings+xml"/></Types>'
)
RELS: Final = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
STYLES: Final = (
    f"<styleSheet {NS}><fonts><font/></fonts>"
    '<fills><fill><patternFill patternType="none"/></fill></fills><borders><border/></borders>'
    '<cellStyleXfs><xf/></cellStyleXfs><cellXfs><xf numFmtId="0"/><xf numFmtId="22" applyNumberFormat="1"/></cellXfs>'
    "</styleSheet>"
)


def _marked(value: Value, delimiter: str, *, always: bool) -> str:
    """A cell of a CSV file. Programs put marks around a text with delimiters, marks and line ends; some around all."""
    text = "" if value is None else value.strftime("%d.%m.%Y %H:%M") if isinstance(value, datetime) else str(value)
    if any(sign in text for sign in (delimiter, '"', "\n", "\r")) or (always and isinstance(value, str)):
        return '"' + text.replace('"', '""') + '"'
    return text


def _csv(table: Table, delimiter: str, end: str, *, always: bool = False) -> str:
    return "".join(delimiter.join(_marked(cell, delimiter, always=always) for cell in row) + end for row in table)


def excel_windows(table: Table) -> bytes:
    """Excel for Windows in Germany or France, "CSV": Windows-1252 and semicolons."""
    return _csv(table, ";", "\r\n").encode("cp1252")


def excel_utf_8(table: Table) -> bytes:
    """Excel, "CSV UTF-8", with a byte order mark."""
    return _csv(table, ";", "\r\n").encode("utf-8-sig")


def excel_unicode_text(table: Table) -> bytes:
    """Excel, "Unicode Text": UTF-16, little endian with a byte order mark, and tabs."""
    return _csv(table, "\t", "\r\n").encode("utf-16")


def excel_with_sep(table: Table) -> bytes:
    """A file that tells Excel its delimiter in a line before the header."""
    return b"sep=,\r\n" + _csv(table, ",", "\r\n").encode("cp1252")


def libre_office(table: Table) -> bytes:
    """LibreOffice Calc with marks around all texts."""
    return _csv(table, ",", "\n", always=True).encode()


def google_sheets(table: Table) -> bytes:
    """Google Sheets: no line end after the last row."""
    return _csv(table, ",", "\r\n").removesuffix("\r\n").encode()


def _column(at: int) -> str:
    return chr(ord("A") + at)


def archive(parts: dict[str, str]) -> bytes:
    """A ZIP archive of these texts."""
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as file:
        for name, text in parts.items():
            file.writestr(name, text)
    return data.getvalue()


def workbook(sheet: str, strings: Sequence[str] = (), head: str = "") -> bytes:
    """An Excel file with the XML of one sheet. `head` is what precedes the sheet's XML."""
    return archive(
        {
            "[Content_Types].xml": TYPES,
            "_rels/.rels": '<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">'
            f'<Relationship Id="r1" Type="{RELS}/officeDocument" Target="xl/workbook.xml"/></Relationships>',
            "xl/workbook.xml": f'<workbook {NS} xmlns:r="{RELS}"><sheets><sheet name="Table" sheetId="1" r:id="r1"/>'
            "</sheets></workbook>",
            "xl/_rels/workbook.xml.rels": '<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/'
            f'relationships"><Relationship Id="r1" Type="{RELS}/worksheet" Target="worksheets/sheet1.xml"/>'
            f'<Relationship Id="r2" Type="{RELS}/styles" Target="styles.xml"/>'
            f'<Relationship Id="r3" Type="{RELS}/sharedStrings" Target="sharedStrings.xml"/></Relationships>',
            "xl/styles.xml": STYLES,
            "xl/sharedStrings.xml": f"<sst {NS}>"
            + "".join(f'<si><t xml:space="preserve">{escape(text)}</t></si>' for text in strings)
            + "</sst>",
            "xl/worksheets/sheet1.xml": f"{head}<worksheet {NS}>{sheet}</worksheet>",
        }
    )


def _serial(at: datetime) -> float:
    return (at - datetime(1899, 12, 30)).total_seconds() / 86_400  # noqa: DTZ001 - Excel knows no time zone


def excel(table: Table) -> bytes:
    """Excel: shared strings, dates as numbers with a format, and formats of empty rows down to the last one."""
    strings: list[str] = []
    rows = ""
    for line, row in enumerate(table, 1):
        rows += f'<row r="{line}">'
        for at, cell in enumerate(row):
            place = f'r="{_column(at)}{line}"'
            if isinstance(cell, datetime):
                rows += f'<c {place} s="1"><v>{_serial(cell)!r}</v></c>'
            elif isinstance(cell, str):
                rows += f'<c {place} t="s"><v>{len(strings)}</v></c>'
                strings.append(cell.replace("\r\n", "_x000D_\n"))
            elif cell is None:
                rows += f'<c {place} s="1"/>'
            else:
                rows += f"<c {place}><v>{cell!r}</v></c>"
        rows += "</row>"
    last = '<row r="1048576" s="1" customFormat="1"/>'
    return workbook(f'<dimension ref="A1:A1"/><sheetData>{rows}{last}</sheetData>', strings)


def excel_inline(table: Table) -> bytes:
    """Programs that write texts into their cells, and no positions."""
    rows = ""
    for row in table:
        rows += "<row>"
        for cell in row:
            if isinstance(cell, datetime):
                rows += f'<c s="1"><v>{_serial(cell)!r}</v></c>'
            elif isinstance(cell, str):
                rows += f'<c t="inlineStr"><is><t xml:space="preserve">{escape(cell)}</t></is></c>'
            else:
                rows += "<c/>" if cell is None else f"<c><v>{cell!r}</v></c>"
        rows += "</row>"
    return workbook(f"<sheetData>{rows}</sheetData>")


PROGRAMS: Final[tuple[Callable[[Table], bytes], ...]] = (
    excel_windows, excel_utf_8, excel_unicode_text, excel_with_sep, libre_office, google_sheets, excel, excel_inline,
)  # fmt: skip
