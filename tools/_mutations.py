"""Small changes of Python source, each of which a test should notice."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from itertools import pairwise

OPERATORS: dict[type, tuple[str, str]] = {
    **{ast.Add: ("+", "-"), ast.Sub: ("-", "+"), ast.Mult: ("*", "/"), ast.Div: ("/", "*"), ast.FloorDiv: ("//", "/")},
    **{ast.Mod: ("%", "*"), ast.Pow: ("**", "*"), ast.MatMult: ("@", "*"), ast.BitAnd: ("&", "|")},
    **{ast.BitOr: ("|", "&"), ast.BitXor: ("^", "|"), ast.And: ("and", "or"), ast.Or: ("or", "and")},
    **{ast.Lt: ("<", "<="), ast.LtE: ("<=", "<"), ast.Gt: (">", ">="), ast.GtE: (">=", ">"), ast.Eq: ("==", "!=")},
    **{ast.NotEq: ("!=", "=="), ast.Is: ("is", "is not"), ast.IsNot: ("is not", "is")},
    **{ast.In: ("in", "not in"), ast.NotIn: ("not in", "in")},
}
PAIRS = ("min max", "amin amax", "argmin argmax", "minimum maximum", "sin cos", "real imag", "any all", "floor ceil")
SWAPS = {name: other for pair in PAIRS for name, other in (pair.split(), pair.split()[::-1])}


@dataclass(frozen=True)
class Mutant:
    """One change: where it is made, and what stands there before and after."""

    file: str
    span: tuple[int, int]  # bytes of the file, replaced by
    new: str
    lines: tuple[int, int]  # of the statement: a test that runs one of them can see the change
    scope: tuple[int, int]  # lines of the function, class or file around it, for what runs while modules are imported
    function: tuple[str, int] | None  # name and first line of the outermost function, None for what an import runs

    def apply(self, source: bytes) -> bytes:
        """The changed source; every line keeps its number."""
        start, stop = self.span
        return source[:start] + self.new.encode() + b"\n" * source.count(b"\n", start, stop) + source[stop:]

    def change(self, source: bytes) -> tuple[str, str]:
        """The lines before and after, without indentation."""
        first, last = (source.count(b"\n", 0, place) for place in self.span)
        texts = (text.decode().split("\n")[first : last + 1] for text in (source, self.apply(source)))
        before, after = (" ".join(line.strip() for line in text).strip() for text in texts)
        return before, after


class Finder(ast.NodeVisitor):
    """Collects the mutants of a file in `found`; texts, types, imports and assertions stay as they are."""

    def __init__(self, file: str, source: bytes) -> None:
        self.file, self.source, self.found = file, source, list[Mutant]()
        self.starts = [0, *(match.end() for match in re.finditer(b"\n", source))]
        self.lines, self.scope = (1, 1), (1, len(self.starts))
        self.function: tuple[str, int] | None = None
        self.visit(ast.parse(source))

    def span(self, node: ast.expr | ast.stmt) -> tuple[int, int]:
        """Where a node stands, in bytes."""
        end_line, end = node.end_lineno or node.lineno, node.end_col_offset or 0
        return self.starts[node.lineno - 1] + node.col_offset, self.starts[end_line - 1] + end

    def text(self, node: ast.expr | ast.stmt) -> str:
        """The source of a node."""
        return self.source[slice(*self.span(node))].decode()

    def put(self, place: ast.expr | ast.stmt | tuple[int, int], new: str) -> None:
        """Add the mutant with other text at a place."""
        span = place if isinstance(place, tuple) else self.span(place)
        self.found.append(Mutant(self.file, span, new, self.lines, self.scope, self.function))

    def swap(self, operator: ast.AST, left: ast.expr, right: ast.expr) -> None:
        """Another operator between two operands."""
        if type(operator) in OPERATORS:
            old, new = OPERATORS[type(operator)]
            start, stop = self.span(left)[1], self.span(right)[0]
            at = self.source.index(old.split()[0].encode(), start, stop)
            self.put((at, at + len(old)), new)

    def visit(self, node: ast.AST) -> None:
        """Note in which statement we are, and mutate statements that can be left out."""
        kept = self.lines
        if isinstance(node, ast.stmt):
            inner = [child.lineno for child in ast.iter_child_nodes(node) if isinstance(child, ast.stmt)]
            self.lines = node.lineno, max(node.lineno, min(inner) - 1 if inner else node.end_lineno or 0)
            if _can_go(node):
                self.put(node, "pass")
        skipped = (ast.Import, ast.ImportFrom, ast.Assert, ast.Raise, ast.JoinedStr, ast.arg)
        if not isinstance(node, skipped):
            super().visit(node)
        self.lines = kept

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.ClassDef) -> None:
        kept = self.scope, self.function
        if any("overload" in self.text(decorator) for decorator in node.decorator_list):
            return
        if self.function is None:
            self.scope = node.lineno, node.end_lineno or node.lineno
        if isinstance(node, ast.FunctionDef):
            self.visit(node.args)  # the defaults
            first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
            self.function = self.function or (node.name, first)
        for statement in node.body:
            self.visit(statement)
        self.scope, self.function = kept

    visit_ClassDef = visit_FunctionDef

    def visit_Assign(self, node: ast.Assign) -> None:
        if "__all__" not in self.text(node):
            self.generic_visit(node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        if node.value:
            self.visit(node.value)

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        self.swap(node.op, node.target, node.value)
        self.generic_visit(node)

    def visit_Return(self, node: ast.Return) -> None:
        if node.value and self.text(node.value) != "None":
            if self.text(node.value) != "False":  # which is as untrue
                self.put(node.value, "None")
            self.visit(node.value)

    def visit_Call(self, node: ast.Call) -> None:
        name = self.text(node.func).rpartition(".")[2]
        if name == "conj" and isinstance(node.func, ast.Attribute):
            self.put(node, self.text(node.func.value))
        if name not in ("fail", "_fail", "warn", "cast", "TypeVar"):  # their arguments are messages and types
            self.generic_visit(node)

    def visit_keyword(self, node: ast.keyword) -> None:
        if node.arg != "strict":  # of zip: an assertion
            self.visit(node.value)

    def visit_Constant(self, node: ast.Constant) -> None:
        if isinstance(node.value, bool):
            self.put(node, str(not node.value))
        elif isinstance(node.value, (int, float)):
            for other in {0: [1], 1: [0, 2]}.get(node.value, [node.value + 1, node.value - 1]):  # type: ignore[call-overload]
                self.put(node, f"({other})" if other < 0 else repr(other))

    def visit_Name(self, node: ast.Name) -> None:
        if node.id in SWAPS:
            self.put(node, SWAPS[node.id])

    def visit_Attribute(self, node: ast.Attribute) -> None:
        if node.attr in SWAPS:
            stop = self.span(node)[1]
            self.put((stop - len(node.attr), stop), SWAPS[node.attr])
        self.visit(node.value)

    def visit_UnaryOp(self, node: ast.UnaryOp) -> None:
        self.put(node, f" {self.text(node.operand)}")
        self.visit(node.operand)

    def visit_BinOp(self, node: ast.BinOp) -> None:
        self.swap(node.op, node.left, node.right)
        self.generic_visit(node)

    def visit_BoolOp(self, node: ast.BoolOp) -> None:
        for left, right in pairwise(node.values):
            self.swap(node.op, left, right)
        self.generic_visit(node)

    def visit_Compare(self, node: ast.Compare) -> None:
        for operator, (left, right) in zip(node.ops, pairwise([node.left, *node.comparators]), strict=True):
            self.swap(operator, left, right)
        self.generic_visit(node)

    def visit_If(self, node: ast.If | ast.IfExp) -> None:
        if self.text(node.test) != "TYPE_CHECKING":
            self.put(node.test, f"not ({self.text(node.test)})")
        self.generic_visit(node)

    visit_IfExp = visit_If

    def visit_Slice(self, node: ast.Slice) -> None:
        for bound in filter(None, (node.lower, node.upper, node.step)):
            self.put(bound, "None")
        self.generic_visit(node)


def _can_go(node: ast.stmt) -> bool:
    """Whether the code without a statement still runs: calls, raises, and what is assigned to what there is."""
    if isinstance(node, ast.Assign):
        names = {part.id for part in ast.walk(node.value) if isinstance(part, ast.Name)}
        known = (ast.Attribute, ast.Subscript)
        return all(isinstance(t, known) or (isinstance(t, ast.Name) and t.id in names) for t in node.targets)
    if isinstance(node, ast.Expr):
        return isinstance(node.value, ast.Call)
    return isinstance(node, (ast.AugAssign, ast.Raise, ast.Continue, ast.Break))
