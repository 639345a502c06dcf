"""Sphinx's LaTeX writer, with what a study's pages need: floats, tables, parts, characters."""

import re
from typing import Any

from docutils import nodes
from sphinx import addnodes
from sphinx.writers.latex import LaTeXTranslator

from scalebook.publish.latex import documents, tables
from scalebook.publish.latex.references import reference, reference_list

#: Characters of the text font, TeX Gyre Termes; for the others there is FreeSerif.
_TEXT = re.compile(
    "([^\\x00-\u017f\u02c6\u02c7\u02d8-\u02dd\u2010-\u2015\u2018-\u201e\u2020-\u2022\u2026\u2030"
    "\u2039\u203a\u2044\u20ac\u2122\u2190-\u2193\u2202\u220f\u2211\u2212\u221a\u221e\u222b\u2248"
    "\u2260\u2264\u2265\u25ca\u202f\u2009\u200b]+)"
)
#: Characters of the code font, Latin Modern Mono; for the others there is FreeMono.
_CODE = re.compile("([^\\x00-\u017f\u2010-\u2015\u2018-\u201e\u2020-\u2022\u2026\u20ac\u2122]+)")
#: Digits in the name of a command.
_LETTERS = str.maketrans("0123456789", "ghijklmnop")
#: A digest has no place to break: every eight characters will do.
_SOLID, _EIGHT = re.compile(r"(?<![\\\w])[A-Za-z0-9]{24,}"), re.compile(r".{1,8}")
#: After these a path or a name may break in a narrow column.
_LONG_WORD = re.compile(r"\S{24,}")
_BREAKS = re.compile(r"(?<=[\w.)}])((?:\\_|/|=|\\sphinxhyphen\{\}|\.(?=[a-z])|@|:(?=\S))\s?)(?=\S)")


class Translator(LaTeXTranslator):
    """Writes one document."""

    def __init__(self, document: nodes.document, builder: Any, theme: Any) -> None:
        super().__init__(document, builder, theme)
        self.in_code = 0
        self.code_characters: dict[str, str] = {}
        self.in_address = False
        self.columns = tables.layout(theme)
        page = document.get("docname", builder.config.root_doc)
        mine = documents.of_page(builder.env, page, theme.name)
        fields = documents.front_matter(builder.env, mine)
        self.elements["author"], self.elements["date"] = fields["author"], fields["date"]
        self.elements["preamble"] += "\n" + fields["preamble"]
        self.elements["contentsname"] = ""  # Sphinx takes the caption of the first part for it
        self.elements["tocdepth"] = ""  # the class knows
        self.root_page = page
        self.is_book = theme.toplevel_sectioning == "chapter"
        self.parts = self._part_names(page) if self.is_book else {}

    def _part_names(self, root: str) -> dict[str, str]:
        """First page of each part that ``_toc.yml`` names, and the name."""
        found = {}
        for toctree in self.builder.env.get_doctree(root).findall(addnodes.toctree):
            if toctree.get("caption") and toctree["includefiles"]:
                found[toctree["includefiles"][0]] = toctree["caption"]
        return found

    # ----------------------------------------------------------------------- headings

    def visit_start_of_file(self, node: nodes.Element) -> None:
        """Begin a page; the first of the appendix begins that."""
        super().visit_start_of_file(node)
        if node.get("appendix") and self.is_book:
            self.body.append("\\sbappendix\n")

    def visit_title(self, node: nodes.Element) -> None:
        """Write a heading; references, an appendix and the opening of a book have no number."""
        if not isinstance(node.parent, nodes.section):
            return super().visit_title(node)
        page = self.curfilestack[-1]
        if self.this_is_the_title:
            try:
                return super().visit_title(node)
            finally:
                if self.is_book:
                    self.body.append("\\sbopening\n")
        if name := self.parts.pop(page, ""):
            self.body.append(f"\\sbpart{{{self.escape(name)}}}\n")
        if self.is_book and page == self.root_page:
            return self._unnumbered(node, self.sectionlevel + 1)
        is_last = node.astext().startswith("Appendix")
        if is_last or any(isinstance(child, reference_list) for child in node.parent.children):
            return self._unnumbered(node, self.sectionlevel)
        return super().visit_title(node)

    def _unnumbered(self, node: nodes.Element, level: int) -> None:
        name = self.sectionnames[min(level, len(self.sectionnames) - 1)]
        bookmark = self.escape(node.astext())
        self.body.append(f"\\{name}*{{")
        line = f"}}\n\\phantomsection\\addcontentsline{{toc}}{{{name}}}{{{bookmark}}}\n"
        self.context.append(line + self.hypertarget_to(node.parent))
        self.in_title = 1

    # ----------------------------------------------------------------------- floats

    def visit_figure(self, node: nodes.Element) -> None:
        """Write a float, across both columns where its class is ``wide``.

        Also where it asks for a side: what words flow around runs off the page at its foot.
        """
        if node.get("align", "") in ("left", "right"):
            del node["align"]
        if self.table or self.in_minipage or self.no_latex_floats:
            return super().visit_figure(node)
        star = "*" if self._is_wide(node) else ""
        where = {2: "tbp", 1: "!htbp"}[self.columns.count]
        self.body.append(f"\n\\begin{{figure{star}}}[{'tp' if star else where}]\n\\centering\n")
        if any(isinstance(child, nodes.caption) for child in node):
            self.body.append("\\capstart\n")
        self.context.append(f"\\end{{figure{star}}}\n")
        return None

    def _is_wide(self, figure: nodes.Element) -> bool:
        """Whether a float takes both columns: a plot does, for letters that can be read."""
        classes = figure["classes"]
        plot = any(image.get("sb_plot") for image in figure.findall(nodes.image))
        return self.columns.count == 2 and ("wide" in classes or (plot and "column" not in classes))

    def visit_image(self, node: nodes.Element) -> None:
        """Write a picture; a plot with letters of about 7 points."""
        if node.get("sb_plot"):
            wide = isinstance(node.parent, nodes.figure) and self._is_wide(node.parent)
            # Less than the column by a space, which would else make an empty line below it.
            node["width"] = {(2, True): "78%", (2, False): "98.5%"}.get(
                (self.columns.count, wide), "88%"
            )
        super().visit_image(node)

    def depart_table(self, node: nodes.Element) -> None:
        """Write a table whose columns fit; Sphinx's own where a cell holds more than words."""
        assert self.table is not None
        if len(self.tables) > 1 or self.table.has_verbatim or tables.is_spanning(node):
            return super().depart_table(node)
        table = self.tables.pop()
        labels = self.hypertarget_to(node)
        plan = tables.plan(node, self.columns, 0.9 if self._is_indented(node) else 1.0)
        head, body, caption = (
            "".join(part for part in parts if part != r"\sphinxhline")
            for parts in (table.header, table.body, table.caption)
        )
        head = f"\\toprule\n{head}\\midrule\n" if head else "\\toprule\n"
        if plan.long:
            self.body.append(_long_table(plan, head, body, caption, labels))
            return None
        begin, end = _environment(plan, "tabular", "tabularx")
        tabular = (
            f"\\begin{{sbtable}}{plan.size}\n{begin}\n"
            f"{head}{body}\\bottomrule\n{end}\n\\end{{sbtable}}\n"
        )
        if not caption and not plan.wide:
            label = f"\\phantomsection{labels}\n" if labels else ""
            self.body.append(f"\n\\begin{{center}}{label}\n{tabular}\\end{{center}}\n")
            return None
        star = "*" if plan.wide else ""
        where = "H" if self.no_latex_floats else {2: "tbp", 1: "!htbp"}[self.columns.count]
        title = f"\\capstart\n\\caption{{{caption}}}{labels}\n" if caption else ""
        self.body.append(
            f"\n\\begin{{table{star}}}[{'tp' if star else where}]\n\\centering\n{title}{tabular}"
            f"\\end{{table{star}}}\n"
        )
        return None

    def _is_indented(self, node: nodes.Node) -> bool:
        """Whether a list, a quotation or a box around it takes some of the column."""
        while node.parent is not None:
            node = node.parent
            if isinstance(
                node, (nodes.list_item, nodes.definition, nodes.block_quote, nodes.Admonition)
            ):
                return True
        return False

    # ----------------------------------------------------------------------- code

    def visit_literal(self, node: nodes.Element) -> None:
        """Begin code in a line."""
        self.in_code += 1
        super().visit_literal(node)

    def depart_literal(self, node: nodes.Element) -> None:
        """End code in a line."""
        super().depart_literal(node)
        self.in_code -= 1

    def visit_literal_block(self, node: nodes.Element) -> None:
        """Write code; characters that its font has not come from another."""
        start = len(self.body)
        try:
            super().visit_literal_block(node)
        except nodes.SkipNode:
            self.body[start:] = [
                _CODE.sub(self._code_characters, part) for part in self.body[start:]
            ]
            raise

    def _code_characters(self, match: re.Match[str]) -> str:
        """Each character as a command of its own: a long line is broken between any two."""
        names = {char: f"sbc{ord(char):x}".translate(_LETTERS) for char in match[0]}
        self.code_characters.update(names)
        return "".join(f"\\{names[char]}{{}}" for char in match[0])

    def astext(self) -> str:
        """Whole document, with the commands that its code needs."""
        self.elements["preamble"] += "".join(
            f"\n\\protected\\def\\{name}{{\\sbothercode{{{char}}}}}"
            for char, name in sorted(self.code_characters.items())
        )
        return super().astext()

    # ----------------------------------------------------------------------- references

    def visit_reference_list(self, node: reference_list) -> None:
        """Write a page's references."""
        entries = list(node.findall(reference))
        longest = max((entry["label"] for entry in entries), key=len, default="")
        self.body.append(f"\n\\begin{{sbreferences}}{{{self.encode(longest)}}}\n")
        for entry in entries:
            self.body.append(
                f"\\item[{{[{self.encode(entry['label'])}]}}]"
                f"\\sbtarget{{cite.{entry['target']}}}%\n"
            )
            for child in entry.children:
                child.walkabout(self)
        self.body.append("\\end{sbreferences}\n")
        raise nodes.SkipNode

    # ----------------------------------------------------------------------- characters

    def encode(self, text: str) -> str:
        """Escape text; characters that the font has not come from another."""
        escaped = super().encode(text)
        if self.in_address:
            return escaped
        if not escaped.isascii():
            pattern, command = (_CODE, "sbothercode") if self.in_code else (_TEXT, "sbother")
            escaped = pattern.sub(rf"\\{command}{{\1}}", escaped)
        if self.table or self.in_code:
            return _with_breaks(escaped)
        return _LONG_WORD.sub(lambda word: _with_breaks(word[0]), escaped)

    def encode_uri(self, text: str) -> str:
        """Escape an address, which stays what it is."""
        self.in_address = True
        try:
            return super().encode_uri(text)
        finally:
            self.in_address = False


def _with_breaks(escaped: str) -> str:
    escaped = _BREAKS.sub(r"\1\\sbbreak{}", escaped)
    return _SOLID.sub(lambda run: "\\sbbreak{}".join(_EIGHT.findall(run[0])), escaped)


def _environment(plan: tables.Plan, plain: str, wrapping: str) -> tuple[str, str]:
    """Begin and end of a table that wraps its cells only where it has to."""
    name = wrapping if plan.wraps else plain
    width = "{\\linewidth}" if plan.wraps else ""
    return f"\\begin{{{name}}}{width}{{{plan.spec}}}", f"\\end{{{name}}}"


def _long_table(plan: tables.Plan, head: str, body: str, caption: str, labels: str) -> str:
    """A table that goes over pages, with its head on each."""
    begin, end = _environment(plan, "longtable", "xltabular")
    title = f"\\caption{{{caption}}}{labels}\\\\\n" if caption else ""
    anchor = f"\\phantomsection{labels}\n" if labels and not caption else ""
    before, after = "\n\\FloatBarrier", ""
    if plan.turned:
        before, after = "\n\\afterpage{\\begin{landscape}", "\\end{landscape}}\n"
    return (
        f"{before}\n\\begin{{sbtable}}{plan.size}\\setlength{{\\LTcapwidth}}{{\\linewidth}}\n{anchor}"
        f"{begin}\n{title}{head}\\endfirsthead\n{head}\\endhead\n"
        f"\\bottomrule\n\\endfoot\n\\bottomrule\n\\endlastfoot\n{body}"
        f"{end}\n\\end{{sbtable}}\n{after}"
    )
