"""Which language a person gets, and that programs get none: the rules, help, errors and results in both."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import pytest

from hub.cli.commands.doctor import _text
from hub.cli.finding import Finding, bad, note
from hub.cli.language import ENGLISH, speak, wanted
from hub.cli.supervisor import _greeting
from hub.cli.terminal import State, age, columns, table
from hub.cli.words import Phrase, _
from hub.embedded import EmbeddedError, Layout, Servers
from hub.env import env
from tests.cli.conftest import Hub, one_line
from tests.cli.terminal import COLOUR, ROOT, Narrow, command, hub, variables
from tests.support.patience import PATIENCE

CHINESE: dict[str, str] = {"LC_ALL": "zh_CN.UTF-8", "LANGUAGE": ""}


@pytest.mark.parametrize(
    ("values", "language"),
    [
        ({}, "en"),
        ({"LANG": "zh_CN.UTF-8"}, "zh_Hans"),
        ({"LANG": "zh"}, "zh_Hans"),
        ({"LANG": "zh_SG"}, "zh_Hans"),
        ({"LANG": "zh-Hans"}, "zh_Hans"),
        ({"LANG": "zh_Hans_HK.UTF-8"}, "zh_Hans"),
        ({"LANG": "zh_CN.GB18030@pinyin"}, "zh_Hans"),
        ({"LANG": "zh_TW.UTF-8"}, "en"),
        ({"LANG": "zh_Hant"}, "en"),
        ({"LANG": "de_DE.UTF-8"}, "en"),
        ({"LANG": "en_US.UTF-8", "LC_MESSAGES": "zh_CN.UTF-8"}, "zh_Hans"),
        ({"LANG": "zh_CN.UTF-8", "LC_MESSAGES": "en_US.UTF-8"}, "en"),
        ({"LANG": "en_US", "LC_MESSAGES": "en_US", "LC_ALL": "zh_CN.UTF-8"}, "zh_Hans"),
        ({"LANG": "zh_CN.UTF-8", "LC_ALL": ""}, "zh_Hans"),
        ({"LANG": "de_DE.UTF-8", "LANGUAGE": "fr:zh_CN:en"}, "zh_Hans"),
        ({"LANG": "zh_CN.UTF-8", "LANGUAGE": "en:zh_CN"}, "en"),
        ({"LANG": "C.UTF-8", "LANGUAGE": "zh_CN"}, "zh_Hans"),
        ({"LANG": "C", "LANGUAGE": "zh_CN"}, "en"),
        ({"LC_ALL": "POSIX", "LANG": "zh_CN.UTF-8", "LANGUAGE": "zh_CN"}, "en"),
        ({"LANGUAGE": "zh_CN"}, "zh_Hans"),
    ],
)
def test_the_language_is_chosen_as_the_system_does(values: dict[str, str], language: str) -> None:
    assert wanted(values) == language


def run(*arguments: str, **more: str) -> "subprocess.CompletedProcess[str]":
    """Help and mistakes touch no data folder."""
    return subprocess.run(
        command(*arguments), check=False, cwd=ROOT, env=variables(Path("/nonexistent"), **more), capture_output=True,
        text=True, timeout=PATIENCE,
    )  # fmt: skip


def test_help_speaks_both_languages() -> None:
    english, chinese = run("tenant", "create", "--help"), run("tenant", "create", "--help", **CHINESE)
    assert english.stdout.startswith("Usage: hub tenant create [OPTIONS] SLUG\n\n  Create the tenant SLUG.\n")
    assert chinese.stdout.startswith("用法：hub tenant create [选项] SLUG\n\n  创建租户 SLUG。\n")
    for word in ("选项：", "[默认：starter]", "显示本帮助并退出", "示例：", 'hub tenant create acme --name "Acme Ltd"'):
        assert word in chinese.stdout
    listed = run("--help", **CHINESE).stdout
    assert "运行：\n  up           启动中枢并持续运行，按 Ctrl-C 停止\n" in listed
    assert "命令：" in run("key", "--help", **CHINESE).stdout


def test_a_terminal_without_chinese_characters_gets_english() -> None:
    told = run("tenant", "--help", PYTHONIOENCODING="latin-1", PYTHONUTF8="0", **CHINESE)
    assert told.stdout.startswith("Usage:")
    old = subprocess.run(
        command("chat", "--help"), check=True, cwd=ROOT, capture_output=True, timeout=PATIENCE,
        env=variables(Path("/nonexistent"), PYTHONIOENCODING="gb2312", PYTHONUTF8="0", **CHINESE),
    )  # fmt: skip
    assert old.stdout.decode("gb2312").startswith("用法：")


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["tenant", "bake"], 2, "hub: 没有命令 'bake'；用法见 hub tenant --help"),
        (["tenant", "show"], 2, "hub: 缺少参数 'SLUG'；用法见 hub tenant show --help"),
        (["tenant", "show", "a", "b"], 2, "hub: 多余的参数（b）；用法见 hub tenant show --help"),
        (["status", "--every", "x"], 2, "hub: '--every' 的值无效：'x' 不是有效的数值；用法见 hub status --help"),
        (["chat", "--json"], 1, "hub: --json 须与 --once TEXT 一起使用"),
        (["restore", "/nonexistent"], 2, "hub: 'FILE' 的值无效：文件 '/nonexistent' 不存在；用法见 hub restore --help"),
    ],
)
def test_mistakes_are_told_in_chinese(arguments: list[str], code: int, told: str) -> None:
    done = run(*arguments, **CHINESE)
    assert (done.returncode, done.stderr.strip(), done.stdout) == (code, told, "")


def test_wrong_variables_are_told_in_chinese() -> None:
    wrong = {"HUB_LOG_LEVEL": "loud", "HUB_LLM_MODEL": "m", "PORT": "x", "HUB_DRAIN": "-1", "HUB_REDIS_URL": "x"}
    done = run("status", **wrong, **CHINESE)
    assert done.returncode == 2
    assert done.stderr.strip() == (
        "hub: 以下环境变量有误或缺失：HUB_DRAIN：不得小于 0.0；"
        "HUB_LLM_BASE_URL：缺失，因为设置了 HUB_LLM_MODEL：模型名称须指定服务地址，例如 https://api.openai.com/v1；"
        "HUB_LOG_LEVEL：可选：DEBUG, INFO, WARNING, ERROR, CRITICAL；"
        "HUB_REDIS_URL：应为 URL，例如 redis://host:6379/0；PORT：应为整数"
    )


def test_a_held_folder_is_told_in_both_languages(tmp_path: Path) -> None:
    servers = Servers(Layout(tmp_path / "data"))
    servers.start(with_postgres=False)
    try:
        seen = hub("status", data_dir=tmp_path / "data", **CHINESE)
        refused = hub("up", data_dir=tmp_path / "data", **CHINESE)
        values = json.loads(hub("status", "--json", data_dir=tmp_path / "data", **CHINESE).stdout)
    finally:
        servers.stop()
    assert seen.stdout.startswith("运行中的中枢（进程 ")
    assert "数据库未运行" in seen.stdout
    assert values["purpose"] == "a running hub"
    assert refused.returncode == 1
    assert refused.stderr.startswith("hub: ") and "正被“运行中的中枢”（进程 " in refused.stderr


def test_an_error_is_english_for_logs_and_chinese_for_people(chinese: None) -> None:
    speak()
    error = EmbeddedError("{file} is damaged: restore it from your copy", file="master.key")
    assert str(error) == "master.key is damaged: restore it from your copy"
    assert error.phrase.said(_) == "master.key 已损坏：请用另存的副本恢复"


def results(acme: Hub) -> list[dict[str, Any]]:
    asked: tuple[tuple[str, ...], ...] = (
        ("tenant", "show", "acme"), ("tenant", "list"), ("plan", "list"), ("agent", "list", "--tenant", "acme"),
        ("agent", "test", "helper", "--tenant", "acme"), ("connection", "list", "--tenant", "acme"),
        ("connection", "test", "site", "--tenant", "acme"), ("quota", "list", "--tenant", "acme"),
        ("session", "list", "--tenant", "acme"), ("delivery", "list", "--tenant", "acme"),
        ("tenant", "suspend", "acme"), ("tenant", "resume", "acme"), ("completion", "zsh"),
    )  # fmt: skip
    done = [acme(*arguments, "--json") for arguments in asked]
    assert [one.err for one in done] == [""] * len(asked)
    return [one.json for one in done]


def test_json_is_the_same_in_every_language(acme: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    acme("connection", "create", "web", "--tenant", "acme", "--agent", "helper", "--name", "site")
    english = results(acme)
    for name, value in CHINESE.items():
        monkeypatch.setenv(name, value)
    assert acme("tenant", "resume", "acme").out.startswith("已恢复租户 acme")
    monkeypatch.setenv("LANGUAGE", "")
    assert results(acme) == english


def test_a_route_that_does_not_answer_is_english_in_json_and_chinese_in_the_error(acme: Hub, chinese: None) -> None:
    acme(
        "agent", "set", "helper", "--tenant", "acme", "--model-url", "http://127.0.0.1:9/v1", "--model", "m1",
    )  # fmt: skip
    line = one_line(acme("agent", "test", "helper", "--tenant", "acme", "--json"))
    assert line.startswith("m1（http://127.0.0.1:9/v1）：")
    assert line.endswith("；该地址无应答：请检查地址；内网地址须在 HUB_EGRESS_ALLOW 中放行")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["tenant", "create", "acme"], "slug：标识 'acme' 已被占用"),
        (["tenant", "create", "No Slug"], "slug：只能使用字母、数字、下划线和连字符。"),
        (["tenant", "create", "b", "--zone", "Mars/Base"], "zone：'Mars/Base' 不是有效的时区"),
        (["tenant", "create", "b", "--plan", "gold"], "没有套餐“gold”；可选：starter, professional, enterprise"),
        (["tenant", "suspend", "nobody"], "没有租户“nobody”，可运行 hub tenant list 查看"),
        (["agent", "create", "a", "--tenant", "acme", "--memory", "colour=red"], "policy：未知：colour"),
        (["agent", "create", "a", "--tenant", "acme", "--memory", "rounds=x"], "--memory rounds：应为整数"),
        (["agent", "create", "a", "--tenant", "acme", "--tool", "hammer"], "tools：没有这样的工具：hammer"),
        (["connection", "create", "webhook", "--tenant", "acme", "--agent", "helper"], "webhook：缺少 secret"),
        (
            ["connection", "create", "web", "--tenant", "acme", "--agent", "helper", "--set", "identity_secret=short"],
            "web：identity_secret：密钥至少需要 32 个字符",
        ),
        (
            ["connection", "create", "web", "--tenant", "acme", "--agent", "helper", "--set", "burst=x"],
            "burst：值 'x' 不是有效选项。",
        ),
        (["quota", "set", "sessions", "many", "--tenant", "acme"], "“many”既不是数字，也不是 `unlimited`"),
        (["session", "show", "x", "--tenant", "acme"], "“x”不是会话编号"),
        (["key", "revoke", "abc", "--tenant", "acme", "--json"], "没有密钥“abc”"),
    ],
)
def test_refusals_of_every_package_are_told_in_chinese(
    acme: Hub, chinese: None, arguments: list[str], told: str
) -> None:
    assert told in one_line(acme(*arguments))


def test_rows_are_shown_in_chinese(acme: Hub, chinese: None) -> None:
    assert acme("tenant", "list").out == "标识  套餐     状态  名称\nacme  starter  启用  acme\n"
    acme("quota", "set", "sessions", "unlimited", "--tenant", "acme")
    shown = acme("tenant", "show", "acme").out
    assert "1 个智能体，0 个连接，0 个会话，0 个密钥" in shown
    line = next(line for line in shown.splitlines() if line.startswith("sessions"))
    assert line.split()[2:] == ["不限", "-", "套餐：100"]
    assert acme("connection", "list", "--tenant", "acme").out.startswith("还没有连接：hub connection create")


def test_a_question_is_asked_in_chinese_on_a_terminal(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    servers = Servers(Layout(data_dir), postgres_settings={"fsync": "off"})
    servers.start(with_valkey=False)
    try:
        assert hub("migrate", "--demo", "--json", data_dir=data_dir).returncode == 0
        delete = ("connection", "delete", "Web chat", "--tenant", "demo")
        with Narrow(*delete, data_dir=data_dir, **CHINESE) as seen:
            seen.until("永久删除 Web chat（web）及其 0 个会话？ [y/N]")
            seen.type("vielleicht\n")
            seen.until("请输入 y 或 n")
            seen.type("n\n")
            assert seen.end() == 130
        with Narrow("tenant", "list", data_dir=data_dir, **CHINESE) as seen:
            assert seen.end() == 0
            head, row = seen.plain.splitlines()
        assert head.split() == ["标识", "套餐", "状态", "名称"]
        assert [columns(head[: head.index(word)]) for word in ("套餐", "状态", "名称")] == [
            columns(row[: row.index(word)]) for word in ("enterprise", "启用", "Demo")
        ]
    finally:
        servers.stop()


@pytest.mark.parametrize("language", ["en", "zh_Hans"])
def test_tables_and_findings_stand_under_each_other(language: str) -> None:
    found = [
        Finding("database", Phrase("up to date")),
        note("dead letters", Phrase("{dead} dead, {unknown} of unknown outcome", dead=1, unknown=0), "x"),
        bad("sealed cells", Phrase("not looked at"), Phrase("mend the database first")),
    ]
    rows = [("小助手", State("dead"), age(90)), ("x", State("ok"), age(None))]
    speak(language)
    try:
        lines = COLOUR.sub("", _text(found)).splitlines()
        details = [Phrase("up to date").said(_), "1 ", Phrase("not looked at").said(_)]
        cells = COLOUR.sub("", table((_("NAME"), _("STATE"), _("UP")), rows)).splitlines()
        states = [State("dead").said(_), State("ok").said(_)]
    finally:
        speak(ENGLISH)
    assert len({columns(line[: line.index(detail)]) for line, detail in zip(lines, details, strict=False)}) == 1
    assert len({columns(line[: line.index(state)]) for line, state in zip(cells[1:], states, strict=True)}) == 1


@pytest.mark.parametrize("language", ["en", "zh_Hans"])
def test_the_greeting_has_two_columns(language: str) -> None:
    speak(language)
    try:
        lines = _greeting(env().model_copy(update={"llm_model": None}), {"user": "admin", "password": "secret"})
    finally:
        speak(ENGLISH)
    assert {len(line) - len(line.lstrip()) for line in lines} == {2, 9}
    assert {columns(line[: line.index("http")]) for line in lines[:2]} == {9}
    assert "admin / secret" in lines[2]


def test_shells_complete_in_chinese() -> None:
    asked = {"_HUB_COMPLETE": "fish_complete", "COMP_WORDS": "hub ten", "COMP_CWORD": "ten"}
    told = subprocess.run(
        [str(Path(sys.executable).with_name("hub"))], check=True, cwd=ROOT, capture_output=True, text=True,
        env=variables(Path("/nonexistent"), **asked, **CHINESE), timeout=PATIENCE,
    )  # fmt: skip
    assert "租户：创建、列出、换套餐、暂停、恢复" in told.stdout


def test_words_of_people_are_not_painted() -> None:
    """An agent may be called `dead`; only a status is coloured."""
    assert click.style("dead", fg="red") not in table(("NAME", "STATE"), [("dead", State("ok"))])
