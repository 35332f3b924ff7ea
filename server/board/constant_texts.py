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

ADDRESS: Final = re.compile(r"""(\s(?:href|src|action)=")(?:(?=/)|\{\{ *(.+?) *\}\})""")
"""The beginning of an address in an attribute: a path, or a value."""
PLACE: Final = re.compile(r"%\((\w+)\)s")
PERCENT: Final = "\0"
"""What no text has, for a `%%` in it."""


class TextFolder(Environment):
    """An environment with the texts of these translations, which it folds as it compiles. Addresses in attributes get
    the `root` of the public URL.
    """

    def __init__(self, translations: NullTranslations, root: str = "", **options: Any) -> None:
        super().__init__(extensions=["jinja2.ext.i18n"], **options)
        self.translations = translations
        self.install_gettext_translations(translations, newstyle=True)  # type: ignore[attr-defined]

        self._root = root
        self.filters["rooted"] = self._rooted

    def preprocess(self, source: str, name: str | None = None, filename: str | None = None) -> str:
        """The source of a template, with its addresses below the root."""
        text = super().preprocess(source, name, filename)
        return ADDRESS.sub(self._address, text) if self._root else text

    def _address(self, found: re.Match[str]) -> str:
        value = found[2]
        return found[1] + (self._root if value is None else f"{{{{ ({value}) | rooted }}}}")

    def _rooted(self, path: object) -> object:
        return f"{self._root}{path}" if str(path).startswith("/") else path

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
