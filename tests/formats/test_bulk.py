"""Large files of records: the fast reader says what an obvious one says, or nothing at all."""

import json
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parallel_workers.definition import FIELDS, PLAIN, Definition, check_name, read_field
from parallel_workers.errors import FieldError
from parallel_workers.formats import _bulk, from_data
from parallel_workers.formats._bulk import read_bulk
from parallel_workers.graph import WorkGraph
from tests.formats.reading import refused

Record = dict[str, Any]


def read(records: object) -> WorkGraph | None:
    return read_bulk(json.dumps(records).encode())


def successors_by_name(graph: WorkGraph) -> dict[str, list[str]]:
    return {
        graph.name(number): [graph.name(other) for other in row]
        for number, row in enumerate(graph.successors)
    }


# The reference: slow, and plain to see. It gives the rows of successors, the positions and the
# definitions by name, or None.


def expected_graph(records: list[Record]) -> tuple[dict[str, list[str]], dict[str, int]] | None:
    by_name = {record["name"]: record for record in records}
    if len(by_name) < len(records) or not all(map(is_legal, records)):
        return None
    rows = expected_rows(by_name)
    positions = None if rows is None else expected_positions(rows)
    if rows is None or positions is None:
        return None
    if any(r.get("position", positions[r["name"]]) != positions[r["name"]] for r in records):
        return None
    return rows, positions


def expected_rows(by_name: dict[str, Record]) -> dict[str, list[str]] | None:
    by_successors = [(a, b) for a, r in by_name.items() for b in r.get("successors", [])]
    by_ancestors = [(a, b) for b, r in by_name.items() for a in r.get("ancestors", [])]
    rows: dict[str, list[str]] = {name: [] for name in by_name}
    for a, b in dict.fromkeys(by_successors + by_ancestors):
        if a not in by_name or b not in by_name:
            return None
        if b not in by_name[a].get("successors", [b]) or a not in by_name[b].get("ancestors", [a]):
            return None
        rows[a].append(b)
    return rows


def is_legal(record: Record) -> bool:
    lists = [record.get("successors", []), record.get("ancestors", [])]
    if any(len(set(names)) < len(names) for names in lists):
        return False
    try:
        check_name(record["name"])
    except FieldError:
        return False
    return True


def expected_positions(rows: dict[str, list[str]]) -> dict[str, int] | None:
    positions = dict.fromkeys(rows, 0)
    for _ in rows:
        before = positions.copy()
        for name, row in rows.items():
            for other in row:
                positions[other] = max(positions[other], positions[name] + 1)
        if positions == before:
            return positions
    return None if rows else {}


def assert_same(graph: WorkGraph | None, records: list[Record]) -> None:
    expected = expected_graph(records)
    if expected is None:
        assert graph is None
        return
    assert graph is not None
    rows, positions = expected
    assert list(graph.numbers.items()) == [(r["name"], n) for n, r in enumerate(records)]
    assert graph.names == [record["name"] for record in records]
    assert successors_by_name(graph) == rows
    waits = dict.fromkeys(rows, 0)
    for row in rows.values():
        for other in row:
            waits[other] += 1
    assert graph.waits == list(waits.values())
    assert graph.topology().positions == list(positions.values())
    assert_order_respects_edges(graph)


def assert_order_respects_edges(graph: WorkGraph) -> None:
    order = graph.topology().order
    assert sorted(order) == list(range(len(graph.names)))
    place = {number: index for index, number in enumerate(order)}
    assert all(place[n] < place[to] for n, row in enumerate(graph.successors) for to in row)


NAMES = ["a", "b:c", 'd"e', "é", "@team/f", "g':1", "h},{", "i"]


@st.composite
def right_records(draw: st.DrawFn) -> list[Record]:
    """Records without a fault: each edge in all lists that are there, and there in at least one."""
    names = draw(st.permutations(NAMES))[: draw(st.integers(1, len(NAMES)))]
    pairs = [(a, b) for i, b in enumerate(names) for a in names[:i]]
    edges = draw(st.lists(st.sampled_from(pairs), unique=True)) if pairs else []
    rows = {name: [b for a, b in edges if a == name] for name in names}
    positions = expected_positions(rows)
    assert positions is not None
    some_names = st.sets(st.sampled_from(names))
    without_successors = draw(some_names)
    without_ancestors = draw(some_names) - {b for a, b in edges if a in without_successors}
    without_position = draw(some_names)
    records: list[Record] = []
    for name in draw(st.permutations(names)):
        record: Record = {"name": name}
        if name not in without_position:
            record["position"] = positions[name]
        if name not in without_successors:
            record["successors"] = rows[name]
        if name not in without_ancestors:
            record["ancestors"] = draw(st.permutations([a for a, b in edges if b == name]))
        records.append(record)
    return records


@st.composite
def wrong_records(draw: st.DrawFn) -> list[Record]:
    """Records in which something was changed at random; it may be right by chance."""
    records = draw(right_records())
    names = [record["name"] for record in records]
    for _ in range(draw(st.integers(1, 3))):
        record = draw(st.sampled_from(records))
        field = draw(st.sampled_from(["name", "position", "successors", "ancestors"]))
        if field == "name":
            record[field] = draw(st.sampled_from([*names, "new", "", "x\ny", "x\x7f"]))
        elif field == "position":
            record[field] = draw(st.integers(-1, 3))
        else:
            record[field] = draw(st.lists(st.sampled_from([*names, "new"]), max_size=3))
    return records


@given(right_records(), st.sampled_from([None, 0, 3]), st.booleans())
@settings(max_examples=150, deadline=None)
def test_right_records_give_the_graph_that_they_describe(
    records: list[Record], indent: int | None, as_ascii: bool
) -> None:
    raw = json.dumps(records, indent=indent, ensure_ascii=as_ascii).encode()
    assert expected_graph(records) is not None
    assert_same(read_bulk(raw), records)


@given(wrong_records())
@settings(max_examples=300, deadline=None)
def test_records_with_faults_give_none_wherever_an_obvious_reader_refuses_them(
    records: list[Record],
) -> None:
    assert_same(read(records), records)


@given(right_records(), st.integers(1, 12))
@settings(max_examples=100, deadline=None)
def test_the_graph_is_the_same_wherever_the_text_is_cut(
    records: list[Record], part_size: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_bulk, "PART_SIZE", part_size)
        patch.setattr(_bulk, "_GROUP_SIZE", 2)
        assert_same(read(records), records)


@given(right_records())
@settings(max_examples=100, deadline=None)
def test_the_graph_is_the_one_that_the_careful_reader_gives(records: list[Record]) -> None:
    for number, record in enumerate(records):
        record.update(pool=f"p{number % 2}", retries=number)
    fast, careful = read(records), from_data(records, "records")
    assert fast is not None
    for column in ("names", "numbers", "successors", "waits", "definitions", "pools", "warnings"):
        assert getattr(fast, column) == getattr(careful, column)
    assert fast.topology().positions == careful.topology().positions


def layered(count: int) -> list[Record]:
    """Records in random order, of many parts and groups, both lists in random order too."""
    rng = random.Random(count)
    edges = {(rng.randrange(b), b) for b in range(1, count) for _ in range(3)}
    records: list[Record] = [
        {"name": f"@team/service-{n:06d}/step", "successors": [], "ancestors": []}
        for n in range(count)
    ]
    for a, b in sorted(edges, key=lambda _: rng.random()):
        records[a]["successors"].append(records[b]["name"])
        records[b]["ancestors"].append(records[a]["name"])
    rng.shuffle(records)
    return records


def test_records_of_many_parts_give_the_graph_that_they_describe() -> None:
    records = layered(3000)
    graph = read(records)
    assert graph is not None
    assert graph.names == [record["name"] for record in records]
    assert successors_by_name(graph) == {r["name"]: r["successors"] for r in records}
    assert graph.waits == [len(record["ancestors"]) for record in records]
    assert_order_respects_edges(graph)


def test_one_edge_that_is_missing_far_away_is_found() -> None:
    records = layered(3000)
    next(record for record in reversed(records) if record["ancestors"])["ancestors"].pop()
    assert read(records) is None


def test_records_of_many_parts_give_one_graph_with_all_lists_or_some() -> None:
    records = layered(3000)
    whole = read(records)
    assert whole is not None
    for lacking in (records[::2], records[::5], records):
        for record in lacking:
            record.pop("successors", None)
        graph = read(records)
        assert graph is not None
        assert graph.waits == whole.waits
        assert list(map(set, graph.successors)) == list(map(set, whole.successors))


def diamond() -> list[Record]:
    return [
        {"name": "a", "successors": ["b", "c"], "ancestors": []},
        {"name": "b", "successors": ["d"], "ancestors": ["a"]},
        {"name": "c", "successors": ["d"], "ancestors": ["a"]},
        {"name": "d", "successors": [], "ancestors": ["b", "c"]},
    ]


@pytest.mark.parametrize(
    ("number", "field", "names"),
    [
        (0, "successors", ["b"]),  # "c" says that it waits for "a".
        (0, "successors", ["b", "c", "d"]),
        (0, "successors", ["b", "d"]),
        (0, "successors", ["b", "b"]),
        (0, "successors", ["b", "c", "c"]),
        (0, "successors", ["b", "new"]),
        (3, "ancestors", ["b"]),
        (3, "ancestors", ["a", "b", "c"]),
        (3, "ancestors", ["a", "b"]),
        (3, "ancestors", ["b", "b"]),
        (3, "ancestors", ["b", "c", "c"]),
        (3, "ancestors", ["b", "c", "new"]),
        (3, "ancestors", ["b", "c", ""]),
        (3, "ancestors", ["b", "new"]),
        (3, "ancestors", ["b", ""]),
    ],
)
@pytest.mark.parametrize("silent", [None, "successors", "ancestors"])
def test_a_list_that_is_wrong_gives_none_whether_or_not_another_record_lacks_one(
    number: int, field: str, names: list[str], silent: str | None
) -> None:
    records = diamond()
    if silent:
        del records[1][silent]
    assert read(records) is not None
    records[number][field] = names
    assert read(records) is None


@pytest.mark.parametrize("names", [["b", "b"], ["b", "new"], ["b", ""]])
@pytest.mark.parametrize("field", ["successors", "ancestors"])
def test_a_list_that_is_wrong_gives_none_where_there_is_no_other_kind(
    field: str, names: list[str]
) -> None:
    assert read([{"name": "a", field: ["b"]}, {"name": "b"}]) is not None
    assert read([{"name": "a", field: names}, {"name": "b"}]) is None


def test_an_edge_that_the_two_kinds_of_lists_tell_in_opposite_directions_gives_none() -> None:
    records = [
        {"name": "a", "successors": ["b"], "ancestors": ["b"]},
        {"name": "b", "successors": [], "ancestors": []},
    ]
    assert read(records) is None


def test_the_same_name_twice_in_both_kinds_of_lists_gives_none() -> None:
    records = [
        {"name": "a", "successors": ["b", "b"], "ancestors": []},
        {"name": "b", "successors": [], "ancestors": ["a", "a"]},
    ]
    assert read(records) is None


@pytest.mark.parametrize("number", range(50))
def test_two_edges_that_change_ends_between_the_two_kinds_of_lists_give_none(number: int) -> None:
    """With many names, since each has another hash in each process."""
    a, b, c, d = (f"{letter}{number}" for letter in "abcd")
    records = [
        {"name": a, "successors": [c], "ancestors": []},
        {"name": b, "successors": [d], "ancestors": []},
        {"name": c, "successors": [], "ancestors": [b]},
        {"name": d, "successors": [], "ancestors": [a]},
    ]
    assert read(records) is None


def test_successors_stand_as_their_list_has_them_and_else_in_the_order_of_the_records() -> None:
    graph = read(
        [
            {"name": "z", "ancestors": ["told", "untold"]},
            {"name": "told", "successors": ["y", "z"], "ancestors": []},
            {"name": "y", "ancestors": ["untold", "told"]},
            {"name": "untold", "ancestors": []},
        ]
    )
    assert graph is not None
    rows = successors_by_name(graph)
    assert (rows["told"], rows["untold"]) == (["y", "z"], ["z", "y"])


@pytest.mark.parametrize("lacking", [None, "successors", "ancestors"])
def test_a_task_with_very_many_successors_and_one_with_very_many_ancestors_are_read(
    lacking: str | None,
) -> None:
    middle = [f"m{n}" for n in range(100_000)]
    records: list[Record] = [{"name": "first", "successors": middle, "ancestors": []}]
    records += [{"name": m, "successors": ["last"], "ancestors": ["first"]} for m in middle]
    records.append({"name": "last", "successors": [], "ancestors": middle[::-1]})
    if lacking:
        for record in records[::2]:
            del record[lacking]
    graph = read(records)
    assert graph is not None
    assert graph.topology().positions == [0, *[1] * len(middle), 2]
    assert graph.waits == [0, *[1] * len(middle), len(middle)]


def test_no_records_give_an_empty_graph() -> None:
    graph = read_bulk(b" [ ] \n")
    assert graph is not None
    assert len(graph) == 0


def test_escapes_in_names_mean_the_characters_that_they_stand_for() -> None:
    raw = rb'[{"name": "\u00e9\ud83d\ude00\/\"", "successors": ["b"]}, {"n\u0061me": "\u0062"}]'
    graph = read_bulk(raw)
    assert graph is not None
    assert graph.names == ['é😀/"', "b"]
    assert graph.successors == [[1], []]


def test_fields_of_a_task_become_its_definition() -> None:
    record = {
        "name": "a",
        "command": ["echo", "a: b"],
        "env": {"PORT": 80, "HOME": "/"},
        "duration": "5m",
        "retries": 2,
        "vars": {"deep": [{"x": 1}, {"x": {"y": [2]}}]},
    }
    graph = read([{"name": "plain"}, record])
    assert graph is not None
    fields = {field: read_field(field, value) for field, value in record.items() if field in FIELDS}
    assert graph.definitions == {1: Definition(**fields)}
    assert graph["plain"].definition is PLAIN


def test_a_pool_that_a_record_names_has_one_unit() -> None:
    graph = read([{"name": "a", "pool": "db"}, {"name": "b", "pool": "db"}])
    assert graph is not None
    assert graph.pools == {"db": 1}


def test_text_that_looks_like_the_end_of_a_record_is_text() -> None:
    description = '"}, {"name": "x"}, {"' * 10_000
    graph = read([{"name": "a", "description": description}, {"name": "b"}])
    # Quotes before colons cannot be told from keys at this speed: the other reader takes it.
    assert graph is None
    graph = read([{"name": "a", "description": "}, {" * 50_000}, {"name": "b"}])
    assert graph is not None
    assert graph["a"].definition.description == "}, {" * 50_000


def test_free_data_that_looks_like_records_is_free_data() -> None:
    items = [{"x": n} for n in range(20_000)]
    graph = read([{"name": "a", "vars": {"items": items}}, {"name": "b"}])
    assert graph is not None
    assert graph["a"].definition.vars == {"items": items}
    assert graph.names == ["a", "b"]


@pytest.mark.parametrize(
    "raw",
    [
        "",
        "42",
        "null",
        "{}",
        "[[]]",
        "[1]",
        '[{"name": "a"}, []]',
        '[{"name": "a"}',
        '[{"name": "a"},]',
        '[{"name": "a"}]]',
        '[{"name": "a"} {"name": "b"}]',
        '[{"name": "a"}] [{"name": "b"}]',
        '[{"name": "a"},\v{"name": "b"}]',
        '[{"name": "a"}] # comment',
        '\ufeff[{"name": "a"}]',
    ],
)
def test_what_is_no_strict_list_of_objects_gives_none(raw: str) -> None:
    assert read_bulk(raw.encode()) is None


@pytest.mark.parametrize(
    "record",
    [
        "{}",
        '{"name": 5}',
        '{"name": ""}',
        '{"name": null}',
        r'{"name": "x\ny"}',
        r'{"name": "x\u0085"}',
        r'{"name": "x\u2028"}',
        r'{"name": "x\ud800"}',
        '{"name": "\x7f"}',
        '{"name": "x", "succesors": []}',
        '{"name": "x", "successors": null}',
        '{"name": "x", "successors": "a"}',
        '{"name": "x", "successors": [5]}',
        '{"name": "x", "successors": ["x"]}',
        '{"name": "x", "ancestors": ["unknown"]}',
        '{"name": "x", "position": 0.0}',
        '{"name": "x", "position": true}',
        '{"name": "x", "position": null}',
        '{"name": "x", "position": -1}',
        '{"name": "x", "retries": -1}',
        '{"name": "x", "command": null}',
        '{"name": "x", "duration": NaN}',
        '{"name": "x", "name": "y"}',
        '{"name": "x", "name" : "y"}',
        r'{"name": "x", "n\u0061me": "y"}',
        '{"name": "x", "env": {"A": "1", "A": "2"}}',
        '{"name": "x", "vars": {"A": [{"b": 1, "b": 2}]}}',
        '{"name": "x", "vars": {"A": ' + "[" * 300 + "]" * 300 + "}}",
        '{"name": "x", "vars": {"A": ' + "[" * 100_000 + "]" * 100_000 + "}}",
    ],
)
def test_one_record_that_is_wrong_gives_none(record: str) -> None:
    assert read_bulk(b'[{"name": "a"}]') is not None
    assert read_bulk(f'[{{"name": "a"}}, {record}]'.encode()) is None


def test_text_that_is_not_utf8_gives_none() -> None:
    assert read_bulk(b'[{"name": "a\xff"}]') is None


@pytest.mark.parametrize("positions", [{}, {"position": 1}])
def test_a_cycle_gives_none(positions: Record) -> None:
    records = [
        {"name": "a", "successors": ["b"], "ancestors": ["b"]},
        {"name": "b", "successors": ["a"], "ancestors": ["a"]},
    ]
    assert read([record | positions for record in records]) is None


def test_a_name_that_stands_twice_is_told_however_far_apart_in_a_large_file(
    tmp_path: Path,
) -> None:
    records = [{"name": "twice"}, {"name": "twice"}]
    records += [{"name": f"t{number}"} for number in range(5000)]
    (problem,) = refused(tmp_path, json.dumps(records))
    assert "task twice: name: the same record stands twice, first as record 1" in problem
