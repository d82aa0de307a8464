"""Does this input need long-term memory? Cheap rules for Chinese and English; in doubt, yes: recall is quick."""

import re

_SMALL_TALK = re.compile(
    r"^\W*(hi|hello|hey|good (morning|afternoon|evening|night)|thanks?( you)?( (so|very) much)?|thx|ok(ay)?|yes|no|"
    r"sure|great|cool|bye|goodbye|see you|lol|你好|您好|嗨|哈喽|早上好|早安|晚上好|下午好|晚安|谢谢(你|您)?|多谢|好的?|"
    r"嗯+|是的?|不是|行|可以|再见|拜拜|哈+|没事|不用了?|收到|明白了?|知道了)"
    r"(啊|呀|哦|呢|吧|了|的| there| again| all)*\W*$",
    re.IGNORECASE,
)
_PAST = re.compile(
    r"\b(remember|recall|last (time|week|month|year|night)|yesterday|earlier|before|previous(ly)?|ago|again|still|"
    r"(did|have|had) (i|we|you)|you said|i (said|told|mentioned)|we (talked|discussed|agreed)|my|mine|our)\b|"
    r"记得|记住|上次|上回|上周|上个月|昨天|前天|之前|以前|刚才|曾经|说过|提过|告诉过|聊过|讨论过|我的|我们的|我家|还是|那个|那次",
    re.IGNORECASE,
)
_SELF_CONTAINED = re.compile(
    r"^\W*(what('s| is) )?[\d\s.+\-*/×÷^()=%]+\W*$|^\W*(translate|翻译)\b.{0,20}[:：\"“]|"
    r"^\W*what (time|day|date) is it\b|^\W*(现在|今天)?(几点|星期几|周几|几号|什么时间)",
    re.IGNORECASE,
)


def needs_memory(text: str) -> bool:
    """False for greetings, thanks, sums and other input that stands for itself; a hint at the past always wins."""
    head = text.strip()[:500]
    if not head:
        return False
    if _PAST.search(head):
        return True
    return not (_SMALL_TALK.match(head) or _SELF_CONTAINED.match(head) or not any(c.isalnum() for c in head))
