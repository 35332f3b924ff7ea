"""Templates whose texts are looked up when the template is compiled, not each time that it is rendered.

An environment has one language, so `_("Waiting")` is a constant, and `_("Level %(level)s", level=d.level)` is one and a
value: a row of the board costs the same in every language. `ngettext` depends on a number and stays a call.
"""

import re
from typing import Any, Final

from babel.support import NullTranslations
from jinja2 import Environment, nodes
from jinja2.visitor import NodeTransformer
from markupsafe import Markup, escape

PLACE: Final = re.compile(r"%\((\w+)\)s")
PERCENT: Final = "\0"
"""What no text has, for a `%%` in it."""


class TextFolder(Environment):
    """An environment with the texts of these translations, which it folds as it compiles."""

    def __init__(self, translations: NullTranslations, **options: Any) -> None:
        super().__init__(extensions=["jinja2.ext.i18n"], **options)
        self.translations = translations
        self.install_gettext_translations(translations, newstyle=True)  # type: ignore[attr-defined]

    def _generate(
        self, source: nodes.Template, name: str | None, filename: str | None, defer_init: bool = False
    ) -> str:
        return super()._generate(_Folded(self).visit(source), name, filename, defer_init)


class _Folded(NodeTransformer):
    def __init__(self, env: TextFolder) -> None:
        self._gettext = env.translations.gettext

    def visit_Output(self, output: nodes.Output) -> nodes.Output:  # noqa: N802
        shown: list[nodes.Expr] = []
        for part in output.nodes:
            pieces = self._pieces(part)
            shown += pieces if pieces is not None else [self._expr(part)]
        output.nodes = shown
        return output

    def visit_Call(self, call: nodes.Call) -> nodes.Expr:  # noqa: N802
        pieces = self._pieces(call)
        if pieces is None:
            self.generic_visit(call)
            return call
        texts = [nodes.Const(_plain(p.data)) if isinstance(p, nodes.TemplateData) else p for p in pieces]
        return texts[0] if len(texts) == 1 else nodes.Concat(texts, lineno=call.lineno)

    def _expr(self, expr: nodes.Expr) -> Any:
        return self.visit(expr)

    def _pieces(self, call: nodes.Expr) -> list[Any] | None:
        """The text and the values of a call of `_`, in the order of this language; None for anything else."""
        if not (isinstance(call, nodes.Call) and isinstance(call.node, nodes.Name) and call.node.name == "_"):
            return None
        (text,) = call.args
        assert isinstance(text, nodes.Const), f"line {call.lineno}: a text is written where it is shown"
        values = {keyword.key: self._expr(keyword.value) for keyword in call.kwargs}
        pieces: list[Any] = []
        # Split by a pattern with one group: text, name, text, name, …, text.
        for place, part in enumerate(PLACE.split(self._gettext(text.value).replace("%%", PERCENT))):
            if place % 2:
                pieces.append(values[part])
            elif part:
                pieces.append(nodes.TemplateData(part.replace(PERCENT, "%")))
        return pieces or [nodes.TemplateData("")]


def _plain(text: str) -> str:
    """A text without tags stays a string, which compiled code has as a constant; Markup is created each time."""
    return text if escape(text) == text else Markup(text)  # noqa: S704
