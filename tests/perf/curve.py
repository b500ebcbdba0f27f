"""A curve as SVG, without a library."""

from __future__ import annotations

from collections.abc import Sequence
from xml.sax.saxutils import escape

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 760, 320, 60, 20, 40, 50
TICKS = 5


def svg(points: Sequence[tuple[float, float]], title: str, across: str, up: str) -> str:
    """Return a line through ``points`` with axes from 0; ValueError for fewer than two points."""
    if len(points) < 2:
        raise ValueError(f"points={len(points)}: a curve needs two")
    most_x, most_y = max(x for x, _ in points) or 1.0, max(y for _, y in points) or 1.0
    inner_x, inner_y = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM

    def place(x: float, y: float) -> tuple[float, float]:
        return round(LEFT + x / most_x * inner_x, 1), round(HEIGHT - BOTTOM - y / most_y * inner_y, 1)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/><text x="{LEFT}" y="22" font-size="14">{escape(title)}</text>',
    ]
    for step in range(TICKS + 1):
        x, _ = place(most_x * step / TICKS, 0)
        _, y = place(0, most_y * step / TICKS)
        parts.append(f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y}" y2="{y}" stroke="#ddd"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{y + 4}" text-anchor="end">{most_y * step / TICKS:.2g}</text>')
        parts.append(f'<text x="{x}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">{most_x * step / TICKS:.0f}</text>')
    line = " ".join("{},{}".format(*place(x, y)) for x, y in points)
    parts.append(f'<polyline fill="none" stroke="#1f5fa8" stroke-width="1.5" points="{line}"/>')
    parts.append(f'<text x="{LEFT + inner_x / 2}" y="{HEIGHT - 10}" text-anchor="middle">{escape(across)}</text>')
    parts.append(f'<text transform="translate(14 {TOP + inner_y / 2}) rotate(-90)" text-anchor="middle">{escape(up)}</text></svg>')
    return "\n".join(parts) + "\n"
