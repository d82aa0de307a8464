// The page's words, in the visitor's language.

const WORDS = {
  en: {
    title: "Chat",
    placeholder: "Write a message",
    label: "Your message",
    send: "Send",
    stop: "Stop the answer",
    down: "To the newest message",
    anew: "Start anew",
    anewAsk: "Forget this conversation on this device and start a new one?",
    empty: "Ask me something. I remember what we talk about.",
    hint: "Enter sends, Shift+Enter makes a new line.",
    long: "This message is too long. Please send it in parts.",
    you: "You",
    assistant: "Assistant",
    online: "connected",
    connecting: "connecting …",
    offline: "offline: your messages are kept and sent later",
    closed: "this chat is not available",
    missing: "No chat is set up on this hub yet.",
    thinking: "Thinking",
    recalling: "Remembering",
    tool: "Using {0}",
    waiting: "waiting to be sent",
    failed: "not sent: {0}",
    retry: "Try again",
    refused: "not accepted: {0}",
    stopped: "stopped",
    gap: "Part of this answer was missed while the connection was away.",
    today: "Today",
    yesterday: "Yesterday",
    copy: "Copy",
    copied: "Copied",
  },
  zh: {
    title: "对话",
    placeholder: "输入消息",
    label: "你的消息",
    send: "发送",
    stop: "停止回答",
    down: "回到最新消息",
    anew: "重新开始",
    anewAsk: "在本设备上忘记这段对话并重新开始吗？",
    empty: "有什么想问的？我会记住我们的谈话。",
    hint: "回车发送，Shift+回车换行。",
    long: "这条消息太长，请分段发送。",
    you: "你",
    assistant: "助手",
    online: "已连接",
    connecting: "正在连接……",
    offline: "已离线：消息会保留，稍后发送",
    closed: "此对话不可用",
    missing: "这个中枢还没有设置对话。",
    thinking: "正在思考",
    recalling: "正在回忆",
    tool: "正在使用 {0}",
    waiting: "等待发送",
    failed: "未发送：{0}",
    retry: "重试",
    refused: "未被接受：{0}",
    stopped: "已停止",
    gap: "连接中断期间，这条回答有一部分没有收到。",
    today: "今天",
    yesterday: "昨天",
    copy: "复制",
    copied: "已复制",
  },
};

export const language = (navigator.languages?.[0] ?? navigator.language ?? "en").toLowerCase().startsWith("zh")
  ? "zh"
  : "en";

export function say(key, ...values) {
  return WORDS[language][key].replace(/\{(\d)\}/g, (_, index) => values[Number(index)] ?? "");
}

const clock = new Intl.DateTimeFormat(language, { hour: "2-digit", minute: "2-digit" });
const dayName = new Intl.DateTimeFormat(language, { weekday: "long", day: "numeric", month: "long" });

export const timeOf = (date) => clock.format(date);

export function dayOf(date) {
  const start = (day) => new Date(day.getFullYear(), day.getMonth(), day.getDate()).getTime();
  const days = Math.round((start(new Date()) - start(date)) / 86_400_000);
  if (days === 0) return say("today");
  if (days === 1) return say("yesterday");
  return dayName.format(date);
}
