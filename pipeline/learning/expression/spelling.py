"""Equations as text, and back: ``(Wᵀs)∘σ′ / ‖·‖₂``, or in ASCII ``norm2((WTs)*d)``. Both spellings may be mixed.

Operators bind, from the weakest: ``+ −`` and x + c; ``∘ /`` and the division by a norm; the matrix product ``·``; ``−x`` and
``c·x``; what follows its operand, such as ``ᵀ``. ``·`` after a number is a multiple, else the matrix product. Everything can
be written as a function by its ASCII name: ``T(x)``, ``clip(x, 0.1)``.
"""

import re

from pipeline.errors import UserError, nearest, shown
from pipeline.learning.expression.binaries import BINARIES
from pipeline.learning.expression.grammar import Binary, Leaf, Tree, Unary, parts
from pipeline.learning.expression.operands import OPERANDS
from pipeline.learning.expression.unaries import UNARIES

LONGEST = 1000
"""characters of an equation"""
DEEPEST_TEXT = 40
"""brackets and operators in one another"""
SUM, TIMES, MATRIX, BEFORE, AFTER, WHOLE = 1, 2, 3, 4, 5, 6
"""how strongly what is written so binds"""
_LEVELS = {"scale": BEFORE, "neg": BEFORE, "shift": SUM} | {
    name: TIMES for name, entry in UNARIES.items() if entry.shown.startswith("∙ / ‖")
}
_AFTER = {entry.shown[1:]: name for name, entry in UNARIES.items() if re.match(r"∙[^ ]", entry.shown)}
"""what follows its operand, by how it is written"""
_NORMS = {entry.shown[2:].replace(" ", ""): name for name, entry in UNARIES.items() if entry.shown.startswith("∙ / ‖")}
_INFIX = {sign: name for name, entry in BINARIES.items() if entry.level for sign in (entry.shown, entry.name)}
_OTHERS = {"-": "−", "σ'": "σ′", "^T": "ᵀ", "×": "∘"}
"""spellings that are understood as well"""


# -- writing ---------------------------------------------------------------------------------------------------------------


def spelt(tree: Tree) -> str:
    """As the papers write it."""
    return _spelt(tree)[0]


def plain(tree: Tree) -> str:
    """In ASCII, by functions."""
    if isinstance(tree, Leaf):
        return OPERANDS[tree.name].plain
    if isinstance(tree, Unary):
        return f"{tree.name}({plain(tree.of)}{'' if tree.value is None else f', {tree.value:g}'})"
    if not BINARIES[tree.name].level:
        return f"{tree.name}({plain(tree.left)}, {plain(tree.right)})"
    sides = [
        f"({plain(side)})" if isinstance(side, Binary) and BINARIES[side.name].level else plain(side)
        for side in (tree.left, tree.right)
    ]
    return f"{sides[0]} {tree.name} {sides[1]}"


def _spelt(tree: Tree) -> tuple[str, int]:
    """The text, and how strongly it binds."""
    if isinstance(tree, Leaf):
        product = OPERANDS[tree.name].computed and len(tree.name) > 2  # a pull, which is read as a product
        return tree.name, BEFORE if product else WHOLE
    if isinstance(tree, Unary):
        return _unary(tree)
    entry = BINARIES[tree.name]
    if not entry.level:
        return f"{entry.shown}({spelt(tree.left)}, {spelt(tree.right)})", WHOLE
    return f"{_within(tree.left, entry.level)} {entry.shown} {_within(tree.right, entry.level + 1)}", entry.level


def _unary(tree: Unary) -> tuple[str, int]:
    entry, value = UNARIES[tree.name], tree.value
    level = _LEVELS.get(tree.name, AFTER if entry.shown[1:] in _AFTER else WHOLE)
    if tree.name == "shift" and value is not None and value < 0:
        return f"{_within(tree.of, SUM)} − {-value:g}", SUM
    text = entry.shown.replace("c", f"{value:g}", 1) if tree.name in ("scale", "shift") else entry.shown
    if tree.name not in ("scale", "shift") and value is not None:
        text = text.replace(", c)", f", {value:g})")
    inside = spelt(tree.of) if level == WHOLE else _within(tree.of, level)
    return text.replace("∙", inside, 1), level


def _within(tree: Tree, level: int) -> str:
    """In brackets where it binds less than what it stands in."""
    text, own = _spelt(tree)
    return text if own >= level else f"({text})"


# -- reading ---------------------------------------------------------------------------------------------------------------


def parse(text: str) -> Tree:
    """The equation that a text spells. Whether it types is another question (:mod:`pipeline.learning.expression.typing`).

    Raises:
        UserError: it spells none; the sentence says where it stops making sense.
    """
    if len(text) > LONGEST:
        raise UserError(f"an equation of {len(text)} characters; give at most {LONGEST}.")
    reader = _Reader(text)
    tree = reader.sum()
    if reader.left:
        raise reader.wrong()
    if _is_deep(tree):
        raise reader.wrong(f"more than {DEEPEST_TEXT} operators in one another")
    return tree


def _is_deep(tree: Tree) -> bool:
    """Whether a tree is too deep for what walks it; a chain, such as xᵀᵀᵀ…, is without brackets."""
    row = [tree]
    for _ in range(DEEPEST_TEXT + 1):
        row = [below for own in row for below in parts(own)]
    return bool(row)


_LEAVES = {
    own.replace(" ", ""): name for name, entry in OPERANDS.items() for own in (entry.name, entry.plain, f"({entry.plain})")
}
_LEAVES |= {own.replace("*", "∘"): name for own, name in _LEAVES.items()}
_NUMBER = re.compile(r"\d+(\.\d*)?([eE][-−+]?\d+)?|\.\d+([eE][-−+]?\d+)?")
_CALLED = re.compile(r"[A-Za-z]\w*(?=\()")


def _at(level: int) -> list[str]:
    """The signs of the binary operators that bind so."""
    return [sign for sign, name in _INFIX.items() if BINARIES[name].level == level]


class _Reader:
    """Reads from the left: each method takes what binds as it says, and all that binds more."""

    def __init__(self, text: str) -> None:
        self.text, self.deep = text, 0
        self.left = re.sub(r"\s", "", text)
        for other, own in _OTHERS.items():
            self.left = self.left.replace(other, own)

    def wrong(self, why: str = "") -> UserError:
        rest = f"at {shown(self.left)}" if self.left else "at its end"
        return UserError(
            f"the equation {shown(self.text)} cannot be read {rest}{why and f' ({why})'}; write one such as "
            "'(Wᵀs)∘σ′ / ‖·‖₂', or 'norm2((WTs)*d)'."
        )

    def takes(self, *signs: str) -> str:
        """The longest of ``signs`` that comes next, taken; nothing where none does."""
        found = max((sign for sign in signs if self.left.startswith(sign)), key=len, default="")
        self.left = self.left[len(found) :]
        return found

    def number(self) -> float | None:
        found = _NUMBER.match(self.left)
        if found is None:
            return None
        self.left = self.left[found.end() :]
        return float(found[0].replace("−", "-"))

    def sum(self) -> Tree:
        self.deep += 1
        if self.deep > DEEPEST_TEXT:
            raise self.wrong("too much stands in one another")
        tree = self.product()
        while sign := self.takes("+", "−"):
            before = self.left
            value = self.number()
            if value is not None and not self.takes("·", "*", "[", "/"):
                tree = self.unary("shift", tree, value if sign == "+" else -value)
            else:
                self.left = before
                tree = Binary("+" if sign == "+" else "-", tree, self.product())
        self.deep -= 1
        return tree

    def product(self) -> Tree:
        tree = self.matrices()
        while sign := self.takes(*_NORMS, *_at(TIMES)):
            tree = Unary(_NORMS[sign], tree) if sign in _NORMS else Binary(_INFIX[sign], tree, self.matrices())
        return tree

    def matrices(self) -> Tree:
        tree = self.prefixed()
        while sign := self.takes(*_at(MATRIX)):
            tree = Binary(_INFIX[sign], tree, self.prefixed())
        return tree

    def prefixed(self) -> Tree:
        self.deep += 1
        if self.deep > DEEPEST_TEXT:
            raise self.wrong("too much stands in one another")
        try:
            if self.takes("−"):
                return Unary("neg", self.prefixed())
            if not self.left.startswith("1[") and (value := self.number()) is not None:
                if self.takes("/"):  # 1 / x
                    if value != 1:
                        raise self.wrong("a number stands only before ·, or after + and −")
                    return Unary("inv", self.prefixed())
                if not self.takes("·", "*"):
                    raise self.wrong("a number stands only before ·, or after + and −")
                return self.unary("scale", self.prefixed(), value)
            return self.followed()
        finally:
            self.deep -= 1

    def followed(self) -> Tree:
        tree = self.whole()
        while sign := self.takes(*_AFTER):
            tree = Unary(_AFTER[sign], tree)
        return tree

    def whole(self) -> Tree:
        if called := _CALLED.match(self.left):
            return self.called(called[0])
        if found := self.takes(*_LEAVES):
            return Leaf(_LEAVES[found])
        for opens, name, closes in (("(", "", ")"), ("1[", "step", ">0]"), ("√|", "sqrt", "|"), ("|", "abs", "|")):
            if self.takes(opens):
                inside = self.sum()
                self.closes(closes)
                return Unary(name, inside) if name else inside
        raise self.wrong()

    def called(self, name: str) -> Tree:
        known = {**UNARIES, **{own: entry for own, entry in BINARIES.items() if not entry.level}}
        if name not in known:
            raise self.wrong(f"there is no {shown(name)}; is it {nearest(name, known)!r}?")
        self.left = self.left[len(name) + 1 :]
        first = self.sum()
        if name in BINARIES:
            self.closes(",")
            tree: Tree = Binary(name, first, self.sum())
        elif UNARIES[name].values:
            self.closes(",")
            sign = -1 if self.takes("−") else 1
            value = self.number()
            if value is None:
                raise self.wrong(f"{name} takes a number")
            tree = self.unary(name, first, sign * value)
        else:
            tree = Unary(name, first)
        self.closes(")")
        return tree

    def unary(self, name: str, of: Tree, value: float) -> Tree:
        if not UNARIES[name].allowed(value) or value in (float("inf"), float("-inf")):
            raise self.wrong(f"the constant of {name} is {value:g}")
        return Unary(name, of, value)

    def closes(self, sign: str) -> None:
        if not self.takes(sign):
            raise self.wrong(f"a {sign!r} is missing")
