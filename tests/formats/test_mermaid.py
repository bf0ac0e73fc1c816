import pytest

from parallel_workers import formats
from parallel_workers.documents.problems import Findings
from parallel_workers.errors import UsageError
from parallel_workers.formats.mermaid import MOST_CHARACTERS, MOST_EDGES
from parallel_workers.graph import WorkGraph
from tests.support.mermaid import Drawn, draw

NASTY = """
@ansible/machines/run|a b|a  b| lead|trail |    deep|say "hi"|'it'|[x]|{y}|((z))|[/x/]|[ ] todo
<b>bold</b>|a<br>b|a<br/>b|<script>alert(1)</script>|<!-- x -->|<https://example.org>|x < y > z
&lt;|&amp;amp;|&nbsp;|a&b|#quot;|#35;|a#b|# head|`tick`|`|```|`a` b|**bold**|*it*|_it_|__init__
~~gone~~|a_b_c|1. one|1) one|- item|+ item|* item|- [ ] todo|> quote|---|===|%% comment|10%
%%{init: {"theme": "dark"}}%%|back\\slash|a\\nb|C:\\new|\\|https://example.org/x|www.example.org
me@example.org|$$x^2$$|$HOME|fa:fa-car|fas:fa-ban x|a;b|x-->y|a:::b|end|graph|subgraph|click
style|default|o|x|title|accTitle: x|__proto__|constructor|//:build|é|e\u0301|漢字|🎉 done|👨‍👩‍👧
a\u00a0b|\u00a0|a\u3000b|a\u200bb|\u202eabc|![i](u)|[l](u)|! ~ ^ ? = + , .|t0|-|"|""
"""


def names() -> list[str]:
    several = NASTY.strip("\n").replace("\n", "|").split("|")
    return [*several, "a|b", "|", "x" * 3000, "word " * 600 + "end"]


def chain(*names: str) -> WorkGraph:
    """Return a graph in which each name comes before the next."""
    graph = WorkGraph()
    for before, name in zip((None, *names), names, strict=False):
        graph.add(name, after=[before] if before is not None else [])
    return graph


def dense(edges: int) -> WorkGraph:
    """Return a graph of few tasks and of so many edges."""
    pairs = [(f"a{n // 25}", f"b{n % 25}") for n in range(edges)]
    names = [name for pair in pairs for name in pair]
    return formats.reader_named("edges").read(names, Findings())


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Drawn]:
    """What Mermaid makes of all charts that the tests here look at."""
    most, more = (formats.dump(dense(n), "mermaid") for n in (MOST_EDGES, MOST_EDGES + 1))
    long = formats.dump(chain("x" * MOST_CHARACTERS), "mermaid")
    charts = {
        "nothing": (formats.dump(WorkGraph(), "mermaid"), {}),
        "alone": (formats.dump(chain("alone"), "mermaid"), {}),
        "barrier": (formats.dump(barrier(), "mermaid"), {}),
        "nasty": (formats.dump(chain(*names()), "mermaid"), {}),
        "most edges": (most, {}),
        "more edges": (more, {}),
        "more edges allowed": (more, {"maxEdges": MOST_EDGES + 1}),
        "long text": (long, {}),
        "long text allowed": (long, {"maxTextSize": 2 * MOST_CHARACTERS}),
    }
    directory = tmp_path_factory.mktemp("mermaid")
    return dict(zip(charts, draw(directory, list(charts.values())), strict=True))


def barrier() -> WorkGraph:
    return formats.from_data([[["a", "b"], ["c", "d"]], [["e"]]], "groups")


def test_a_chart_has_a_line_for_each_task_and_one_for_its_edges() -> None:
    assert formats.dump(barrier(), "mermaid") == (
        'flowchart TD\n    t0["a"]\n    t1["b"]\n    t2["c"]\n    t3["d"]\n    t4["e"]\n'
        "    t0 --> t2 & t3\n    t1 --> t2 & t3\n"
    )


@pytest.mark.program("chromium")
def test_mermaid_draws_the_tasks_and_edges_of_a_graph(drawn: dict[str, Drawn]) -> None:
    labels = {"t0": "a", "t1": "b", "t2": "c", "t3": "d", "t4": "e"}
    found = [["t0", "t2"], ["t0", "t3"], ["t1", "t2"], ["t1", "t3"]]
    assert drawn["barrier"] == (labels, found, "")
    assert drawn["alone"] == ({"t0": "alone"}, [], "")
    assert drawn["nothing"] == ({}, [], "")


@pytest.mark.program("chromium")
def test_mermaid_shows_every_name_as_it_is(drawn: dict[str, Drawn]) -> None:
    nasty = drawn["nasty"]
    assert nasty.error == ""
    assert nasty.labels == {f"t{number}": name for number, name in enumerate(names())}
    assert len(nasty.edges) == len(names()) - 1


@pytest.mark.program("chromium")
def test_the_limits_that_are_told_are_those_of_mermaid(drawn: dict[str, Drawn]) -> None:
    assert len(drawn["most edges"].edges) == MOST_EDGES
    assert "edges" in drawn["more edges"].error.lower()
    assert len(drawn["more edges allowed"].edges) == MOST_EDGES + 1
    assert "x" * 100 not in str(drawn["long text"].labels)
    assert drawn["long text allowed"].labels == {"t0": "x" * MOST_CHARACTERS}


def test_names_of_plain_words_are_readable_in_the_text() -> None:
    assert '["@ansible/machines/run (all), 1.2-x_y"]' in formats.dump(
        chain("@ansible/machines/run (all), 1.2-x_y"), "mermaid"
    )


def test_commands_that_charts_leave_out_are_told() -> None:
    graph = chain("a", "b")
    assert formats.losses(graph, "mermaid") == []
    graph.add("c", command="make")
    assert formats.losses(graph, "mermaid") == [
        "flowcharts hold names only: commands and other fields of 1 task are left out"
    ]


def test_more_than_mermaid_draws_by_itself_is_told() -> None:
    assert formats.losses(dense(MOST_EDGES), "mermaid") == []
    assert formats.losses(dense(MOST_EDGES + 1), "mermaid") == [
        "Mermaid draws at most 500 edges unless its maxEdges is set higher; there are 501"
    ]
    assert formats.losses(chain("x" * MOST_CHARACTERS), "mermaid") == [
        "Mermaid reads at most 50,000 characters unless its maxTextSize is set higher; there are "
        "50,024"
    ]


def test_barriers_that_would_become_too_many_edges_are_refused() -> None:
    many = [[f"{side}{n}" for n in range(1500)] for side in "ab"]
    graph = formats.from_data([many], "groups")
    for ask in (formats.dump, formats.losses):
        with pytest.raises(UsageError, match="2,250,000 edges"):
            ask(graph, "mermaid")


def test_charts_can_only_be_written() -> None:
    assert "mermaid" in formats.writable()
    assert "mermaid" not in formats.readable()
