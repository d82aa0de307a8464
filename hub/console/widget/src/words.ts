// What the chat says, in the visitor's language.

const EN = {
  chat: "Chat",
  assistant: "Assistant",
  you: "You",
  log: "Conversation",
  placeholder: "Write a message",
  label: "Your message",
  send: "Send",
  stop: "Stop the answer",
  down: "To the newest message",
  open: "Open the chat",
  openUnread: "Open the chat, {0} unread",
  close: "Close the chat",
  popout: "Open in a window of its own",
  anew: "Start anew",
  anewAsk: "Forget this conversation on this device and start a new one?",
  yes: "Start anew",
  no: "Keep it",
  greeting: "How can I help?",
  empty: "Ask me something. I remember what we talk about.",
  suggestions: "Suggestions",
  hint: "Enter sends, Shift+Enter makes a new line.",
  long: "This message is too long. Please send it in parts.",
  full: "Too many messages wait to be sent.",
  online: "connected",
  connecting: "connecting …",
  offline: "offline",
  offlineNote: "You are offline. Messages are kept and sent later.",
  connectingNote: "Connecting again …",
  closed: "not available",
  closedNote: "This chat is not available here.",
  missing: "No chat is set up on this hub yet.",
  thinking: "Thinking",
  recalling: "Remembering",
  tool: "Using {0}",
  used: "Used {0}",
  tool_current_time: "the clock",
  tool_offer_replies: "reply buttons",
  tool_search_memory: "memory search",
  waiting: "waiting to be sent",
  failed: "Not sent: {0}",
  retry: "Try again",
  again: "Answer again",
  edit: "Edit and send again",
  editing: "You are changing an earlier message. What followed it will be replaced.",
  cancel: "Cancel",
  refused: "Not accepted: {0}",
  sessions: "the limit of conversations is reached",
  tokens_per_day: "today's limit is reached",
  blocked: "writing here is not possible for you",
  suspended: "this chat is not available at the moment",
  not_editable: "this message can no longer be changed",
  not_found: "it is no longer there",
  unknown_upload: "a file is no longer there",
  upload_quota: "the limit of files for today is reached",
  storage_full: "there is no room for files at the moment",
  rate_limited: "too many at once, please wait a moment",
  type_refused: "this kind of file is not accepted",
  too_large: "it is too large",
  network: "the line was lost",
  form_invalid: "Please check what you entered.",
  form_required: "Please fill in what is marked.",
  stopped: "stopped",
  noted: "A person will answer.",
  gap: "Part of this answer was missed while the connection was away.",
  older: "Earlier messages",
  today: "Today",
  yesterday: "Yesterday",
  copy: "Copy",
  copied: "Copied",
  attach: "Attach files",
  drop: "Drop files to attach them",
  remove: "Remove {0}",
  tooLarge: "{0} is larger than {1}",
  tooMany: "One message takes no more files: {0} at most.",
  uploadFailed: "{0} could not be uploaded",
  sources: "Sources",
  source: "Source {0}",
  formTitle: "Before we begin",
  formSend: "Begin the chat",
  name: "Name",
  email: "E-mail",
  phone: "Phone",
  company: "Company",
  unverified: "You could not be signed in; you write as a guest.",
  answered: "{0} says: {1}",
};
export type Word = keyof typeof EN;

const ZH: Record<Word, string> = {
  chat: "对话",
  assistant: "助手",
  you: "你",
  log: "对话内容",
  placeholder: "输入消息",
  label: "你的消息",
  send: "发送",
  stop: "停止回答",
  down: "回到最新消息",
  open: "打开对话",
  openUnread: "打开对话，{0} 条未读",
  close: "关闭对话",
  popout: "在新窗口中打开",
  anew: "重新开始",
  anewAsk: "在本设备上忘记这段对话并重新开始吗？",
  yes: "重新开始",
  no: "保留",
  greeting: "有什么可以帮你？",
  empty: "有什么想问的？我会记住我们的谈话。",
  suggestions: "建议",
  hint: "回车发送，Shift+回车换行。",
  long: "这条消息太长，请分段发送。",
  full: "等待发送的消息过多。",
  online: "已连接",
  connecting: "正在连接……",
  offline: "已离线",
  offlineNote: "你已离线。消息会保留，稍后发送。",
  connectingNote: "正在重新连接……",
  closed: "不可用",
  closedNote: "此处无法使用这个对话。",
  missing: "这个中枢还没有设置对话。",
  thinking: "正在思考",
  recalling: "正在回忆",
  tool: "正在使用 {0}",
  used: "已使用 {0}",
  tool_current_time: "时钟",
  tool_offer_replies: "快捷回复",
  tool_search_memory: "记忆搜索",
  waiting: "等待发送",
  failed: "未发送：{0}",
  retry: "重试",
  again: "重新回答",
  edit: "修改并重新发送",
  editing: "你正在修改之前的消息，其后的内容将被替换。",
  cancel: "取消",
  refused: "未被接受：{0}",
  sessions: "对话数量已达上限",
  tokens_per_day: "今日用量已达上限",
  blocked: "你无法在此发言",
  suspended: "本聊天暂时不可用",
  not_editable: "这条消息已不能修改",
  not_found: "它已不存在",
  unknown_upload: "有文件已不存在",
  upload_quota: "今日文件数量已达上限",
  storage_full: "目前没有存放文件的空间",
  rate_limited: "操作过于频繁，请稍候",
  type_refused: "不接受这种文件",
  too_large: "文件过大",
  network: "连接中断",
  form_invalid: "请检查填写的内容。",
  form_required: "请填写带星号的内容。",
  stopped: "已停止",
  noted: "稍后会有人工回复。",
  gap: "连接中断期间，这条回答有一部分没有收到。",
  older: "更早的消息",
  today: "今天",
  yesterday: "昨天",
  copy: "复制",
  copied: "已复制",
  attach: "添加文件",
  drop: "拖放文件到此处",
  remove: "移除 {0}",
  tooLarge: "{0} 超过 {1}",
  tooMany: "每条消息最多 {0} 个文件。",
  uploadFailed: "{0} 上传失败",
  sources: "来源",
  source: "来源 {0}",
  formTitle: "开始之前",
  formSend: "开始对话",
  name: "姓名",
  email: "电子邮箱",
  phone: "电话",
  company: "公司",
  unverified: "无法确认你的登录身份，将以访客身份发言。",
  answered: "{0}：{1}",
};

export interface Words {
  readonly language: "en" | "zh";
  readonly tag: string;
  say(word: Word, ...values: (string | number)[]): string;
  knows(word: string): word is Word;
  // What a tool is called; those of tenants by what the hub calls them.
  tool(name: string, label: string): string;
  // What a refusal's code means, else the hub's own words.
  refusal(code: string, message: string): string;
  time(date: Date): string;
  moment(date: Date): string;
  day(date: Date): string;
  size(bytes: number): string;
}

const chosen = (): string => navigator.languages?.[0] ?? navigator.language ?? "en";

// In `wanted`, else in the browser's first language where we speak it, else in English.
export function words(wanted = ""): Words {
  const language = (wanted || chosen()).toLowerCase().startsWith("zh") ? "zh" : "en";
  const tag = language === "zh" ? "zh-Hans" : "en";
  const region = chosen().toLowerCase().startsWith(language) ? chosen() : tag;
  const clock = new Intl.DateTimeFormat(region, { hour: "2-digit", minute: "2-digit" });
  const long = new Intl.DateTimeFormat(region, { dateStyle: "long", timeStyle: "short" });
  const days = new Intl.DateTimeFormat(region, { weekday: "long", day: "numeric", month: "long" });
  const text = language === "zh" ? ZH : EN;
  const say = (word: Word, ...values: (string | number)[]): string =>
    text[word].replace(/\{(\d)\}/g, (_, index) => String(values[Number(index)] ?? ""));
  return {
    language,
    tag,
    say,
    knows: (word): word is Word => Object.hasOwn(text, word),
    tool: (name, label) => (Object.hasOwn(text, `tool_${name}`) ? say(`tool_${name}` as Word) : label || name),
    refusal: (code, message) => (Object.hasOwn(text, code) ? say(code as Word) : message || code),
    time: (date) => clock.format(date),
    moment: (date) => long.format(date),
    day(date) {
      const start = (day: Date): number => new Date(day.getFullYear(), day.getMonth(), day.getDate()).getTime();
      const ago = Math.round((start(new Date()) - start(date)) / 86_400_000);
      if (ago === 0) return say("today");
      return ago === 1 ? say("yesterday") : days.format(date);
    },
    size: (bytes) => (bytes < 1e6 ? `${Math.max(1, Math.round(bytes / 1e3))} kB` : `${(bytes / 1e6).toFixed(1)} MB`),
  };
}
