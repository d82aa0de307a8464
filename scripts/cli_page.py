"""Write docs/cli.md and docs/cli.zh-CN.md from the commands themselves: every command's help, and the exit codes.

`python scripts/cli_page.py` rewrites the pages; a test fails when one is stale.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

import click

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from hub.cli.helping import Context  # noqa: E402
from hub.cli.language import CHINESE, ENGLISH, speak  # noqa: E402
from hub.cli.output import EXITS  # noqa: E402
from hub.cli.root import SECTIONS, cli  # noqa: E402
from hub.cli.words import _, told  # noqa: E402

PAGES = {ENGLISH: ROOT / "docs" / "cli.md", CHINESE: ROOT / "docs" / "cli.zh-CN.md"}
WIDTH = 100
HEADS = {
    ENGLISH: """# The command line

[中文](cli.zh-CN.md)

This page is written from the program by `scripts/cli_page.py`: it says what `hub COMMAND --help` says.

- **For people**: tables, colours and progress bars on a terminal only. `NO_COLOR` (any value) or `--no-color` takes the
  colours away. What people and models wrote is shown without its control characters.
- **Language**: English or Simplified Chinese, chosen as the system's own tools do: by the first of `LC_ALL`,
  `LC_MESSAGES` and `LANG` that is set, or, unless that is `C` or `POSIX`, by the list in `LANGUAGE`. To try it out:
  `LANGUAGE=zh_CN hub --help`.
- **For programs**: every command takes `--json` and prints one JSON object on standard output, the same in every
  language. Errors are one line on standard error, beginning with `hub: `, and a code other than 0. What cannot be
  undone asks a person, and wants `--yes` of a program.
- **Settings** are environment variables: [configuration.md](configuration.md). A command works on a running hub beside
  it, and on a stopped one by starting its database for as long as it takes.
- **Completion**: `hub completion bash|zsh|fish` prints the script; names of tenants, agents, connections and channels
  are completed as well.
- Changes that an operator makes are in the tenant's audit trail, under the account that ran the command.

## Exit codes

| code | meaning |
|---|---|
""",
    CHINESE: """# 命令行

[English](cli.md)

本页由 `scripts/cli_page.py` 从程序生成，内容与 `hub COMMAND --help` 一致。

- **供人使用**：表格、颜色和进度条只出现在终端上。设置 `NO_COLOR`（任意值）或加 `--no-color` 可去掉颜色。
  显示人和模型写的内容时，会去掉其中的控制字符。
- **语言**：英文或简体中文，与系统自带工具的选择方式相同：取 `LC_ALL`、`LC_MESSAGES`、`LANG` 中第一个已设置的；
  若其值不是 `C` 或 `POSIX`，则以 `LANGUAGE` 列表为先。可用 `LANGUAGE=zh_CN hub --help` 试试。
- **供程序使用**：每条命令都支持 `--json`，在标准输出打印一个 JSON 对象，不随语言变化。出错时在标准错误输出一行，
  以 `hub: ` 开头，退出码不为 0。无法撤销的操作会先询问；由程序调用时须加 `--yes`。
- **设置**由环境变量提供：[configuration.md](configuration.md)。中枢在运行时，命令与它并行工作；已停止时，
  命令会临时启动其数据库。
- **补全**：`hub completion bash|zsh|fish` 输出补全脚本，也能补全租户、智能体、连接和渠道的名称。
- 操作员所做的修改会写入租户的审计记录，记在运行命令的系统账号名下。

## 退出码

| 退出码 | 含义 |
|---|---|
""",
}


def page(language: str) -> str:
    """The page's text in one language."""
    speak(language)
    try:
        codes = "".join(f"| {code} | {told(text)} |\n" for code, text in EXITS.items())
        return HEADS[language] + codes + "".join(_sections())
    finally:
        speak(ENGLISH)


def _sections() -> Iterator[str]:
    context = Context(cli, info_name="hub", terminal_width=WIDTH, max_content_width=WIDTH)
    for title, names in SECTIONS.items():
        yield f"\n## {_(title)}\n"
        for name in names:
            found = cli.get_command(context, name)
            if found is None:
                raise LookupError(name)
            yield from _command(found, name, context, level=3)


def _command(found: click.Command, name: str, parent: click.Context, *, level: int) -> Iterator[str]:
    context = Context(
        found, info_name=name, parent=parent, terminal_width=WIDTH, max_content_width=WIDTH,
        help_option_names=["-h", "--help"],
    )  # fmt: skip
    text = click.unstyle(found.get_help(context)).strip()
    yield f"\n{'#' * level} {context.command_path}\n\n```text\n{text}\n```\n"
    if isinstance(found, click.Group):
        for inner in found.list_commands(context):
            below = found.get_command(context, inner)
            if below is not None:
                yield from _command(below, inner, context, level=level + 1)


if __name__ == "__main__":
    for language, path in PAGES.items():
        path.write_text(page(language), encoding="utf-8")
        sys.stdout.write(f"wrote {path.name}\n")
