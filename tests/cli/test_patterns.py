from parallel_workers.cli.patterns import matrices_in
from parallel_workers.formats._matrix import combinations


def test_the_names_that_a_matrix_gives_tell_its_name() -> None:
    values = ["a", "1", "3.10 rc", "[a-z]", "x,y", "k=v", "]", "é"]
    for name in ("test", "@x/test two", "a[b]", "a=b", "[-]"):
        names = [each.name for each in combinations(name, {"os": values, "b.c-d": values})]
        assert matrices_in(["other", *names]) == {name: names}


def test_names_that_no_matrix_has_given_tell_none() -> None:
    names = ["test", "test[1]", "test[]", "[a=b]", "test[=b]", "test[a=b] x", "a=b", "x[a=b"]
    assert matrices_in(names) == {}
