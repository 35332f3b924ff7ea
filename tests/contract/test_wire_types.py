"""The types that the scripts of the driver page are checked with are those of the contract."""

from tests.wire_types import PATH, declarations


def test_the_types_of_messages_are_those_of_the_asyncapi_document() -> None:
    assert PATH.read_text() == declarations(), "run: .venv/bin/python -m tests.wire_types"


def test_a_field_that_may_be_missing_or_null_is_so_in_its_type() -> None:
    said = declarations()
    assert "    reason?: string;\n" in said
    assert "    pickedUpAt: string | null;\n" in said
    assert '    proofRequired?: ("photo" | "pin" | "signature")[];\n' in said
    assert "    missed: Numbered[];\n" in said
    assert "unknown" not in said.replace("result?: Record<string, unknown>", "")
