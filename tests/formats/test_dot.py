import html
import re
import shlex
import subprocess
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parallel_workers import formats
from parallel_workers.documents.tree import Malformed
from parallel_workers.errors import UsageError
from parallel_workers.formats._dot_text import parse
from parallel_workers.formats.dot import write
from parallel_workers.graph import WorkGraph
from tests.formats.reading import edges, facts, read, refused
from tests.formats.test_records import STRANGE_NAMES, fields

BUILD = """// how it is built
digraph "the build" {
    rankdir = LR;
    node [retries=1, shape=box]
    fetch [command="curl -O x", duration="5m"];
    fetch -> {build lint} -> pack [color=red]
    build [env="{\\"CC\\": \\"clang\\"}", timeout=30]
}
"""


def vars_of(graph: WorkGraph, name: str) -> dict[str, Any]:
    return graph[name].definition.vars


# What is read


def test_a_digraph_is_read_as_tasks_and_edges(tmp_path: Path) -> None:
    graph = read(tmp_path, BUILD, "build.dot")
    assert list(graph.numbers) == ["fetch", "build", "lint", "pack"]
    assert edges(graph) == {
        ("fetch", "build"), ("fetch", "lint"), ("build", "pack"), ("lint", "pack"),
    }  # fmt: skip
    assert graph["fetch"].definition.command == "curl -O x"
    assert graph["fetch"].definition.duration == 300
    assert graph["build"].definition.env == {"CC": "clang"}
    assert graph["build"].definition.timeout == 30
    assert {graph[name].definition.retries for name in graph.numbers} == {1}
    assert {vars_of(graph, name)["shape"] for name in graph.numbers} == {"box"}
    assert graph.warnings == []


@pytest.mark.parametrize("name", ["build.dot", "build.GV", "build", "build.txt"])
def test_it_is_known_by_its_suffix_or_by_its_head(tmp_path: Path, name: str) -> None:
    assert len(read(tmp_path, BUILD, name)) == 4


@pytest.mark.parametrize("head", ["strict digraph", "\ufeffDiGraph G", "# x\n/* { */ digraph <h>"])
def test_any_head_of_a_digraph_is_known(tmp_path: Path, head: str) -> None:
    assert len(read(tmp_path, head + "{a}", "build")) == 1


def test_what_only_resembles_a_head_is_no_dot(tmp_path: Path) -> None:
    (problem,) = refused(tmp_path, "digraph: {a: b}", "work")
    assert problem.startswith("work:1: found a mapping without tasks or threads")


def test_an_empty_digraph_is_a_graph_of_nothing(tmp_path: Path) -> None:
    assert len(read(tmp_path, "digraph {}", "work.dot")) == 0


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("a_1", "a_1"),
        ("größe", "größe"),
        ("-1.5", "-1.5"),
        ('"two words"', "two words"),
        (r'"\"q\""', '"q"'),
        (r'"a\n\\"', r"a\n\\"),
        ('"long \\\nname"', "long name"),
        ('"a" /* + */ + "b"\n+ "c"', "abc"),
        ("<a <b>bold</b> \\ name>", "a <b>bold</b> \\ name"),
        ('"node"', "node"),
        ('"a:b"', "a:b"),
    ],
)
def test_an_id_is_read_as_graphviz_reads_it(tmp_path: Path, written: str, name: str) -> None:
    graph = read(tmp_path, f"digraph {{ {written}:port:n -> x }}", "work.dot")
    assert edges(graph) == {(name, "x")}


def test_default_attributes_hold_for_nodes_that_come_later_in_their_subgraph(
    tmp_path: Path,
) -> None:
    text = """digraph {
        a
        node [team=x]
        subgraph cluster_1 { node [team=y, site=p]; b; a }
        c
        subgraph cluster_1 { d }
        e [team=z]
    }"""
    graph = read(tmp_path, text, "work.dot")
    assert [vars_of(graph, name) for name in "abcde"] == [
        {},
        {"team": "y", "site": "p"},
        {"team": "x"},
        {"team": "y", "site": "p"},
        {"team": "z"},
    ]


def test_what_is_set_last_holds(tmp_path: Path) -> None:
    graph = read(tmp_path, "digraph { a [x=1][x=2, y=1]; a, b [y=3] }", "work.dot")
    assert [vars_of(graph, name) for name in "ab"] == [{"x": "2", "y": "3"}, {"y": "3"}]


def test_an_empty_value_takes_a_default_back(tmp_path: Path) -> None:
    text = 'digraph { node [command=make, retries=2] a; b [command="", retries=""] }'
    graph = read(tmp_path, text, "work.dot")
    assert (graph["a"].definition.command, graph["a"].definition.retries) == ("make", 2)
    assert (graph["b"].definition.command, graph["b"].definition.retries) == (None, 0)


def test_a_subgraph_that_is_gone_into_often_is_not_copied_as_often(tmp_path: Path) -> None:
    keys = " ".join(f"k{number}=v" for number in range(4000))
    again = "".join(f"subgraph s {{ a{number} }}" for number in range(2000))
    text = f"digraph {{ subgraph s {{ node [{keys}] }} {again} }}"
    graph = read(tmp_path, text, "work.dot")
    assert len({id(definition) for definition in graph.definitions.values()}) == 1


def test_a_subgraph_has_the_defaults_that_are_around_it_now_under_its_own(tmp_path: Path) -> None:
    text = """digraph {
        subgraph s { node [x=1]; a }
        node [x=2, y=2]; subgraph s { b }
        node [y=3]; subgraph s { node [z=4]; c } subgraph s { d }
    }"""
    graph = read(tmp_path, text, "work.dot")
    last = {"x": "1", "y": "3", "z": "4"}
    assert [vars_of(graph, name) for name in "abcd"] == [
        {"x": "1"}, {"x": "1", "y": "2"}, last, last,
    ]  # fmt: skip


def test_after_is_free_data_that_is_warned_of_once(tmp_path: Path) -> None:
    text = "digraph {\na; node [after=a]; b [command=x]; c }"
    graph = read(tmp_path, text, "work.dot")
    assert vars_of(graph, "b") == {"after": "a"}
    [warning] = graph.warnings
    assert warning.endswith(
        "work.dot:2: task b: after: this is free data in DOT; write an edge, a -> b, to let b wait "
        "for a"
    )
    assert len(refused(tmp_path, text, "work.dot", strict=True)) == 1
    again = read(tmp_path, formats.dump(graph, "dot"), "work.dot", strict=True)
    assert facts(again) == facts(graph)


def test_vars_of_any_type_come_as_json_and_join_the_other_attributes(tmp_path: Path) -> None:
    text = """digraph { a [vars=<{"n": [1, null], "label": "mine"}>, label="A", shape=box] }"""
    graph = read(tmp_path, text, "work.dot")
    assert vars_of(graph, "a") == {"n": [1, None], "label": "mine", "shape": "box"}


@pytest.mark.parametrize(
    ("text", "seconds"), [("5m", 300), ("90", 90), ("1.5", 1.5), ("1e-05", 1e-5), ("1h 30m", 5400)]
)
def test_a_length_of_time_is_a_number_or_text(tmp_path: Path, text: str, seconds: float) -> None:
    graph = read(tmp_path, f'digraph {{ a [duration="{text}"] }}', "work.dot")
    assert graph["a"].definition.duration == seconds


def test_a_pool_has_the_limit_one(tmp_path: Path) -> None:
    assert read(tmp_path, "digraph { a [pool=db] }", "work.dot").pools == {"db": 1}


def test_nodes_with_the_same_defaults_share_what_they_define(tmp_path: Path) -> None:
    graph = read(tmp_path, "digraph { node [command=make] a b {c} }", "work.dot")
    assert len({id(definition) for definition in graph.definitions.values()}) == 1


def test_sets_of_nodes_are_joined_through_a_gate(tmp_path: Path) -> None:
    sides = [[f"{side}{n}" for n in range(1000)] for side in "ab"]
    text = "digraph {{ {{{}}} -> {{{}}} }}".format(*map(" ".join, sides))
    graph = read(tmp_path, text, "work.dot")
    assert sum(map(len, graph.successors)) == 2000
    assert edges(graph) == set(product(*sides))


def test_a_subgraph_stands_for_all_nodes_in_it_when_the_edge_ends(tmp_path: Path) -> None:
    text = """digraph {
        subgraph s { a -> {b} }
        subgraph s {} -> x -> subgraph t { subgraph s { c } d }
        {} -> y
    }"""
    assert edges(read(tmp_path, text, "work.dot")) == {
        ("a", "b"), ("a", "x"), ("b", "x"), ("x", "c"), ("x", "d"),
    }  # fmt: skip


# What Graphviz reads

IDS = ("a", "b", "_c1", "ü", "-1", ".5", "3.", '"a b"', r'"q\"x\\"', r'"\n"', '"p" + /**/ "q"',
       '"l\\\nm"', "<<b>x</b>>", '"node"', '"a"', '""')  # fmt: skip
ids = st.sampled_from(IDS)
space = st.sampled_from([" ", "\n", "\t/* { */ ", " // }\n", "\n# ->\n"])
nodes = st.lists(
    st.builds(str.__add__, ids, st.sampled_from(["", ":n", ' : "p q":se'])), min_size=1, max_size=2
).map(" , ".join)
attributes = st.lists(
    st.lists(
        st.builds(
            "{}{}={}{}".format,
            st.sampled_from(["x", "y", '"x"', "command"]),
            space,
            ids,
            st.sampled_from([";", ",", " "]),
        ),
        max_size=3,
    ).map(lambda pairs: f"[{''.join(pairs)}]"),
    max_size=2,
).map(" ".join)


def statements(inside: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    head = st.sampled_from(["", "subgraph", "SubGraph s", "subgraph s", 'subgraph "t"'])
    ends = st.one_of(nodes, st.builds("{} {{{}}}".format, head, inside))
    chains = st.builds(
        "{}{}{}".format, st.lists(ends, min_size=1, max_size=3).map("->".join), space, attributes
    )
    defaults = st.builds("{}[] {}".format, st.sampled_from(["node", "EDGE", "graph"]), attributes)
    assignment = st.builds("{} = {}".format, ids, ids)
    statement = st.one_of(chains, chains, defaults, assignment)
    return st.lists(st.builds("{}{}{}".format, statement, st.sampled_from(["", ";"]), space)).map(
        "".join
    )


texts = st.builds(
    "{}{} {{{}}}".format,
    st.sampled_from(["digraph", "strict DIGRAPH", "/**/digraph g", 'digraph "a" + "b"']),
    space,
    st.recursive(st.just(""), statements, max_leaves=6),
)

TELL = """
N { print("node\x1e", $.name, "\x1e", hasAttr($, "x") ? aget($, "x") : "",
    "\x1e", hasAttr($, "y") ? aget($, "y") : "",
    "\x1e", hasAttr($, "command") ? aget($, "command") : "", "\x1f") }
E { print("edge\x1e", $.tail.name, "\x1e", $.head.name, "\x1f") }
"""


def drawn_by_graphviz(text: str) -> tuple[dict[str, list[str]], set[tuple[str, str]]]:
    """Return the nodes in `text`, each with its attributes x, y and command, and the edges."""
    done = subprocess.run(["gvpr", TELL], input=text.encode(), capture_output=True, check=True)
    parts = [part.lstrip("\n").split("\x1e") for part in done.stdout.decode().split("\x1f")]
    return (
        {part[1]: part[2:] for part in parts if part[0] == "node"},
        {(part[1], part[2]) for part in parts if part[0] == "edge"},
    )


@pytest.mark.program("gvpr")
@settings(deadline=None)
@given(texts)
def test_nodes_edges_and_attributes_are_those_that_graphviz_has(text: str) -> None:
    drawn = parse(text)
    names = list(drawn.numbers)
    found = {
        name: [row[key].value if key in row else "" for key in ("x", "y", "command")]
        for name, row in zip(names, drawn.attributes, strict=True)
    }
    pairs = {
        (names[tail], names[head])
        for edge in drawn.edges
        for tail, head in product(edge.tails, edge.heads)
    }
    assert (found, pairs) == drawn_by_graphviz(text)


# No } alone: what stands behind the graph is nothing to Graphviz.
PARTS = ("a", '"q"', "<h>", "{", "{ }", "[", "]", "[x=1]", "=", ";", ",", "->", "--", ":", "+",
         "-1", "node", "edge", "strict", "subgraph s", "{b ; }", "/*", '"', "<", "#\n")  # fmt: skip


def is_dot(text: str) -> bool:
    try:
        parse(text)
    except Malformed:
        return False
    return True


@pytest.mark.program("gvpr")
@settings(deadline=None)
@given(st.lists(st.sampled_from(PARTS), max_size=6).map(" ".join))
def test_what_is_read_is_what_graphviz_reads(inside: str) -> None:
    text = f"digraph {{ {inside} }}"
    done = subprocess.run(["gvpr", "N {}"], input=text.encode(), capture_output=True, check=False)
    assert is_dot(text) == (b"rror" not in done.stderr)


# What is wrong


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("graph { a -- b }", "2: a graph without directions says nothing of what comes first; "),
        ("digraph { a -- b }", "2: -- has no direction; write ->"),
        ("digraph { a\n -> }", '3: found "}" where a node or a subgraph should be'),
        ("digraph { a; }\ndigraph { b }", "3: a second graph begins here; a file holds one"),
        ("digraph { a } b", '2: found "b" where the end should be'),
        ("digraph { a [\nlabel] }", '3: found "]" where = should be'),
        ("digraph { node -> a }", '2: found "->" where [ should be'),
        (
            "digraph { a -> graph }",
            '2: found "graph" where a node or a subgraph should be; to name',
        ),
        ("digraph { subgraph s }", '2: found "}" where { should be'),
        ("digraph {\na;; }", '3: found ";" where a node, an edge or } should be'),
        ("digraph\n{ { a", "3: what begins here with { never ends; close it with }"),
        ("a -> b", '2: found "a" where digraph should be'),
        ("digraph", "2: found the end where { should be"),
        ('digraph { "a\n\n}', '2: this text never ends; close it with "'),
        ("digraph { <a\n<b> }", "2: this HTML never ends; close each < with >"),
        ("digraph {\n/* }", "3: this comment never ends; close it with */"),
        ("digraph { 2024a }", '2: "2024a" is no id as it stands; put it in double quotes'),
        ("digraph { a-b -> c }", '2: "a-b" is no id as it stands; put it in double quotes'),
        ("digraph { a; @b/c;}", '2: "@b/c" is no id as it stands; put it in double quotes'),
        ('digraph { "a" + b }', "2: behind + should follow a text in double quotes"),
        ("digraph {\n\n a -> a }", "4: task a: the task waits for itself; take this edge out"),
        ("digraph { {a b c} ->\n{d c e} }", "3: task c: the task waits for itself; take this"),
        ("digraph { a; b -> a;\n a -> b }", "3: these tasks wait for each other: a → b → a"),
        ("digraph { {a b c} -> {d e f} ->\na }", "2: these tasks wait for each other: a → d → a"),
        ('digraph { "" }', "2: the name of a task cannot be empty"),
        ('digraph {\n"a\n" }', r'3: "a\n" cannot be the name of a task: it holds a line break'),
        ('digraph { a [\ncommand=\n" "] }', "3: task a: command: a command cannot be empty"),
        ("digraph { a [retries=many] }", '2: task a: retries: "many" is not a number of retries;'),
        ("digraph { a [retries=1.5] }", "2: task a: retries: 1.5 is not a number of retries;"),
        ("digraph { a [duration=-5] }", "2: task a: duration: -5 is not a duration; give seconds"),
        ('digraph { a [timeout="1e999"] }', "2: task a: timeout: Infinity is not a timeout; give"),
        ("digraph { a [env=CC] }", '2: task a: env: "CC" is not an environment; write names and'),
        ('digraph { a [env=<{"A": []}>] }', "2: task a: env.A: [] is not the value of a variable"),
        ("digraph { a [vars=<{b}>] }", "2: task a: vars: no JSON object: found b; a value is"),
        ('digraph { a [vars=<{"b": 1, "b": 2}>] }', '2: task a: vars: no JSON object: the key "b"'),
    ],
)
def test_a_problem_tells_its_line(tmp_path: Path, text: str, problem: str) -> None:
    (told,) = refused(tmp_path, f"/* 1 */\n{text}", "work.dot")
    assert told.startswith(f"work.dot:{problem}")
    assert len(told) < 300


def test_a_nest_of_any_depth_is_one_line(tmp_path: Path) -> None:
    deep = "nested more than 200 levels deep; make it flatter"
    assert refused(tmp_path, "digraph" + "{" * 100_000, "work.dot") == [f"work.dot:1: {deep}"]
    nest = '{"b": ' + "[" * 100_000
    assert refused(tmp_path, f"digraph {{ a [vars=<{nest}>] }}", "work.dot") == [
        f"work.dot:1: task a: vars: no JSON object: {deep}"
    ]


def test_a_text_of_comments_only_is_empty(tmp_path: Path) -> None:
    assert refused(tmp_path, "// digraph {}", "work.dot") == [
        'work.dot: is empty; to run nothing, write "digraph {}"'
    ]


def test_all_problems_are_told_together_in_the_order_of_the_file(tmp_path: Path) -> None:
    text = """digraph {
        a [retries=x]
        b -> b
        "" [timeout=0]
    }"""
    lines = [problem.split(": ")[0] for problem in refused(tmp_path, text, "work.dot")]
    assert lines == ["work.dot:2", "work.dot:3", "work.dot:4", "work.dot:4"]


def test_a_default_that_is_wrong_is_told_once(tmp_path: Path) -> None:
    text = "digraph {\nnode [retries=x]\na b c [label=C] }"
    (problem,) = refused(tmp_path, text, "work.dot")
    assert problem.startswith("work.dot:2: task a: retries: ")


@pytest.mark.parametrize(
    "text",
    [
        "node [{attributes}] {labelled}",
        "{defaults}",
        "{nodes} [{attributes}]",
        "subgraph s {{ {nodes} }} {uses}",
        "subgraph s {{ node [{attributes}] }} {reopened}",
        "node [vars=<{{{items}}}>] {labelled}",
    ],
)
def test_what_would_multiply_beyond_measure_is_refused(tmp_path: Path, text: str) -> None:
    many = range(4000)
    body = text.format(
        attributes=" ".join(f"k{n}=v" for n in many),
        defaults=" ".join(f"node [k{n}=v] a{n}" for n in many),
        items=",".join(f'"k{n}": 1' for n in many),
        labelled=" ".join(f"a{n} [x=y]" for n in many),
        nodes=",".join(f"a{n}" for n in many),
        reopened=" ".join(f"node [x=y] subgraph s {{ a{n} }}" for n in many),
        uses=" ".join(f"subgraph s {{}} -> x{n}" for n in many),
    )
    (problem,) = refused(tmp_path, f"digraph {{ {body} }}", "work.dot")
    assert problem.startswith("work.dot:1: ")
    assert "with so many" in problem


# What is written


def from_tasks(**tasks: object) -> WorkGraph:
    return formats.from_data({"tasks": tasks}, "workfile")


def test_a_task_or_an_edge_is_a_line() -> None:
    graph = from_tasks(
        a={"command": 'echo "hi"', "duration": 2.5, "env": {"A": "b"}, "vars": {"label": "A"}},
        b={"after": ["a"], "vars": {"shape": "box", "n": 1, "command": "x", "two words": ""}},
    )
    assert (
        formats.dump(graph, "dot")
        == r"""digraph {
  "a" [command="echo \"hi\"", env="{\"A\": \"b\"}", duration="2.5", label="A"];
  "b" [vars="{\"n\": 1, \"command\": \"x\", \"two words\": \"\"}", shape="box"];
  "a" -> "b";
}
"""
    )


@pytest.mark.parametrize(
    ("command", "written"),
    [
        (r"printf a\n", r'"printf a\n"'),
        (r"echo \"hi\" <x >y", r"<echo \"hi\" <x >y>"),
        (r"echo \"hi\" >y", r'"echo " + <\> + "\"hi" + <\> + "\" >y"'),
        ("make \\\n  all", "<make \\\n  all>"),
        ("echo \\\\", r'"echo \\"'),
        ("echo >\\", r'"echo >" + <\> + ""'),
        ('echo "a"\n"b"', '<echo "a"\n"b">'),
        ('echo >"a"\n"b"', '"echo >\\"a\\"" + <\n> + "\\"b\\""'),
    ],
)
def test_what_no_text_in_quotes_can_hold_is_written_as_html(
    tmp_path: Path, command: str, written: str
) -> None:
    text = formats.dump(from_tasks(a=command), "dot")
    assert f"[command={written}];" in text
    assert read(tmp_path, text, "work.dot")["a"].definition.command == command


def test_barriers_are_multiplied_out(tmp_path: Path) -> None:
    graph = formats.from_data([[["a", "b", "c"], ["d", "e"]]], "groups")
    again = read(tmp_path, formats.dump(graph, "dot"), "work.dot")
    assert edges(again) == edges(graph)
    assert None not in again.names


def test_barriers_that_would_become_too_many_edges_are_refused() -> None:
    many = [f"{side}{n}" for side in "ab" for n in range(1001)]
    graph = formats.from_data([[many[:1001], many[1001:]]], "groups")
    with pytest.raises(UsageError, match=r"^as DOT the barriers would become 1,002,001 edges;"):
        write(graph)


def test_what_dot_cannot_hold_is_told() -> None:
    tasks = {name: {"command": ["echo", "x y"], "pool": "db"} for name in "abcde"}
    graph = formats.from_data({"pools": {"db": 3}, "tasks": tasks}, "workfile")
    assert formats.losses(graph, "dot") == [
        "pools in DOT have the limit 1: other limits are lost, of db (3)",
        "commands in DOT are text: the list of words becomes a line for the shell in 5 tasks: "
        "a, b, c and 2 more",
    ]
    assert '[command="echo \'x y\'", pool="db"];' in formats.dump(graph, "dot")


texts_with_all = st.text('ab"\\<>\n\r\0{};=é ', max_size=8)
more_fields = st.fixed_dictionaries(
    {},
    optional={
        "command": st.text('a"\\<>\n\ré ').filter(str.strip),
        "cwd": st.text('a\\"', min_size=1),
        "description": st.text('\\"\r\n'),
        "timeout": st.floats(1e-9, 1e7),
        "vars": st.dictionaries(
            st.one_of(texts_with_all, st.sampled_from(["label", "node", "Graph", "retries", "_1"])),
            st.one_of(texts_with_all, st.integers(), st.lists(texts_with_all, max_size=2)),
        ),
    },
)


@st.composite
def graphs(draw: st.DrawFn) -> WorkGraph:
    """Return graphs whose texts hold all that is special in DOT, the edges in a hidden order."""
    names = st.text('a"\\<>é {};/*#->.5', min_size=1, max_size=6)
    chosen = draw(st.lists(names, unique=True, max_size=8))
    data: list[dict[str, Any]] = [
        {"name": name, **draw(fields), **draw(more_fields)} for name in chosen
    ]
    for index, record in enumerate(data[1:], 1):
        record["ancestors"] = draw(st.lists(st.sampled_from(chosen[:index]), max_size=3))
    return formats.from_data(draw(st.permutations(data)), "records")


def with_commands_as_text(graph: WorkGraph) -> WorkGraph:
    for number, definition in graph.definitions.items():
        if isinstance(definition.command, tuple):
            text = shlex.join(definition.command)
            graph.definitions[number] = definition._replace(command=text)
    return graph


@settings(deadline=None)
@given(graphs())
def test_a_graph_is_read_as_it_was_written(
    tmp_path_factory: pytest.TempPathFactory, graph: WorkGraph
) -> None:
    text = formats.dump(graph, "dot")
    again = read(tmp_path_factory.getbasetemp(), text, "work.dot")
    has_losses = any(isinstance(d.command, tuple) for d in graph.definitions.values())
    assert bool(formats.losses(graph, "dot")) == has_losses
    assert facts(again) == facts(with_commands_as_text(graph))
    assert formats.dump(again, "dot") == text


@pytest.mark.program("gvpr")
@settings(deadline=None)
@given(graphs())
def test_what_is_written_is_to_graphviz_what_it_is_here(graph: WorkGraph) -> None:
    nodes, drawn = drawn_by_graphviz(formats.dump(graph, "dot"))
    assert list(nodes) == list(graph.numbers)
    assert drawn == edges(graph)
    with_commands_as_text(graph)
    commands = [graph[name].definition.command or "" for name in graph.numbers]
    assert [found[2] for found in nodes.values()] == commands


@pytest.mark.program("dot")
def test_dot_draws_what_is_written_without_a_word(tmp_path: Path) -> None:
    data = [{"name": name, "command": name} for name in STRANGE_NAMES]
    text = formats.dump(formats.from_data(data, "records"), "dot")
    done = subprocess.run(["dot", "-Tplain"], input=text.encode(), capture_output=True, check=True)
    assert done.stderr == b""
    assert done.stdout.count(b"\nnode ") == len(STRANGE_NAMES)


NAMES_TO_DRAW = (
    *(r"C:\new", r"\N", r"\G\l", "\\", r"\"", r"a\\b", r"echo \">", "é\\"),
    *("a&lt;b", "&amp;amp;", "a&b", "&#38;", "<b>&"),
)


@pytest.mark.program("dot")
def test_dot_draws_every_name_as_it_is() -> None:
    graph = formats.from_data([{"name": name} for name in NAMES_TO_DRAW], "records")
    text = formats.dump(graph, "dot").encode()
    done = subprocess.run(["dot", "-Tsvg"], input=text, capture_output=True, check=True)
    drawn = re.findall("<text[^>]*>(.*)</text>", done.stdout.decode())
    assert [html.unescape(label) for label in drawn] == list(NAMES_TO_DRAW)


def test_a_label_for_the_name_is_no_data_and_one_of_the_task_stays(tmp_path: Path) -> None:
    labels = [None, "mine", r"C:\\new", 5]
    for label in labels:
        free = {} if label is None else {"vars": {"label": label}}
        graph = formats.from_data([{"name": r"C:\new", **free}, {"name": "a", **free}], "records")
        again = read(tmp_path, formats.dump(graph, "dot"), "work.dot", strict=True)
        assert facts(again) == facts(graph)
    assert vars_of(read(tmp_path, "digraph { a [label=a] }", "work.dot"), "a") == {"label": "a"}
