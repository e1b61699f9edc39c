"""Formulas in LaTeX, in signs that a voice reads out: `x^2` is "x²", `\\frac{1}{2}` is "1/2", `\\leq` is "≤".

Voices know the signs of Unicode in each of their languages, so nothing here is worded. A parser of LaTeX was the
alternative; it lost because what a model writes into one spoken sentence is a few signs long, and anything longer
cannot be understood by ear.
"""

from __future__ import annotations

import re

_SIGNS = {
    "times": "×", "cdot": "×", "div": "÷", "pm": "±", "mp": "∓", "leq": "≤", "le": "≤", "geq": "≥", "ge": "≥",
    "neq": "≠", "ne": "≠", "approx": "≈", "sim": "≈", "equiv": "≡", "infty": "∞", "to": "→", "rightarrow": "→",
    "Rightarrow": "⇒", "circ": "°", "degree": "°", "sum": "∑", "int": "∫", "partial": "∂", "sqrt": "√", "ldots": "…",
    "dots": "…", "cdots": "…", "alpha": "α", "beta": "β", "gamma": "γ", "delta": "δ", "epsilon": "ε", "theta": "θ",
    "lambda": "λ", "mu": "μ", "pi": "π", "rho": "ρ", "sigma": "σ", "tau": "τ", "phi": "φ", "omega": "ω", "Delta": "Δ",
    "Omega": "Ω", "Sigma": "Σ", "gt": ">", "lt": "<", "left": "", "right": "", "quad": " ", "qquad": " ", "text": "",
    "mathrm": "", "mathbf": "", "mathit": "", "textbf": "", "operatorname": "", "displaystyle": "", "big": "",
    "Big": "",
}  # fmt: skip
_RAISED = str.maketrans("0123456789+-", "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻")
_FRACTION = re.compile(r"\\[dt]?frac\s?\{([^{}]{1,60})\}\s?\{([^{}]{1,60})\}")
_DEGREE = re.compile(r"\^\{?\s?\\circ\s?\}?")
_EXPONENT = re.compile(r"\^(?:\{([+-]?\d{1,4})\}|(\d))")
_COMMAND = re.compile(r"\\([A-Za-z]{1,20})")
_ESCAPED = re.compile(r"\\([^A-Za-z])")
_LAYOUT = re.compile(r"[{}\[\]|&^_`*~]")
_BLANKS = re.compile(r"\s+")


def say_formula(formula: str, less_than: str) -> str:
    """Return a formula, without the marks around it, as it can be read aloud; `less_than` is how `<` is said."""
    text = _DEGREE.sub("°", formula)
    for _ in range(3):  # fractions inside fractions
        text = _FRACTION.sub(r"\1/\2", text)
    text = _EXPONENT.sub(lambda found: (found[1] or found[2]).translate(_RAISED), text)
    text = _COMMAND.sub(lambda found: _SIGNS.get(found[1], found[1]), text)
    text = _ESCAPED.sub(lambda found: found[1] if found[1] in "%$#" else " ", text)
    text = text.replace("<", f" {less_than} ")
    return _BLANKS.sub(" ", _LAYOUT.sub(lambda found: " " if found[0] in "_&" else "", text)).strip()
