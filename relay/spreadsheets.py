"""Text that goes into a spreadsheet, from the console and from commands."""

from __future__ import annotations


def without_formulas(text: str) -> str:
    """Return a text that no spreadsheet takes for a formula: what a caller said must not run in the operator's.

    Source: OWASP's page "CSV Injection". A telephone number keeps its plus sign.
    """
    is_number = text[:1] == "+" and text[1:].isdigit()
    return text if is_number or text[:1] not in {"=", "+", "-", "@", "\t", "\r"} else f"'{text}"
