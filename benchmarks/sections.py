"""Pages of which each command writes a section of its own."""

from __future__ import annotations


def with_section(page: str, heading: str, text: str) -> str:
    """A page with this text under a heading, to the next one of the same level; at the end where it has none."""
    level = heading.partition(" ")[0] + " "
    lines = page.rstrip("\n").split("\n")
    if heading not in lines:
        lines += ["", heading]
    begin = lines.index(heading)
    rest = [place for place, line in enumerate(lines) if place > begin and line.startswith(level)]
    end = rest[0] if rest else len(lines)
    after = ["", *lines[end:]] if rest else []
    return "\n".join([*lines[: begin + 1], "", text.strip("\n"), *after]) + "\n"
