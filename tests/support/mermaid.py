"""Mermaid itself, in a headless browser: what becomes of the charts that we write."""

import base64
import json
import os
import re
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest

VARIABLE = "MERMAID_JS"
"""The variable that holds the path of `mermaid.min.js` of the package `mermaid`."""

_PAGE = """<!doctype html>
<meta charset="utf-8">
<script src="%(library)s"></script>
<script>
function look(svg) {
  const box = document.createElement("div");
  box.innerHTML = svg;
  document.body.append(box);
  const labels = {};
  for (const node of box.querySelectorAll("g.node"))
    labels[node.id.match(/flowchart-(.*)-\\d+$/)[1]] = node.querySelector(".label").textContent;
  const edges = [...box.querySelectorAll("path.flowchart-link")].map(
    path => path.dataset.id.match(/^L_(.*)_(.*)_\\d+$/).slice(1));
  return {labels, edges, error: ""};
}
async function draw() {
  const drawn = [];
  for (const [text, limits] of %(charts)s)
    try {
      mermaid.initialize({startOnLoad: false, suppressErrorRendering: true, ...limits});
      await mermaid.parse(text);
      drawn.push(look((await mermaid.render("chart" + drawn.length, text)).svg));
    } catch (error) {
      drawn.push({labels: {}, edges: [], error: String(error)});
    }
  return drawn;
}
addEventListener("load", async () => {
  const bytes = new TextEncoder().encode(JSON.stringify(await draw()));
  const text = Array.from(bytes, byte => String.fromCharCode(byte)).join("");
  document.body.innerHTML = "<output>" + btoa(text) + "</output>";
});
</script>
"""


class Drawn(NamedTuple):
    """A chart as the browser shows it.

    Attributes:
        labels: The text of each node, by the node's id.
        edges: The ids of the two ends of each edge.
        error: Why there is no chart, if there is none.
    """

    labels: dict[str, str]
    edges: list[list[str]]
    error: str


def draw(directory: Path, charts: Sequence[tuple[str, Mapping[str, Any]]]) -> list[Drawn]:
    """Draw charts, all of them in one page, since a browser takes long to start.

    Args:
        directory: Where the page is made.
        charts: For each chart its text, and the settings of Mermaid that it is drawn with.
    """
    if VARIABLE not in os.environ:
        pytest.skip(f"needs {VARIABLE}, the path of mermaid.min.js")
    page = directory / "page.html"
    library = Path(os.environ[VARIABLE]).resolve(strict=True).as_uri()
    data = json.dumps(charts).replace("<", "\\u003c")
    page.write_text(_PAGE % {"library": library, "charts": data}, encoding="utf-8")
    words = [
        *("chromium", "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run"),
        *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
        f"--user-data-dir={directory / 'profile'}",
        *("--virtual-time-budget=60000", "--dump-dom", page.as_uri()),
    ]
    browser = subprocess.run(words, capture_output=True, text=True, timeout=100, check=True)
    output = re.search("<output>([A-Za-z0-9+/=]+)</output>", browser.stdout)
    assert output is not None, browser.stderr
    return [Drawn(**drawn) for drawn in json.loads(base64.b64decode(output[1]))]
