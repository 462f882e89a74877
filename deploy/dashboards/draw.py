"""Draws the dashboard from recorded metrics, with the layout and colors of its JSON file.

    FLYTE_TEST_DAY=240 FLYTE_TEST_HISTORY=/tmp/history.json cargo xtask nightly --only prometheus
    python3 -m venv /tmp/draw && /tmp/draw/bin/pip install matplotlib
    /tmp/draw/bin/python deploy/dashboards/draw.py deploy/dashboards/flyte-connector.json /tmp/history.json deploy/dashboards/dashboard.png

A replacement for Grafana, which no package registry offers: it draws only what Prometheus returned for the expressions of
the panels.
"""

import json
import re
import sys

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.patches import Rectangle

GROUND, CARD, EDGE = "#111217", "#181b1f", "#2c3235"
TEXT, FAINT = "#d8d9da", "#8e9297"
NAMED = {"green": "#73bf69", "yellow": "#fade2a", "orange": "#ff9830", "red": "#f2495c", "blue": "#5794f2", "purple": "#b877d9"}
PALETTE = ["#73bf69", "#fade2a", "#5794f2", "#ff9830", "#f2495c", "#b877d9", "#6ed0e0", "#ef843c", "#e24d42", "#1f78c1", "#ba43a9", "#705da0"]
# Width of a grid column, height of a grid row, and gap between panels, in inches.
COLUMN, ROW, GAP = 0.84, 0.36, 0.07


def number(value, unit, decimals=None):
    if unit == "percentunit":
        return f"{value * 100:.{1 if decimals is None else decimals}f} %".replace(".0 %", " %")
    if unit == "bytes":
        for name in ("B", "KiB", "MiB", "GiB"):
            if abs(value) < 1024 or name == "GiB":
                return f"{value:.3g} {name}"
            value /= 1024
    if unit == "s":
        if value == 0:
            return "0 s"
        if abs(value) < 1:
            return f"{value * 1000:.3g} ms"
        return f"{value:.3g} s" if value < 120 else f"{value / 60:.3g} min"
    if decimals is not None:
        return f"{value:.{decimals}f}"
    return (f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}") + (" /s" if unit == "reqps" else "")


def series(panel, history):
    """Yields (legend, times in minutes, values) of each series; gaps in time become NaN."""
    answers = history["panels"][str(panel["id"])]
    for target, answer in zip(panel["targets"], answers):
        for found in sorted(answer, key=lambda one: sorted(one["metric"].items())):
            name = re.sub(r"\{\{\s*(\w+)\s*\}\}", lambda label: found["metric"].get(label[1], ""), target["legendFormat"])
            times, values, last = [], [], None
            for time, value in found["values"]:
                if last is not None and time - last > history["step"] * 1.5:
                    times.append((last - history["start"]) / 60)
                    values.append(float("nan"))
                times.append((time - history["start"]) / 60)
                values.append(float(value))
                last = time
            yield name, times, values


def place(figure, height, panel, top=0, bottom=0, left=0, right=0):
    """Returns axes inside a panel. Margins in inches."""
    grid = panel["gridPos"]
    width_all, height_all = figure.get_size_inches()
    x = grid["x"] * COLUMN + GAP + left
    y = height - (grid["y"] + grid["h"]) * ROW + GAP + bottom
    w = grid["w"] * COLUMN - 2 * GAP - left - right
    h = grid["h"] * ROW - 2 * GAP - top - bottom
    return figure.add_axes([x / width_all, y / height_all, w / width_all, h / height_all])


def card(figure, height, panel, color=CARD):
    axes = place(figure, height, panel)
    axes.axis("off")
    axes.add_patch(Rectangle((0, 0), 1, 1, transform=axes.transAxes, facecolor=color, edgecolor=EDGE, linewidth=0.8))
    return axes


def title(axes, panel, color=TEXT):
    inches = axes.get_window_extent().height / axes.figure.dpi
    axes.text(0.11 / (axes.get_window_extent().width / axes.figure.dpi), 1 - 0.12 / inches, panel["title"], transform=axes.transAxes, va="top", fontsize=8.5, color=color, fontweight="bold")


def stat(figure, height, panel, history):
    defaults = panel["fieldConfig"]["defaults"]
    found = [one for one in series(panel, history)]
    _, times, values = found[0] if found else ("", [], [])
    seen = [value for value in values if value == value]
    color = "blue"
    for step in defaults["thresholds"]["steps"]:
        if step["value"] is None or (seen and seen[-1] >= step["value"]):
            color = step["color"]
    axes = card(figure, height, panel, CARD)
    title(axes, panel)
    text = number(seen[-1], defaults["unit"], defaults.get("decimals")) if seen else defaults["noValue"]
    axes.text(0.5, 0.5, text, transform=axes.transAxes, ha="center", va="center", fontsize=21, color=NAMED[color], fontweight="bold")
    if seen:
        spark = place(figure, height, panel, top=0.95)
        spark.axis("off")
        spark.fill_between(times, values, color=NAMED[color], alpha=0.25, linewidth=0)
        spark.plot(times, values, color=NAMED[color], linewidth=0.9)
        spark.set_xlim(0, history["minutes"])
        spark.set_ylim(0, max(max(seen), 1e-9) * 1.15)


def frame(axes, history):
    axes.set_facecolor(CARD)
    for side in ("top", "right", "left", "bottom"):
        axes.spines[side].set_visible(False)
    axes.tick_params(colors=FAINT, labelsize=7, length=0, pad=3)
    axes.set_xlim(0, history["minutes"])
    axes.grid(True, color="#2a2d33", linewidth=0.5)
    axes.set_axisbelow(True)
    axes.xaxis.set_major_formatter(lambda minute, _: f"{minute:g} min" if minute else "")
    axes.xaxis.set_major_locator(matplotlib.ticker.MaxNLocator(6 if axes.get_window_extent().width / axes.figure.dpi > 5 else 4, integer=True))


def legend(axes, handles, names, width):
    """Draws the names that fit on two lines, and the number of the others."""
    room, shown, used = 2, [], 0.0
    for handle, name in zip(handles, names):
        wide = 0.34 + 0.066 * len(name)
        if used + wide > room * width:
            break
        shown.append((handle, name))
        used += wide
    extra = len(names) - len(shown)
    names = [name for _, name in shown]
    if extra:
        names[-1] += f"   + {extra} more"
    widest = max(map(len, names))
    columns = max(-(-len(names) // room), min(len(names), int(width / (0.34 + 0.066 * widest))))
    axes.legend([handle for handle, _ in shown], names, loc="upper left", bbox_to_anchor=(-0.02, -0.13), ncol=columns, frameon=False, fontsize=7, labelcolor=TEXT, handlelength=1.1, columnspacing=1.1, handletextpad=0.5, labelspacing=0.3, borderaxespad=0)


def graph(figure, height, panel, history):
    defaults = panel["fieldConfig"]["defaults"]
    custom = defaults["custom"]
    fixed = {override["matcher"]["options"]: override["properties"][0]["value"]["fixedColor"] for override in panel["fieldConfig"]["overrides"]}
    title(card(figure, height, panel), panel)
    axes = place(figure, height, panel, top=0.42, bottom=0.62, left=0.62, right=0.16)
    frame(axes, history)
    axes.yaxis.set_major_locator(matplotlib.ticker.MaxNLocator(4))
    axes.yaxis.set_major_formatter(lambda value, _: number(value, defaults["unit"]))
    found = list(series(panel, history))
    handles, highest, below = [], 0.0, {}
    for place_of, (name, times, values) in enumerate(found):
        color = NAMED[fixed[name]] if name in fixed else PALETTE[place_of % len(PALETTE)]
        if custom["stacking"]["mode"] == "normal":
            floor = [below.get(round(time, 4), 0.0) for time in times]
            values = [low + value for low, value in zip(floor, values)]
            below.update({round(time, 4): value for time, value in zip(times, values)})
            axes.fill_between(times, floor, values, color=color, alpha=0.35, linewidth=0)
        elif custom["fillOpacity"]:
            axes.fill_between(times, values, color=color, alpha=custom["fillOpacity"] / 100, linewidth=0)
        (line,) = axes.plot(times, values, color=color, linewidth=1.2)
        handles.append(line)
        highest = max([highest, *[value for value in values if value == value]])
    axes.set_ylim(0, highest * 1.12 or 1)
    legend(axes, handles, [name or panel["title"] for name, _, _ in found], panel["gridPos"]["w"] * COLUMN - 0.9)


def timeline(figure, height, panel, history):
    mapping = panel["fieldConfig"]["defaults"]["mappings"][0]["options"]
    title(card(figure, height, panel), panel)
    axes = place(figure, height, panel, top=0.42, bottom=0.62, left=0.62, right=0.16)
    frame(axes, history)
    axes.grid(False)
    names = []
    for line, (name, times, values) in enumerate(series(panel, history)):
        names.append(name)
        for time, value in zip(times, values):
            if value == value:
                axes.add_patch(Rectangle((time, line + 0.15), history["step"] / 60 * 1.05, 0.7, facecolor=NAMED[mapping[f"{value:g}"]["color"]], alpha=0.85, linewidth=0))
    axes.set_ylim(len(names), 0)
    axes.set_yticks([line + 0.5 for line in range(len(names))], names)
    keys = [Rectangle((0, 0), 1, 1, facecolor=NAMED[state["color"]]) for state in mapping.values()]
    legend(axes, keys, [state["text"] for state in mapping.values()], panel["gridPos"]["w"] * COLUMN - 0.9)


def main(dashboard_path, history_path, picture_path):
    with open(dashboard_path) as file:
        dashboard = json.load(file)
    with open(history_path) as file:
        history = json.load(file)
    history["minutes"] = (history["end"] - history["start"]) / 60
    rows = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in dashboard["panels"])
    head = 0.62
    width, height = 24 * COLUMN, rows * ROW
    plt.rcParams["font.family"] = "DejaVu Sans"
    figure = plt.figure(figsize=(width, height + head), facecolor=GROUND)
    figure.text(0.14 / width, 1 - 0.2 / (height + head), dashboard["title"], fontsize=15, color=TEXT, fontweight="bold", va="top")
    chosen = "    ".join(f"{variable['label']}: All" for variable in dashboard["templating"]["list"] if variable["type"] == "query")
    figure.text(1 - 0.14 / width, 1 - 0.25 / (height + head), chosen, fontsize=9, color=FAINT, va="top", ha="right")
    draw = {"stat": stat, "timeseries": graph, "state-timeline": timeline}
    for panel in dashboard["panels"]:
        if panel["type"] == "row":
            axes = place(figure, height, panel)
            axes.axis("off")
            axes.text(0.002, 0.42, "▾  " + panel["title"], transform=axes.transAxes, fontsize=11, color=TEXT, va="center", fontweight="bold")
        else:
            draw[panel["type"]](figure, height, panel, history)
    figure.savefig(picture_path, dpi=72, facecolor=GROUND, pil_kwargs={"optimize": True})


if __name__ == "__main__":
    main(*sys.argv[1:])
