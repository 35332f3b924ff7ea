"""`callboard replay`: what it writes and prints, and what it refuses."""

from pathlib import Path

import pytest

from tests.cli.conftest import Call, Run, done

SMALL = str(Path(__file__).parent.parent / "replay" / "small_day")


async def test_a_day_is_replayed_by_a_process_without_any_server(run_bare: Run, tmp_path: Path) -> None:
    out, offers = tmp_path / "result.csv", tmp_path / "offers.csv"
    arguments = ("--out", str(out), "--offers", str(offers), "--reject", "0.2", "--answer-seconds", "2-15")
    code, printed, err = await done(run_bare("replay", "--day", SMALL, *arguments, "--seed", "3"))
    assert code == 0
    assert "60 of 60 orders delivered" in printed
    assert err.splitlines()[0] == "00:00  0 orders placed, 0 delivered"
    header, *rows = out.read_text().splitlines()
    assert header == "order,courier,offered_at,assigned_at,picked_up_at,delivered_at"
    assert len(rows) == 60
    header, *rows = offers.read_text().splitlines()
    assert header == "order,courier,offered_at,answered_at,outcome"
    assert sum(row.endswith(",accepted") for row in rows) == 60
    assert sum(row.endswith(",rejected") for row in rows) == len(rows) - 60 > 0


def test_a_policy_and_an_end_can_be_given(call: Call, tmp_path: Path) -> None:
    out, policy = tmp_path / "result.csv", tmp_path / "policy.json"
    policy.write_text('{"planning": {"hold": false}}')
    code, printed, _ = call("replay", "--day", SMALL, "--out", str(out), "--policy", str(policy), "--until", "60")
    assert (code, "orders delivered" in printed) == (0, True)
    lines = out.read_text().splitlines()
    assert any(line.endswith(",") for line in lines), "some orders are on the way"
    code, printed, _ = call("replay", "--day", SMALL, "--out", str(out), "--until", "0")
    assert (code, printed) == (0, "nothing was delivered\n")


@pytest.mark.parametrize(
    ("arguments", "shown"),
    [
        (("--day", "nowhere"), "--day"),
        (("--day", "."), "--day: restaurants.txt"),
        (("--answer-seconds", "15-2"), "--answer-seconds: must be"),
        (("--answer-seconds", "soon"), "--answer-seconds: must be"),
        (("--answer-seconds", "1-nan"), "--answer-seconds: must be"),
        (("--reject", "1"), "--reject"),
        (("--policy", "policy.json"), "--policy: policy.json: "),
        (("--policy", "contradiction.json"), "wideSearchRadiusKm must not be below"),
        (("--out", "nowhere/result.csv"), "--out: there is no folder"),
    ],
)
def test_wrong_options_are_one_line(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, str], shown: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("policy.json").write_text('{"plannning": {}}')
    Path("contradiction.json").write_text('{"searchRadiusKm": 20}')
    code, printed, err = call("replay", "--day", SMALL, "--out", "result.csv", *arguments)
    assert (code, printed) == (2, "")
    assert shown in err
    assert err.count("\n") == 1
