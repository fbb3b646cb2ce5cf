import pytest

from runner.commands import flags
from runner.commands.flags import CAFFE_FLAGS, FLAGS, FlagError, parse


@pytest.mark.parametrize(
    "spelling", [["-model", "a.b"], ["--model", "a.b"], ["-model=a.b"], ["--model=a.b"]]
)
def test_every_spelling_of_a_flag(spelling):
    for words in (["time", *spelling], [*spelling, "time"]):
        parsed = parse(words)
        assert parsed.words == ["time"]
        assert parsed.model == "a.b"


def test_caffes_flags_and_defaults():
    parsed = parse([])
    assert parsed.words == []
    assert (parsed.iterations, parsed.level) == (50, 0)
    assert (parsed.sigint_effect, parsed.sighup_effect) == ("stop", "snapshot")
    texts = {"gpu", "solver", "model", "phase", "stage", "snapshot", "weights", "log_dir"}
    assert all(getattr(parsed, name) == "" for name in texts)
    numbers, others = {"iterations", "level"}, {"sigint_effect", "sighup_effect"}
    assert set(CAFFE_FLAGS) == texts | numbers | others


def test_the_last_of_a_repeated_flag_counts():
    assert parse(["-solver", "a", "-solver=b"]).solver == "b"


def test_a_value_may_look_like_a_flag_or_hold_an_equals_sign():
    assert parse(["-solver", "-x"]).solver == "-x"
    assert parse(["-model=a=b"]).model == "a=b"
    assert parse(["-stage="]).stage == ""


def test_two_dashes_end_the_flags():
    assert parse(["--", "-solver"]).words == ["-solver"]


@pytest.mark.parametrize(
    "text, number", [("7", 7), ("-3", -3), ("+2", 2), ("010", 10), ("0x10", 16)]
)
def test_numbers(text, number):
    assert parse(["-iterations", text]).iterations == number


@pytest.mark.parametrize("text", ["", "x", "1.5", "1_000", "7 ", "2147483648", "99999999999", "0x"])
def test_no_numbers(text):
    with pytest.raises(FlagError) as failure:
        parse([f"-level={text}"])
    assert str(failure.value) == f"illegal value '{text}' specified for int32 flag 'level'"


def test_an_unknown_flag():
    with pytest.raises(FlagError, match="^unknown command line flag 'sover'$"):
        parse(["train", "--sover=x"])


def test_a_flag_without_its_value():
    with pytest.raises(FlagError, match="^flag '--solver' is missing its argument; .*solver def"):
        parse(["train", "-solver"])


def test_stages():
    assert parse([]).stages() == [""]  # what Caffe's split of an empty string gives
    assert parse(["-stage=a,b"]).stages() == ["a", "b"]


def test_help_names_every_flag_and_command():
    text = flags.help_text()
    assert all(f"  -{name} (" in text for name in FLAGS)
    assert all(f"\n  {name} " in text for name in ("train", "test", "time", "device_query"))
    assert "usage: caffe <command> <args>" in text


def test_an_attribute_that_is_no_flag():
    with pytest.raises(AttributeError, match="nonsense"):
        parse([]).nonsense  # noqa: B018
