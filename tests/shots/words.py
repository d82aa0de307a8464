"""What is said in the pictures."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

GREETING = "Welcome to Lantern Home\nAsk about lamps, orders and deliveries.\n也可以用中文提问。"
SUGGESTIONS = "Where is my order?\nDo you deliver on Saturdays?\n可以退货吗？"
ORDER = "My order 2041 goes to Canal Street 7. I am mostly home on Saturdays."
NOTED = "Noted: order **2041** goes to Canal Street 7, best on a Saturday."
SATURDAY = "Could it come this Saturday, and what would that cost?"
OFFERED = """Yes. These times are free this Saturday for Canal Street 7:

| Time | Price | |
|:-----|------:|:--|
| 9:00–12:00 | 4.90 | leave at the door |
| 12:00–15:00 | 4.90 | in person |
| 18:00–20:00 | 7.50 | in person |

Your lamp is packed already. You can follow it at [your order](https://lantern.example/orders/2041)."""
ORDER_ZH = "我的订单 2041 寄到运河街 7 号，我一般周六在家。"
NOTED_ZH = "记下了：订单 **2041** 寄到运河街 7 号，最好周六送达。"
SATURDAY_ZH = "这周六能送到吗？要多少钱？"
OFFERED_ZH = """可以。这周六送到运河街 7 号有以下时段：

| 时段 | 价格 | |
|:-----|------:|:--|
| 9:00 – 12:00 | ¥29 | 放在门口 |
| 12:00 – 15:00 | ¥29 | 当面签收 |
| 18:00 – 20:00 | ¥45 | 当面签收 |

灯已经打包好了，可以在[订单页](https://lantern.example/orders/2041)查看进度。"""
SCRIPT: Mapping[str, tuple[str, tuple[str, ...]]] = {
    ORDER: (NOTED, ()),
    SATURDAY: (OFFERED, ("9:00–12:00", "12:00–15:00", "In the evening")),
    ORDER_ZH: (NOTED_ZH, ()),
    SATURDAY_ZH: (OFFERED_ZH, ("上午", "中午", "晚上")),
}
"""What the model answers to a message, and what it offers to tap."""


@dataclass(frozen=True, slots=True)
class Talk:
    """A conversation: who, on which connection, and what was said in turn, the person first."""

    line: str
    person: str
    title: str
    said: tuple[str | Mapping[str, Any], ...]
    starred: bool = False


_PHOTO = {"kind": "image", "name": "shade.jpg", "media_type": "image/jpeg", "size": 184_320}
_BILL = {"kind": "file", "name": "invoice-2041.pdf", "media_type": "application/pdf", "size": 48_211}
_SEARCH = ({"id": "call_1", "name": "search_memory", "arguments": "{}"},)
TALKS = (
    Talk(
        "Telegram",
        "Ana Costa",
        "A shade that arrived broken",
        (
            "Hello! My lamp came today, thank you. But the shade has a crack.",
            "I am sorry about that, Ana. Could you send me a photo of it?",
            {"text": "Of course, here it is.", "attachments": (_PHOTO,)},
            {
                "text": "Thank you. That is **transport damage**; it costs you nothing.\n\n"
                "1. A new shade leaves tomorrow to Canal Street 7.\n2. Keep the old one, no need to return it.",
                "tool_calls": _SEARCH,
                "quick_replies": ("Sounds good", "Send it elsewhere"),
            },
            "Sounds good",
            {"text": "Done. Here is the corrected invoice, with nothing to pay.", "attachments": (_BILL,)},
        ),
        starred=True,
    ),
    Talk(
        "Website",
        "李雷",
        "周六送货",
        (
            "你好，请问周六可以送货吗？",
            "可以的，李雷。周六有上午、中午和晚上三个时段。",
            "晚上吧，请送到运河街 7 号。",
            "好的：周六 18:00 – 20:00 送到运河街 7 号。",
        ),
    ),
    Talk(
        "Team Slack",
        "Priya Nair",
        "Stock of the paper lamps",
        ("How many paper lamps are left in Leeds?", "There are **14** left; the next 40 arrive on Tuesday."),
    ),
    Talk(
        "Telegram",
        "Tom Becker",
        "Dimming the reading lamp",
        ("Can the reading lamp be dimmed?", "Yes, in three steps: touch the foot for a second."),
    ),
    Talk(
        "Website",
        "王小美",
        "退货与退款",
        ("收到的台灯颜色不对，可以退吗？", "可以，30 天内都能退。退货标签已经发到你的邮箱。"),
    ),
    Talk(
        "Shop app",
        "Jonas Lind",
        "Gift wrapping",
        ("Do you wrap gifts?", "We do, for 3.50, with a card in your words."),
    ),
    Talk(
        "Order desk",
        "María López",
        "Factura con otro nombre",
        ("¿Pueden cambiar el nombre en la factura?", "Claro. ¿Qué nombre debe figurar?"),
    ),
)
